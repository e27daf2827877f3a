from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import SHAPE, N, Scene, diffraction, make_scene, run_rpie
from torch import Tensor

from study.iterative.rpie import (
    BATCH,
    Result,
    Stop,
    best_constant,
    few_threads,
    flat_object,
    pass_order,
)
from study.optics import adjoint, extract, far_field, illumination
from study.optics.back_projection import replace_modulus
from study.settings import UserError

SETTINGS = {"passes": 20, "alpha": 0.1, "update_probe": False, "seed": 3}


def reconstruct(scene: Scene, **changes: object) -> Result:
    given = {"probe": scene.probe, "positions_px": scene.positions_px, **SETTINGS, **changes}
    probe, positions_px = given.pop("probe"), given.pop("positions_px")
    return run_rpie(scene.counts, probe, positions_px, SHAPE, **given)


def shift_free(field: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(np.fft.fft2(field, norm="ortho"))


def textbook(
    obj: np.ndarray, probe: np.ndarray, counts: np.ndarray, corner: tuple[int, int], alpha: float
) -> tuple[np.ndarray, np.ndarray]:
    """One rPIE step of one pattern at a whole-pixel corner, written out in complex128."""
    obj = obj.astype(np.complex128)
    window = np.s_[corner[0] : corner[0] + N, corner[1] : corner[1] + N]
    patch = obj[window].copy()
    exit_wave = probe * patch
    field = shift_free(exit_wave)
    replaced = np.sqrt(counts) * field / np.abs(field)
    change = np.fft.ifft2(np.fft.ifftshift(replaced), norm="ortho") - exit_wave
    p2, o2 = np.abs(probe) ** 2, np.abs(patch) ** 2
    obj[window] += probe.conj() * change / ((1 - alpha) * p2 + alpha * p2.max())
    return obj, probe + patch.conj() * change / o2.max()


@pytest.mark.parametrize("sub_pixel", [False, True])
def test_the_true_object_is_a_fixed_point(sub_pixel: bool) -> None:
    scene = make_scene(sub_pixel)
    result = reconstruct(scene, start=scene.obj, passes=3)
    assert (result.obj - scene.obj).abs().max() < 1e-4 * scene.obj.abs().max()
    assert max(result.r_factor) < 1e-5


@pytest.mark.parametrize("sub_pixel", [False, True])
def test_true_object_and_probe_stay_a_fixed_point_of_the_probe_update(sub_pixel: bool) -> None:
    scene = make_scene(sub_pixel)
    result = reconstruct(scene, start=scene.obj, passes=3, update_probe=True)
    # Between pixels the ramp that changes hands is interpolated: second order in its slope.
    assert max(result.r_factor) < (1e-3 if sub_pixel else 1e-5)


@pytest.mark.parametrize("sub_pixel", [False, True])
def test_the_object_is_recovered_from_a_constant(sub_pixel: bool) -> None:
    scene = make_scene(sub_pixel)
    first = scene.error(flat_object(scene.counts.sqrt(), scene.probe, SHAPE))
    result = reconstruct(scene, passes=60, alpha=0.05)
    assert first > 0.3
    assert scene.error(result.obj) < first / 30


def test_the_r_factor_falls_from_pass_to_pass() -> None:
    r_factor = reconstruct(make_scene(False)).r_factor
    assert all(after < before for before, after in pairwise(r_factor))
    assert r_factor[-1] < r_factor[0] / 10


def test_the_r_factor_of_a_first_batch_is_that_of_the_constant() -> None:
    scene = make_scene(True)
    few = torch.arange(BATCH)
    counts, positions_px = scene.counts[few], scene.positions_px[few]
    measured = counts.sqrt()
    obj = flat_object(measured, scene.probe, SHAPE)
    predicted = diffraction(obj, scene.probe, positions_px).sqrt()
    result = run_rpie(counts, scene.probe, positions_px, SHAPE, **{**SETTINGS, "passes": 1})
    expected = (predicted - measured).abs().sum() / measured.sum()
    assert result.r_factor[0] == pytest.approx(float(expected), rel=1e-5)


def test_sub_pixel_positions_fit_better_than_rounded_ones() -> None:
    scene = make_scene(True)
    exact = reconstruct(scene)
    rounded = reconstruct(scene, positions_px=scene.positions_px.round())
    assert scene.error(exact.obj) < 0.7 * scene.error(rounded.obj)
    assert exact.r_factor[-1] < 0.4 * rounded.r_factor[-1]


def test_two_runs_of_one_seed_are_bit_equal_and_another_seed_is_not() -> None:
    scene = make_scene(True)
    first, again = reconstruct(scene, passes=3), reconstruct(scene, passes=3)
    other = reconstruct(scene, passes=3, seed=4)
    assert torch.equal(first.obj, again.obj)
    assert first.r_factor == again.r_factor
    assert not torch.equal(first.obj, other.obj)


@given(count=st.integers(1, 60), seed=st.integers(0, 2**32 - 1), index=st.integers(0, 99))
@settings(deadline=None, max_examples=25)
def test_every_pass_takes_every_pattern_once(count: int, seed: int, index: int) -> None:
    assert sorted(pass_order(count, seed, index).tolist()) == list(range(count))


def test_every_pass_has_its_own_order() -> None:
    orders = {tuple(pass_order(50, 0, index).tolist()) for index in range(20)}
    assert len(orders) == 20


# --- the step ---------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.05, 0.5, 1.0])
def test_one_pattern_makes_the_textbook_step(alpha: float) -> None:
    scene = make_scene(False)
    start = torch.full(SHAPE, 0.8 + 0.1j, dtype=torch.complex64)
    counts, positions_px = scene.counts[:1], torch.tensor([[7.0, 4.0]])
    given = {**SETTINGS, "passes": 1, "alpha": alpha, "start": start}
    result = run_rpie(counts, scene.probe, positions_px, SHAPE, **given)
    expected, _ = textbook(start.numpy(), scene.probe.numpy(), counts[0].numpy(), (7, 4), alpha)
    assert np.abs(result.obj.numpy() - expected).max() < 1e-4


def test_the_probe_makes_the_textbook_step_up_to_its_gauge() -> None:
    scene = make_scene(False)
    counts, corner = scene.counts[:1], (7, 4)
    given = {**SETTINGS, "passes": 1, "update_probe": True, "start": scene.obj.roll(3, 1)}
    result = run_rpie(counts, scene.probe, torch.tensor([corner]).float(), SHAPE, **given)
    obj, probe = textbook(
        given["start"].numpy(), scene.probe.numpy(), counts[0].numpy(), corner, SETTINGS["alpha"]
    )
    patch = obj[7 : 7 + N, 4 : 4 + N]
    made = (result.probe * result.obj[7 : 7 + N, 4 : 4 + N]).numpy()
    # The exit wave is what the gauge leaves alone, but for a global phase.
    assert np.abs(np.abs(made) - np.abs(probe * patch)).max() < 1e-4 * np.abs(made).max()


def test_windows_that_do_not_overlap_may_go_together() -> None:
    scene = make_scene(False)
    corners = [(0, 0), (1, 13), (13, 2), (15, 20)]
    positions_px = torch.tensor(corners).float()
    counts = diffraction(scene.obj, scene.probe, positions_px)
    start = torch.ones(SHAPE, dtype=torch.complex64)
    given = {**SETTINGS, "passes": 1, "start": start}
    together = run_rpie(counts, scene.probe, positions_px, SHAPE, **given).obj
    alone = start.numpy()
    for corner, pattern in zip(corners, counts.numpy(), strict=True):
        alone, _ = textbook(alone, scene.probe.numpy(), pattern, corner, SETTINGS["alpha"])
    assert np.abs(together.numpy() - alone).max() < 1e-4


def test_the_undamped_step_is_the_gradient_of_the_amplitude_misfit() -> None:
    """Between pixels too: half the squared misfit has the step, times max |P|^2, as -gradient."""
    scene = make_scene(True)
    few = slice(0, BATCH)
    counts, positions_px = scene.counts[few], scene.positions_px[few]
    start = flat_object(counts.sqrt(), scene.probe, SHAPE)
    given = {**SETTINGS, "passes": 1, "alpha": 1.0, "start": start}
    step = run_rpie(counts, scene.probe, positions_px, SHAPE, **given).obj - start
    obj = start.clone().requires_grad_()
    modulus = far_field(scene.probe * extract(obj, positions_px, N)).abs()
    (0.5 * (modulus - counts.sqrt()).square().sum()).backward()
    largest = illumination(scene.probe, positions_px, SHAPE).max()
    assert obj.grad is not None
    assert (step + obj.grad / largest).abs().max() < 1e-4 * step.abs().max()


def test_the_corrected_wave_has_the_measured_modulus_and_its_own_phase() -> None:
    scene = make_scene(False)
    wave = scene.probe * extract(scene.obj, scene.positions_px[:5], N)
    measured = scene.counts[5:10].sqrt()
    correction, modulus = replace_modulus(wave, measured)
    field, corrected = far_field(wave), far_field(wave + correction)
    assert torch.allclose(modulus, field.abs())
    assert torch.allclose(corrected, measured * torch.exp(1j * field.angle()), atol=1e-2)


def test_a_dark_wave_stays_dark() -> None:
    correction, _ = replace_modulus(
        torch.zeros(1, N, N, dtype=torch.complex64), torch.ones(1, N, N)
    )
    assert not correction.any()


@given(level=st.floats(0.01, 100))
@settings(deadline=None, max_examples=10)
def test_the_best_constant_finds_a_constant(level: float) -> None:
    scene = make_scene(True)
    obj = torch.full(SHAPE, level, dtype=torch.complex64)
    amplitude = diffraction(obj, scene.probe, scene.positions_px).sqrt()
    assert best_constant(amplitude, scene.probe) == pytest.approx(level, rel=1e-5)


def test_no_other_constant_fits_better() -> None:
    scene = make_scene(True)
    amplitude = scene.counts.sqrt()
    best = best_constant(amplitude, scene.probe)
    pattern = far_field(scene.probe).abs()

    def misfit(level: float) -> float:
        return float((level * pattern - amplitude).double().square().sum())

    assert all(misfit(best) < misfit(best * factor) for factor in (0.99, 1.01))


# --- unknown probe ----------------------------------------------------------------------------


def disturbed(probe: Tensor) -> Tensor:
    y = torch.arange(N) - (N - 1) / 2
    phase_rad = 0.1 * y[:, None] + 0.5 * torch.sin(y / 2)
    return probe * (1 + 0.3 * torch.cos(y / 2)[:, None]) * torch.exp(1j * phase_rad)


def distance(probe: Tensor, true: Tensor) -> float:
    """1 - |correlation| after the mean ramp between the two is taken out."""
    turned = np.asarray(probe * true.conj()).astype(np.complex128)
    slopes = [np.angle((turned[1:] * turned[:-1].conj()).sum())]
    slopes.append(np.angle((turned[:, 1:] * turned[:, :-1].conj()).sum()))
    y = np.arange(N)
    turned = turned * np.exp(-1j * (slopes[0] * y[:, None] + slopes[1] * y))
    return float(1 - np.abs(turned.sum()) / (probe.norm() * true.norm()))


@pytest.mark.parametrize("sub_pixel", [False, True])
def test_a_disturbed_probe_is_recovered_up_to_its_gauge(sub_pixel: bool) -> None:
    scene = make_scene(sub_pixel)
    wrong = disturbed(scene.probe)
    result = reconstruct(scene, probe=wrong, passes=50, alpha=0.2, update_probe=True)
    kept = reconstruct(scene, probe=wrong, passes=10, alpha=0.2)
    assert distance(result.probe, scene.probe) < distance(wrong, scene.probe) / 6
    assert result.r_factor[-1] < kept.r_factor[-1] / 5


def test_the_probe_keeps_power_and_mean_phase_of_the_given_one() -> None:
    scene = make_scene(True)
    wrong = disturbed(scene.probe)
    found = reconstruct(scene, probe=wrong, passes=2, update_probe=True).probe
    assert float(found.norm()) == pytest.approx(float(wrong.norm()), rel=1e-5)
    assert abs(float(torch.vdot(wrong.flatten(), found.flatten()).angle())) < 1e-5
    assert not torch.allclose(found, wrong, rtol=1e-2)


def test_a_known_probe_comes_back_untouched() -> None:
    scene = make_scene(True)
    assert torch.equal(reconstruct(scene, passes=2).probe, scene.probe)


# --- what is refused --------------------------------------------------------------------------


def test_patterns_without_a_photon_are_refused() -> None:
    scene = make_scene(False)
    dark = torch.zeros_like(scene.counts)
    with pytest.raises(UserError, match="no photon"):
        run_rpie(dark, scene.probe, scene.positions_px, SHAPE, **SETTINGS)


def test_a_dark_probe_is_refused() -> None:
    scene = make_scene(False)
    with pytest.raises(UserError, match="probe is zero"):
        run_rpie(scene.counts, 0 * scene.probe, scene.positions_px, SHAPE, **SETTINGS)


def test_windows_outside_the_object_are_refused() -> None:
    scene = make_scene(False)
    with pytest.raises(ValueError, match="enlarge the object"):
        run_rpie(scene.counts, scene.probe, scene.positions_px + 20, SHAPE, **SETTINGS)


# --- speed without other results --------------------------------------------------------------


def plain_pass(
    scene: Scene, probe: Tensor, obj: Tensor, alpha: float, seed: int
) -> tuple[Tensor, float]:
    """One pass in batches of 16, written with the forward model's own operators."""
    error = 0.0
    amplitude = scene.counts.sqrt()
    for chosen in pass_order(len(amplitude), seed, 0).split(BATCH):
        places = scene.positions_px[chosen]
        correction, modulus = replace_modulus(probe * extract(obj, places, N), amplitude[chosen])
        weight = illumination(probe, places, SHAPE)
        damped = (1 - alpha) * weight + alpha * weight.max()
        obj = obj + adjoint(probe.conj() * correction, places, SHAPE) / damped
        error += float((modulus - amplitude[chosen]).abs().sum(dtype=torch.float64))
    return obj, error / float(amplitude.sum(dtype=torch.float64))


@pytest.mark.parametrize("sub_pixel", [False, True])
@pytest.mark.parametrize("columns_first", [False, True])
def test_a_pass_equals_the_plain_operators_to_the_bit(sub_pixel: bool, columns_first: bool) -> None:
    scene = make_scene(sub_pixel)
    # Imported probes may be stored by columns, and the layout reaches the transform's rounding.
    probe = scene.probe.T.contiguous().T if columns_first else scene.probe
    start = flat_object(scene.counts.sqrt(), probe, SHAPE)
    expected, r_factor = plain_pass(scene, probe, start, 0.1, 3)
    result = reconstruct(scene, probe=probe, passes=1)
    assert torch.equal(result.obj, expected)
    assert result.r_factor == (r_factor,)


def test_the_first_object_is_left_as_it_was() -> None:
    scene = make_scene(True)
    start = flat_object(scene.counts.sqrt(), scene.probe, SHAPE)
    before = start.clone()
    reconstruct(scene, start=start, passes=1)
    assert torch.equal(start, before)


@pytest.mark.parametrize(("n", "inside"), [(32, 1), (256, 1), (257, 2)])
def test_small_windows_are_worked_on_by_one_thread(n: int, inside: int) -> None:
    torch.set_num_threads(2)
    try:
        with few_threads(n):
            assert torch.get_num_threads() == inside
        assert torch.get_num_threads() == 2
        with pytest.raises(KeyError), few_threads(n):
            raise KeyError
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_a_reconstruction_keeps_to_one_thread_and_gives_the_setting_back() -> None:
    scene, seen = make_scene(True), list[int]()
    torch.set_num_threads(2)
    try:
        reconstruct(scene, passes=2, progress=lambda *_: seen.append(torch.get_num_threads()))
        assert seen == [1, 1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


# --- to convergence ---------------------------------------------------------------------------


def test_one_by_one_is_a_chain_of_textbook_steps() -> None:
    scene = make_scene(False)
    start = flat_object(scene.counts.sqrt(), scene.probe, SHAPE)
    given = {"passes": 1, "alpha": 0.3, "start": start, "update": "sequential"}
    expected = start.numpy()
    for index in pass_order(len(scene.counts), SETTINGS["seed"], 0).tolist():
        y, x = (int(value) for value in scene.positions_px[index])
        pattern = scene.counts[index].numpy()
        expected, _ = textbook(expected, scene.probe.numpy(), pattern, (y, x), 0.3)
    assert np.abs(reconstruct(scene, **given).obj.numpy() - expected).max() < 1e-4


def test_all_at_once_is_one_step_whatever_the_order_and_the_chunks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scene = make_scene(True)
    given = {"passes": 1, "alpha": 1.0, "update": "synchronous"}
    start = flat_object(scene.counts.sqrt(), scene.probe, SHAPE)
    step = reconstruct(scene, **given).obj - start
    obj = start.clone().requires_grad_()
    modulus = far_field(scene.probe * extract(obj, scene.positions_px, N)).abs()
    (0.5 * (modulus - scene.counts.sqrt()).square().sum()).backward()
    largest = illumination(scene.probe, scene.positions_px, SHAPE).max()
    assert obj.grad is not None
    assert (step + obj.grad / largest).abs().max() < 1e-4 * step.abs().max()
    monkeypatch.setattr("study.iterative.rpie.CHUNK", 5)
    in_chunks = reconstruct(scene, **given, seed=9).obj - start
    assert (in_chunks - step).abs().max() < 1e-4 * step.abs().max()


@pytest.mark.parametrize("update", ["sequential", "batches", "synchronous"])
def test_the_stop_rule_holds_at_the_last_pass_and_at_none_before(update: str) -> None:
    change, over = 0.05, 4
    result = reconstruct(
        make_scene(True), update=update, stop=Stop(change, over), passes=400, alpha=0.2
    )
    assert result.converged
    moved = [abs(a - b) / a for a, b in zip(result.r_factor, result.r_factor[over:], strict=False)]
    assert moved[-1] < change
    assert all(one >= change for one in moved[:-1])


def test_passes_end_a_run_that_has_not_converged() -> None:
    result = reconstruct(make_scene(True), passes=5, stop=Stop(1e-9, 2))
    assert (len(result.r_factor), result.converged) == (5, False)

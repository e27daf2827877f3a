"""Partly coherent beams and positions that are wrong: what rPIE finds, and what it leaves alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scenes import run_rpie

from study.formats.dataset import Dataset, content_hash, load_dataset, save_dataset, verify_dataset
from study.formats.probe import all_modes, powers
from study.iterative.apply import reconstruct_rpie
from study.iterative.modes import amplitude_of, orthogonal, start_modes
from study.iterative.shifts import MOST_PX, shift_step
from study.optics import diffract, extract
from study.runs import environment
from study.settings import UserError
from study.stages.apply import apply_source

N, SHAPE = 24, (70, 72)


def beam(sigma: float = 4.0) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(N) - N / 2, torch.arange(N) - N / 2, indexing="ij")
    return torch.polar(torch.exp(-(y**2 + x**2) / (2 * sigma**2)), 0.02 * (y**2 + 1.3 * x**2))


def scene(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """An object with structure on all scales, and positions of a scan with much overlap."""
    draw = np.random.default_rng(seed)
    noise = draw.normal(size=(2, *SHAPE))
    fy, fx = np.fft.fftfreq(SHAPE[0])[:, None], np.fft.fftfreq(SHAPE[1])
    smooth = np.fft.ifft2(np.fft.fft2(noise) * np.exp(-60 * (fy**2 + fx**2))).real
    smooth /= smooth.std(axis=(1, 2), keepdims=True)
    obj = (1 + 0.12 * smooth[0]) * np.exp(0.5j * smooth[1])
    grid = np.stack(np.meshgrid(np.arange(5, 42, 4), np.arange(5, 44, 4), indexing="ij"), axis=-1)
    positions = grid.reshape(-1, 2) + draw.uniform(-1, 1, (grid.size // 2, 2))
    return torch.tensor(obj, dtype=torch.complex64), torch.tensor(positions, dtype=torch.float32)


def patterns(obj: torch.Tensor, probe: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    return diffract(probe, extract(obj, positions, N)).square()


def mixed_state(strength: float = 0.2) -> torch.Tensor:
    main = 30 * beam()
    y = (torch.arange(N) - N / 2)[:, None] / 4
    return orthogonal(torch.stack([main, strength**0.5 * y * main]))


@given(seed=st.integers(0, 2**20), count=st.integers(1, 4))
def test_orthogonal_modes_are_the_same_mixed_state(seed: int, count: int) -> None:
    torch.manual_seed(seed)
    modes = torch.randn(count, 8, 8, dtype=torch.complex64)
    found = orthogonal(modes)
    gram = found.flatten(1) @ found.flatten(1).mH
    off = gram - torch.diag(gram.diagonal())
    assert off.abs().max() < 1e-3
    power = gram.diagonal().real
    assert bool((power.diff() <= 1e-3).all())
    patch = torch.randn(8, 8, dtype=torch.complex64)
    assert torch.allclose(diffract(found, patch), diffract(modes, patch), rtol=1e-3, atol=1e-3)


def test_stored_modes_are_sorted_by_power_whatever_their_order() -> None:
    stored = mixed_state().numpy().astype(np.complex128)
    for given_modes in (
        stored,
        stored[::-1].copy(),
        np.stack([stored.sum(axis=0), stored[0] - stored[1]]),
    ):
        found, (sentence,) = all_modes(given_modes, Path("scan.cxi"))
        share = powers(found)
        assert share[0] > share[1]
        patch = torch.ones(N, N, dtype=torch.complex64)
        one, other = (
            diffract(torch.tensor(each).to(torch.complex64), patch) for each in (found, given_modes)
        )
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-2)
        assert f"{100 * share[0]:.3g} %" in sentence
    assert all_modes(stored[0], Path("scan.cxi"))[1] == ()
    assert np.array_equal(all_modes(stored[:1], Path("x"))[0], stored[:1])


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_new_modes_are_orthogonal_and_keep_the_power(count: int) -> None:
    start = start_modes(beam()[None], count)
    assert start.shape == (count, N, N)
    gram = start.flatten(1) @ start.flatten(1).mH
    assert (gram - torch.diag(gram.diagonal())).abs().max() < 1e-3
    assert gram.diagonal().real.sum() == pytest.approx(float(beam().abs().square().sum()), rel=1e-4)


def test_one_mode_in_a_stack_is_the_plain_probe() -> None:
    """The same steps in another order of summation: equal up to rounding."""
    obj, positions = scene()
    probe = 30 * beam()
    counts = patterns(obj, probe, positions)
    settings = {"passes": 5, "alpha": 0.2, "update_probe": True, "seed": 1}
    plain = run_rpie(counts, probe, positions, SHAPE, **settings)
    stack = run_rpie(counts, probe[None], positions, SHAPE, **settings)
    assert stack.r_factor == pytest.approx(plain.r_factor, rel=1e-3)
    assert torch.allclose(amplitude_of(stack.probe), plain.probe.abs() + 0j, rtol=0.02, atol=0.05)


@pytest.mark.slow
def test_a_partly_coherent_beam_needs_its_modes() -> None:
    obj, positions = scene()
    truth = mixed_state()
    counts = patterns(obj, truth, positions)
    settings = {"passes": 25, "alpha": 0.2, "update_probe": True, "seed": 0}
    whole = truth.abs().square().sum().sqrt()
    main = truth[0] * (whole / truth[0].norm())
    one = run_rpie(counts, main, positions, SHAPE, **settings)
    two = run_rpie(counts, start_modes(main[None], 2), positions, SHAPE, **settings)
    assert two.r_factor[-1] < 0.5 * one.r_factor[-1]
    share = powers(two.probe.numpy())
    assert share[1] == pytest.approx(powers(truth.numpy())[1], rel=0.3)


@pytest.mark.parametrize("shift", [(0.2, 0.0), (0.0, -0.3), (0.15, 0.25)])
def test_a_shift_step_points_to_the_true_position(shift: tuple[float, float]) -> None:
    """With object and probe known the exit wave at the true place is the wanted one."""
    obj, positions = scene()
    modes = mixed_state()
    there = positions[:20]
    moved_by = torch.tensor(shift)
    patch, wanted = extract(obj, there, N), extract(obj, there + moved_by, N)
    correction = modes * (wanted - patch)[:, None]
    step = shift_step(modes, patch, correction)
    assert bool(((step * moved_by).sum(dim=1) > 0).all())
    assert torch.allclose(step.mean(dim=0), 0.5 * moved_by, atol=0.05)


def test_a_flat_object_moves_no_position() -> None:
    patch = torch.ones(3, N, N, dtype=torch.complex64)
    noise = torch.randn(3, N, N, dtype=torch.complex64)
    assert not shift_step(beam(), patch, noise).any()


@pytest.mark.slow
def test_wrong_positions_are_found_again() -> None:
    obj, positions = scene()
    probe = 30 * beam()
    draw = np.random.default_rng(5)
    wrong = torch.tensor(draw.uniform(-1.2, 1.2, positions.shape), dtype=torch.float32)
    wrong -= wrong.mean(dim=0)
    counts = patterns(obj, probe, positions)
    settings = {"passes": 30, "alpha": 0.2, "update_probe": False, "seed": 0}
    given_positions = positions + wrong
    kept = run_rpie(counts, probe, given_positions, SHAPE, **settings)
    refined = run_rpie(counts, probe, given_positions, SHAPE, refine_positions=True, **settings)
    assert kept.positions_px is None
    assert refined.positions_px is not None
    assert refined.r_factor[-1] < 0.5 * kept.r_factor[-1]
    left = refined.positions_px - positions
    left -= left.mean(dim=0)
    assert float(left.square().mean()) < 0.2 * float(wrong.square().mean())
    assert (refined.positions_px - given_positions).abs().max() <= MOST_PX + 1e-4


def test_right_positions_stay(tiny: Dataset) -> None:
    """On noisy counts: an object that is not there yet must not pull them."""
    obj, positions = scene(3)
    probe = 30 * beam()
    draw = np.random.default_rng(1)
    counts = torch.tensor(draw.poisson(patterns(obj, probe, positions).numpy())).float()
    settings = {"passes": 20, "alpha": 0.2, "update_probe": True, "seed": 0}
    refined = run_rpie(counts, probe, positions, SHAPE, refine_positions=True, **settings)
    assert refined.positions_px is not None
    assert float((refined.positions_px - positions).norm(dim=1).median()) < 0.15


def test_a_reconstruction_beyond_the_memory_is_refused_before_it_starts(
    tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_dataset(tiny, tmp_path / "set")
    monkeypatch.setattr(environment, "memory", lambda: 1e5)
    settings = {"passes": 1, "alpha": 0.2, "update_probe": None}
    with pytest.raises(UserError, match="memory"):
        apply_source("rpie", tmp_path / "set", tmp_path / "out.npz", "last", settings)
    assert not (tmp_path / "out.npz").exists()


@pytest.mark.slow
def test_modes_and_shifts_are_written(tiny: Dataset, tmp_path: Path) -> None:
    save_dataset(tiny, tmp_path / "set")
    settings = {"passes": 4, "alpha": 0.2, "update_probe": True, "modes": 2}
    facts = apply_source(
        "rpie",
        tmp_path / "set",
        tmp_path / "out.npz",
        "last",
        {**settings, "refine_positions": True},
    )
    with np.load(tmp_path / "out.npz") as stored:
        assert stored["probe"].shape == (2, *tiny.probe.shape)
        assert stored["shift_px"].shape == stored["positions_px"].shape
    assert sum(facts["mode_powers"]) == pytest.approx(1)
    assert Path(facts["shift_figure"]).stat().st_size > 1000
    assert "r_factor_held_out_refined" in facts


def test_a_set_with_modes_is_stored_and_fitted_with_them(tiny: Dataset, tmp_path: Path) -> None:
    modes = start_modes(torch.tensor(tiny.probe)[None], 2).numpy()
    hashed = content_hash(tiny.probe, tiny.splits, modes)
    manifest = tiny.manifest.model_copy(update={"content_sha256": hashed})
    save_dataset(replace(tiny, manifest=manifest, modes=modes), tmp_path / "set")
    verify_dataset(tmp_path / "set")
    again = load_dataset(tmp_path / "set")
    assert again.modes is not None
    assert np.array_equal(again.modes, modes)
    done = reconstruct_rpie(again, 2, 0.2, update_probe=True)
    assert done.probe.shape == modes.shape
    assert done.reconstruction.probe.shape == tiny.probe.shape
    assert reconstruct_rpie(again, 2, 0.2, modes=1).probe.shape == tiny.probe.shape
    refined = reconstruct_rpie(again, 4, 0.2, modes=1, refine_positions=True)
    assert refined.shift_px is not None
    assert refined.shift_px.shape == refined.positions_px.shape

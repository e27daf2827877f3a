"""Conjugate steps of groups: lengths from the data, fields by recurrence, and where they lead."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from study.optics import back_project, diffract, own_constant
from study.optics.back_projection import ALPHA
from study.optics.descent import Iterate, Misfit, advance, group_steps
from study.optics.groups import GroupOptics, cut_patches, window_px

N = 8
sizes = pytest.mark.parametrize("patterns", [1, 4, 9])
kinds = pytest.mark.parametrize("kind", ["simultaneous", "conjugate"])


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(size=shape) + 1j * random.normal(size=shape))


def case(patterns: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Probe, windows near 1, and their amplitudes, float64."""
    w = window_px(N, patterns)
    probe, window = drawn(N, N, seed=1), 1 + 0.2 * drawn(3, w, w, seed=2)
    return probe, window, diffract(probe, cut_patches(window, patterns))


def error(probe: torch.Tensor, patch: torch.Tensor, amplitude: torch.Tensor) -> float:
    return float((diffract(probe, patch) - amplitude).square().sum())


@kinds
@sizes
def test_the_true_window_is_a_fixed_point(patterns: int, kind: str) -> None:
    probe, window, amplitude = case(patterns)
    optics = GroupOptics.of(probe, patterns)
    now = Iterate(window, optics.field(window))
    misfit = Misfit.of(now.field, torch.fft.ifftshift(amplitude, dim=(-2, -1)))
    direction = optics.update(misfit.correction)
    moved = direction if kind == "simultaneous" else advance(optics, now, misfit, direction).change
    assert moved is not None and float(moved.abs().max()) < 1e-12


def test_a_group_of_one_takes_the_steps_of_a_single_pattern() -> None:
    probe, amplitude = drawn(N, N, seed=1), drawn(3, 1, N, N, seed=5).abs()
    expected = back_project(amplitude, probe, own_constant(amplitude, probe), steps=3)
    found = group_steps(amplitude, probe, 3, "simultaneous", ALPHA)
    torch.testing.assert_close(found, expected)


@sizes
def test_lengths_are_those_of_least_squares_by_numpy(patterns: int) -> None:
    probe, window, amplitude = case(patterns)
    optics = GroupOptics.of(probe, patterns)
    field = optics.field(torch.ones_like(window))
    misfit = Misfit.of(field, torch.fft.ifftshift(amplitude, dim=(-2, -1)))
    w = window.shape[-1]
    first, last = (optics.field(drawn(3, w, w, seed=seed)) for seed in (6, 7))
    s, t = misfit.best_lengths(first, last)
    assert t is not None
    f = field.numpy()
    for group in range(3):
        columns = [
            np.real(np.conj(f[group]) * each[group].numpy() / np.abs(f[group])).ravel()
            for each in (first, last)
        ]
        lacking = misfit.lacking[group].numpy().ravel()
        expected = np.linalg.lstsq(np.stack(columns, axis=1), lacking, rcond=None)[0]
        np.testing.assert_allclose([float(s[group]), float(t[group])], expected, rtol=1e-4)


def test_parallel_directions_and_dark_patterns_give_finite_lengths() -> None:
    probe, window, amplitude = case(4)
    optics = GroupOptics.of(probe, 4)
    misfit = Misfit.of(optics.field(torch.ones_like(window)), amplitude)
    field = optics.field(window)
    s, t = misfit.best_lengths(field, field)
    assert t is not None and s.isfinite().all() and t.isfinite().all()
    dark = group_steps(torch.zeros_like(amplitude), probe, 3, "conjugate", ALPHA)
    assert dark.isfinite().all()


@sizes
def test_fields_follow_their_windows(patterns: int) -> None:
    """Fields move by recurrence, never by a transform of the window."""
    probe, _, amplitude = case(patterns)
    optics = GroupOptics.of(probe, patterns)
    measured = torch.fft.ifftshift(amplitude, dim=(-2, -1))
    now = Iterate.constant(optics, measured)
    for _ in range(20):
        misfit = Misfit.of(now.field, measured)
        now = advance(optics, now, misfit, optics.update(misfit.correction))
    torch.testing.assert_close(now.field, optics.field(now.window))


@kinds
def test_steps_fit_all_patterns_of_a_group_better_and_better(kind: str) -> None:
    probe, _, amplitude = case(4)
    errors = [
        error(probe, group_steps(amplitude, probe, steps, kind, ALPHA), amplitude)
        for steps in (0, 5, 50)
    ]
    assert errors[0] > 2 * errors[1] > 4 * errors[2]


def test_conjugate_steps_fit_better_than_as_many_simultaneous_ones() -> None:
    probe, _, amplitude = case(4)
    plain, conjugate = (
        error(probe, group_steps(amplitude, probe, 10, kind, ALPHA), amplitude)
        for kind in ("simultaneous", "conjugate")
    )
    assert conjugate < 0.5 * plain


@kinds
def test_groups_of_a_batch_do_not_act_on_one_another(kind: str) -> None:
    probe, _, amplitude = case(4)
    together = group_steps(amplitude, probe, 5, kind, ALPHA)
    each = [group_steps(one, probe, 5, kind, ALPHA) for one in amplitude.split(1)]
    torch.testing.assert_close(together, torch.cat(each))


@kinds
def test_a_scaled_measurement_gives_the_scaled_object(kind: str) -> None:
    probe, _, amplitude = case(4)
    found = group_steps(3.0 * amplitude, probe, 5, kind, ALPHA)
    torch.testing.assert_close(found, 3.0 * group_steps(amplitude, probe, 5, kind, ALPHA))


def test_the_likelihood_asks_for_nothing_in_the_mean_at_the_true_object() -> None:
    """Poisson counts of mean 0.2 and more: their roots alone are too small in the mean."""
    rate = torch.linspace(0.2, 3.0, 64, dtype=torch.float64).reshape(1, 1, 8, 8)
    field = rate.sqrt().to(torch.complex128)
    counts = np.random.default_rng(0).poisson(rate.numpy(), size=(10_000, 1, 8, 8))
    amplitude = torch.from_numpy(np.sqrt(counts))
    everywhere = field.expand(len(amplitude), -1, -1, -1)
    noise = torch.tensor(0.5, dtype=torch.float64)
    likely = Misfit.of(everywhere, amplitude, noise).lacking.mean(dim=0)
    replaced = Misfit.of(everywhere, amplitude).lacking.mean(dim=0)
    assert float(likely.abs().max()) < 0.03
    assert float(replaced.max()) < -0.05


def test_the_likelihood_is_the_replacement_for_bright_pixels_near_their_modulus() -> None:
    probe, window, amplitude = case(4)
    field = GroupOptics.of(probe, 4).field(window)
    measured = torch.fft.ifftshift(amplitude, dim=(-2, -1)) * (1 + 1e-4)
    noise = torch.tensor(0.0, dtype=torch.float64)
    likely, replaced = (Misfit.of(field, measured, given).lacking for given in (noise, None))
    torch.testing.assert_close(likely, replaced, rtol=1e-3, atol=1e-12)


@pytest.mark.parametrize("noise", [None, 0.1])
def test_gradients_of_dark_patterns_are_finite(noise: float | None) -> None:
    probe, window, amplitude = case(4)
    window[0] = 0
    window.requires_grad_()
    given = None if noise is None else torch.tensor(noise, requires_grad=True)
    optics = GroupOptics.of(probe, 4)
    now = Iterate(window, optics.field(window))
    for _ in range(2):
        misfit = Misfit.of(now.field, torch.zeros_like(amplitude), given)
        now = advance(optics, now, misfit, optics.update(misfit.correction))
    now.window.abs().square().sum().backward()
    assert window.grad is not None and window.grad.isfinite().all()


def test_the_derivative_of_a_step_is_the_numerical_one() -> None:
    probe, window, amplitude = case(1)
    optics = GroupOptics.of(probe, 1)

    def two_steps(start: torch.Tensor) -> torch.Tensor:
        now = Iterate(start, optics.field(start))
        for _ in range(2):
            misfit = Misfit.of(now.field, amplitude[:1])
            now = advance(optics, now, misfit, optics.update(misfit.correction))
        return now.window

    start = (window[:1] + 0.1).requires_grad_()
    assert torch.autograd.gradcheck(two_steps, (start,), fast_mode=True)

"""Groups of patterns that share one window: cutting, adding, and the simultaneous update."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from study.optics import diffract
from study.optics.back_projection import ALPHA
from study.optics.descent import Misfit
from study.optics.groups import (
    GROUP_STEP_PX,
    GroupOptics,
    add_patches,
    check_groups,
    cut_patches,
    group_offsets,
    window_px,
)
from study.settings import UserError
from study.simulate.scans import group

N = 8
sizes = pytest.mark.parametrize("patterns", [1, 4, 9])


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    random = np.random.default_rng(seed)
    return torch.from_numpy(random.normal(size=shape) + 1j * random.normal(size=shape))


def probe_and_windows(patterns: int) -> tuple[torch.Tensor, torch.Tensor]:
    w = window_px(N, patterns)
    return drawn(N, N, seed=1), 1 + 0.2 * drawn(3, w, w, seed=2)


def update(optics: GroupOptics, window: torch.Tensor, amplitude: torch.Tensor) -> torch.Tensor:
    """The simultaneous update of a window that replaces every modulus."""
    measured = torch.fft.ifftshift(amplitude, dim=(-2, -1))
    return optics.update(Misfit.of(optics.field(window), measured).correction)


@sizes
def test_patches_are_cut_where_the_positions_of_a_group_are(patterns: int) -> None:
    window = drawn(2, window_px(N, patterns), window_px(N, patterns))
    patches = cut_patches(window, patterns)
    assert patches.shape == (2, patterns, N, N)
    for index, (y, x) in enumerate(group_offsets(patterns)):
        assert patches[:, index].equal(window[:, y : y + N, x : x + N])


@pytest.mark.parametrize("patterns", [1, 4])
def test_the_scan_places_patterns_as_the_group_does(patterns: int) -> None:
    corners = np.array([[0.0, 0.0], [3.0, 20.0]])
    expected = corners[:, None] + np.array(group_offsets(patterns))
    np.testing.assert_array_equal(group(corners, patterns), expected)


@sizes
def test_adding_is_the_adjoint_of_cutting(patterns: int) -> None:
    """<cut(w), p> = <w, add(p)>."""
    w = window_px(N, patterns)
    window, patches = drawn(2, w, w, seed=3), drawn(2, patterns, N, N, seed=4)
    left = (cut_patches(window, patterns).conj() * patches).sum()
    right = (window.conj() * add_patches(patches)).sum()
    torch.testing.assert_close(left, right)


@sizes
def test_an_update_is_the_formula_written_with_numpy_pattern_by_pattern(patterns: int) -> None:
    probe, window = probe_and_windows(patterns)
    amplitude = drawn(3, patterns, N, N, seed=5).abs()
    p = probe.numpy()
    numerator = np.zeros_like(window.numpy())
    seen = np.zeros(numerator.shape[1:])
    for k, (y, x) in enumerate(group_offsets(patterns)):
        here = np.s_[..., y : y + N, x : x + N]
        far = np.fft.fftshift(np.fft.fft2(p * window.numpy()[here], norm="ortho"), axes=(-2, -1))
        change = (amplitude[:, k].numpy() / np.abs(far) - 1) * far
        near = np.fft.ifft2(np.fft.ifftshift(change, axes=(-2, -1)), norm="ortho")
        numerator[here] += p.conj() * near
        seen[here] += np.abs(p) ** 2
    expected = numerator / ((1 - ALPHA) * seen + ALPHA * seen.max())
    found = update(GroupOptics.of(probe, patterns), window, amplitude)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("smoothing_px", [0.0, 0.7, 2.0])
def test_an_update_is_a_symmetric_positive_operator_on_the_gradient(smoothing_px: float) -> None:
    """So that it preconditions: <M a, b> = <a, M b> and <M a, a> > 0, a and b of one pattern."""
    probe = torch.ones(N, N, dtype=torch.complex128)
    optics = GroupOptics.of(probe, 1, 0.1, smoothing_px)
    a, b = (drawn(1, N, N, seed=seed) for seed in (3, 4))
    moved_a, moved_b = (
        optics.update(torch.fft.fft2(each[:, None], norm="ortho")) for each in (a, b)
    )
    torch.testing.assert_close((moved_a.conj() * b).sum(), (a.conj() * moved_b).sum())
    assert float((moved_a.conj() * a).sum().real) > 0


def test_smoothing_keeps_slow_updates_and_takes_fast_ones() -> None:
    probe = torch.ones(16, 16, dtype=torch.complex128)
    plain, smooth = (GroupOptics.of(probe, 1, 0.1, sigma) for sigma in (0.0, 1.0))
    rows = torch.arange(16, dtype=torch.float64)
    slow, fast = (
        (offset + torch.cos(torch.pi * rows * cycles / 16))[:, None].expand(16, 16) + 0j
        for offset, cycles in ((2.0, 1), (0.0, 16))
    )
    inner = slice(4, 12)
    for window, low, high in ((slow, 0.95, 1.05), (fast, -0.02, 0.02)):
        field = torch.fft.fft2(window[None, None], norm="ortho")
        kept = smooth.update(field) / plain.update(field)
        share = kept[0, inner, inner].real
        assert low <= float(share.min()) and float(share.max()) <= high


@sizes
def test_cutting_and_adding_are_each_the_derivative_of_the_other(patterns: int) -> None:
    w = window_px(N, patterns)
    window = drawn(1, w, w, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: cut_patches(x, patterns), (window,), fast_mode=True)
    patch = drawn(1, patterns, N, N, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(add_patches, (patch,), fast_mode=True)


@sizes
def test_the_true_window_is_a_fixed_point(patterns: int) -> None:
    probe, window = probe_and_windows(patterns)
    amplitude = diffract(probe, cut_patches(window, patterns))
    moved = update(GroupOptics.of(probe, patterns), window, amplitude)
    assert float(moved.abs().max()) < 1e-12


def test_positions_that_form_no_groups_are_refused() -> None:
    corners = np.array([[0.0, 0.0], [3.0, 20.0], [7.5, 2.5]])
    positions_px = torch.from_numpy(group(corners, 4))
    check_groups(positions_px)
    moved = positions_px.clone()
    moved[1, 2] += GROUP_STEP_PX
    with pytest.raises(UserError, match="1 of 3 groups"):
        check_groups(moved)
    with pytest.raises(UserError, match="square"):
        check_groups(positions_px[:, :3])

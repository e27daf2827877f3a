"""Stitching that makes the global phases of overlapping groups agree."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from study.optics import extract
from study.optics.assembly import stitch
from study.optics.groups import GROUP_STEP_PX, group_offsets
from study.optics.measurement import Scan
from study.optics.synchronise import DENSE, synchronised

N, SIZE = 8, 60


@pytest.fixture(scope="module")
def obj() -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(SIZE) / 9, torch.arange(SIZE) / 7, indexing="ij")
    return torch.polar(1 + 0.3 * torch.sin(y) * torch.cos(x), 0.8 * torch.cos(y + x))


@pytest.fixture(scope="module")
def probe() -> torch.Tensor:
    steps = torch.arange(N) - (N - 1) / 2
    envelope = torch.exp(-(steps[:, None] ** 2 + steps**2) / 6)
    return torch.polar(envelope, 0.1 * (steps[:, None] ** 2 + steps**2))


def scan_of(patterns: int, stride: int = 4, images: int = 1) -> Scan:
    last = SIZE - N - (GROUP_STEP_PX if patterns == 4 else 0)
    steps = torch.arange(0, last + 1, stride, dtype=torch.float32)
    corners = torch.cartesian_prod(steps, steps)[:, None] + torch.tensor(group_offsets(patterns))
    index = torch.arange(images).repeat_interleave(len(corners))
    tiled = stride if patterns == 1 else None
    return Scan(corners.repeat(images, 1, 1), index, images, (SIZE, SIZE), tiled, N)


def windows_of(obj: torch.Tensor, scan: Scan) -> torch.Tensor:
    return extract(obj, scan.positions_px.flatten(0, 1), N).unflatten(
        0, scan.positions_px.shape[:2]
    )


def turned(patch: torch.Tensor, seed: int) -> torch.Tensor:
    angle = torch.from_numpy(np.random.default_rng(seed).uniform(-np.pi, np.pi, len(patch)))
    return patch * torch.polar(torch.ones(len(patch)), angle.float())[:, None, None, None]


def spread_of_phase(found: torch.Tensor, truth: torch.Tensor) -> float:
    """Largest distance of found / truth from one common phase factor."""
    ratio = found / truth
    mean = ratio.mean()
    return float((ratio - mean / mean.abs()).abs().max())


both = pytest.mark.parametrize("patterns", [1, 4])


@both
@pytest.mark.parametrize("stride", [2, 4, 16])
def test_random_global_phases_come_back_to_the_object_up_to_one(
    patterns: int, stride: int, obj: torch.Tensor, probe: torch.Tensor
) -> None:
    """Few groups take the dense solver, many the sparse one. A stride of 16 px has no overlap."""
    scan = scan_of(patterns, stride)
    assert (len(scan.positions_px) > DENSE) == (stride < 16)
    patch = turned(windows_of(obj, scan), seed=patterns)
    truth, found = (
        windows_of(obj, scan),
        synchronised(patch, probe, scan.positions_px, (SIZE, SIZE)),
    )
    assert spread_of_phase(patch, truth) > 0.5
    if stride < 16:
        assert spread_of_phase(found, truth) < 1e-3
    else:
        assert found.equal(patch)


@both
def test_the_stitched_object_is_the_object_up_to_one_phase(
    patterns: int, obj: torch.Tensor, probe: torch.Tensor
) -> None:
    """Tiled and averaged, with several images, each of which has a phase of its own."""
    scan = scan_of(patterns, images=2)
    first = scan.of(0)
    patch = torch.empty(len(scan.positions_px), patterns, N, N, dtype=torch.complex64)
    patch[first] = windows_of(obj, scan.only(first))
    patch[~first] = windows_of(obj.flip(0).contiguous(), scan.only(~first))
    stitched = stitch(turned(patch, seed=3), probe, scan, synchronise="groups")
    y0, x0, y1, x1 = stitched.region
    for image, truth in enumerate((obj, obj.flip(0))):
        found = stitched.canvas[image, y0:y1, x0:x1]
        assert spread_of_phase(found, truth[y0:y1, x0:x1]) < 1e-3


@both
def test_single_windows_agree_whatever_phase_each_has(
    patterns: int, obj: torch.Tensor, probe: torch.Tensor
) -> None:
    """A network without a common window leaves the phase of every patch of a group free."""
    scan = scan_of(patterns)
    patch = windows_of(obj, scan)
    apart = turned(patch.flatten(0, 1)[:, None], seed=5).reshape(patch.shape)
    found = stitch(apart, probe, scan, synchronise="windows")
    y0, x0, y1, x1 = found.region
    assert spread_of_phase(found.canvas[0, y0:y1, x0:x1], obj[y0:y1, x0:x1]) < 1e-3


@both
def test_a_true_object_is_a_fixed_point(
    patterns: int, obj: torch.Tensor, probe: torch.Tensor
) -> None:
    scan = scan_of(patterns)
    patch = windows_of(obj, scan)
    plain = stitch(patch, probe, scan).canvas
    torch.testing.assert_close(
        stitch(patch, probe, scan, synchronise="groups").canvas, plain, rtol=0, atol=1e-5
    )


def test_all_patches_of_a_group_turn_together(obj: torch.Tensor, probe: torch.Tensor) -> None:
    scan = scan_of(4)
    patch = turned(windows_of(obj, scan), seed=5)
    factor = synchronised(patch, probe, scan.positions_px, (SIZE, SIZE)) / patch
    assert float((factor - factor[:, :1, :1, :1]).abs().max()) < 1e-5
    assert float((factor.abs() - 1).abs().max()) < 1e-5


def test_it_is_deterministic_and_leaves_its_input_alone(
    obj: torch.Tensor, probe: torch.Tensor
) -> None:
    scan = scan_of(4)
    patch = turned(windows_of(obj, scan), seed=7)
    before = patch.clone()
    first, again = (synchronised(patch, probe, scan.positions_px, (SIZE, SIZE)) for _ in range(2))
    assert first.equal(again) and patch.equal(before)


def test_noisy_groups_agree_better_than_before(obj: torch.Tensor, probe: torch.Tensor) -> None:
    scan = scan_of(4)
    truth = windows_of(obj, scan)
    noise = torch.randn(truth.shape, dtype=torch.complex64, generator=torch.manual_seed(0))
    patch = turned(truth + 0.3 * noise, seed=9)
    found = stitch(patch, probe, scan, synchronise="groups")
    plain = stitch(patch, probe, scan)
    y0, x0, y1, x1 = found.region
    inner = obj[y0:y1, x0:x1]
    errors = []
    for stitched in (found, plain):
        product = stitched.canvas[0, y0:y1, x0:x1] * inner.conj()
        errors.append(float((product * product.sum().conj()).angle().abs().mean()))
    assert errors[0] < 0.3 * errors[1]


def test_islands_of_groups_are_synchronised_each_on_its_own(
    obj: torch.Tensor, probe: torch.Tensor
) -> None:
    """Two blocks of groups without an overlap between them."""
    scan = scan_of(4)
    columns = scan.positions_px[:, 0, 1]
    scan = scan.only((columns <= 16) | (columns >= 36))
    truth = windows_of(obj, scan)
    found = synchronised(turned(truth, seed=11), probe, scan.positions_px, (SIZE, SIZE))
    left = scan.positions_px[:, 0, 1] <= 16
    for island in (left, ~left):
        assert spread_of_phase(found[island], truth[island]) < 1e-3


def test_dark_and_single_groups_stay_finite(probe: torch.Tensor) -> None:
    scan = scan_of(4)
    dark = torch.zeros(len(scan.positions_px), 4, N, N, dtype=torch.complex64)
    assert synchronised(dark, probe, scan.positions_px, (SIZE, SIZE)).equal(dark)
    one = torch.ones(1, 4, N, N, dtype=torch.complex64)
    assert synchronised(one, probe, scan.positions_px[:1], (SIZE, SIZE)).equal(one)

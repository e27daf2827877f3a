"""Stitching and prediction around a known object: regions, tiles, averages, R-factors."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from study.optics import diffract, extract
from study.optics.assembly import (
    are_distinct,
    assemble,
    hold_out,
    predictable,
    r_factors,
    raster_shape,
    shown_patterns,
    stitch,
    tiled_region,
    total_r_factor,
    whole,
)
from study.optics.measurement import Measurement, Scan

N, SIZE = 8, 40


def raster(n: int, size: int, stride: int) -> torch.Tensor:
    steps = torch.arange(0, size - n + 1, stride, dtype=torch.float32)
    return torch.cartesian_prod(steps, steps)[:, None, :]


def scan_of(
    positions_px: torch.Tensor, n: int = N, size: int = SIZE, stride: int | None = None
) -> Scan:
    index = torch.zeros(len(positions_px), dtype=torch.int64)
    return Scan(positions_px, index, 1, (size, size), stride, n)


@pytest.fixture(scope="module")
def obj() -> torch.Tensor:
    """Smooth, so that sub-pixel windows lie close to the surface they are cut from."""
    y, x = torch.meshgrid(torch.arange(SIZE) / 9, torch.arange(SIZE) / 7, indexing="ij")
    return torch.polar(1 + 0.3 * torch.sin(y) * torch.cos(x), 0.5 * torch.cos(y + x))


@pytest.fixture(scope="module")
def probe() -> torch.Tensor:
    steps = torch.arange(N) - (N - 1) / 2
    envelope = torch.exp(-(steps[:, None] ** 2 + steps**2) / 6)
    return torch.polar(envelope, 0.1 * (steps[:, None] ** 2 + steps**2))


def measure(obj: torch.Tensor, probe: torch.Tensor, scan: Scan) -> Measurement:
    """Noiseless amplitudes of the object's own windows."""
    windows = extract(obj, scan.positions_px.flatten(0, 1), scan.n)
    patch = windows.unflatten(0, scan.positions_px.shape[:2])
    return Measurement(diffract(probe, patch), scan)


def windows_of(obj: torch.Tensor, scan: Scan) -> torch.Tensor:
    windows = extract(obj, scan.positions_px.flatten(0, 1), scan.n)
    return windows.unflatten(0, scan.positions_px.shape[:2])


def test_the_published_region_is_27_to_357() -> None:
    """n = 64, stride 10 on 392 px: 33 x 33 windows, border 27, so 330 x 330 px."""
    positions_px = raster(64, 392, 10)
    assert len(positions_px) == 1089
    assert tiled_region(scan_of(positions_px, 64, 392, 10)) == (27, 27, 357, 357)


@pytest.mark.parametrize("stride", [2, 3, 5, 8])
def test_tiled_truth_is_the_crop(stride: int, obj: torch.Tensor, probe: torch.Tensor) -> None:
    scan = scan_of(raster(N, SIZE, stride), stride=stride)
    stitched = stitch(windows_of(obj, scan), probe, scan)
    y0, x0, y1, x1 = stitched.region
    assert stitched.canvas[0, y0:y1, x0:x1].equal(obj[y0:y1, x0:x1])
    assert stitched.canvas[0].count_nonzero() == (y1 - y0) * (x1 - x0)


def test_averaged_truth_is_the_object_where_it_is_known(
    obj: torch.Tensor, probe: torch.Tensor
) -> None:
    """Irregular whole-pixel positions; a sub-pixel one would average interpolations."""
    random = np.random.default_rng(3)
    positions_px = torch.tensor(random.integers(0, SIZE - N + 1, (200, 1, 2))).float()
    scan = scan_of(positions_px)
    stitched = stitch(windows_of(obj, scan), probe, scan)
    known = stitched.known[0]
    assert known.float().mean() > 0.85
    torch.testing.assert_close(stitched.canvas[0][known], obj[known], rtol=1e-4, atol=1e-5)


def test_a_stride_beyond_the_window_is_averaged() -> None:
    assert scan_of(raster(N, SIZE, 8), stride=8).tiled
    assert not scan_of(raster(N, SIZE, 16), stride=16).tiled
    assert not scan_of(raster(N, SIZE, 8)).tiled
    assert not scan_of(raster(N, SIZE, 8).expand(-1, 4, -1), stride=8).tiled


def test_positions_that_are_no_raster_are_refused() -> None:
    with pytest.raises(ValueError, match="3 positions are not a raster of 2 rows and 2 columns"):
        raster_shape(torch.tensor([[0.0, 0.0], [0.0, 4.0], [4.0, 0.0]]))


def test_r_is_zero_on_the_true_object_and_null_outside(
    obj: torch.Tensor, probe: torch.Tensor
) -> None:
    scan = scan_of(raster(N, SIZE, 4), stride=4)  # region 2:38
    measured = measure(obj, probe, scan)
    found = r_factors(stitch(windows_of(obj, scan), probe, scan), probe, measured)
    corners = scan.positions_px[:, 0]
    inside = ((corners >= 2) & (corners + N <= 38)).all(dim=1)
    assert found.isfinite().equal(inside) and bool(inside.any()) and not bool(inside.all())
    assert float(found[inside].max()) < 1e-5


def test_r_of_half_an_object_is_a_half(obj: torch.Tensor, probe: torch.Tensor) -> None:
    """The forward model is linear in the object, so half of it predicts half of every amplitude."""
    scan = scan_of(raster(N, SIZE, 4), stride=4)
    measured = measure(obj, probe, scan)
    half = whole(0.5 * obj[None], probe, scan)
    assert half.region == (2, 2, 38, 38)
    assert total_r_factor(half, probe, measured) == pytest.approx(0.5, rel=1e-5)
    assert r_factors(half, probe, measured).nanmean().item() == pytest.approx(0.5, rel=1e-5)


def test_the_total_weighs_patterns_by_their_light(obj: torch.Tensor, probe: torch.Tensor) -> None:
    scan = scan_of(raster(N, SIZE, 4), stride=4)
    measured = measure(obj, probe, scan)
    truth = whole(obj[None], probe, scan)
    bright = measured.amplitude.clone()
    bright[len(bright) // 2] *= 3  # one pattern in the middle, predicted a third as bright
    changed = Measurement(bright, scan)
    light = bright.double().sum((1, 2, 3))[predictable(truth, scan.positions_px, 0)]
    error = 2 / 3 * float(bright[len(bright) // 2].sum())
    expected = error / float(light.sum())
    assert total_r_factor(truth, probe, changed) == pytest.approx(expected, rel=1e-4)


def test_r_of_a_dark_prediction_is_one_and_a_dark_pattern_has_none(
    obj: torch.Tensor, probe: torch.Tensor
) -> None:
    scan = scan_of(raster(N, SIZE, 4), stride=4)
    measured = measure(obj, probe, scan)
    assert total_r_factor(whole(0 * obj[None], probe, scan), probe, measured) == 1
    truth = whole(obj[None], probe, scan)
    middle = len(measured.amplitude) // 2
    changed = measured.amplitude.clone()
    changed[middle] *= 0.8
    found = r_factors(truth, probe, Measurement(changed, scan))
    assert float(found[middle]) == pytest.approx(0.25, rel=1e-5)
    changed[middle] = 0
    dark = Measurement(changed, scan)
    assert not bool(r_factors(truth, probe, dark)[middle].isfinite())
    assert total_r_factor(truth, probe, dark) == pytest.approx(0, abs=1e-5)


def test_the_r_factor_leaves_masked_pixels_out(obj: torch.Tensor, probe: torch.Tensor) -> None:
    scan = scan_of(raster(N, SIZE, 4), stride=4)
    truth = measure(obj, probe, scan).amplitude
    draw = torch.Generator().manual_seed(1)
    amplitude = truth * 2 * torch.rand(truth.shape, generator=draw)
    known = torch.rand(N, N, generator=draw) > 0.2
    known[N // 2] = False
    stitched = whole(obj[None], probe, scan)
    found = r_factors(stitched, probe, Measurement(amplitude, scan, known))
    seen = amplitude[..., known]
    residual = (seen - truth[..., known]).abs()
    usable = predictable(stitched, scan.positions_px, 0)
    expected = (residual.sum((1, 2)) / seen.sum((1, 2)))[usable]
    torch.testing.assert_close(found[usable], expected, rtol=1e-4, atol=1e-5)
    total = total_r_factor(stitched, probe, Measurement(amplitude, scan, known))
    assert total == pytest.approx(float(residual[usable].sum() / seen[usable].sum()), rel=1e-4)


def test_a_pattern_is_predictable_where_its_light_falls_on_seen_object(
    obj: torch.Tensor, probe: torch.Tensor
) -> None:
    """Only the left half was scanned: windows on the right half are not predictable."""
    everything = scan_of(raster(N, SIZE, 2))
    left = everything.positions_px[:, 0, 1] <= 12
    half = everything.only(left)
    stitched = stitch(windows_of(obj, half), probe, half)
    found = predictable(stitched, everything.positions_px, 0)
    columns = everything.positions_px[:, 0, 1]
    assert bool(found[columns <= 12].all()) and not bool(found[columns >= 16].any())


def test_no_known_pattern_gives_no_total(obj: torch.Tensor, probe: torch.Tensor) -> None:
    scan = scan_of(raster(N, SIZE, 8), stride=8)
    stitched = stitch(windows_of(obj, scan), probe, scan)
    edge = measure(obj, probe, scan).only(torch.arange(len(scan.positions_px)) == 0)
    stitched = type(stitched)(
        stitched.canvas, torch.zeros_like(stitched.known), stitched.region, stitched.weight, 0.5
    )
    assert total_r_factor(stitched, probe, edge) is None


def test_one_pattern_in_sixteen_is_held_out() -> None:
    chosen = hold_out(1089)
    assert int(chosen.sum()) == 68 and not bool(chosen[0])
    assert set(chosen.nonzero()[:, 0].diff().tolist()) == {16}


def test_shown_patterns_are_64_different_ones_spread_over_the_scan() -> None:
    r_factor = torch.full((3000,), float("nan"))
    r_factor[500:2500] = 0.1
    shown = shown_patterns(r_factor)
    assert len(set(shown.tolist())) == 64
    assert (int(shown[0]), int(shown[-1])) == (500, 2499)
    steps = shown.diff()
    assert int(steps.max() - steps.min()) <= 1
    assert shown_patterns(r_factor[490:510]).tolist() == list(range(10, 20))


def test_joined_measurements_keep_their_order(obj: torch.Tensor, probe: torch.Tensor) -> None:
    measured = measure(obj, probe, scan_of(raster(N, SIZE, 8), stride=8))
    left_out = torch.arange(len(measured.amplitude)) % 4 == 2
    joined = measured.only(~left_out).and_then(measured.only(left_out))
    assert joined.scan.stride_px is None
    assert joined.amplitude[-int(left_out.sum()) :].equal(measured.amplitude[left_out])
    assert joined.scan.positions_px[-1].equal(measured.scan.positions_px[left_out][-1])


def test_what_is_stored_is_in_object_units(obj: torch.Tensor, probe: torch.Tensor) -> None:
    scan = scan_of(raster(N, SIZE, 4), stride=4)
    measured = measure(obj, probe, scan)
    stored = assemble(whole(obj[None], probe, scan), probe, measured, object_norm=3.0)
    np.testing.assert_allclose(stored.object[0], 3 * obj[2:38, 2:38].numpy(), rtol=1e-6)
    shown = measured.amplitude[stored.shown, 0].numpy()
    np.testing.assert_allclose(stored.predicted_amplitude, shown, rtol=2e-3, atol=1e-3)


def test_equal_outputs_are_told_from_different_ones() -> None:
    one = torch.polar(torch.rand(4, 4) + 1, torch.rand(4, 4))
    same = one.expand(6, 1, 4, 4)
    assert not are_distinct(same)
    assert not are_distinct(torch.zeros(6, 1, 4, 4, dtype=torch.complex64))
    assert are_distinct(same * torch.linspace(1, 1.01, 6)[:, None, None, None])

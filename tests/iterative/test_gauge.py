from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scenes import SHAPE, diffraction, make_scene

from study.iterative.gauge import fix_gauge, mean_slope, ramp

slopes = st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5))
EVERYWHERE = torch.ones(SHAPE, dtype=torch.bool)


@given(slope=slopes)
@settings(deadline=None, max_examples=20)
def test_the_slope_of_a_ramp_is_found(slope: tuple[float, float]) -> None:
    assert mean_slope(ramp(SHAPE, slope), EVERYWHERE) == pytest.approx(slope, abs=1e-5)


def test_pixels_in_the_dark_have_no_say() -> None:
    obj = ramp(SHAPE, (0.2, -0.1))
    obj[:10] = ramp((10, SHAPE[1]), (-0.4, 0.3))
    lit = EVERYWHERE.clone()
    lit[:10] = False
    assert mean_slope(obj, lit) == pytest.approx((0.2, -0.1), abs=1e-5)


@given(slope=slopes, factor=st.complex_numbers(min_magnitude=0.1, max_magnitude=10))
@settings(deadline=None, max_examples=20)
def test_no_pattern_sees_the_gauge(slope: tuple[float, float], factor: complex) -> None:
    scene = make_scene(False)
    obj = scene.obj * ramp(SHAPE, slope) * factor
    probe = scene.probe / factor
    fixed, moved = fix_gauge(obj, probe, scene.probe, EVERYWHERE)
    before = diffraction(obj, probe, scene.positions_px).sqrt()
    after = diffraction(fixed, moved, scene.positions_px).sqrt()
    assert (after - before).abs().max() < 1e-4 * before.max()


@given(slope=slopes, factor=st.complex_numbers(min_magnitude=0.1, max_magnitude=10))
@settings(deadline=None, max_examples=20)
def test_the_gauge_does_not_depend_on_where_one_starts(
    slope: tuple[float, float], factor: complex
) -> None:
    scene = make_scene(False)
    window = (scene.probe.shape[0], scene.probe.shape[1])
    obj, probe = fix_gauge(scene.obj, scene.probe, scene.probe, EVERYWHERE)
    other = fix_gauge(
        scene.obj * ramp(SHAPE, slope).conj() * factor,
        scene.probe * ramp(window, slope) / factor,
        scene.probe,
        EVERYWHERE,
    )
    assert (other[0] - obj).abs().max() < 1e-3 * obj.abs().max()
    assert (other[1] - probe).abs().max() < 1e-3 * probe.abs().max()
    assert mean_slope(obj, EVERYWHERE) == pytest.approx((0, 0), abs=1e-5)

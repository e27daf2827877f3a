import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.metrics.rfactor import r_factor, r_factor_per_pattern
from study.metrics.skill import skill
from study.settings import UserError

losses = st.floats(0, 10)


@given(floor=losses, gap=st.floats(0.1, 10), part=st.floats(0, 2), unit=st.floats(0.1, 100))
def test_skill_runs_from_constant_to_floor_in_any_unit(floor, gap, part, unit):
    best = floor + gap
    assert skill(floor, floor, best) == 1
    assert skill(best, floor, best) == pytest.approx(0, abs=1e-9)
    loss = floor + part * gap
    expected = pytest.approx(1 - part, abs=1e-9)
    assert skill(loss, floor, best) == expected
    assert skill(unit * loss, unit * floor, unit * best) == expected


def test_skill_refuses_what_it_cannot_rank():
    with pytest.raises(UserError, match="not above the noise floor"):
        skill(0.1, 0.2, 0.2)
    with pytest.raises(UserError, match="finite"):
        skill(float("nan"), 0.1, 0.2)


def test_r_factor_of_perfect_dark_and_scaled_predictions():
    counts = np.random.default_rng(0).poisson(9.0, size=(5, 2, 8, 8)).astype(np.uint32)
    amplitude = np.sqrt(counts.astype(float))
    assert r_factor(counts, amplitude) == 0
    assert r_factor(counts, 0 * amplitude) == 1
    assert r_factor(counts, 1.25 * amplitude) == pytest.approx(0.25)
    assert r_factor_per_pattern(counts, 1.25 * amplitude) == pytest.approx(np.full((5, 2), 0.25))


def test_total_is_weighted_by_amplitude():
    counts = np.array([[[4, 0], [0, 0]], [[100, 0], [0, 0]]])
    predicted = np.array([[[1.0, 0], [0, 0]], [[10.0, 0], [0, 0]]])
    assert r_factor_per_pattern(counts, predicted) == pytest.approx([0.5, 0.0])
    assert r_factor(counts, predicted) == pytest.approx(1 / 12)


def test_dark_patterns():
    counts = np.zeros((2, 3, 3), dtype=np.uint32)
    counts[1, 0, 0] = 1
    per_pattern = r_factor_per_pattern(counts, np.zeros((2, 3, 3)))
    assert np.isnan(per_pattern[0])
    assert per_pattern[1] == 1
    with pytest.raises(UserError, match="no photon"):
        r_factor(counts[:1], np.ones((1, 3, 3)))

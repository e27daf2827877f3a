import pytest
from hypothesis import given
from hypothesis import strategies as st

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

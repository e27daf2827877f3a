"""When a run is dead: a function of its validation losses, found as they come."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from study.metrics.survival import find_event
from study.settings import Survival

RULE = Survival(learned_skill=0.5, lost_skill=0.2, lost_validations=2, deadline_epochs=3)
NOISE, CONSTANT = 0.0, 1.0  # skill = 1 - loss


def event(*losses: float):
    found = find_event(losses, NOISE, CONSTANT, RULE)
    return None if found is None else (found.kind, found.epoch, found.seen_at)


def test_a_run_that_learns_and_stays_is_alive():
    assert event(0.9, 0.4, 0.3, 0.2, 0.3) is None


def test_a_collapse_is_dated_by_its_first_validation():
    assert event(0.4, 0.3, 0.95, 0.99) == ("collapsed", 3, 4)


def test_one_bad_validation_is_no_collapse():
    assert event(0.4, 0.3, 0.95, 0.3, 0.95, 0.3) is None


def test_a_run_that_never_rises_is_dead_at_the_deadline():
    assert event(0.95, 0.9, 0.85) == ("never learned", 3, 3)


def test_a_run_must_have_learned_to_lose_it():
    assert event(0.7, 0.9, 0.9, 0.9, 0.9) is None


def test_a_loss_that_is_not_finite_is_an_event():
    assert event(0.4, math.nan, 0.4) == ("diverged", 2, 2)


losses = st.lists(st.floats(0, 1.2) | st.just(math.inf), max_size=12)


@given(before=losses, after=losses)
def test_what_a_prefix_shows_stands(before, after):
    found = event(*before)
    if found is not None:
        assert event(*before, *after) == found


@given(losses, st.floats(0.1, 10), st.floats(0, 3))
def test_the_event_depends_on_skill_alone(values, scale, offset):
    moved = [offset + scale * value for value in values]
    close = [abs(1 - v - bound) < 1e-6 for v in values for bound in (0.2, 0.5) if math.isfinite(v)]
    if not any(close):
        there = find_event(moved, offset, offset + scale, RULE)
        assert there == find_event(values, NOISE, CONSTANT, RULE)


def test_the_published_collapse_is_found_in_epoch_17():
    # Validation losses of the published LayerScale arm, seed 101; the constant scores .216.
    published = [0.158, 0.059, 0.05, 0.05, 0.04, 0.040, 0.05, 0.06, 0.05, 0.074, 0.05, 0.05, 0.05]
    published += [0.046, 0.036, 0.095, 0.222, 0.219]
    found = find_event(published, 0.001, 0.216, RULE)
    assert found is not None and (found.kind, found.epoch) == ("collapsed", 17)


def test_lost_must_lie_below_learned():
    with pytest.raises(ValueError, match="lost_skill"):
        Survival(learned_skill=0.2, lost_skill=0.2, lost_validations=2, deadline_epochs=3)

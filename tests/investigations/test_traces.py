"""Facts of traces whose course is known because it was made by formula."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.investigations.traces.results import arm_sentence, facts, load, rounded, sentence
from study.settings import UserError

CONSTANT = 0.2
PARTS = ("lifter", "decoder.0.merge", "head")


def trace(error: Any, arm: str = "made", seed: int = 1, **changes: Any) -> dict[str, Any]:
    """A trace with this error a step, in which nothing grows and nothing is dead."""
    steps = len(error)
    flat = {part: [1.0] * steps for part in PARTS}
    columns = {
        "mae": [float(value) for value in error],
        "constant": [CONSTANT] * steps,
        "learning_rate": [0.02] * steps,
        "zero_tensors": [0] * steps,
    }
    made = {
        "arm": arm,
        "seed": seed,
        "steps": steps,
        "tensors": 9,
        "parts": list(PARTS),
        "shown_steps": list(range(1, steps + 1)),
        "columns": columns,
        "by_part": {"largest": flat, "dead": {part: [0.0] * steps for part in PARTS}},
    }
    made |= changes
    return {**made, "facts": facts(made)}


def learning(steps: int = 60) -> np.ndarray:
    """An error that falls from 0.9 to below the best constant."""
    return 0.05 + 0.85 * np.exp(-np.arange(steps) / 8)


def collapsing(at: int, steps: int = 60) -> dict[str, Any]:
    """Learns until the step `at`, jumps to 30 there and ends at the best constant object; the merge
    grows from 1.2 to 48 in the five steps before, the head three steps later."""
    error = learning(steps)
    error[at - 1] = 30.0
    error[at:] = CONSTANT
    made = trace(error)
    k = np.arange(1, steps + 1)
    merge = 1.2 * 40 ** (np.clip(k - (at - 5), 0, 5) / 5)
    head = 1.0 * 20 ** (np.clip(k - (at + 3), 0, 1))
    made["by_part"]["largest"] = {
        "lifter": [1.0] * steps,
        "decoder.0.merge": merge.tolist(),
        "head": head.tolist(),
    }
    made["by_part"]["dead"]["decoder.0.merge"] = (k > at).astype(float).tolist()
    made["columns"]["zero_tensors"] = [0] * (steps - 1) + [7]
    return {**made, "facts": facts(made)}


@settings(deadline=None, max_examples=20)
@given(at=st.integers(12, 35))
def test_a_collapse_is_found_at_its_step_and_the_part_that_grew(at: int) -> None:
    found = collapsing(at)["facts"]
    assert (found["ended"], found["first_bad_step"], found["why_bad"]) == ("collapsed", at, "jump")
    first, most = found["grew_first"], found["grew_most"]
    assert first["part"] == most["part"] == "decoder.0.merge"
    # 40 ** (4 / 5) = 19 is the first factor above ten: one step before the bad one.
    assert first["step"] == at - 1
    assert (most["from"], most["to"]) == pytest.approx((1.2, 48))
    assert most["factor"] == pytest.approx(40)
    assert found["dead_parts"] == ["decoder.0.merge"]
    assert (found["zero_tensors"], found["tensors"]) == (7, 9)


def test_a_run_that_learns_has_no_bad_step() -> None:
    found = trace(learning())["facts"]
    assert found["ended"] == "healthy"
    assert found["first_bad_step"] is None
    assert found["grew_first"] is None and found["grew_most"] is None


def test_a_spike_that_the_run_survives_is_bad_and_recovered() -> None:
    error = learning()
    error[29] = 3.0
    found = trace(error)["facts"]
    assert (found["ended"], found["first_bad_step"]) == ("recovered", 30)


def test_a_slow_return_to_the_constant_is_left_for_good_without_a_jump() -> None:
    error = np.concatenate([learning(40), np.linspace(learning(40)[-1], CONSTANT, 60)])
    error = np.concatenate([error, np.full(30, CONSTANT)])
    found = trace(error)["facts"]
    assert (found["ended"], found["why_bad"]) == ("unlearned", "left")
    running = [np.median(error[k - 10 : k]) for k in range(10, 131)]
    assert all(m >= 0.9 * CONSTANT for m in running[found["first_bad_step"] - 10 :])
    assert running[found["first_bad_step"] - 11] < 0.9 * CONSTANT


def test_a_run_that_never_learns_collapsed_only_where_a_part_is_dead() -> None:
    made = trace(np.full(40, CONSTANT))
    assert (made["facts"]["ended"], made["facts"]["first_bad_step"]) == ("unlearned", None)
    made["by_part"]["dead"]["head"][-1] = 1.0
    assert facts(made)["ended"] == "collapsed"


def test_an_error_that_is_no_number_is_bad_and_told() -> None:
    error = learning()
    error[20:] = np.nan
    made = trace(error)
    assert (made["facts"]["ended"], made["facts"]["first_bad_step"]) == ("failed", 21)
    assert "error no number times" in sentence(made)


def test_a_scale_changes_no_fact_about_growth() -> None:
    small = collapsing(20)
    large = {**small, "by_part": {**small["by_part"]}}
    large["by_part"]["largest"] = {
        part: [1e3 * v for v in column] for part, column in small["by_part"]["largest"].items()
    }
    one, other = facts(small), facts(large)
    assert one["grew_most"]["factor"] == pytest.approx(other["grew_most"]["factor"])
    assert one["grew_first"]["step"] == other["grew_first"]["step"]


def test_the_sentences_hold_the_numbers_and_claim_no_cause() -> None:
    message = sentence(collapsing(20))
    assert "step 20 is the first bad one" in message
    assert "decoder.0.merge went furthest, from 1.2 in step 1 to 48 in step 20" in message
    assert "7 of 9 tensors get exactly zero gradient" in message
    three = arm_sentence([collapsing(20), collapsing(25), trace(learning())])
    assert three.startswith("made, 3 seeds: 2 collapsed and 1 healthy; first bad step 20 to 25")
    assert "(in 2 of 3)" in three
    assert "because" not in message + three and "cause" not in message + three


def test_rounding_keeps_five_digits_and_makes_no_number_null() -> None:
    given_ = {"a": [1.2345678, float("nan")], "b": 123456.7, "c": 3, "d": "x"}
    assert rounded(given_) == {"a": [1.2346, None], "b": 123460.0, "c": 3, "d": "x"}


def test_another_file_is_refused(tmp_path) -> None:
    file = tmp_path / "traces.json"
    file.write_text('{"format": 0, "traces": []}')
    with pytest.raises(UserError, match="run `study trace run`"):
        load(file)


def test_batches_that_are_hard_for_all_objects_are_not_bad() -> None:
    hard = np.where(np.arange(60) % 7 == 6, 3.0, 1.0)
    made = trace(learning() * hard)
    assert made["facts"]["first_bad_step"] is not None
    made["columns"]["constant"] = (CONSTANT * hard).tolist()
    assert facts(made)["first_bad_step"] is None

"""The published numbers beside hand-made results of ours: verdicts by rule, blanks by the gate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evidence import stored
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from study.evidence.arms import ArmResults
from study.investigations.published import table as published_table
from study.investigations.published.comparison import VERDICTS, compare
from study.investigations.published.publication import FLOOR, ROWS
from study.metrics import score
from study.settings import Arm, Reference, Row

SSIM = "published.amplitude.ssim"
FLAT_TRUTH = {"evaluable": False, "reason": "flat truth phase", "spread_ratio": None}
CONSTANT = {"evaluable": False, "reason": "constant amplitude", "spread_ratio": 0.01}
CONSTANT_PHASE = {"evaluable": False, "reason": "constant phase", "spread_ratio": 0.01}
HYBRID = {"name": "hybrid", "fno_blocks": 4, "width": 32, "modes": 12, "mode_set": "corner"}
STABLE = {**HYBRID, "name": "stable_hybrid", "layerscale_init": None}
NONE = {"gradient_clip_algorithm": "none", "gradient_clip_val": None, "exclude_head": False}
AGC = {"gradient_clip_algorithm": "agc_tensor", "gradient_clip_val": 0.01, "exclude_head": False}
NEAR = (0.92, 0.93, 0.925)
CONTROL, STABLE_ARM = "full/published_control", "full/published_stable"


def row(**changes: Any) -> Row:
    """An arm of the published protocol; two blocks of the settings may change."""
    return Arm.model_validate(stored.arm(**{"generator": HYBRID, "epochs": 50, **changes}))


def results(name: str, row: Row, ssims: Sequence[float], **facts: Any) -> ArmResults:
    """Seeds 1, 2, ... of which `ssims` are the amplitude SSIMs; the truth has no phase."""
    protocol = {
        "training__training_patterns": 13778.0,
        "best__gate__phase": FLAT_TRUTH,
        "last__gate__phase": FLAT_TRUTH,
    }
    seeds = {
        seed: stored.seed_json(name, row, seed, 1 - ssim, **{**protocol, **facts})
        for seed, ssim in enumerate(ssims, 1)
    }
    return ArmResults(name, seeds, {})


def with_seed(arm: ArmResults, seed: int, **facts: Any) -> ArmResults:
    """The same arm with entries of one seed replaced."""
    content = dict(arm.seeds[seed])
    for path, value in facts.items():
        content = stored._replaced(content, path.split("__"), value)
    return ArmResults(arm.name, {**arm.seeds, seed: content}, {})


DEAD = {
    "outcome": "collapsed",
    "cause": "last object: constant amplitude",
    "last__gate__amplitude": CONSTANT,
}


def entries(*arms: ArmResults, **wanted: str) -> list[dict[str, Any]]:
    found = compare({arm.name: arm for arm in arms})["entries"]
    return [e for e in found if all(e[key] == value for key, value in wanted.items())]


def entry(*arms: ArmResults, **wanted: str) -> dict[str, Any]:
    (only,) = entries(*arms, **{"scale": "full", "weights": "last", **wanted})
    return only


# --- what was published


def test_the_floor_is_what_a_constant_scores_on_the_published_object() -> None:
    from study.simulate.objects import grid_lines

    drawn = grid_lines(2, images=1, object_px=392, canvas_px=784, lines=400, phase=False)
    truth = np.asarray(drawn).reshape(392, 392)[27:357, 27:357].astype(np.complex64)
    amplitude = score(np.full_like(truth, 1.3), truth, "published")["amplitude"]
    assert amplitude["ssim"] == pytest.approx(FLOOR["published.amplitude.ssim"], abs=1e-5)
    assert amplitude["mae"] == pytest.approx(FLOOR["published.amplitude.mae"], abs=1e-5)


def test_published_runs_that_died_are_known_by_their_values() -> None:
    died = {
        row.name
        for row in ROWS
        for number in row.numbers
        if number.weights == "last" and any(row.is_constant(number.name, v) for v in number.values)
    }
    assert died == {
        *("stable", "stable_layerscale", "warmup-cosine", "sgd", "adamw", "crash hunt d4"),
        "flat (floor)",
    }


def test_every_number_has_a_title_and_says_what_it_measured() -> None:
    for row in ROWS:
        for number in row.numbers:
            assert number.name in published_table.TITLES and number.measured, row.name


def test_published_skill_uses_the_published_floors() -> None:
    control = next(row for row in ROWS if row.name == "control")
    assert control.skill(0.00107) == 1 and control.skill(0.178) == pytest.approx(0)


# --- nothing stored


def test_without_results_nothing_was_run_and_no_value_stands_there() -> None:
    found = compare({})
    others = [e for e in found["entries"] if e["row"] != "deep_control"]
    assert {e["verdict"] for e in others} == {"not run"}
    assert all(e["ours"] is None and e["arm"] is None for e in found["entries"])
    assert {e["row"] for e in found["entries"]} == {row.name for row in ROWS}
    text = published_table.section(found)
    assert "No arm is recorded at full scale" in text and "**not run**" in text


def test_out_of_memory_is_answered_by_the_geometry() -> None:
    refused = entry(row="deep_control")
    assert refused["verdict"] == "not comparable"
    assert "64 px to 0.5 px" in refused["reason"]


# --- by value


def test_a_value_within_the_seed_spread_is_reproduced() -> None:
    near = entry(results(CONTROL, row(), NEAR), row="control", number=SSIM)
    assert near["differs"] == {} and near["verdict"] == "reproduced"
    assert near["ours"]["n"] == 3 and near["ours"]["estimate"] == pytest.approx(0.925)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(0.3, 0.99), min_size=2, max_size=8, unique=True),
    st.floats(-0.2, 0.2),
)
def test_the_spread_is_that_of_one_further_seed(values: list[float], shift: float) -> None:
    ssims = [v + shift for v in values]
    mean, n = np.mean(ssims), len(ssims)
    half = stats.t.ppf(0.975, n - 1) * np.std(ssims, ddof=1) * math.sqrt(1 + 1 / n)
    if math.isclose(abs(mean - 0.925), half, rel_tol=1e-6):
        return
    judged = entry(results(CONTROL, row(), ssims), row="control", number=SSIM)
    expected = "reproduced" if abs(mean - 0.925) <= half else "not reproduced"
    assert judged["verdict"] == expected


def test_one_seed_has_no_spread() -> None:
    single = entry(results(CONTROL, row(), [0.925]), row="control", number=SSIM)
    assert (single["verdict"], single["reason"]) == ("not comparable", "one seed has no spread")


@pytest.mark.parametrize(
    ("changes", "facts", "name"),
    [
        ({"epochs": 10}, {}, "epochs"),
        ({"generator": {**HYBRID, "width": 12}}, {}, "generator.width"),
        ({"generator": {**HYBRID, "mode_set": "classic"}}, {}, "generator.mode_set"),
        ({"clip": NONE}, {}, "clip.gradient_clip_algorithm"),
        ({}, {"training__training_patterns": 1024.0}, "training_patterns"),
    ],
)
def test_any_other_protocol_is_not_compared_by_value(
    changes: dict[str, Any], facts: dict[str, Any], name: str
) -> None:
    other = entry(results(CONTROL, row(**changes), NEAR, **facts), row="control", number=SSIM)
    assert other["verdict"] == "not comparable" and name in other["differs"]
    assert other["ours"] is not None


def test_a_truth_with_a_phase_is_another_protocol() -> None:
    seen = {"evaluable": True, "reason": None, "spread_ratio": 1.0}
    arm = results(CONTROL, row(), NEAR, best__gate__phase=seen, last__gate__phase=seen)
    assert entry(arm, row="control", number=SSIM)["differs"] == {"phase": [False, True]}


def test_best_and_last_are_rows_of_their_own_and_only_like_weights_are_compared() -> None:
    arm = results(CONTROL, row(), NEAR)
    both = entries(arm, scale="full", row="control", number=SSIM)
    assert {e["weights"]: e["verdict"] for e in both} == {
        "best": "not comparable",
        "last": "reproduced",
    }


def test_a_loss_is_compared_as_skill_alone() -> None:
    wanted = {"row": "control", "number": "val_loss", "weights": "best"}
    skills = {"best__skill": 0.93}
    first = results(CONTROL, row(), NEAR, **skills, best__val_loss=0.5)
    second = results(CONTROL, row(), NEAR, **skills, best__val_loss=0.0138)
    first, second = (with_seed(arm, 1, best__skill=0.92) for arm in (first, second))
    assert entry(first, **wanted) == entry(second, **wanted)
    assert entry(first, **wanted)["verdict"] == "reproduced"


def test_the_first_stored_name_counts_and_the_scales_are_kept_apart() -> None:
    quick = results("studies/published_control", row(epochs=10), NEAR)
    full = results("full/control", row(), NEAR)
    better = results(CONTROL, row(), NEAR)
    assert entry(quick, full, row="control", number=SSIM)["arm"] == "full/control"
    assert entry(quick, full, better, row="control", number=SSIM)["arm"] == CONTROL
    assert entry(quick, full, row="control", number=SSIM, scale="quick")["arm"] == quick.name


def test_a_mean_of_all_seeds_has_the_id_under_which_it_is_explained() -> None:
    arm = results(CONTROL, row(), NEAR)
    whole = entry(arm, row="control", number=SSIM)
    assert whole["id"] == f"{CONTROL}/mean/last.{SSIM}"
    assert whole["reproduce"].startswith("(cd full && dvc repro evaluate@published_control)")
    partly = with_seed(arm, 1, last__gate__amplitude=CONSTANT)
    assert entry(partly, row="control", number=SSIM)["id"] is None


# --- dead runs


def test_a_published_death_is_reproduced_only_by_a_death() -> None:
    alive = results(STABLE_ARM, row(generator=STABLE, clip=NONE), NEAR)
    kept = entry(alive, row="stable", number=SSIM)
    assert kept["verdict"] == "not resolved"
    assert "0 of 3 runs died" in kept["reason"] and "70.76 %" in kept["reason"]
    killed = entry(with_seed(alive, 2, **DEAD), row="stable", number=SSIM)
    assert killed["verdict"] == "reproduced" and killed["died"] == ["s2"]


def test_a_death_is_not_reproduced_where_so_many_runs_would_have_shown_it() -> None:
    """Against one of one, Fisher's p of n runs without a death is 1 / (n + 1)."""
    for n, verdict in ((18, "not resolved"), (19, "not reproduced")):
        alive = results(STABLE_ARM, row(generator=STABLE, clip=NONE), [0.92] * n)
        assert entry(alive, row="stable", number=SSIM)["verdict"] == verdict


def test_other_weights_of_a_run_that_died_later_are_no_death() -> None:
    arm = results("full/published_layerscale", row(generator=STABLE, clip=NONE), NEAR)
    arm = with_seed(arm, 1, **DEAD)
    best = entry(arm, row="stable_layerscale", number="val_loss", weights="best")
    last = entry(arm, row="stable_layerscale", number="val_loss", weights="last")
    assert best["died"] == [] and last["died"] == ["s1"]


@pytest.mark.parametrize("gate", [FLAT_TRUTH, CONSTANT_PHASE])
def test_the_phase_ssim_of_a_dead_run_is_never_a_success(gate: dict[str, Any]) -> None:
    perfect = {"mae": 0.0, "ssim": 1.0, "frc50": 1.0}
    facts = {
        **DEAD,
        **{f"{w}__gate__phase": gate for w in ("best", "last")},
        **{f"{w}__published__phase": perfect for w in ("best", "last")},
    }
    arm = results(STABLE_ARM, row(generator=STABLE, clip=NONE), NEAR, **facts)
    for shown in entries(arm, scale="full", row="stable", number="published.phase.ssim"):
        assert shown["ours"] is None and shown["verdict"] == "not comparable"
        assert set(shown["blank"].values()) == {gate["reason"]}
    text = published_table.section(compare({arm.name: arm}))
    assert f"blank: {gate['reason']}" in text


def test_a_collapsed_run_gives_no_phase_score_even_where_its_phase_varies() -> None:
    arm = results(STABLE_ARM, row(generator=STABLE, clip=NONE), NEAR)
    gate = {"evaluable": True, "reason": None, "spread_ratio": 0.5}
    dead = with_seed(arm, 2, **DEAD, last__gate__phase=gate)
    shown = entry(dead, row="stable", number="published.phase.ssim")
    assert shown["ours"] is None and "collapsed" in shown["blank"]["s2"]


def test_the_gate_blanks_single_seeds_and_the_table_says_so() -> None:
    arm = with_seed(results(CONTROL, row(), NEAR), 3, last__gate__amplitude=CONSTANT)
    shown = entry(arm, row="control", number=SSIM)
    assert shown["ours"]["n"] == 2 and shown["blank"] == {"s3": "constant amplitude"}
    table = published_table.section(compare({arm.name: arm}))
    assert "(1 of 3 blank: constant amplitude)" in table


def test_a_run_without_any_object_is_a_death_with_its_cause() -> None:
    arm = with_seed(
        results(CONTROL, row(), NEAR), 1, last=None, best=None, outcome="failed", cause="NaN"
    )
    shown = entry(arm, row="control", number=SSIM)
    assert shown["blank"] == {"s1": "no object: NaN"} and shown["died"] == ["s1"]


# --- references


def reference(source: str, score: float, **facts: Any) -> ArmResults:
    row = Reference.model_validate(stored.reference({"name": source}))
    label = {"flat": "floor", "oracle": "ceiling"}[source]
    changes = {"label": label, "training__patterns": 1089.0, "best__gate__phase": FLAT_TRUTH}
    content = stored.seed_json("r", row, 0, 1 - score, **{**changes, **facts})
    return ArmResults(f"full/published_{source}", {0: content}, {})


def test_the_floor_prints_its_numbers_and_is_held_to_rounding() -> None:
    flat = reference("flat", 0.27711, best__gate__amplitude=CONSTANT)
    shown = entry(flat, row="flat (floor)", number=SSIM, weights="only")
    assert shown["ours"]["estimate"] == pytest.approx(0.27711) and shown["blank"] == {}
    assert shown["verdict"] == "reproduced"
    off = entry(reference("flat", 0.28), row="flat (floor)", number=SSIM, weights="only")
    assert off["verdict"] == "not reproduced"


def test_another_object_has_another_floor_and_the_same_ceiling() -> None:
    flat = reference("flat", 0.2, training__patterns=169.0)
    shown = entry(flat, row="flat (floor)", number=SSIM, weights="only")
    assert shown["verdict"] == "not comparable" and "patterns" in shown["differs"]
    oracle = reference("oracle", 1.0, training__patterns=169.0)
    ceiling = entry(oracle, row="oracle (ceiling)", number=SSIM, weights="only")
    assert ceiling["verdict"] == "reproduced"


# --- order


def order(agc: Sequence[float], control: Sequence[float], **facts: Any) -> dict[str, Any]:
    arms = (
        results("full/published_agc", row(clip=AGC), agc, **facts),
        results(CONTROL, row(), control),
    )
    return entry(*arms, row="agc", number=SSIM)["order"]


def test_swapping_the_arms_flips_the_order() -> None:
    low, high = (0.80, 0.81, 0.82), (0.92, 0.93, 0.945)
    kept, flipped = order(low, high), order(high, low)
    assert (kept["verdict"], flipped["verdict"]) == ("same order", "other order")
    assert kept["published"] == pytest.approx(0.811 - 0.925)
    assert flipped["ours"]["estimate"] == pytest.approx(-kept["ours"]["estimate"])


def test_an_order_is_not_resolved_within_the_spread_and_not_computed_among_the_dead() -> None:
    assert order((0.8, 0.9, 0.7), (0.9, 0.7, 0.8))["verdict"] == "not resolved"
    dead = order((0.8, 0.81, 0.82), NEAR, **DEAD)
    assert dead == {**dead, "ours": None, "verdict": "not computed: runs died"}
    other = {"data": {"path": "data/x", "sha256": "e" * 64, "kind": "simulated"}}
    assert order((0.8, 0.81, 0.82), NEAR, **other)["verdict"] == "not computed: other data"


# --- the run as a whole


def test_gradient_norms_are_read_from_the_history_and_time_belongs_to_a_machine(
    tmp_path: Path,
) -> None:
    deep = {**HYBRID, "fno_blocks": 6, "max_hidden_channels": 512}
    arm = results("full/control_d6_cap", row(generator=deep), (0.8, 0.81))
    (tmp_path / "seeds").mkdir()
    lines = ["seed,epoch,gradient_norm_median,gradient_norm_max"]
    lines += [f"{s},{e},{8 + s + e},{10**e}" for s in (1, 2) for e in (1, 2, 3)]
    (tmp_path / "history.csv").write_text("\n".join(lines))
    files = {seed: tmp_path / "seeds" / f"s{seed}.json" for seed in arm.seeds}
    arm = ArmResults(arm.name, arm.seeds, files)
    wanted = {"row": "deep fallback"}
    median = entry(arm, number="history.gradient_norm_median", **wanted)
    assert median["ours"]["estimate"] == pytest.approx(8 + 1.5 + 2)
    largest = entry(arm, number="history.gradient_norm_max", **wanted)
    assert largest["ours"]["estimate"] == 1000
    assert entry(arm, number="history.gradient_norm_p99", **wanted)["ours"] is None
    timed = entry(results(CONTROL, row(), NEAR), row="control", number="training.seconds_per_epoch")
    assert timed["reason"] == "another machine" and timed["ours"]["estimate"] == 1.5


def test_verdicts_are_the_four_and_the_counts_add_up() -> None:
    found = compare({CONTROL: results(CONTROL, row(), NEAR)})
    assert {e["verdict"] for e in found["entries"]} <= set(VERDICTS)
    assert sum(n for c in found["counts"].values() for n in c.values()) == len(found["entries"])
    assert all(len(line) == len(published_table.HEADS) for line in published_table.rows(found))

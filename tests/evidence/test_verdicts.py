"""The rule that gives a claim its status, from hand-made results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stored import CONTROL, SEEDS, WORSE, book_of, claim, found, margin, store

from study.settings import Study, UserError


@pytest.fixture
def root(tmp_path: Path, study: Study) -> Path:
    """Results in which agc is worse than control in every seed."""
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    return tmp_path


def entry(root: Path, study: Study, **changes: Any) -> dict[str, Any]:
    return found(root, book_of(root, A_1=claim(**changes)), study)["claims"]["A-1"]


def test_a_clear_difference_supports_the_claim(root: Path, study: Study) -> None:
    verdict = entry(root, study)
    assert verdict["status"] == "supported"
    assert verdict["effect"]["estimate"] == pytest.approx(sum(WORSE) / 6 - sum(CONTROL) / 6)
    assert verdict["effect"]["low"] > 0
    assert verdict["n"] == 6


def test_the_other_direction_is_refuted(root: Path, study: Study) -> None:
    assert entry(root, study, direction="lower")["status"] == "refuted"


def test_swapping_the_arms_flips_the_verdict(root: Path, study: Study) -> None:
    swapped = {"treatment": "control", "control": "agc"}
    kept, flipped = entry(root, study), entry(root, study, arms=swapped)
    assert (kept["status"], flipped["status"]) == ("supported", "refuted")
    assert flipped["effect"]["estimate"] == pytest.approx(-kept["effect"]["estimate"])


def test_equal_arms_are_neither_supported_nor_refuted(root: Path, study: Study) -> None:
    store(root, study, "agc", [value + d for value, d in zip(CONTROL, NOISE, strict=True)])
    assert entry(root, study, margin=margin(0.001))["status"] == "inconclusive"


NOISE = (0.002, -0.003, 0.001, -0.001, 0.003, -0.002)


def test_an_interval_inside_the_margin_is_equivalent(root: Path, study: Study) -> None:
    store(root, study, "agc", [value + d for value, d in zip(CONTROL, NOISE, strict=True)])
    assert entry(root, study, margin=margin(0.01))["status"] == "equivalent"
    assert entry(root, study, margin=margin(0.01), direction="equal")["status"] == "supported"


def test_equality_is_refuted_only_outside_the_margin(root: Path, study: Study) -> None:
    assert entry(root, study, direction="equal", margin=margin(0.01))["status"] == "refuted"
    assert entry(root, study, direction="equal", margin=margin(0.0405))["status"] == "inconclusive"


def test_a_missing_seed_is_inconclusive(root: Path, study: Study) -> None:
    (root / "results" / "agc" / "seeds" / "s3.json").unlink()
    verdict = entry(root, study)
    assert verdict["status"] == "inconclusive"
    assert "agc s3 is missing" in verdict["reason"]
    assert verdict["test"] is None and verdict["effect"] is None


def test_a_claim_without_any_results_is_pending(tmp_path: Path, study: Study) -> None:
    verdict = entry(tmp_path, study)
    assert verdict["status"] == "pending"
    assert "no results of agc" in verdict["reason"]


def test_a_failed_seed_is_a_row_with_a_cause_and_no_gap_in_the_list(
    root: Path, study: Study
) -> None:
    fail(root, study, "agc", [2], "epoch 3: val_loss is nan")
    verdict = entry(root, study)
    assert verdict["status"] == "supported", "worse in all pairs, the failed one included"
    assert verdict["seeds"][1]["treatment"]["cause"] == "epoch 3: val_loss is nan"
    assert [row["seed"] for row in verdict["seeds"]] == list(SEEDS)
    assert verdict["seeds"][1]["treatment"]["outcome"] == "failed"


def fail(root: Path, study: Study, name: str, seeds: list[int], cause: str) -> None:
    one = study.arms[name].model_copy(update={"seeds": tuple(seeds)})
    only = study.model_copy(update={"arms": {name: one}})
    facts = {"outcome": "failed", "state": "failed", "cause": cause, "last": None}
    store(root, only, name, [0.0] * len(seeds), **facts)


def test_five_pairs_are_too_few(tmp_path: Path, study: Study) -> None:
    arms = {n: study.arms[n].model_copy(update={"seeds": SEEDS[:5]}) for n in ("agc", "control")}
    five = study.model_copy(update={"arms": arms})
    store(tmp_path, five, "control", CONTROL)
    store(tmp_path, five, "agc", WORSE)
    verdict = entry(tmp_path, five)
    assert verdict["status"] == "inconclusive"
    assert "5 pairs" in verdict["reason"]


def test_more_changed_factors_than_named_are_void(root: Path, study: Study) -> None:
    store(root, study, "both", WORSE)
    verdict = entry(root, study, arms={"treatment": "both", "control": "control"})
    assert verdict["status"] == "void"
    assert "optimizer.lr" in verdict["reason"]


def test_without_named_factors_two_are_void_and_one_is_not(root: Path, study: Study) -> None:
    store(root, study, "both", WORSE)
    two = {"treatment": "both", "control": "control"}
    assert entry(root, study, changes=[], arms=two)["status"] == "void"
    assert entry(root, study, changes=[])["status"] == "supported"


def test_a_named_factor_that_did_not_change_is_void(root: Path, study: Study) -> None:
    assert entry(root, study, changes=["optimizer.lr"])["status"] == "void"


def test_a_bundle_gets_a_verdict_that_is_not_attributable(root: Path, study: Study) -> None:
    store(root, study, "both", WORSE)
    verdict = entry(
        root,
        study,
        kind="bundle",
        changes=["clip.gradient_clip_algorithm", "optimizer.lr"],
        arms={"treatment": "both", "control": "control"},
    )
    assert verdict["status"] == "supported"
    assert any("not attributable to one factor" in limit for limit in verdict["limits"])


DEGENERATE = {"evaluable": False, "reason": "constant amplitude", "spread_ratio": 0.01}


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"last__gate__amplitude": DEGENERATE}, "constant amplitude"),
        ({"code__dirty": True}, "uncommitted"),
        ({"data__sha256": "e" * 64}, "different data"),
        ({"settings": {"epochs": 2}}, "other settings than params.yaml"),
        ({"last__checkpoint": "best"}, "labelled best"),
    ],
)
def test_a_failed_gate_is_not_evaluable_and_computes_no_test(
    tmp_path: Path, study: Study, facts: dict[str, Any], reason: str
) -> None:
    if "settings" in facts:
        facts = {"settings": {**stored_settings(study), "epochs": 3}}
    store(tmp_path, study, "control", CONTROL, **({} if "data__sha256" in facts else facts))
    store(tmp_path, study, "agc", WORSE, **facts)
    if "settings" in facts:
        facts["settings"]["clip.gradient_clip_algorithm"] = "norm"
        store(tmp_path, study, "control", CONTROL, **facts)
    verdict = entry(tmp_path, study)
    assert verdict["status"] == "not evaluable"
    assert reason in verdict["reason"]
    assert verdict["test"] is None and verdict["effect"] is None


def stored_settings(study: Study) -> dict[str, Any]:
    from study.settings import leaves

    return leaves(study.arms["agc"])


def test_one_degenerate_seed_is_enough(root: Path, study: Study) -> None:
    one = study.arms["agc"].model_copy(update={"seeds": (4,)})
    only = study.model_copy(update={"arms": {"agc": one}})
    store(root, only, "agc", [0.1], last__gate__amplitude=DEGENERATE)
    verdict = entry(root, study)
    assert verdict["status"] == "not evaluable"
    assert verdict["reason"] == "agc s4: constant amplitude"


def test_seeds_of_one_arm_with_different_code_are_not_evaluable(root: Path, study: Study) -> None:
    one = study.arms["agc"].model_copy(update={"seeds": (4,)})
    store(
        root, study.model_copy(update={"arms": {"agc": one}}), "agc", [0.1], code__fingerprint="x"
    )
    verdict = entry(root, study)
    assert verdict["status"] == "not evaluable"
    assert "different code: agc" in verdict["reason"]


def test_a_claim_may_name_data_as_its_factor(tmp_path: Path, study: Study) -> None:
    arms = {
        "control": study.arms["control"],
        "agc": study.arms["control"].model_copy(update={"data": "imported/other"}),
    }
    two = study.model_copy(update={"arms": arms})
    store(tmp_path, two, "control", CONTROL)
    store(tmp_path, two, "agc", WORSE, data__sha256="e" * 64)
    assert entry(tmp_path, two, changes=["data"])["status"] == "supported"
    assert entry(tmp_path, two)["status"] == "void"


RATE = {
    "evidence": "failure_rate",
    "metric": "outcome",
    "direction": "higher",
    "margin": margin(0.1, "1"),
}


def test_failure_rates_are_decided_by_the_exact_test(root: Path, study: Study) -> None:
    fail(root, study, "agc", [1, 2, 3, 4, 5], "diverged")
    verdict = entry(root, study, **RATE)
    assert verdict["status"] == "supported"
    assert verdict["test"]["p"] == pytest.approx(0.01515, abs=1e-5)
    assert verdict["test"]["rates"]["control"]["high"] == pytest.approx(0.4593, abs=1e-4)


def test_fewer_failures_refute_the_claim_that_there_are_more(root: Path, study: Study) -> None:
    fail(root, study, "control", [1, 2, 3, 4, 5], "diverged")
    assert entry(root, study, **RATE)["status"] == "refuted"


def test_three_failures_of_six_against_none_decide_nothing(root: Path, study: Study) -> None:
    fail(root, study, "agc", [1, 2, 3], "diverged")
    assert entry(root, study, **RATE)["status"] == "inconclusive"


@pytest.mark.parametrize(
    ("test", "p", "status"), [("fisher", 0.0606, "inconclusive"), ("boschloo", 0.0210, "supported")]
)
def test_a_rate_claim_is_decided_by_its_own_test(
    root: Path, study: Study, test: str, p: float, status: str
) -> None:
    """4 of 6 against 0 of 6; the p of Boschloo's test is that of scipy."""
    fail(root, study, "agc", [1, 2, 3, 4], "diverged")
    verdict = entry(root, study, **RATE, test=test)
    assert verdict["status"] == status
    assert verdict["test"]["p"] == pytest.approx(p, abs=5e-5)
    assert test in verdict["test"]["name"].lower()


def test_a_collapsed_run_counts_as_a_failure(root: Path, study: Study) -> None:
    collapsed = {"outcome": "collapsed", "last__gate__amplitude": DEGENERATE}
    store(root, study, "agc", WORSE, **collapsed)
    assert entry(root, study, **RATE)["effect"]["estimate"] == 1.0


def test_the_family_raises_the_bar(root: Path, study: Study) -> None:
    """A p between .05 / 2 and .05 decides alone, and not beside a claim without evidence."""
    shifted = [value + 0.0028 + d for value, d in zip(CONTROL, NOISE, strict=True)]
    store(root, study, "agc", shifted)
    small = claim(margin=margin(0.0001))
    alone = found(root, book_of(root, A_1=small), study)["claims"]["A-1"]
    other = claim(arms={"treatment": "loose", "control": "control"}, changes=[])
    beside = found(root, book_of(root, A_1=small, B_1=other), study)["claims"]["A-1"]
    assert 0.025 < alone["test"]["p"] < 0.05
    assert (alone["status"], beside["status"]) == ("supported", "inconclusive")
    assert (alone["effect"]["level"], beside["effect"]["level"]) == (0.95, 0.975)


def test_a_reference_stands_against_every_seed(root: Path, study: Study) -> None:
    store(root, study, "rpie", [0.01])
    verdict = entry(root, study, changes=["method"], arms={"treatment": "agc", "control": "rpie"})
    assert verdict["status"] == "supported"
    assert verdict["n"] == 6
    assert verdict["changed"] == {"method": ["rpie", "hybrid"]}


def test_the_seeds_that_a_confirmatory_verdict_lacks_are_named(root: Path, study: Study) -> None:
    verdict = entry(root, study)
    assert verdict["kind"] == "exploratory"
    assert verdict["standing"].startswith("exploratory, 6 of 8 seeds")


def test_the_exact_test_beside_says_how_small_its_p_can_be(root: Path, study: Study) -> None:
    three = {name: claim() for name in ("A_1", "B_1", "C_1")}
    verdict = found(root, book_of(root, **three), study)["claims"]["A-1"]
    assert verdict["test"]["sign_flip_p"] == verdict["test"]["smallest_sign_flip_p"] == 0.03125
    assert any("cannot fall below 0.031" in limit for limit in verdict["limits"])


# --- a setting that was lost


def test_bit_equal_arms_earn_no_verdict(root: Path, study: Study) -> None:
    for name in ("control", "agc"):
        store(root, study, name, CONTROL, training__history_sha256="same")
    for direction in ("higher", "equal"):
        verdict = entry(root, study, direction=direction)
        assert verdict["status"] == "not evaluable"
        assert "agc and control: same scores for seeds 1, 2" in verdict["reason"]
        assert "does the setting reach the run?" in verdict["reason"]


def test_equal_scores_in_all_seeds_earn_no_verdict_whatever_the_histories_say(
    root: Path, study: Study
) -> None:
    store(root, study, "agc", CONTROL)
    assert entry(root, study)["status"] == "not evaluable"


def test_three_equal_digits_in_one_seed_are_chance(root: Path, study: Study) -> None:
    store(root, study, "agc", [*WORSE[:5], CONTROL[5] * 1.0001])
    assert entry(root, study, margin=margin(0.001))["status"] != "not evaluable"


def test_measurements_have_no_scores_that_could_hide_equal_histories(
    tmp_path: Path, study: Study
) -> None:
    facts = {"last__standard": None, "last__published": None, "training__history_sha256": "same"}
    for name in ("control", "agc"):
        store(tmp_path, study, name, CONTROL, **facts)
    verdict = entry(tmp_path, study, metric="last.val_loss", margin=margin(0.01, "1"))
    assert verdict["status"] == "not evaluable" and "same histories" in verdict["reason"]


def test_an_identity_with_a_reason_is_an_equivalence(root: Path, study: Study) -> None:
    for name in ("control", "agc"):
        facts = {"training__history_sha256": "same", "training__clipped_fraction": 0.0}
        store(root, study, name, CONTROL, **facts)
    assert entry(root, study)["status"] == "equivalent"


GOAL = {"evidence": "bound", "arms": {"treatment": "agc", "control": "bound"}, "changes": []}


@pytest.mark.parametrize(
    ("bound", "direction", "status"),
    [
        (max(WORSE) + 0.01, "lower", "supported"),
        (max(WORSE) + 0.01, "higher", "refuted"),
        (min(WORSE) - 0.01, "lower", "refuted"),
        (sum(WORSE) / 6, "lower", "inconclusive"),
    ],
)
def test_a_goal_is_met_where_the_whole_interval_is_on_its_side(
    bound: float, direction: str, status: str, root: Path, study: Study
) -> None:
    verdict = entry(root, study, bound=bound, direction=direction, **GOAL)
    assert verdict["status"] == status
    assert verdict["effect"]["estimate"] == pytest.approx(sum(WORSE) / 6 - bound)
    assert verdict["effect"]["level"] == pytest.approx(0.9), "one-sided, one claim in the family"


@pytest.mark.parametrize(
    ("allowed", "status"), [(0.2, "supported"), (0.001, "refuted"), (0.0405, "inconclusive")]
)
def test_not_worse_by_more_than_the_margin(
    allowed: float, status: str, root: Path, study: Study
) -> None:
    """agc is 0.04 above the control in every seed, give or take."""
    changes = {"evidence": "non_inferior", "direction": "lower", "margin": margin(allowed)}
    verdict = entry(root, study, **changes)
    assert verdict["status"] == status
    swapped = {"treatment": "control", "control": "agc"}
    assert entry(root, study, arms=swapped, **changes)["status"] == "supported"


@pytest.mark.parametrize(
    "changes",
    [{"bound": 0.1}, {"evidence": "bound"}, GOAL, {**GOAL, "bound": 0.1, "direction": "equal"}],
)
def test_half_a_goal_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="bound"):
        book_of(Path(), A_1=claim(**changes))

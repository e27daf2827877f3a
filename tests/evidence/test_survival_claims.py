"""The exact log-rank test, its looks, and claims about the time to the event."""

from __future__ import annotations

import json
from itertools import product
from math import comb

import numpy as np
import pytest
from evidence.stored import AGC, arm, book_of, claim, found, seed_json, study_of
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from study.evidence.claims import parse_claims
from study.evidence.survival import (
    Life,
    kaplan_meier,
    lifetime_difference,
    permutation_ps,
    planned_looks,
    rank_scores,
    spent,
)
from study.settings import UserError

lives = st.lists(st.builds(Life, st.integers(1, 12), st.booleans()), min_size=2, max_size=5)


@given(lives)
def test_scores_sum_to_zero(sample):
    assert rank_scores(sample).sum() == pytest.approx(0, abs=1e-12)


@given(lives, lives)
def test_the_statistic_is_that_of_the_log_rank_test(treatment, control):
    """The sum of scores over one arm is observed minus expected deaths, as in scipy's test."""
    everyone = [*treatment, *control]
    times = sorted({life.epochs for life in everyone if life.died})
    expected = 0.0
    for t in times:
        at_risk = sum(life.epochs >= t for life in everyone)
        dying = sum(life.epochs == t and life.died for life in everyone)
        expected += dying * sum(life.epochs >= t for life in treatment) / at_risk
    observed = sum(life.died for life in treatment)
    found = rank_scores(everyone)[: len(treatment)].sum()
    assert found == pytest.approx(observed - expected, abs=1e-9)


def test_the_order_of_p_follows_scipys_statistic():
    control = [Life(epochs, True) for epochs in (3, 4, 6, 8, 9)]
    for treatment in ([Life(7, True)] * 5, [Life(50, False)] * 5, [Life(5, True)] * 5):
        data = [
            stats.CensoredData.right_censored(
                [life.epochs for life in side], [not life.died for life in side]
            )
            for side in (treatment, control)
        ]
        asymptotic = stats.logrank(*data, alternative="less").pvalue
        exact, _ = permutation_ps(treatment, control, longer=True, sides=1)
        assert abs(exact - asymptotic) < 0.07


@given(lives, lives)
def test_swapping_the_arms_turns_the_one_sided_test(treatment, control):
    longer, _ = permutation_ps(treatment, control, longer=True, sides=1)
    shorter, _ = permutation_ps(control, treatment, longer=False, sides=1)
    assert longer == pytest.approx(shorter)


def test_complete_separation_has_the_smallest_p_there_is():
    dead, alive = [Life(k, True) for k in (5, 9, 17, 11)], [Life(50, False)] * 4
    p, ps = permutation_ps(alive, dead, longer=True, sides=1)
    assert p == ps.min() == pytest.approx(1 / comb(8, 4))


@given(lives, lives, st.floats(0.001, 0.999))
def test_the_test_keeps_any_level_under_exchange(treatment, control, level):
    _, ps = permutation_ps(treatment, control, longer=True, sides=1)
    assert np.mean(ps <= level) <= level + 1e-12


def test_spending_ends_at_the_level_and_starts_near_nothing():
    shares = [spent(0.05, k / 6) for k in range(1, 7)]
    assert shares == sorted(shares) and shares[-1] == pytest.approx(0.05) and shares[0] < 1e-4
    # Published values of the O'Brien-Fleming type spending function (one-sided 0.025, halves).
    assert spent(0.025, 0.5) == pytest.approx(0.00153, abs=2e-5)


@pytest.mark.parametrize("level", [0.0125, 0.05])
def test_all_looks_together_keep_the_level(level):
    """Over every way in which a true null can deal twelve lives to two arms in six rounds."""
    rng = np.random.default_rng(0)
    drawn = [
        Life(int(t), bool(d))
        for t, d in zip(rng.integers(1, 50, 12), rng.random(12) < 0.7, strict=True)
    ]
    rejected = []
    for flips in product((0, 1), repeat=6):  # within a round either run may be the treatment's
        treatment = [drawn[2 * k + flip] for k, flip in enumerate(flips)]
        control = [drawn[2 * k + 1 - flip] for k, flip in enumerate(flips)]
        looks = planned_looks(treatment, control, range(1, 7), 6, level, True, 1)
        rejected.append(looks[-1].rejects)
        assert sum(look.p <= look.allowed for look in looks) <= 1
    assert np.mean(rejected) <= level + 1 / 64


def test_looks_follow_the_plan_and_end_at_a_rejection():
    dead, alive = [Life(k, True) for k in (5, 9, 17, 11, 20, 3)], [Life(50, False)] * 6
    taken = planned_looks(alive, dead, [2, 4, 5, 6], 6, 0.05, True, 1)
    assert [look.rounds for look in taken] == [2, 4]
    assert taken[-1].rejects and not taken[0].rejects
    assert planned_looks(alive[:3], dead[:3], [4, 5, 6], 6, 0.05, True, 1) == []


def test_the_curve_is_the_product_limit_estimate():
    epochs, alive = kaplan_meier([Life(3, True), Life(5, False), Life(7, True), Life(9, False)])
    assert epochs == [3, 7] and alive == pytest.approx([3 / 4, 3 / 4 * 1 / 2])


def test_the_difference_of_lifetimes_is_welchs():
    left, right = [Life(k, True) for k in (10, 14, 20)], [Life(k, True) for k in (4, 5, 9)]
    found = lifetime_difference(left, right)
    test = stats.ttest_ind([10, 14, 20], [4, 5, 9], equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((test.low, test.high))
    assert lifetime_difference([Life(6, False)] * 2, [Life(6, False)] * 2).low is None


# --- claims -----------------------------------------------------------------------------------

PLAN = {
    "seeds": [1, 2, 3, 4],
    "looks": [2, 4],
    "sides": 1,
    "published": {"treatment": None, "control": {"died": 1, "runs": 1}},
}


def survival_claim(**changes):
    facts = {"metric": "survival", "evidence": "survival", "needed_seeds": 4, "survival": PLAN}
    return claim(**{**facts, "margin": {"value": 5, "unit": "epochs"}, **changes})


@pytest.mark.parametrize(
    ("changes", "noun"),
    [
        ({"survival": {**PLAN, "looks": [2, 3]}}, "looks"),
        ({"survival": {**PLAN, "looks": [4, 2]}}, "looks"),
        ({"survival": {**PLAN, "seeds": [1, 1, 2, 3]}}, "seeds"),
        ({"survival": None}, "survival"),
        ({"needed_seeds": 5}, "needed_seeds"),
        ({"direction": "equal"}, "direction"),
        ({"evidence": "failure_rate"}, "evidence"),
        ({"margin": {"value": 5, "unit": "rad"}}, "margin"),
    ],
)
def test_a_plan_that_cannot_be_followed_is_refused(tmp_path, changes, noun):
    with pytest.raises(UserError, match=noun):
        parse_claims({"claims": {"LIFE-1": survival_claim(**changes)}}, tmp_path / "claims.yaml")


RULE = {"learned_skill": 0.5, "lost_skill": 0.2, "lost_validations": 2, "deadline_epochs": 3}


@pytest.fixture
def judge(tmp_path, tiny_params):
    """judge(treatment lives, control lives): the claim's entry in the findings."""

    def run(treatment, control, **plan):
        common = {"seeds": [1, 2, 3, 4], "epochs": 50, "survival": RULE}
        rows = {"control": arm(**common), "agc": arm("control", clip=AGC, **common)}
        study = study_of(tiny_params, **rows)
        for name, sample in (("agc", treatment), ("control", control)):
            row = study.arms[name]
            for seed, life in enumerate(sample, start=1):
                content = seed_json(name, row, seed, len(name) / 100 + seed / 1000)
                content["survival"] = {"epochs": life.epochs, "event": life.died}
                file = tmp_path / "results" / name / "seeds" / f"s{seed}.json"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(json.dumps(content))
        book = book_of(tmp_path, LIFE_1=survival_claim(survival={**PLAN, **plan}))
        return found(tmp_path, book, study)["claims"]["LIFE-1"]

    return run


LONG, SHORT = [Life(50, False)] * 4, [Life(k, True) for k in (9, 17, 12, 20)]


def test_the_last_look_decides_for_the_claimed_side(judge):
    entry = judge(LONG, SHORT)
    assert entry["status"] == "supported" and entry["test"]["p"] == pytest.approx(1 / 70)
    assert entry["test"]["arms"]["control"]["published"] == {"died": 1, "runs": 1}
    assert entry["effect"]["estimate"] == pytest.approx(50 - 14.5) and entry["effect"]["low"] > 0


def test_one_side_never_refutes_and_two_sides_may(judge):
    assert judge(SHORT, LONG)["status"] == "inconclusive"
    assert judge(SHORT, LONG, sides=2)["status"] == "refuted"


def test_rounds_without_a_planned_look_decide_nothing(judge):
    entry = judge(LONG[:3], SHORT[:3])
    assert [look["rounds"] for look in entry["test"]["looks"]] == [2]
    assert entry["status"] == "inconclusive" and entry["needs"]["more"] == 1
    assert judge([], SHORT[:1])["status"] == "inconclusive"


def test_a_claim_without_runs_is_pending(judge):
    entry = judge([], [])
    assert entry["status"] == "pending" and entry["needs"]["more"] == 4


def test_a_round_counts_when_both_arms_have_it(judge):
    assert judge(LONG, SHORT[:2])["n"] == 2

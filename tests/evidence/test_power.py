"""How many more seeds, and what they cost: the rule against simulation and by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from stored import CONTROL, SEEDS, WORSE, book_of, claim, found, margin, page, store

from study.evidence import statistics
from study.settings import Study

RATE = {
    "evidence": "failure_rate",
    "metric": "outcome",
    "margin": margin(0.1, "1"),
    "direction": "higher",
}
NOISE = np.array([0.02, -0.03, 0.01, -0.01, 0.03, -0.02])


def entry(root: Path, study: Study, **changes: Any) -> dict[str, Any]:
    return found(root, book_of(root, A_1=claim(**changes)), study)["claims"]["A-1"]


def shifted(root: Path, study: Study, shift: float, **facts: Any) -> None:
    store(root, study, "control", CONTROL, **facts)
    store(root, study, "agc", (np.array(CONTROL) + shift + NOISE).tolist(), **facts)


# --- the power behind the number


@pytest.mark.parametrize("n", [6, 8, 20])
@pytest.mark.parametrize("alpha", [0.05, 0.0125])
def test_power_to_differ_is_the_share_of_intervals_that_leave_out_zero(
    n: int, alpha: float
) -> None:
    rng, trials = np.random.default_rng(n), 4000
    draws = rng.normal(1.0, 1.2, (trials, n))
    half = stats.t.ppf(1 - alpha / 2, n - 1) * draws.std(axis=1, ddof=1) / np.sqrt(n)
    share = (draws.mean(axis=1) - half > 0).mean()
    expected = statistics.power_to_differ(1.0, 1.2, n, alpha)
    assert abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / trials)


@pytest.mark.parametrize("effect", [0.0, 0.4])
def test_power_to_agree_is_no_more_than_the_share_of_intervals_inside_and_close_to_it(
    effect: float,
) -> None:
    rng, trials, n, alpha = np.random.default_rng(1), 4000, 16, 0.05
    draws = rng.normal(effect, 1.0, (trials, n))
    half = stats.t.ppf(1 - alpha / 2, n - 1) * draws.std(axis=1, ddof=1) / np.sqrt(n)
    share = (np.abs(draws.mean(axis=1)) + half < 1.0).mean()
    found = statistics.power_to_agree(1.0, effect, 1.0, n, alpha)
    assert abs(share - found) < 0.03
    assert statistics.power_to_agree(1.0, 1.5, 1.0, n, alpha) == 0


@pytest.mark.parametrize("n", [3, 6, 9])
def test_fisher_power_sums_the_tables_that_scipy_rejects(n: int) -> None:
    rates, alpha = (0.8, 0.2), 0.05
    expected = sum(
        stats.binom.pmf(k, n, rates[0]) * stats.binom.pmf(m, n, rates[1])
        for k in range(n + 1)
        for m in range(n + 1)
        if statistics.fisher_p((k, n), (m, n)) <= alpha
    )
    assert statistics.fisher_power(rates, n, alpha) == pytest.approx(expected)


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 5), st.integers(0, 3000))
def test_least_n_is_the_first_that_reaches(start: int, first: int) -> None:
    found = statistics.least_n(lambda n: n >= first, start, 2000)
    assert found == (max(first, start) if first <= 2000 else None)


@settings(deadline=None, max_examples=25)
@given(st.floats(0.05, 5), st.floats(0.1, 3), st.integers(3, 40))
def test_more_pairs_have_more_power(effect: float, spread: float, n: int) -> None:
    few, many = (statistics.power_to_differ(effect, spread, k, 0.05) for k in (n, n + 1))
    assert few <= many + 1e-9 <= 1 + 1e-8


# --- means


def test_an_interval_across_zero_asks_for_the_pairs_of_eighty_per_cent_power(
    tmp_path: Path, study: Study
) -> None:
    shifted(tmp_path, study, 0.02)
    verdict = entry(tmp_path, study)
    assert verdict["status"] == "inconclusive"
    needs, spread = verdict["needs"], float(NOISE.std(ddof=1))
    reached = [
        statistics.power_to_differ(0.02, spread, needs["pairs"] - k, 0.05) >= 0.8 for k in (0, 1)
    ]
    assert reached == [True, False]
    assert needs["more"] == needs["pairs"] - 6
    assert "80 % power to leave out zero" in needs["rule"]


def test_a_small_effect_asks_for_the_pairs_that_fit_into_the_margin(
    tmp_path: Path, study: Study
) -> None:
    shifted(tmp_path, study, 0.001)
    needs = entry(tmp_path, study, margin=margin(0.02))["needs"]
    assert "to lie within the margin" in needs["rule"]
    spread = float(NOISE.std(ddof=1))
    powers = [
        statistics.power_to_agree(0.02, 0.001, spread, needs["pairs"] - k, 0.05) for k in (0, 1)
    ]
    assert powers[0] >= 0.8 > powers[1]


def test_equality_may_be_refuted_outside_the_margin(tmp_path: Path, study: Study) -> None:
    shifted(tmp_path, study, 0.03)
    verdict = entry(tmp_path, study, direction="equal", margin=margin(0.01))
    assert verdict["status"] == "inconclusive"
    assert "to lie outside the margin" in verdict["needs"]["rule"]


def test_a_family_asks_for_more_than_a_claim_alone(tmp_path: Path, study: Study) -> None:
    shifted(tmp_path, study, 0.02)
    alone = entry(tmp_path, study)["needs"]["pairs"]
    four = book_of(tmp_path, **{name: claim() for name in ("A_1", "B_1", "C_1", "D_1")})
    assert found(tmp_path, four, study)["claims"]["A-1"]["needs"]["pairs"] > alone


def test_minutes_are_those_of_the_claims_own_arms(tmp_path: Path, study: Study) -> None:
    shifted(tmp_path, study, 0.02, training__seconds=30.0, device="cpu", cores=2)
    needs = entry(tmp_path, study)["needs"]
    assert needs["minutes"] == pytest.approx(needs["more"] * 2 * 30 / 60)
    assert needs["minutes_new_claim"] == pytest.approx(needs["pairs"] * 2 * 30 / 60)
    assert needs["cores"] == 2
    assert needs["minutes_all_cores"] == pytest.approx(2 * -(-needs["more"] // 2) * 30 / 60)
    assert f"{needs['minutes']:.0f} min on one core, " in needs["sentence"]


def test_arms_that_were_never_timed_have_no_minutes(tmp_path: Path, study: Study) -> None:
    shifted(tmp_path, study, 0.02, training__seconds=None)
    needs = entry(tmp_path, study)["needs"]
    assert needs["minutes"] is None and needs["pairs"] > 6
    assert "cannot be estimated" in needs["sentence"]


def test_seeds_beyond_the_claims_own_need_a_new_claim(tmp_path: Path, study: Study) -> None:
    shifted(tmp_path, study, 0.02)
    needs = entry(tmp_path, study)["needs"]
    assert needs["pairs"] > 8
    assert "optional stopping: enter a new claim with" in needs["sentence"]
    assert f"{needs['pairs']} fresh seeds" in needs["sentence"]
    inside = entry(tmp_path, study, needed_seeds=needs["pairs"])["needs"]
    assert "The claim itself fixes" in inside["sentence"] and "new claim" not in inside["sentence"]


def test_the_sentence_stands_in_the_report(tmp_path: Path, study: Study) -> None:
    shifted(tmp_path, study, 0.02)
    findings = found(tmp_path, book_of(tmp_path, A_1=claim()), study)
    assert findings["claims"]["A-1"]["needs"]["sentence"] in page(findings)


def test_what_is_decided_needs_nothing(tmp_path: Path, study: Study) -> None:
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    assert entry(tmp_path, study)["needs"] is None


@pytest.mark.parametrize(("n", "pairs"), [(1, 8), (2, 6)])
def test_too_few_pairs_ask_for_six_at_the_least(
    tmp_path: Path, study: Study, n: int, pairs: int
) -> None:
    arms: dict[str, Any] = {
        name: study.arms[name].model_copy(update={"seeds": SEEDS[:n]})
        for name in ("agc", "control")
    }
    few = study.model_copy(update={"arms": arms})
    store(tmp_path, few, "control", CONTROL)
    store(tmp_path, few, "agc", WORSE)
    assert entry(tmp_path, few)["needs"]["pairs"] == pairs


# --- one-sided claims


def reached(root: Path, study: Study, distance: float, **changes: Any) -> list[bool]:
    """Whether a one-sided claim reaches 80 % power with the number of pairs that it asks for and
    with one fewer, the mean being `distance` from the limit."""
    verdict = entry(root, study, direction="lower", **changes)
    assert verdict["status"] == "inconclusive"
    spread, pairs = float(NOISE.std(ddof=1)), verdict["needs"]["pairs"]
    quantiles = [stats.t.ppf(0.95, n - 1) for n in (pairs, pairs - 1)]  # one-sided at 0.05
    return [
        stats.nct.sf(quantile, n - 1, abs(distance) * np.sqrt(n) / spread) >= 0.8
        for quantile, n in zip(quantiles, (pairs, pairs - 1), strict=True)
    ]


@pytest.mark.parametrize("mean", [0.03, 0.05])
def test_not_worse_asks_for_the_pairs_that_decide_it_at_its_limit(
    tmp_path: Path, study: Study, mean: float
) -> None:
    """Whether zero is inside the interval decides nothing about the claim."""
    shifted(tmp_path, study, mean)
    changes = {"evidence": "non_inferior", "margin": margin(0.04)}
    assert reached(tmp_path, study, mean - 0.04, **changes) == [True, False]


def test_a_goal_asks_for_the_pairs_that_decide_it_at_its_bound(
    tmp_path: Path, study: Study
) -> None:
    store(tmp_path, study, "agc", NOISE + 0.05)
    goal = {"evidence": "bound", "arms": {"treatment": "agc", "control": "bound"}, "changes": []}
    assert reached(tmp_path, study, 0.01, bound=0.06, **goal) == [True, False]


# --- runs that are missing


def test_missing_seeds_are_counted_with_their_minutes(tmp_path: Path, study: Study) -> None:
    facts = {"training__seconds": 30.0, "device": "cpu", "cores": 2}
    store(tmp_path, study, "control", CONTROL, **facts)
    store(tmp_path, study, "agc", WORSE, **facts)
    for seed in (2, 5):
        (tmp_path / "results" / "agc" / "seeds" / f"s{seed}.json").unlink()
    needs = entry(tmp_path, study)["needs"]
    assert (needs["pairs"], needs["more"], needs["minutes"]) == (6, 2, 1.0)
    assert "agc s2, agc s5" in needs["sentence"]
    assert "optional stopping" not in needs["sentence"]  # they are the claim's own


def test_for_a_comparison_by_rank_no_number_of_pairs_is_named(tmp_path: Path, study: Study) -> None:
    """The better arm has a dead run, so the claim is not decided."""
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    one = study.arms["control"].model_copy(update={"seeds": SEEDS[:1]})
    only = study.model_copy(update={"arms": {"control": one}})
    store(tmp_path, only, "control", [0.0], outcome="failed", last=None)
    verdict = entry(tmp_path, study)
    assert verdict["status"] == "inconclusive"
    assert verdict["needs"]["pairs"] is None and "rank" in verdict["needs"]["sentence"]


# --- rates


def failures(root: Path, study: Study, count: int) -> None:
    store(root, study, "control", CONTROL)
    store(root, study, "agc", WORSE)
    one = study.arms["agc"].model_copy(update={"seeds": SEEDS[:count]})
    only = study.model_copy(update={"arms": {"agc": one}})
    store(root, only, "agc", [0.0] * count, outcome="failed", last=None)


def test_rates_ask_for_the_runs_that_fisher_needs(tmp_path: Path, study: Study) -> None:
    failures(tmp_path, study, 3)
    needs = entry(tmp_path, study, **RATE)["needs"]
    assert statistics.fisher_power((0.5, 0.0), needs["pairs"], 0.05) >= 0.8
    assert statistics.fisher_power((0.5, 0.0), needs["pairs"] - 1, 0.05) < 0.8


def test_equal_rates_ask_for_exact_intervals_narrower_than_the_margin(
    tmp_path: Path, study: Study
) -> None:
    failures(tmp_path, study, 0)
    needs = entry(tmp_path, study, **RATE)["needs"]
    widths = [statistics.clopper_pearson(0, needs["pairs"] - k).high for k in (0, 1)]
    assert widths[0] is not None and widths[1] is not None
    assert widths[0] < 0.1 <= widths[1]
    assert "no number of runs is expected to tell them apart" in needs["sentence"]

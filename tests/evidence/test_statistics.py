"""Intervals and tests against scipy, closed forms, and one simulation of coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from study.evidence import statistics

RUNS = (3, 6, 8)
samples = st.lists(st.floats(-100, 100), min_size=2, max_size=9)


def drawn(n: int, seed: int = 0) -> list[float]:
    return np.random.default_rng(seed).normal(size=n).tolist()


@pytest.mark.parametrize("level", [0.9, 0.95, 0.9875])
def test_mean_interval_is_scipys(level: float) -> None:
    values = drawn(6)
    expected = stats.ttest_1samp(values, 0).confidence_interval(level)
    found = statistics.mean_interval(values, level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.estimate == pytest.approx(np.mean(values))


def test_one_value_has_no_interval() -> None:
    found = statistics.mean_interval([2.0])
    assert (found.estimate, found.low, found.high, found.n) == (2.0, None, None, 1)


def test_paired_p_and_interval_are_scipys() -> None:
    left, right = drawn(8, 1), drawn(8, 2)
    expected = stats.ttest_rel(left, right)
    assert statistics.paired_p(statistics.differences(left, right)) == pytest.approx(
        expected.pvalue
    )
    found, bounds = statistics.paired_interval(left, right), expected.confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))


@settings(deadline=None, max_examples=25)
@given(samples, st.sampled_from([0.05, 0.0125]))
def test_interval_leaves_out_zero_exactly_when_p_is_below_alpha(
    values: list[float], alpha: float
) -> None:
    found, p = statistics.mean_interval(values, 1 - alpha), statistics.paired_p(values)
    assert found.low is not None and found.high is not None and p is not None
    if abs(p - alpha) > 1e-9:
        assert (found.low > 0 or found.high < 0) == (p < alpha)


@settings(deadline=None, max_examples=25)
@given(samples, st.floats(0.1, 50), st.sampled_from([0.05, 0.0125]))
def test_interval_lies_in_the_margin_exactly_when_the_equivalence_p_is_below_alpha(
    values: list[float], margin: float, alpha: float
) -> None:
    p = statistics.equivalence_p(values, margin)
    inside = statistics.equivalent(statistics.mean_interval(values, 1 - alpha), margin)
    assert p is not None
    if abs(p - alpha) > 1e-9:
        assert inside == (p < alpha)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_levels_reject_what_adjusted_p_values_reject(ps: list[float]) -> None:
    m, order = len(ps), np.argsort(ps, kind="stable")
    adjusted = np.empty(m)
    adjusted[order] = np.maximum.accumulate([(m - k) * ps[i] for k, i in enumerate(order)])
    levels = statistics.holm_levels(ps)
    clear = np.abs(adjusted - 0.05) > 1e-9
    rejected = np.array([p <= level for p, level in zip(ps, levels, strict=True)])
    assert (rejected == (adjusted <= 0.05))[clear].all()


def test_a_claim_without_a_test_keeps_its_place_in_the_family() -> None:
    assert statistics.holm_levels([0.001, None]) == [0.025, 0.05]


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=7))
def test_sign_flip_p_counts_all_sign_patterns(values: list[int]) -> None:
    sums = [
        abs(sum(s * v for s, v in zip(signs, values, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(values))
    ]
    expected = sum(total >= abs(sum(values)) for total in sums) / len(sums)
    assert statistics.sign_flip_p([float(v) for v in values]) == pytest.approx(expected)


def test_sign_flip_p_is_scipys_permutation_test() -> None:
    values = drawn(7, 3)
    expected = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf
    )
    assert statistics.sign_flip_p(values) == pytest.approx(expected.pvalue)


def test_six_pairs_of_one_sign_give_the_smallest_p_that_six_can() -> None:
    assert statistics.sign_flip_p([1.0, 2.0, 1.5, 0.3, 0.2, 4.0]) == pytest.approx(0.03125)
    assert statistics.smallest_sign_flip_p(6) == 0.03125
    assert statistics.least_pairs(0.05) == 6
    assert statistics.least_pairs(0.05 / 4) == 8  # Holm over four claims


def test_none_of_three_failures_still_allows_seventy_per_cent() -> None:
    found = statistics.clopper_pearson(0, 3)
    assert found.low == 0 and found.high == pytest.approx(0.708, abs=5e-4)


@pytest.mark.parametrize(("failures", "n"), [(0, 6), (2, 6), (6, 6), (1, 3)])
def test_clopper_pearson_is_scipys(failures: int, n: int) -> None:
    expected = stats.binomtest(failures, n).proportion_ci(0.95, "exact")
    found = statistics.clopper_pearson(failures, n)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_one_of_three_against_none_of_three_shows_nothing() -> None:
    assert statistics.fisher_p((1, 3), (0, 3)) == pytest.approx(1.0)


def test_six_of_six_against_none_is_the_hypergeometric_p() -> None:
    assert statistics.fisher_p((6, 6), (0, 6)) == pytest.approx(2 / 924)


def test_probability_of_improvement_is_the_mann_whitney_u() -> None:
    left, right = drawn(6, 4), drawn(5, 5)
    u = stats.mannwhitneyu(right, left).statistic / 30
    assert statistics.probability_of_improvement(left, right, True) == pytest.approx(u)
    assert statistics.probability_of_improvement(left, right, False) == pytest.approx(1 - u)


def test_ties_count_half() -> None:
    assert statistics.probability_of_improvement([1.0], [1.0], True) == 0.5


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [float("inf")]])
def test_statistics_of_nothing_or_nan_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="finite values"):
        statistics.mean_interval(values)


def test_values_of_different_number_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="paired"):
        statistics.differences([1.0, 2.0], [1.0])


def test_equal_differences_are_certain_or_nothing() -> None:
    assert statistics.paired_p([0.5, 0.5, 0.5]) == 0.0
    assert statistics.paired_p([0.0, 0.0]) == 1.0


@settings(deadline=None, max_examples=25)
@given(st.integers(2, 12), st.integers(0, 2**31), st.sampled_from([0.9, 0.95, 0.9875]))
def test_paired_interval_and_p_are_scipys_for_any_sample(n: int, seed: int, level: float) -> None:
    left, right = drawn(n, seed), drawn(n, seed + 1)
    expected = stats.ttest_rel(left, right)
    bounds = expected.confidence_interval(level)
    found = statistics.paired_interval(left, right, level)
    assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
    assert statistics.paired_p(statistics.differences(left, right)) == pytest.approx(
        expected.pvalue
    )


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 20), st.data(), st.sampled_from([0.9, 0.95, 0.9875]))
def test_rate_intervals_are_scipys_for_any_count(n: int, data: st.DataObject, level: float) -> None:
    failures = data.draw(st.integers(0, n))
    expected = stats.binomtest(failures, n).proportion_ci(level, "exact")
    found = statistics.clopper_pearson(failures, n, level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


@settings(deadline=None, max_examples=25)
@given(st.integers(3, 9), st.integers(0, 2**31), st.floats(0.1, 2))
def test_the_equivalence_p_is_the_worse_of_two_one_sided_tests_of_scipy(
    n: int, seed: int, margin: float
) -> None:
    values = drawn(n, seed)
    above = stats.ttest_1samp(values, -margin, alternative="greater").pvalue
    below = stats.ttest_1samp(values, margin, alternative="less").pvalue
    found = statistics.equivalence_p(values, margin)
    assert found == pytest.approx(min(1.0, 2 * max(above, below)))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**31), st.booleans())
def test_the_probability_of_improvement_of_the_other_arm_is_the_rest(
    n: int, m: int, seed: int, lower: bool
) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, 4, n).tolist(), rng.integers(0, 4, m).tolist()
    u = stats.mannwhitneyu(right, left).statistic / (n * m)
    found = statistics.probability_of_improvement(left, right, lower)
    assert found == pytest.approx(u if lower else 1 - u)
    other = statistics.probability_of_improvement(right, left, lower)
    assert found + other == pytest.approx(1)


# --- coverage, by simulation with fixed seeds; four standard errors of a binomial share


def allowed(level: float, trials: int) -> float:
    return 4 * float(np.sqrt(level * (1 - level) / trials))


@pytest.mark.parametrize("n", [3, 6, 8, 20])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.9875])
def test_paired_intervals_cover_the_truth_as_often_as_they_say(n: int, level: float) -> None:
    rng, trials = np.random.default_rng(100 * n), 1500
    # Seeds shift both arms alike: the pairing takes this away.
    shared = rng.normal(0, 5, (trials, n))
    left, right = (shared + rng.normal(mean, 1, (trials, n)) for mean in (1.5, 0.5))
    found = [
        statistics.paired_interval(*pair, level)
        for pair in zip(left.tolist(), right.tolist(), strict=True)
    ]
    covered = sum(i.low is not None and i.high is not None and i.low <= 1 <= i.high for i in found)
    assert abs(covered / trials - level) < allowed(level, trials)


@pytest.mark.parametrize("n", [3, 8, 20])
@pytest.mark.parametrize("level", [0.95, 0.9875])
def test_exact_rate_intervals_cover_at_least_as_often_as_they_say_at_any_rate(
    n: int, level: float
) -> None:
    bounds = [statistics.clopper_pearson(k, n, level) for k in range(n + 1)]
    low, high = (np.array([getattr(b, name) for b in bounds]) for name in ("low", "high"))
    for rate in np.linspace(0, 1, 101):
        chances = stats.binom.pmf(np.arange(n + 1), n, rate)
        assert chances[(low <= rate) & (rate <= high)].sum() >= level - 1e-12


@pytest.mark.parametrize("families", [1, 2, 4])
def test_holm_rejects_any_true_null_in_at_most_five_per_cent_of_families(families: int) -> None:
    rng, trials = np.random.default_rng(families), 2000
    draws = rng.normal(size=(trials, families, 6))
    draws += rng.normal(size=(trials, 1, 6))  # claims of a family share their control
    wrong = 0
    for family in draws.tolist():
        ps = [statistics.paired_p(values) for values in family]
        levels = statistics.holm_levels(ps)
        wrong += any(p is not None and p <= a for p, a in zip(ps, levels, strict=True))
    assert wrong / trials <= 0.05 + allowed(0.05, trials)


def test_holm_keeps_its_level_beside_effects_that_are_there() -> None:
    rng, trials, wrong, right = np.random.default_rng(9), 2000, 0, 0
    for _ in range(trials):
        ps = [statistics.paired_p(rng.normal(mean, 1, 8).tolist()) for mean in (3.0, 3.0, 0.0, 0.0)]
        levels = statistics.holm_levels(ps)
        rejected = [p is not None and p <= a for p, a in zip(ps, levels, strict=True)]
        right += rejected[0]
        wrong += any(rejected[2:])
    assert wrong / trials <= 0.05 + allowed(0.05, trials)
    assert right / trials > 0.95


def test_the_exact_tests_hold_their_level() -> None:
    rng, trials = np.random.default_rng(11), 2000
    flips = [statistics.sign_flip_p(rng.normal(size=8).tolist()) for _ in range(trials)]
    share = sum(p is not None and p <= 0.05 for p in flips) / trials
    assert share <= 0.05 + allowed(0.05, trials)
    counts = rng.binomial(8, 0.4, (trials, 2))
    fisher = [statistics.fisher_p((int(a), 8), (int(b), 8)) for a, b in counts]
    assert sum(p <= 0.05 for p in fisher) / trials <= 0.05


def test_equivalence_at_the_margin_is_found_in_no_more_than_half_alpha() -> None:
    rng, trials = np.random.default_rng(12), 2000
    ps = [statistics.equivalence_p(rng.normal(1.0, 0.3, 8).tolist(), 1.0) for _ in range(trials)]
    share = sum(p is not None and p <= 0.05 for p in ps) / trials
    assert share <= 0.025 + allowed(0.025, trials)


def test_the_prediction_interval_covers_the_mean_of_new_seeds() -> None:
    rng, trials = np.random.default_rng(7), 2000
    hits = 0
    for _ in range(trials):
        old, new = rng.normal(size=6).tolist(), rng.normal(size=4)
        hits += abs(new.mean() - np.mean(old)) <= statistics.prediction_half_width(old, 4)
    assert abs(hits / trials - 0.95) < 4 * np.sqrt(0.95 * 0.05 / trials)


@pytest.mark.parametrize("n", RUNS)
def test_boschloo_is_never_less_powerful_than_fisher(n: int) -> None:
    """With as many runs in both arms its p is not above Fisher's for any table, and is below for
    some of them."""
    tables = list(itertools.product(range(n + 1), repeat=2))
    gaps = [
        statistics.fisher_p((a, n), (b, n)) - statistics.boschloo_p((a, n), (b, n))
        for a, b in tables
    ]
    assert min(gaps) >= -1e-9 and max(gaps) > 0.01


@pytest.mark.parametrize("n", RUNS)
@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
def test_boschloo_rejects_at_most_at_its_level(n: int, rate: float) -> None:
    """The exact chance of p <= 0.05 when both arms fail at one rate."""
    chances = stats.binom.pmf(range(n + 1), n, rate)
    wrong = sum(
        chances[a] * chances[b]
        for a, b in itertools.product(range(n + 1), repeat=2)
        if statistics.boschloo_p((a, n), (b, n)) <= 0.05
    )
    assert wrong <= 0.05 + 1e-9


def test_boschloo_does_not_know_which_arm_comes_first() -> None:
    p = statistics.boschloo_p((1, 8), (6, 9))
    assert statistics.boschloo_p((6, 9), (1, 8)) == p
    assert statistics.boschloo_p((7, 8), (3, 9)) == pytest.approx(p)
    expected = stats.boschloo_exact([[1, 6], [7, 3]]).pvalue
    assert p == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("table", [((0, 0), (1, 3)), ((4, 3), (0, 3)), ((-1, 3), (0, 3))])
def test_boschloo_refuses_what_is_no_rate(table: tuple[tuple[int, int], tuple[int, int]]) -> None:
    with pytest.raises(ValueError, match="rate"):
        statistics.boschloo_p(*table)

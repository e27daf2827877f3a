"""Intervals and tests against scipy, closed forms, and one simulation of coverage."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from study.evidence import statistics

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
    levels = statistics.holm_levels(ps, 0.05)
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


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    rng, trials = np.random.default_rng(6), 2000
    mean = [statistics.mean_interval(rng.normal(1.0, 2.0, 6).tolist()) for _ in range(trials)]
    covered = sum(i.low <= 1.0 <= i.high for i in mean)
    # Four standard errors of a binomial share.
    assert abs(covered / trials - 0.95) < 4 * np.sqrt(0.95 * 0.05 / trials)


def test_the_prediction_interval_covers_the_mean_of_new_seeds() -> None:
    rng, trials = np.random.default_rng(7), 2000
    hits = 0
    for _ in range(trials):
        old, new = rng.normal(size=6).tolist(), rng.normal(size=4)
        hits += abs(new.mean() - np.mean(old)) <= statistics.prediction_half_width(old, 4)
    assert abs(hits / trials - 0.95) < 4 * np.sqrt(0.95 * 0.05 / trials)


def test_the_exact_rate_interval_covers_at_least_as_often_as_it_says() -> None:
    rate, n = 0.3, 6
    chances = stats.binom.pmf(np.arange(n + 1), n, rate)
    bounds = [statistics.clopper_pearson(k, n) for k in range(n + 1)]
    covered = sum(c for c, b in zip(chances, bounds, strict=True) if b.low <= rate <= b.high)
    assert covered >= 0.95

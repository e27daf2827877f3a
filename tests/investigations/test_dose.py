"""LD50 and its interval: an independent fit, a brute-force test, symmetries, coverage."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binom

from study.investigations.stability import dose
from study.investigations.stability.dose import Deaths, Ld50, fit, p_values, probability, ratio
from study.settings import UserError

RATES = (0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256)
SHORT = (0.01, 0.02, 0.04, 0.08)
SEPARATED = (0, 0, 0, 0, 3, 3, 3, 3)
counts = st.lists(st.integers(0, 3), min_size=8, max_size=8).map(tuple)
fast = settings(deadline=None, max_examples=8)


def of(dead: tuple[int, ...], rates: tuple[float, ...] = RATES, runs: int = 3) -> Deaths:
    return Deaths(rates, (runs,) * len(rates), dead)


def flipped(deaths: Deaths) -> Deaths:
    """Survivors for deaths, and the rates mirrored, so that deaths rise with them again."""
    ends = deaths.rates[0] * deaths.rates[-1]
    alive = [n - k for n, k in zip(deaths.runs, deaths.dead, strict=True)]
    return Deaths(
        tuple(ends / rate for rate in reversed(deaths.rates)),
        deaths.runs[::-1],
        tuple(reversed(alive)),
    )


def close(a: float | None, b: float | None, tolerance: float = 1e-3) -> bool:
    return a is b is None or (
        a is not None and b is not None and math.isclose(a, b, rel_tol=tolerance)
    )


# --- the estimate -----------------------------------------------------------------------------


def penalised(at: np.ndarray, deaths: Deaths) -> float:
    """Firth's penalised log-likelihood run by run, from the matrix of information."""
    x = np.repeat(np.log10(deaths.rates), deaths.runs)
    died = np.concatenate([np.arange(n) < k for n, k in zip(deaths.runs, deaths.dead, strict=True)])
    p = 1 / (1 + np.exp(-(at[0] + at[1] * x)))
    columns = np.stack([np.ones_like(x), x])
    information = (columns * p * (1 - p)) @ columns.T
    likelihood = np.where(died, np.log(p), np.log1p(-p)).sum()
    return likelihood + np.linalg.slogdet(information)[1] / 2


@pytest.mark.parametrize(
    "dead",
    [SEPARATED, (0, 0, 0, 1, 2, 3, 3, 3), (0, 1, 0, 2, 1, 3, 3, 3), (0, 0, 1, 0, 2, 1, 2, 2)],
)
def test_the_estimate_maximises_an_independently_written_likelihood(dead: tuple[int, ...]) -> None:
    found = minimize(lambda at: -penalised(at, of(dead)), (8.0, 4.0), method="BFGS")
    intercept, slope = found.x
    estimate = fit(of(dead))
    assert math.isclose(estimate.estimate or 0, 10 ** (-intercept / slope), rel_tol=1e-3)
    assert math.isclose(estimate.slope or 0, slope, rel_tol=1e-3)


def test_many_runs_give_back_the_curve_they_were_drawn_from() -> None:
    true = Ld50(0.03, None, None, 6.0)
    runs = 5000
    dead = np.random.default_rng(5).binomial(runs, probability(np.array(RATES), true))
    x, slope = dose._maximum(of(tuple(int(k) for k in dead), runs=runs)) or (0.0, 0.0)
    assert math.isclose(RATES[0] * 10**x, 0.03, rel_tol=0.02)
    assert math.isclose(slope, 6.0, rel_tol=0.05)


def test_half_die_at_the_ld50_and_more_above_it() -> None:
    found = fit(of((0, 0, 0, 1, 2, 3, 3, 3)))
    assert found.estimate is not None
    p = probability(np.array([found.estimate, *RATES]), found)
    assert math.isclose(p[0], 0.5)
    assert np.all(np.diff(p[1:]) > 0)


# --- symmetries -------------------------------------------------------------------------------


@fast
@given(counts)
def test_flipping_deaths_and_rates_mirrors_estimate_and_interval(dead: tuple[int, ...]) -> None:
    found, mirror = fit(of(dead)), fit(flipped(of(dead)))
    ends = RATES[0] * RATES[-1]
    assert close(found.estimate, None if mirror.estimate is None else ends / mirror.estimate)
    assert close(found.low, None if mirror.high is None else ends / mirror.high)
    assert close(found.high, None if mirror.low is None else ends / mirror.low)
    assert close(found.slope, mirror.slope)


@fast
@given(counts, st.floats(1e-4, 1e4))
def test_the_ld50_scales_with_the_rates(dead: tuple[int, ...], factor: float) -> None:
    found = fit(of(dead))
    scaled = fit(of(dead, tuple(rate * factor for rate in RATES)))
    for name in ("estimate", "low", "high"):
        value = getattr(found, name)
        assert close(getattr(scaled, name), None if value is None else value * factor)
    assert close(scaled.slope, found.slope)


@fast
@given(counts)
def test_the_interval_holds_the_estimate(dead: tuple[int, ...]) -> None:
    found = fit(of(dead))
    if found.estimate is not None:
        assert found.low is None or found.low < found.estimate
        assert found.high is None or found.high > found.estimate


# --- separation -------------------------------------------------------------------------------


@pytest.mark.parametrize("alive", range(1, 8))
def test_perfect_separation_has_a_finite_interval_around_its_gap(alive: int) -> None:
    found = fit(of((0,) * alive + (3,) * (8 - alive)))
    assert found.low is not None and found.high is not None and found.slope is not None
    assert found.low < RATES[alive - 1] and RATES[alive] < found.high
    assert RATES[alive - 1] < (found.estimate or 0) < RATES[alive]


def test_without_deaths_or_without_survivors_one_bound_is_known() -> None:
    none, every = fit(of((0,) * 8)), fit(of((3,) * 8))
    assert none.estimate is every.estimate is none.high is every.low is None
    assert none.low is not None and none.low > RATES[-3]
    assert every.high is not None and every.high < RATES[2]


def test_deaths_that_fall_with_the_rate_have_no_estimate() -> None:
    assert fit(of((3, 3, 3, 3, 0, 0, 0, 0))).estimate is None


# --- the exact test ---------------------------------------------------------------------------


def test_p_values_equal_the_sum_over_every_single_outcome() -> None:
    """Outcome by outcome, with the information from a determinant: no sums are shared."""
    runs, observed = 2, (0, 1, 1, 2)
    deaths = of(observed, SHORT, runs)
    x = np.log10(np.array(SHORT) / SHORT[0])
    tested = dose._tested(deaths.design)
    outcomes = list(itertools.product(range(runs + 1), repeat=len(SHORT)))

    def p_dead(ld50: float, slope: float) -> np.ndarray:
        return 1 / (1 + np.exp(-slope * (x - ld50)))

    @cache
    def terms(ld50: float, slope: float) -> tuple[np.ndarray, float]:
        """log binomial probabilities (rate, deaths) and the penalty."""
        p = np.clip(p_dead(ld50, slope), 1e-300, 1 - 1e-16)
        table = binom.logpmf(np.arange(runs + 1), runs, p[:, None])
        w = runs * p * (1 - p)
        information = np.array([[w.sum(), (w * x).sum()], [(w * x).sum(), (w * x * x).sum()]])
        return table, np.linalg.slogdet(information)[1] / 2

    slopes = [slope for slope in dose.SLOPES if slope < 12]  # steeper ones cancel in the matrix

    def profile(ld50: float) -> np.ndarray:
        best = np.full(len(outcomes), -np.inf)
        for slope in slopes:
            table, penalty = terms(ld50, slope)
            log_p = [sum(table[i, k] for i, k in enumerate(o)) + penalty for o in outcomes]
            best = np.maximum(best, log_p)
        return best

    places = [20, 35, 48, 60, 80, 125]
    top = np.max([profile(ld50) for ld50 in tested[::3]], axis=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dose, "SLOPES", np.array(slopes))
        dose._outcomes.cache_clear()
        found = p_values(deaths)
    dose._outcomes.cache_clear()
    for place in places:
        statistic = 2 * (top - profile(tested[place]))
        far = statistic >= statistic[outcomes.index(observed)] - 1e-3
        expected = max(
            sum(
                math.exp(sum(terms(tested[place], slope)[0][i, k] for i, k in enumerate(outcome)))
                for outcome, is_far in zip(outcomes, far, strict=True)
                if is_far
            )
            for slope in slopes
        )
        assert math.isclose(found[place], expected, rel_tol=1e-6, abs_tol=1e-12)


@cache
def interval(dead: tuple[int, ...], rates: tuple[float, ...], runs: int) -> Ld50:
    return fit(of(dead, rates, runs))


def covers(found: Ld50, true: float) -> bool:
    return (found.low is None or found.low <= true) and (found.high is None or true <= found.high)


@pytest.mark.parametrize("slope", [3.0, 12.0])
@pytest.mark.parametrize("true", [0.012, 0.02, 0.031])
def test_coverage_over_every_outcome_is_at_least_the_level(true: float, slope: float) -> None:
    """Exact: no draw. All 81 outcomes of four rates with two runs each, by their probability."""
    p = 1 / (1 + (np.array(SHORT) / true) ** (-slope / math.log(10)))
    covered = sum(
        np.prod(binom.pmf(dead, 2, p))
        for dead in itertools.product(range(3), repeat=4)
        if covers(interval(dead, SHORT, 2), true)
    )
    assert covered >= 0.95


@pytest.mark.slow
def test_coverage_on_the_grid_of_the_study_by_simulation() -> None:
    draw, hits, draws = np.random.default_rng(11), 0, 120
    for _ in range(draws):
        true, slope = 10 ** draw.uniform(-2.3, -1.0), draw.uniform(4, 20)
        p = probability(np.array(RATES), Ld50(true, None, None, slope))
        dead = tuple(int(k) for k in draw.binomial(3, p))
        hits += covers(interval(dead, RATES, 3), true)
    assert hits >= 0.95 * draws


# --- ratios -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_coverage_of_the_ratio_by_simulation() -> None:
    draw, hits, draws = np.random.default_rng(12), 0, 100
    for _ in range(draws):
        true = 10 ** draw.uniform(-2.2, -1.2, size=2)
        p = [probability(np.array(RATES), Ld50(t, None, None, draw.uniform(4, 20))) for t in true]
        a, b = (interval(tuple(int(k) for k in draw.binomial(3, q)), RATES, 3) for q in p)
        hits += covers(ratio(a, b), true[0] / true[1])
    assert hits >= 0.95 * draws


SOME = (SEPARATED, (0, 0, 1, 2, 3, 3, 3, 3), (0,) * 8, (3,) * 8, (0, 0, 0, 0, 0, 1, 3, 3))


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(SOME, 2)))
def test_the_inverse_ratio_has_the_inverse_bounds(
    first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    a, b = interval(first, RATES, 3), interval(second, RATES, 3)
    forth, back = ratio(a, b), ratio(b, a)
    for one, other in (("estimate", "estimate"), ("low", "high"), ("high", "low")):
        value = getattr(back, other)
        assert close(getattr(forth, one), None if value is None else 1 / value, 1e-9)


@pytest.mark.parametrize("dead", SOME)
def test_a_ratio_is_known_no_better_than_its_parts(dead: tuple[int, ...]) -> None:
    a = interval(dead, RATES, 3)
    one = ratio(a, a)
    assert one.estimate is None or math.isclose(one.estimate, 1)
    if one.low is not None and one.high is not None:
        assert one.low < 1 < one.high
        assert one.high / one.low >= (a.high or 0) / (a.low or 1) * (1 - 1e-9)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rates", "runs", "dead"),
    [
        ((0.1,), (3,), (1,)),
        ((0.1, 0.1), (3, 3), (1, 1)),
        ((0.2, 0.1), (3, 3), (1, 1)),
        ((0.0, 0.1), (3, 3), (1, 1)),
        ((0.1, 0.2), (3, 0), (1, 0)),
        ((0.1, 0.2), (3, 3), (1, 4)),
        ((0.1, 0.2), (3, 3), (1,)),
    ],
)
def test_impossible_counts_are_refused(rates: tuple, runs: tuple, dead: tuple) -> None:
    with pytest.raises(ValueError):
        Deaths(rates, runs, dead)


def test_a_grid_with_too_many_outcomes_is_refused() -> None:
    rates = tuple(0.001 * 1.7**i * (1 + 0.01 * (i % 3)) for i in range(12))
    with pytest.raises(UserError, match="exact"):
        fit(of((0,) * 6 + (9,) * 6, rates, 9))

"""Intervals and tests over seeds, exact or with Student's t; no bootstrap.

Design choices
- Bootstrap is not used: the percentile interval covers only 72 % for 3 values and 82 % for 5.
- Two arms are compared seed by seed (paired). The interval decides; the exact sign-flip p is also
  given, with the smallest p that is possible for this n.
- Holm's step-down procedure is converted to one level per claim, so that "the interval at this
  level excludes zero" and "Holm rejects" are equivalent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

ALPHA = 0.05
# 2^20 sign patterns take 0.1 s; for more seeds an exact test is not needed.
SIGN_FLIP_LIMIT = 20


@dataclass(frozen=True)
class Interval:
    """An estimate over `n` values with its two-sided interval at `level`; `low` and `high` are None
    if there is no interval."""

    estimate: float
    low: float | None
    high: float | None
    n: int
    level: float


def mean_interval(values: Sequence[float], level: float = 1 - ALPHA) -> Interval:
    """Mean with Student's t interval, in the unit of `values`. Raises ValueError without values."""
    sample = _sample(values)
    mean, n = float(sample.mean()), len(sample)
    if n < 2:
        return Interval(mean, None, None, n, level)
    half = t_quantile(level, n - 1) * float(sample.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, n, level)


@lru_cache(maxsize=256)
def t_quantile(level: float, freedom: int) -> float:
    """Half-width, in standard errors, of a two-sided t interval at `level`."""
    return float(stats.t.ppf((1 + level) / 2, freedom))


def median(values: Sequence[float]) -> float:
    """Median of the values. Raises ValueError without values."""
    return float(np.median(_sample(values)))


def differences(treatment: Sequence[float], control: Sequence[float]) -> list[float]:
    """treatment - control per pair. Raises ValueError for unequal lengths or without pairs."""
    if len(treatment) != len(control):
        raise ValueError(f"{len(treatment)} and {len(control)} values cannot be paired")
    return (_sample(treatment) - _sample(control)).tolist()


def paired_interval(
    treatment: Sequence[float], control: Sequence[float], level: float = 1 - ALPHA
) -> Interval:
    """Mean of treatment - control with the paired t interval; values are paired by position."""
    return mean_interval(differences(treatment, control), level)


def paired_p(difference: Sequence[float]) -> float | None:
    """Two-sided p of the paired t test of zero mean difference; None for n < 2.

    For equal differences, which have no spread, p is 0, or 1 if they are all zero.
    """
    sample = _sample(difference)
    if len(sample) < 2:
        return None
    error = float(sample.std(ddof=1)) / math.sqrt(len(sample))
    if error == 0:
        return 0.0 if sample.mean() else 1.0
    return float(2 * stats.t.sf(abs(sample.mean()) / error, len(sample) - 1))


def one_sided_p(difference: Sequence[float], limit: float, above: bool) -> float | None:
    """p of the one-sided t test that the mean is not above (below) `limit`; None for n < 2."""
    gaps = [value - limit for value in difference]
    p = paired_p(gaps)
    claimed = (sum(gaps) > 0) == above
    return None if p is None else p / 2 if claimed and p < 1 else 1 - p / 2


def equivalence_p(difference: Sequence[float], margin: float) -> float | None:
    """Doubled p of two one-sided t tests that the mean difference is within -margin .. margin.

    Because of the doubling, p <= alpha is equivalent to the 1 - alpha interval being within the
    margins (see `equivalent`). None for n < 2.
    """
    sample = _sample(difference)
    if len(sample) < 2:
        return None
    error = float(sample.std(ddof=1)) / math.sqrt(len(sample))
    room = margin - abs(float(sample.mean()))
    if error == 0:
        return 0.0 if room >= 0 else 1.0
    return min(1.0, float(2 * stats.t.sf(room / error, len(sample) - 1)))


def holm_levels(p_values: Sequence[float | None]) -> list[float]:
    """The level of each claim of a family (Holm 1979); None counts as p = 1.

    The k-th smallest of m p values has the level ALPHA / (m - k + 1); after the first that exceeds
    its level, all others have the level of that one.
    """
    values = [1.0 if p is None else p for p in p_values]
    levels, m, failed = [ALPHA] * len(values), len(values), None
    for rank, index in enumerate(sorted(range(m), key=lambda i: values[i])):
        level = ALPHA / (m - rank) if failed is None else failed
        levels[index] = level
        if values[index] > level:
            failed = level
    return levels


def sign_flip_p(difference: Sequence[float]) -> float | None:
    """Exact two-sided p: share of all 2^n sign patterns with a mean at least as far from zero.

    Valid for any symmetric distribution (Fisher 1935). None for n > 20.
    """
    sample = _sample(difference)
    if len(sample) > SIGN_FLIP_LIMIT:
        return None
    sums = np.zeros(1)
    for size in np.abs(sample):
        sums = np.concatenate([sums - size, sums + size])
    # Sums in a different order differ by rounding.
    reached = np.abs(sums) >= abs(sample.sum()) * (1 - 1e-12)
    return float(reached.mean())


def smallest_sign_flip_p(n: int) -> float:
    """p of n differences with equal sign, 2^(1 - n), the smallest p for n pairs."""
    return min(1.0, 2.0 ** (1 - n))


def least_pairs(alpha: float = ALPHA) -> int:
    """Smallest number of pairs with which the exact test can reach `alpha` (six for 0.05)."""
    return math.ceil(1 - math.log2(alpha))


def clopper_pearson(failures: int, n: int, level: float = 1 - ALPHA) -> Interval:
    """Failure rate with its exact interval (Clopper and Pearson 1934): 0 of 3 allows 70.8 %.

    Raises ValueError unless 0 <= failures <= n and n > 0.
    """
    if not 0 <= failures <= n or n == 0:
        raise ValueError(f"{failures} of {n} is not a rate")
    tail = (1 - level) / 2
    low = stats.beta.ppf(tail, failures, n - failures + 1) if failures else 0.0
    high = stats.beta.ppf(1 - tail, failures + 1, n - failures) if failures < n else 1.0
    return Interval(failures / n, float(low), float(high), n, level)


def fisher_p(treatment: tuple[int, int], control: tuple[int, int]) -> float:
    """Two-sided exact p of equal rates by Fisher's test; each rate is (failures, n)."""
    table = [[failures, n - failures] for failures, n in (treatment, control)]
    result: Any = stats.fisher_exact(table)
    return float(result.pvalue)


def boschloo_p(treatment: tuple[int, int], control: tuple[int, int]) -> float:
    """Two-sided exact p of equal rates by Boschloo's test; each rate is (failures, n).

    Twice the largest probability, over all common rates, of a table with a one-sided Fisher p at
    most as large as observed (Boschloo 1970). For arms of equal size it never exceeds Fisher's p.
    Raises ValueError unless 0 <= failures <= n and n > 0.
    """
    for failures, n in (treatment, control):
        if not 0 <= failures <= n or n == 0:
            raise ValueError(f"{failures} of {n} is not a rate")
    # The test is symmetric in arms and outcomes, so fewer tables need to be computed.
    mirrored = [(n - failures, n) for failures, n in (treatment, control)]
    same = (treatment, control), (control, treatment), tuple(mirrored), tuple(mirrored[::-1])
    return _boschloo_p(*min(same))


@lru_cache(maxsize=1024)
def _boschloo_p(treatment: tuple[int, int], control: tuple[int, int]) -> float:
    """Cached, since each table takes tens of milliseconds."""
    rows = [[treatment[0], control[0]], [treatment[1] - treatment[0], control[1] - control[0]]]
    return float(stats.boschloo_exact(rows).pvalue)


def rate_gap_p(treatment: tuple[int, int], control: tuple[int, int], limit: float) -> float:
    """One-sided exact p for the hypothesis that the failure rate of the treatment does not exceed
    that of the control by more than `limit`.

    Each rate is (failures, n); `limit` is between -1 and 1. Unconditional test: the largest
    probability, over all pairs of rates that differ by `limit`, of a difference at least as large
    as the observed one. Raises ValueError unless 0 <= failures <= n and n > 0.
    """
    for failures, n in (treatment, control):
        if not 0 <= failures <= n or n == 0:
            raise ValueError(f"{failures} of {n} is not a rate")
    return _rate_gap_p(treatment, control, limit)


@lru_cache(maxsize=4096)
def _rate_gap_p(treatment: tuple[int, int], control: tuple[int, int], limit: float) -> float:
    if limit >= 1:
        return 1.0
    (failures, n), (others, m) = treatment, control
    counts, other_counts = np.arange(n + 1), np.arange(m + 1)
    gaps = np.subtract.outer(counts * m, other_counts * n)
    extreme = gaps >= failures * m - others * n
    # The largest probability is on the boundary; 1001 rates give it to about four digits.
    rates = np.linspace(max(0.0, -limit), min(1.0, 1 - limit), 1001)[:, None]
    left = stats.binom.pmf(counts, n, np.clip(rates + limit, 0, 1))
    right = stats.binom.pmf(other_counts, m, rates)
    return float(min(1.0, np.einsum("ri,ij,rj->r", left, extreme, right).max()))


@dataclass(frozen=True)
class RateTest:
    title: str
    p: Callable[[tuple[int, int], tuple[int, int]], float]


RATE_TESTS = {
    "fisher": RateTest("Fisher exact", fisher_p),
    "boschloo": RateTest("Boschloo exact", boschloo_p),
}


# --- power and number of pairs ----------------------------------------------------------------


def power_to_differ(effect: float, spread: float, n: int, alpha: float) -> float:
    """Probability that the paired t interval at 1 - alpha excludes zero on the side of `effect`.

    `effect`, `spread`: mean and standard deviation of the differences, in the same unit (noncentral
    t distribution).
    """
    shift = abs(effect) * math.sqrt(n) / spread
    quantile = t_quantile(1 - alpha, n - 1)
    # scipy's noncentral t fails for large shifts, where the probability is 1 to 14 digits.
    return 1.0 if shift > quantile + 8 else float(stats.nct.sf(quantile, n - 1, shift))


def power_to_agree(margin: float, effect: float, spread: float, n: int, alpha: float) -> float:
    """Lower bound of the probability that the interval at 1 - alpha is within -margin .. margin.

    Both one-sided tests must reject: one minus the probabilities that each does not (Bonferroni).
    """
    sides = (margin - effect, margin + effect)
    if min(sides) <= 0:
        return 0.0
    return max(0.0, sum(power_to_differ(side, spread, n, alpha) for side in sides) - 1)


def fisher_power(rates: tuple[float, float], n: int, alpha: float) -> float:
    """Power of Fisher's exact test for two failure rates with n runs per arm."""
    runs = np.arange(n + 1)
    left, right = (stats.binom.pmf(runs, n, rate) for rate in rates)
    return float(left @ _fisher_rejects(n, alpha) @ right)


@lru_cache(maxsize=64)
def _fisher_rejects(n: int, alpha: float) -> np.ndarray:
    """1 where (failures, failures) of n runs per arm has p <= alpha, else 0; (n + 1, n + 1)."""
    table = np.zeros((n + 1, n + 1))
    for total in range(2 * n + 1):
        left = np.arange(max(0, total - n), min(n, total) + 1)
        chances = stats.hypergeom.pmf(left, 2 * n, total, n)
        order = np.sort(chances)
        # Probabilities of equal tables differ by rounding, as in scipy's own test.
        place = np.searchsorted(order, chances * (1 + 1e-7), side="right")
        table[left, total - left] = np.cumsum(order)[place - 1] <= alpha
    return table


def least_n(reaches: Callable[[int], bool], start: int, limit: int) -> int | None:
    """The smallest n from `start` to `limit` with `reaches(n)`, which must be monotonic; or None.

    Found by doubling and bisection.
    """
    low, high = start - 1, start
    while not reaches(high):
        if high >= limit:
            return None
        low, high = high, min(2 * high, limit)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reaches(middle) else (middle, high)
    return high


def equivalent(interval: Interval, margin: float) -> bool:
    """Whether the whole interval is within -margin .. margin.

    With a 1 - alpha interval this corresponds to two one-sided tests at alpha / 2 each, which is
    stricter than the usual 1 - 2 alpha interval.
    """
    if interval.low is None or interval.high is None:
        return False
    return -margin <= interval.low and interval.high <= margin


def probability_of_improvement(
    treatment: Sequence[float], control: Sequence[float], lower_is_better: bool
) -> float:
    """Probability that a seed of the treatment is better than a seed of the control; ties count
    half.

    Over all pairs of seeds (Agarwal et al. 2021), that is, the Mann-Whitney U divided by n m.
    """
    gap = np.subtract.outer(_sample(control), _sample(treatment))
    gap = gap if lower_is_better else -gap
    return float((gap > 0).mean() + (gap == 0).mean() / 2)


def prediction_half_width(values: Sequence[float], n_new: int, level: float = 1 - ALPHA) -> float:
    """Half-width of the prediction interval for the mean of `n_new` further seeds.

    t s sqrt(1/n + 1/n_new), with s from `values` only, so that a deviating repetition cannot widen
    it.
    """
    sample = _sample(values)
    n = len(sample)
    spread = float(sample.std(ddof=1))
    return t_quantile(level, n - 1) * spread * math.sqrt(1 / n + 1 / n_new)


def _sample(values: Sequence[float] | np.ndarray) -> np.ndarray:
    sample = np.asarray(values, dtype=np.float64)
    if sample.size == 0 or not np.isfinite(sample).all():
        raise ValueError(f"statistics need finite values, at least one; got {sample.tolist()}")
    return sample

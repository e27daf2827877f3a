"""Dose-response: the learning rate at which half of the runs die (LD50), with an exact interval.

    P(death at rate r) = 1 / (1 + exp(-slope (log10 r - log10 LD50))),   slope > 0

Design choices
- A higher rate is assumed never to save a run: only rising curves are fitted.
- Estimate: the maximum of Firth's penalised likelihood, log L + log det(information) / 2
  (Firth 1993; Heinze and Schemper 2002). Where no rate has both deaths and survivors, the maximum
  of L itself has an infinite slope and any LD50 of the gap; the penalised one is unique and finite.
- Interval: every LD50 that an exact test does not reject. The statistic is the penalised
  likelihood ratio; its p-value is not taken from a chi-square but summed over all possible
  outcomes of the design, at the slope that makes it largest (as Boschloo's test does with its
  nuisance rate). So its coverage is at least the level for any number of runs, separated or not.
- Outcomes enter through two sums, the deaths and the deaths times their log rate: a grid of 8
  rates with 3 runs each has 65,536 outcomes and about 1,300 different pairs of sums.
- A bound that lies more than a decade outside the grid is open (None): the runs do not show it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import log_expit, logsumexp

from study.settings import UserError

LEVEL = 0.95
OUTSIDE = 1.0  # decades beyond the grid in which an LD50 is looked for
STEP = 0.02  # decades between the LD50 that are tested
# Per decade. From 10 % to 90 % of deaths: 9 decades at the flattest, 0.02 at the steepest.
SLOPES = np.geomspace(0.5, 200.0, 25)
# Log rates are whole numbers of this part of a decade, so that equal sums are equal.
PER_DECADE = 1_000_000
MOST_OUTCOMES = 200_000
ROUNDING = 1e-9
DIGITS = 5


@dataclass(frozen=True)
class Deaths:
    """How many of the runs at each learning rate died; the rates rise."""

    rates: tuple[float, ...]
    runs: tuple[int, ...]
    dead: tuple[int, ...]

    def __post_init__(self) -> None:
        """Raises ValueError unless the three belong together and at least two rates differ."""
        columns = len(self.rates), len(self.runs), len(self.dead)
        if len(set(columns)) > 1 or columns[0] < 2:
            raise ValueError(f"rates, runs and deaths of {columns} entries; two or more are needed")
        if min(self.rates) <= 0 or any(np.diff(self.rates) <= 0):
            raise ValueError(f"rates {self.rates} are not positive and rising")
        if not all(0 <= d <= n and n > 0 for n, d in zip(self.runs, self.dead, strict=True)):
            raise ValueError(f"{self.dead} deaths in {self.runs} runs")

    @property
    def design(self) -> Design:
        """The rates in decades above the first one: an LD50 scales with the rates."""
        decades = (math.log10(rate / self.rates[0]) for rate in self.rates)
        return Design(tuple(round(x * PER_DECADE) for x in decades), self.runs)


@dataclass(frozen=True)
class Ld50:
    """A learning rate with its interval at `level`, and the slope of the fit (1 / decade).

    None: `estimate` and `slope` where all runs or none died, where deaths do not rise with the
    rate, and where half of the runs would die outside the grid; `low` or `high` where the runs
    leave that side open.
    """

    estimate: float | None
    low: float | None
    high: float | None
    slope: float | None
    level: float = LEVEL


def fit(deaths: Deaths, level: float = LEVEL) -> Ld50:
    """LD50 in the unit of the rates. Raises UserError for a grid too large to be enumerated."""
    first = deaths.rates[0]
    low, high = (None if m is None else _rounded(first * 10**m) for m in _interval(deaths, level))
    found = _maximum(deaths)
    if found is None:
        return Ld50(None, low, high, None, level)
    return Ld50(_rounded(first * 10 ** found[0]), low, high, _rounded(found[1]), level)


def _rounded(value: float) -> float:
    """To as many digits as the search for the maximum gives on every processor."""
    return float(f"{value:.{DIGITS}g}")


def ratio(curve: Ld50, control: Ld50) -> Ld50:
    """LD50 of `curve` over that of `control`, from their intervals (MOVER on the log scale).

    The two must come from independent runs. The square-and-add rule of Zou and Donner (2008): each
    bound moves from the estimate by the root of the squared distances to the bounds of the two.
    Without an estimate on one side, a bound is the ratio of two bounds. `slope` is None.
    """
    return Ld50(
        estimate=_over(curve.estimate, control.estimate),
        low=_bound(curve.estimate, curve.low, control.estimate, control.high),
        high=_bound(curve.estimate, curve.high, control.estimate, control.low),
        slope=None,
        level=min(curve.level, control.level),
    )


def probability(rate: Float[np.ndarray, " r"], ld50: Ld50) -> Float[np.ndarray, " r"]:
    """Fitted probability of death at these rates. Raises ValueError for a curve without a fit."""
    if ld50.estimate is None or ld50.slope is None:
        raise ValueError("this curve has no LD50 within its grid")
    return np.exp(log_expit(ld50.slope * np.log10(rate / ld50.estimate)))


def _over(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a / b


def _bound(
    estimate: float | None, bound: float | None, control: float | None, opposite: float | None
) -> float | None:
    """A bound of the ratio from the same bound of the curve and the opposite one of the control."""
    if bound is None or opposite is None:
        return None
    if estimate is None or control is None:
        return bound / opposite
    away = math.hypot(math.log10(bound / estimate), math.log10(opposite / control))
    return estimate / control * 10 ** math.copysign(away, bound - estimate)


# --- the penalised likelihood -----------------------------------------------------------------


@dataclass(frozen=True)
class Design:
    """Rates in decades / PER_DECADE above the first one, and how many runs each has."""

    units: tuple[int, ...]
    runs: tuple[int, ...]

    @property
    def x(self) -> Float[np.ndarray, " r"]:
        """Decades above the first rate."""
        return np.array(self.units) / PER_DECADE

    def weighted(self, dead: Sequence[int]) -> int:
        """Sum over the rates of deaths times units."""
        return sum(k * unit for k, unit in zip(dead, self.units, strict=True))


def _log_weight(
    design: Design, ld50: Float[np.ndarray, " b"], slope: Float[np.ndarray, " b"]
) -> Float[np.ndarray, " b"]:
    """The part of the log-likelihood that no outcome changes: sum over rates of n log(1 - p)."""
    z = slope[:, None] * (design.x - ld50[:, None])  # (b, rates)
    return (np.asarray(design.runs) * log_expit(-z)).sum(axis=1)


def _penalty(
    design: Design, ld50: Float[np.ndarray, " b"], slope: Float[np.ndarray, " b"]
) -> Float[np.ndarray, " b"]:
    """log det(Fisher information of intercept and slope) / 2, in logarithms: the weights
    n p (1 - p) of a steep curve underflow. det = sum over pairs of rates of w_i w_j (x_i - x_j)^2.
    """
    x = design.x
    z = slope[:, None] * (x - ld50[:, None])
    log_w = np.log(design.runs) + log_expit(z) + log_expit(-z)  # (b, rates)
    i, j = np.triu_indices(len(x), 1)
    return logsumexp(log_w[:, i] + log_w[:, j] + 2 * np.log(x[j] - x[i]), axis=1) / 2


def _maximum(deaths: Deaths) -> tuple[float, float] | None:
    """(log10 LD50 above the first rate, slope) of the highest penalised likelihood, or None."""
    total = sum(deaths.dead)
    if total in (0, sum(deaths.runs)):
        return None
    design = deaths.design
    weighted = design.weighted(deaths.dead) / PER_DECADE

    def cost(at: Float[np.ndarray, " 2"]) -> float:
        ld50, slope = at[:1], np.exp(at[1:])
        fixed = _log_weight(design, ld50, slope) + _penalty(design, ld50, slope)
        return -float(slope[0] * (weighted - ld50[0] * total) + fixed[0])

    tested = _tested(design)
    start = min((np.array([m, math.log(b)]) for m in tested[::5] for b in SLOPES[::3]), key=cost)
    found = minimize(cost, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10})
    ld50, slope = float(found.x[0]), math.exp(found.x[1])
    inside = 0 <= ld50 <= design.x[-1] and slope > SLOPES[0]
    return (ld50, slope) if inside else None


def _tested(design: Design) -> Float[np.ndarray, " m"]:
    """The LD50 that are tested, in decades above the first rate."""
    span = design.x[-1] + 2 * OUTSIDE
    return np.linspace(-OUTSIDE, design.x[-1] + OUTSIDE, 1 + math.ceil(span / STEP))


# --- the exact test ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Outcomes:
    """Every pair of sums that a design can give, and how the test orders them.

    `place`: the sums -> their index; `total`: deaths; `weighted`: deaths times decades; `log_ways`:
    logarithm of the number of outcomes with these sums; `statistic`: penalised likelihood ratio of
    each at every tested LD50.
    """

    place: dict[tuple[int, int], int]
    total: Float[np.ndarray, " u"]
    weighted: Float[np.ndarray, " u"]
    log_ways: Float[np.ndarray, " u"]
    statistic: Float[np.ndarray, "m u"]


def _sums(design: Design) -> dict[tuple[int, int], int]:
    """(deaths, deaths times units) -> number of outcomes. Raises UserError for too many."""
    sums = {(0, 0): 1}
    for unit, n in zip(design.units, design.runs, strict=True):
        longer: dict[tuple[int, int], int] = {}
        for (total, weighted), ways in sums.items():
            for k in range(n + 1):
                key = total + k, weighted + k * unit
                longer[key] = longer.get(key, 0) + ways * math.comb(n, k)
        if len(longer) > MOST_OUTCOMES:
            raise UserError(
                f"a grid of {len(design.units)} learning rates with {sum(design.runs)} runs has "
                f"more than {MOST_OUTCOMES:,} different outcomes, too many for an exact interval; "
                "use rates with a constant ratio, or fewer runs"
            )
        sums = longer
    return sums


@lru_cache(maxsize=8)
def _outcomes(design: Design) -> _Outcomes:
    sums = _sums(design)
    place = {key: index for index, key in enumerate(sums)}
    total, weighted = np.array(list(sums), dtype=np.float64).T / [[1], [PER_DECADE]]
    ways = np.array([math.log(count) for count in sums.values()])
    rows = []
    for ld50 in _tested(design):
        at = np.full_like(SLOPES, ld50)
        fixed = _log_weight(design, at, SLOPES) + _penalty(design, at, SLOPES)  # (b,)
        data = SLOPES * (weighted - ld50 * total)[:, None]  # (u, b)
        rows.append((data + fixed).max(axis=1))
    profile = np.stack(rows)  # (m, u)
    return _Outcomes(place, total, weighted, ways, 2 * (profile.max(axis=0) - profile))


def _interval(deaths: Deaths, level: float) -> tuple[float | None, float | None]:
    """The smallest and the largest LD50 (decades above the first rate) that is not rejected."""
    p, tested = p_values(deaths), _tested(deaths.design)
    kept = np.flatnonzero(p > 1 - level)
    # One step outwards: the bound lies between a rejected value and its neighbour.
    low, high = max(kept[0] - 1, 0), min(kept[-1] + 1, len(tested) - 1)
    return (
        float(tested[low]) if kept[0] > 0 else None,
        float(tested[high]) if kept[-1] < len(tested) - 1 else None,
    )


def p_values(deaths: Deaths) -> Float[np.ndarray, " m"]:
    """Exact p of every tested LD50: the largest over all slopes of the probability of outcomes
    that speak as much against it as the observed one."""
    design = deaths.design
    known = _outcomes(design)
    at = known.place[sum(deaths.dead), design.weighted(deaths.dead)]
    p = []
    for ld50, statistic in zip(_tested(design), known.statistic, strict=True):
        far = statistic >= statistic[at] - ROUNDING
        log_p = SLOPES[:, None] * (known.weighted - ld50 * known.total)[far] + known.log_ways[far]
        fixed = _log_weight(design, np.full_like(SLOPES, ld50), SLOPES)
        p.append(float(np.exp(log_p + fixed[:, None]).sum(axis=1).max()))
    return np.array(p)

"""Survival of runs: curves, the exact log-rank test, and its level at each planned look.

Design choices
- The log-rank test by permutation: with a handful of runs per arm the chi-square approximation is
  not to be trusted, and every assignment of runs to arms can be enumerated. As a linear rank
  statistic it is the sum over one arm of delta_i - Lambda(t_i): death or not, minus the pooled
  Nelson-Aalen estimate at the time of the run (Peto and Peto 1972).
- Looks at the data are paid for. The spending function of Lan and DeMets (1983) in the form of
  O'Brien and Fleming says how much of the level may be used up to a look. Because the permutation
  distribution is discrete, a look charges only the largest p that it could have rejected at, and
  what it could not use is left for later looks. The charges add up to the level at most, so the
  claim's error stays below it whatever the looks have in common.
- A run that is alive at the horizon is censored there, in every arm at the same epoch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import stats

from study.evidence.spending import spent
from study.evidence.statistics import ALPHA, Interval

# Sums that differ by rounding only are one value of the permutation distribution.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Life:
    """One run: epochs until its death, or until it was censored."""

    epochs: int
    died: bool


@dataclass(frozen=True)
class Look:
    """One planned look: after `rounds` rounds p is compared with `allowed`.

    `least`: the smallest p that these lives could give under any assignment to the arms.
    """

    rounds: int
    p: float
    allowed: float
    least: float

    @property
    def rejects(self) -> bool:
        return self.p <= self.allowed


def rank_scores(lives: Sequence[Life]) -> np.ndarray:
    """delta_i - Lambda(t_i) of every life, with Lambda of all lives together; the sum is 0."""
    times = np.array([life.epochs for life in lives])
    died = np.array([life.died for life in lives])
    hazard = {t: died[times == t].sum() / (times >= t).sum() for t in np.unique(times[died])}
    passed = [sum(rate for t, rate in hazard.items() if t <= life.epochs) for life in lives]
    return died - np.array(passed)


def permutation_ps(
    treatment: Sequence[Life], control: Sequence[Life], longer: bool, sides: int
) -> tuple[float, np.ndarray]:
    """Exact p of the log-rank test, and the p of every assignment of the lives to the arms.

    One-sided p is small where the treatment lives `longer` (or, False, shorter); two-sided where it
    lives differently long. Raises ValueError for an arm without a run.
    """
    if not treatment or not control:
        raise ValueError("the log-rank test needs a run in both arms")
    scores = rank_scores([*treatment, *control])
    chosen = combinations(range(len(scores)), len(treatment))
    sums = np.array([scores[list(places)].sum() for places in chosen])  # the first is the observed
    # Long lives have low scores; `extreme` grows with the evidence for the claim.
    extreme = np.abs(sums) if sides == 2 else -sums if longer else sums
    order = np.sort(extreme)
    below = np.searchsorted(order, extreme - ROUNDING, side="left")
    ps = 1 - below / len(order)
    return float(ps[0]), ps


def planned_looks(
    treatment: Sequence[Life],
    control: Sequence[Life],
    looks: Sequence[int],
    rounds: int,
    level: float,
    longer: bool,
    sides: int,
) -> list[Look]:
    """The looks that can be taken at the lives so far, one of each arm a round, in order.

    `rounds`: how many are planned in all. The first look that rejects ends the list: the claim is
    decided there and later runs change nothing.
    """
    there = min(len(treatment), len(control))
    charged, taken = 0.0, []
    for look in (look for look in looks if look <= there):
        p, ps = permutation_ps(treatment[:look], control[:look], longer, sides)
        allowed = spent(level, look / rounds) - charged
        taken.append(Look(look, p, allowed, float(ps.min())))
        if taken[-1].rejects:
            break
        charged += float(ps[ps <= allowed].max(initial=0.0))
    return taken


def lifetime_difference(
    treatment: Sequence[Life], control: Sequence[Life], level: float = 1 - ALPHA
) -> Interval:
    """Mean epochs lived up to the common horizon, treatment minus control, with Welch's interval.

    The restricted mean survival time of both arms; no interval below two runs per arm or without
    any spread. `n` is that of the smaller arm.
    """
    samples = [np.array([life.epochs for life in lives], float) for lives in (treatment, control)]
    estimate, n = float(samples[0].mean() - samples[1].mean()), min(map(len, samples))
    if n < 2 or not any(sample.std() for sample in samples):
        return Interval(estimate, None, None, n, level)
    errors = [float(sample.var(ddof=1)) / len(sample) for sample in samples]
    freedom = sum(errors) ** 2 / sum(
        error**2 / (len(sample) - 1) for error, sample in zip(errors, samples, strict=True)
    )
    half = float(stats.t.ppf((1 + level) / 2, freedom)) * math.sqrt(sum(errors))
    return Interval(estimate, estimate - half, estimate + half, n, level)


def kaplan_meier(lives: Sequence[Life]) -> tuple[list[float], list[float]]:
    """Epochs at which someone dies, and the estimated share that is alive after each."""
    data = stats.CensoredData.right_censored(
        [life.epochs for life in lives], [not life.died for life in lives]
    )
    curve = stats.ecdf(data).sf
    deaths = {life.epochs for life in lives if life.died}
    steps = [
        (t, s) for t, s in zip(curve.quantiles, curve.probabilities, strict=True) if t in deaths
    ]
    return [float(t) for t, _ in steps], [float(s) for _, s in steps]

"""Survival of runs: curves, the exact log-rank test, and its level at each planned look.

Design choices
- The log-rank test is computed by permutation: with a few runs per arm the chi-square approximation
  is unreliable, and all assignments of runs to arms can be enumerated. As a linear rank statistic
  it is the sum over one arm of delta_i - Lambda(t_i): death (1) or not (0), minus the pooled
  Nelson-Aalen estimate at the end of the run (Peto and Peto 1972).
- Each look uses part of the level. The spending function of Lan and DeMets (1983) in the form of
  O'Brien and Fleming determines how much of the level may be used up to a look. Because the
  permutation distribution is discrete, a look uses only the largest p at which it could have
  rejected; the rest remains for later looks. The sum does not exceed the level, so neither does the
  error of the claim, regardless of the dependence between looks.
- A run that is alive at the horizon is censored there, at the same epoch in all arms.
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

# Sums that differ only by rounding count as equal in the permutation distribution.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Life:
    """The lifetime of a run: epochs until it died or was censored."""

    epochs: int
    died: bool


@dataclass(frozen=True)
class Look:
    """One planned look: after `rounds` rounds, p is compared with `allowed`.

    `least`: the smallest p of any assignment of these lifetimes to the arms.
    """

    rounds: int
    p: float
    allowed: float
    least: float

    @property
    def rejects(self) -> bool:
        return self.p <= self.allowed


def rank_scores(lives: Sequence[Life]) -> np.ndarray:
    """delta_i - Lambda(t_i) of each lifetime, with Lambda pooled over all; the sum is 0."""
    times = np.array([life.epochs for life in lives])
    died = np.array([life.died for life in lives])
    hazard = {t: died[times == t].sum() / (times >= t).sum() for t in np.unique(times[died])}
    passed = [sum(rate for t, rate in hazard.items() if t <= life.epochs) for life in lives]
    return died - np.array(passed)


def permutation_ps(
    treatment: Sequence[Life], control: Sequence[Life], longer: bool, sides: int
) -> tuple[float, np.ndarray]:
    """Exact p of the log-rank test, and p of all assignments of the lifetimes to the arms.

    `sides`: 1 or 2. The one-sided p is small if the treatment lives longer (`longer` False:
    shorter); the two-sided p if lifetimes differ. Raises ValueError for an arm without runs.
    """
    if not treatment or not control:
        raise ValueError("the log-rank test needs a run in both arms")
    scores = rank_scores([*treatment, *control])
    chosen = combinations(range(len(scores)), len(treatment))
    sums = np.array([scores[list(places)].sum() for places in chosen])  # the first is the observed
    # Long lifetimes have low scores; `extreme` increases with the evidence for the claim.
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
    """The looks that can be taken with the lifetimes so far, one per arm and round, in order.

    `looks`: rounds after which a look is planned; `rounds`: total number of planned rounds. The
    list ends with the first look that rejects, which decides the claim regardless of later runs.
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
    """Difference of the mean epochs lived up to the common horizon, treatment minus control.

    This is the difference of the restricted mean survival times, with Welch's interval; no interval
    for fewer than two runs per arm or without any spread. `n`: size of the smaller arm.
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
    """Kaplan-Meier curve: epochs at which runs die, and the estimated share alive after each."""
    data = stats.CensoredData.right_censored(
        [life.epochs for life in lives], [not life.died for life in lives]
    )
    curve = stats.ecdf(data).sf
    deaths = {life.epochs for life in lives if life.died}
    steps = [
        (t, s) for t, s in zip(curve.quantiles, curve.probabilities, strict=True) if t in deaths
    ]
    return [float(t) for t, _ in steps], [float(s) for _, s in steps]

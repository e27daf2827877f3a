"""What an inconclusive claim lacks: how many more seeds, and the minutes that they cost.

The rule
- Seeds that the claim's arms declare and that have no result: those, and their minutes.
- Means: the fewest pairs with which the paired t at the claim's Holm level has 80 % power, effect
  and spread being as measured, to leave out zero or to lie wholly within the margin (for a claim of
  equality: within the margin, or wholly outside). Whichever takes fewer; six at the least.
- Rates: the fewest runs an arm with which Fisher's exact test at that level has 80 % power, the
  rates being as observed. Where these differ by less than the margin no number is given but the
  one from which the exact interval of each is narrower than the margin to both sides.
- Seeds beyond those that a claim fixes, added after a look, are optional stopping: what is called
  for is a new claim with fresh seeds, and their minutes are told too.
- Minutes come from the measured seconds of the claim's own arms, one run a core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from study.evidence import statistics
from study.evidence.trial import Side, Trial
from study.evidence.wording import counted, fmt, listed, percent

POWER = 0.8
MOST_PAIRS = 10_000
MOST_RUNS = 200
Power = Callable[[float, int, float], float]  # (spread, pairs, alpha) -> chance


@dataclass(frozen=True)
class Needs:
    """`pairs` in all, `more` than there are; minutes None where an arm was never measured.

    `minutes` and `minutes_all_cores` are for `more`, `minutes_new_claim` for all `pairs`, on one
    core. `cores`: those of the machine of the runs, None when it is not known.
    """

    pairs: int | None
    more: int | None
    minutes: float | None
    minutes_all_cores: float | None
    minutes_new_claim: float | None
    cores: int | None
    rule: str
    sentence: str


def needs_of(trial: Trial, alpha: float) -> Needs | None:
    """What would decide an inconclusive claim held to `alpha`; None where no seed would."""
    if not trial.trained:
        return None
    if trial.missing:
        return _unfinished(trial, alpha)
    if trial.claim.evidence == "failure_rate":
        return _of_rates(trial, alpha)
    return _of_means(trial, alpha)


# --- seeds that were declared -----------------------------------------------------------------


def _unfinished(trial: Trial, alpha: float) -> Needs:
    """Runs that are not there; a failed one is there, and no seed mends it."""
    absent = [
        (side, seed) for side in trial.trained for seed in trial.seeds if side.stored(seed) is None
    ]
    if not trial.seeds:
        return _fixed_number(trial, "the arms share no seed; the claim fixes their number")
    if not absent:
        words = "no further seed decides it: a run without a number is not missing at random"
        return Needs(None, None, None, None, None, _cores(trial), "", words)
    runs = listed(f"{side.name} s{seed}" for side, seed in absent)
    counts = {side.name: sum(s is side for s, _ in absent) for side in trial.trained}
    one, together = _minutes(trial, counts, 1), _minutes(trial, counts, _cores(trial))
    pairs, more = len(trial.seeds), len({seed for _, seed in absent})
    rule = "declared seeds without a result"
    words = f"{counted(len(absent), 'run')} of its own ({runs}): {_cost(one, together, trial)}"
    if not _decidable(trial, pairs, alpha):
        words += f"; {counted(pairs, 'pair')} cannot decide it, whatever they say"
    return Needs(pairs, more, one, together, None, _cores(trial), rule, words)


def _decidable(trial: Trial, pairs: int, alpha: float) -> bool:
    """Whether any outcome of so many pairs decides the claim."""
    if trial.claim.evidence == "failure_rate":
        return statistics.fisher_p((pairs, pairs), (0, pairs)) <= alpha
    return pairs >= statistics.least_pairs()


def _fixed_number(trial: Trial, rule: str) -> Needs:
    return _needs(trial, max(trial.claim.needed_seeds, statistics.least_pairs()), rule)


# --- means and rates --------------------------------------------------------------------------


def _of_means(trial: Trial, alpha: float) -> Needs:
    differences = trial.differences
    n, mean = len(differences), float(np.mean(differences))
    if n < 2:
        return _fixed_number(trial, "one pair has no spread; the claim fixes the number")
    spread = float(np.std(differences, ddof=1))
    least = max(n + 1, statistics.least_pairs())
    aims = _aims(trial, mean)
    found = {aim: _least(power, spread, alpha, least) for aim, power in aims.items()}
    aim, pairs = min(found.items(), key=lambda item: item[1] or math.inf)
    rule = (
        f"paired t at level {fmt(1 - alpha)}, {percent(POWER)} power {aim}, effect and spread as "
        "measured"
    )
    return _needs(trial, pairs, rule)


def _least(power: Power, spread: float, alpha: float, start: int) -> int | None:
    if spread == 0:
        return start
    return statistics.least_n(lambda n: power(spread, n, alpha) >= POWER, start, MOST_PAIRS)


def _aims(trial: Trial, mean: float) -> dict[str, Power]:
    """What the interval may do to decide the claim, and the power to do so."""
    margin, equal = trial.claim.margin.value, trial.claim.direction == "equal"
    aims: dict[str, Power] = {}
    if not equal:
        aims["to leave out zero"] = partial(statistics.power_to_differ, mean)
    elif abs(mean) >= margin:
        aims["to lie outside the margin"] = partial(statistics.power_to_differ, abs(mean) - margin)
    if abs(mean) < margin:
        aims["to lie within the margin"] = partial(statistics.power_to_agree, margin, mean)
    return aims


def _of_rates(trial: Trial, alpha: float) -> Needs:
    rates = [failed / n for failed, n in (trial.rate(side) for side in trial.sides)]
    least, margin = len(trial.pairs) + 1, trial.claim.margin.value
    if abs(rates[0] - rates[1]) >= margin:
        pairs = statistics.least_n(
            lambda k: statistics.fisher_power((rates[0], rates[1]), k, alpha) >= POWER,
            least,
            MOST_RUNS,
        )
        words = f"Fisher's exact test at {fmt(alpha)}, {percent(POWER)} power, rates as observed"
        return _needs(trial, pairs, words)
    pairs = statistics.least_n(lambda k: _narrow(rates, k, margin, alpha), least, MOST_PAIRS)
    words = (
        "the observed rates differ by less than the margin, and no number is expected to tell "
        f"them apart; from this one on the exact {percent(1 - alpha)} interval of each is "
        "narrower than the margin to both sides"
    )
    return _needs(trial, pairs, words)


def _narrow(rates: list[float], n: int, margin: float, alpha: float) -> bool:
    for rate in rates:
        found = statistics.clopper_pearson(round(rate * n), n, 1 - alpha)
        assert found.low is not None and found.high is not None
        if max(found.high - found.estimate, found.estimate - found.low) >= margin:
            return False
    return True


# --- what it costs, in words ------------------------------------------------------------------


def _needs(trial: Trial, pairs: int | None, rule: str) -> Needs:
    cores = _cores(trial)
    if pairs is None:
        most = MOST_RUNS if trial.claim.evidence == "failure_rate" else MOST_PAIRS
        words = f"more than {most} pairs: no affordable number of seeds decides it ({rule})"
        return Needs(None, None, None, None, None, cores, rule, words)
    here = len(trial.pairs)
    more = pairs - here
    extra = {side.name: more for side in trial.trained}
    fresh = {side.name: pairs for side in trial.trained}
    one, together = _minutes(trial, extra, 1), _minutes(trial, extra, cores)
    anew = _minutes(trial, fresh, 1)
    words = (
        f"about {counted(pairs, 'pair')}, {more} more than the {here} here "
        f"({_cost(one, together, trial)}); {rule}. {_advice(trial, pairs, anew)}"
    )
    return Needs(pairs, more, one, together, anew, cores, rule, words)


def _advice(trial: Trial, pairs: int, minutes: float | None) -> str:
    fixed = trial.claim.needed_seeds
    if pairs <= fixed:
        return f"The claim itself fixes {fixed}"
    cost = "" if minutes is None else f" ({_time(minutes)} on {_one(trial)})"
    return (
        "Seeds added to this claim after a look would be optional stopping: enter a new claim with "
        f"{pairs} fresh seeds{cost}"
    )


def _minutes(trial: Trial, runs: dict[str, int], cores: int | None) -> float | None:
    """Minutes of so many runs an arm, side by side on `cores`; None for what is not known."""
    sides = [side for side in trial.trained if runs.get(side.name)]
    if cores is None or any(side.seconds is None for side in sides):
        return None
    return sum(math.ceil(runs[s.name] / cores) * _seconds(s) for s in sides) / 60


def _seconds(side: Side) -> float:
    assert side.seconds is not None
    return side.seconds


def _cost(one: float | None, together: float | None, trial: Trial) -> str:
    if one is None:
        return "an arm was never measured: no estimate of the minutes"
    cores = _cores(trial)
    several = cores is not None and cores > 1 and together is not None
    more = f", {_time(together or 0)} on {cores}" if several else ""
    return f"{_time(one)} on {_one(trial)}{more}"


def _time(minutes: float) -> str:
    return "under a minute" if minutes < 1 else f"{math.ceil(minutes)} min"


def _one(trial: Trial) -> str:
    devices = _devices(trial)
    return "one core" if set(devices) <= {"cpu"} else f"one device ({listed(devices)})"


def _devices(trial: Trial) -> list[str]:
    found = {content.get("device") for _, content in trial.runs if content["label"] == "arm"}
    return sorted(str(device) for device in found if device)


def _cores(trial: Trial) -> int | None:
    """Cores of the machine on which the runs were timed, where they all say the same."""
    found = {content.get("cores") for _, content in trial.runs if content["label"] == "arm"}
    return next(iter(found)) if len(found) == 1 else None

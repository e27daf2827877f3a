"""Seeds that an inconclusive claim needs, and their run time in minutes.

Rules
- If declared seeds of the claim's arms have no result, these are needed.
- Means: the smallest number of pairs with which the paired t interval at the claim's Holm level,
  for the measured effect and spread, excludes zero or lies within the margin with 80 % power (for a
  claim of equality: lies within or outside the margin); the smaller of both, at least six. For
  goals and for "not worse by more than the margin", which are one-sided: the interval at level
  1 - 2 alpha lies on one side of the limit.
- Rates: the smallest number of runs per arm with which Fisher's exact test at that level has 80 %
  power for the observed rates. If the rates differ by less than the margin: the smallest number
  with which the exact interval of each rate extends less than the margin to either side.
- Adding seeds beyond those fixed by a claim, after a look, is optional stopping. A new claim with
  fresh seeds is needed instead; its minutes are also given.
- Minutes are derived from measured times of the claim's arms, with one run per core.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from study.evidence import statistics
from study.evidence.claim_finding import Needs
from study.evidence.claims import SurvivalPlan
from study.evidence.comparison import Comparison, Side
from study.evidence.format import counted, fmt, join_words, percent

POWER = 0.8
MOST_PAIRS = 10_000
MOST_RUNS = 200
Power = Callable[[float, int, float], float]  # (spread, pairs, alpha) -> probability


def needs_of(comparison: Comparison, alpha: float) -> Needs | None:
    """What is needed to decide a claim at level `alpha`; None if further seeds cannot help."""
    if not comparison.varied:
        return None
    if comparison.claim.survival is not None:
        return _of_rounds(comparison, comparison.claim.survival)
    if comparison.missing:
        return _unfinished(comparison, alpha)
    if comparison.claim.looks and len(comparison.shared) > len(comparison.seeds):
        return _of_looks(comparison)
    if comparison.ranked:
        return _needs_record(
            comparison, "runs failed, and the power of a comparison by rank is not known"
        )
    if comparison.claim.evidence == "failure_rate":
        return _of_rates(comparison, alpha)
    return _of_means(comparison, alpha)


# --- declared seeds ---------------------------------------------------------------------------


def _unfinished(comparison: Comparison, alpha: float) -> Needs:
    """The missing runs. Failed runs are not missing, and other seeds cannot replace them."""
    absent = [
        (side, seed)
        for side in comparison.varied
        for seed in comparison.seeds
        if side.stored(seed) is None
    ]
    if not comparison.seeds:
        return _fixed_number(comparison, "the arms share no seed; the claim fixes their number")
    if not absent:
        words = "no further seed decides it: a run without a number is not missing at random"
        return _needs_record(comparison, words)
    runs = join_words(f"{side.name} s{seed}" for side, seed in absent)
    counts = {side.name: sum(s is side for s, _ in absent) for side in comparison.varied}
    one = _minutes(comparison, counts, 1)
    together = _minutes(comparison, counts, _cores(comparison))
    pairs, more = len(comparison.seeds), len({seed for _, seed in absent})
    rule = "declared seeds without a result"
    words = f"{counted(len(absent), 'run')} of its own ({runs}): {_cost(one, together, comparison)}"
    if not _decidable(comparison, pairs, alpha):
        words += f"; {counted(pairs, 'pair')} cannot decide it, whatever the outcome"
    return _needs_record(comparison, words, rule, (pairs, more), (one, together, None))


def _decidable(comparison: Comparison, pairs: int, alpha: float) -> bool:
    """Whether there is an outcome of this number of pairs that decides the claim."""
    if comparison.claim.evidence == "failure_rate":
        test = statistics.RATE_TESTS[comparison.claim.test].p
        enough = min(pairs, MOST_RUNS)  # the smallest p falls with their number
        return test((enough, enough), (0, enough)) <= alpha
    return pairs >= statistics.least_pairs()


def _fixed_number(comparison: Comparison, rule: str) -> Needs:
    return _needs(comparison, max(comparison.claim.needed_seeds, statistics.least_pairs()), rule)


def _of_rounds(comparison: Comparison, plan: SurvivalPlan) -> Needs | None:
    """The remaining planned rounds of a survival claim; None if there are none."""
    more = len(plan.seeds) - len(comparison.seeds)
    if not more:
        return None
    counts = {
        side.name: sum(side.life(seed) is None for seed in plan.seeds) for side in comparison.varied
    }
    one = _minutes(comparison, counts, 1)
    together = _minutes(comparison, counts, _cores(comparison))
    words = f"{counted(more, 'planned round')} left: {_cost(one, together, comparison)}"
    rule = "planned rounds without a result"
    return _needs_record(comparison, words, rule, (len(plan.seeds), more), (one, together, None))


def _of_looks(comparison: Comparison) -> Needs:
    """The remaining planned pairs of a claim with looks."""
    planned = comparison.shared[: comparison.claim.looks[-1]]
    absent = {
        side.name: sum(side.stored(seed) is None for seed in planned) for side in comparison.varied
    }
    one = _minutes(comparison, absent, 1)
    together = _minutes(comparison, absent, _cores(comparison))
    more = len(planned) - len(comparison.seeds)
    words = f"{counted(more, 'planned pair')} left: {_cost(one, together, comparison)}"
    rule = "planned pairs without a look"
    return _needs_record(comparison, words, rule, (len(planned), more), (one, together, None))


# --- means and rates --------------------------------------------------------------------------


def _of_means(comparison: Comparison, alpha: float) -> Needs:
    differences = comparison.differences
    n, mean = len(differences), float(np.mean(differences))
    if n < 2:
        return _fixed_number(comparison, "one pair has no spread; the claim fixes the number")
    spread = float(np.std(differences, ddof=1))
    least = max(n + 1, statistics.least_pairs())
    aims = _aims(comparison, mean)
    # A one-sided claim is decided by the interval at 1 - 2 alpha, as in verdicts.py.
    risk = 2 * alpha if comparison.one_sided else alpha
    found = {aim: _least(power, spread, risk, least) for aim, power in aims.items()}
    aim, pairs = min(found.items(), key=lambda item: item[1] or math.inf)
    rule = (
        f"paired t at level {fmt(1 - risk)}, {percent(POWER)} power {aim}, effect and spread as "
        "measured"
    )
    return _needs(comparison, pairs, rule)


def _least(power: Power, spread: float, alpha: float, start: int) -> int | None:
    if spread == 0:
        return start
    return statistics.least_n(lambda n: power(spread, n, alpha) >= POWER, start, MOST_PAIRS)


def _aims(comparison: Comparison, mean: float) -> dict[str, Power]:
    """Outcomes of the interval that decide the claim, with the power to reach each."""
    if comparison.one_sided:
        distance = mean - comparison.limit
        return {"to lie on one side of the limit": partial(statistics.power_to_differ, distance)}
    margin, equal = comparison.claim.margin.value, comparison.claim.direction == "equal"
    aims: dict[str, Power] = {}
    if not equal:
        aims["to leave out zero"] = partial(statistics.power_to_differ, mean)
    elif abs(mean) >= margin:
        aims["to lie outside the margin"] = partial(statistics.power_to_differ, abs(mean) - margin)
    if abs(mean) < margin:
        aims["to lie within the margin"] = partial(statistics.power_to_agree, margin, mean)
    return aims


def _of_rates(comparison: Comparison, alpha: float) -> Needs:
    rates = [failed / n for failed, n in (comparison.rate(side) for side in comparison.sides)]
    least, margin = len(comparison.pairs) + 1, comparison.claim.margin.value
    if abs(rates[0] - rates[1]) >= margin:
        pairs = statistics.least_n(
            lambda k: statistics.fisher_power((rates[0], rates[1]), k, alpha) >= POWER,
            least,
            MOST_RUNS,
        )
        words = f"Fisher's exact test at {fmt(alpha)}, {percent(POWER)} power, rates as observed"
        return _needs(comparison, pairs, words)
    pairs = statistics.least_n(lambda k: _narrow(rates, k, margin, alpha), least, MOST_PAIRS)
    words = (
        "the observed rates differ by less than the margin, and no number of runs is expected to "
        f"tell them apart; from this one on the exact {percent(1 - alpha)} interval of each is "
        "narrower than the margin to both sides"
    )
    return _needs(comparison, pairs, words)


def _narrow(rates: list[float], n: int, margin: float, alpha: float) -> bool:
    for rate in rates:
        found = statistics.clopper_pearson(round(rate * n), n, 1 - alpha)
        assert found.low is not None and found.high is not None
        if max(found.high - found.estimate, found.estimate - found.low) >= margin:
            return False
    return True


# --- cost as text -----------------------------------------------------------------------------


def _needs(comparison: Comparison, pairs: int | None, rule: str) -> Needs:
    cores = _cores(comparison)
    if pairs is None:
        most = MOST_RUNS if comparison.claim.evidence == "failure_rate" else MOST_PAIRS
        words = f"more than {most} pairs: no number within the search limit decides it ({rule})"
        return _needs_record(comparison, words, rule)
    here = len(comparison.pairs)
    more = pairs - here
    extra = {side.name: more for side in comparison.varied}
    fresh = {side.name: pairs for side in comparison.varied}
    one, together = _minutes(comparison, extra, 1), _minutes(comparison, extra, cores)
    fresh_cost = _minutes(comparison, fresh, 1)
    words = (
        f"about {counted(pairs, 'pair')}, {more} more than the {here} here "
        f"({_cost(one, together, comparison)}); {rule}. {_advice(comparison, pairs, fresh_cost)}"
    )
    return _needs_record(comparison, words, rule, (pairs, more), (one, together, fresh_cost))


def _needs_record(
    comparison: Comparison,
    sentence: str,
    rule: str = "",
    pairs: tuple[int | None, int | None] = (None, None),
    minutes: tuple[float | None, float | None, float | None] = (None, None, None),
) -> Needs:
    return Needs(
        pairs=pairs[0],
        more=pairs[1],
        minutes=minutes[0],
        minutes_all_cores=minutes[1],
        minutes_new_claim=minutes[2],
        cores=_cores(comparison),
        rule=rule,
        sentence=sentence,
    )


def _advice(comparison: Comparison, pairs: int, minutes: float | None) -> str:
    fixed = comparison.claim.needed_seeds
    if pairs <= fixed:
        return f"The claim itself fixes {fixed}"
    cost = "" if minutes is None else f" ({_time(minutes)} on {_device_words(comparison)})"
    return (
        "Seeds added to this claim after a look would be optional stopping: enter a new claim with "
        f"{pairs} fresh seeds{cost}"
    )


def _minutes(comparison: Comparison, runs: dict[str, int], cores: int | None) -> float | None:
    """Minutes for `runs` (arm -> number of runs), in parallel on `cores`; None if unknown."""
    sides = [side for side in comparison.varied if runs.get(side.name)]
    if cores is None or any(side.seconds is None for side in sides):
        return None
    return sum(math.ceil(runs[s.name] / cores) * _seconds(s) for s in sides) / 60


def _seconds(side: Side) -> float:
    assert side.seconds is not None
    return side.seconds


def _cost(one: float | None, together: float | None, comparison: Comparison) -> str:
    if one is None:
        return "no run of an arm was timed, so the minutes cannot be estimated"
    cores = _cores(comparison)
    several = cores is not None and cores > 1 and together is not None
    more = f", {_time(together or 0)} on {cores}" if several else ""
    return f"{_time(one)} on {_device_words(comparison)}{more}"


def _time(minutes: float) -> str:
    return "under a minute" if minutes < 1 else f"{math.ceil(minutes)} min"


def _device_words(comparison: Comparison) -> str:
    devices = _devices(comparison)
    return "one core" if set(devices) <= {"cpu"} else f"one device ({join_words(devices)})"


def _devices(comparison: Comparison) -> list[str]:
    found = {content.get("device") for _, content in comparison.runs if content["label"] == "arm"}
    return sorted(str(device) for device in found if device)


def _cores(comparison: Comparison) -> int | None:
    """Number of cores of the machine of the runs; None if unknown or not the same for all."""
    found = {content.get("cores") for _, content in comparison.runs if content["label"] == "arm"}
    return next(iter(found)) if len(found) == 1 else None

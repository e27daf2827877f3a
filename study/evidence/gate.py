"""Before runs: can a claim be decided at all, and is it likely to be?

A claim is refused when
- no outcome of its runs could reach its level: too few pairs for means, too few runs for Fisher's
  exact test, no planned look at which the log-rank test can reject, arms that share no seed;
- its power is below 0.5 where the true effect is the margin and the spread is the one that
  comparable stored runs have (which they are is said). Without any, the power is not known;
- a constant object is the best possible answer to its metric on its data, or meets its bound;
- its margin is not the one that earlier new claims about the same metric have.

The level is that of the family's first Holm step, alpha over the number of its claims: what the
claim can count on whatever the others show.

Refused are new claims only. The others are reported: those with results of both arms, for which
there is no "before the runs" any more, and those that git shows to be older than the gate
(`GATE_SINCE`). They were registered under the rules of their time, and a claim that has to be
changed to let its arms run would lose what its registration was for.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from study.evidence import spending, statistics
from study.evidence.arms import ArmResults, factors, load_arms, load_recorded
from study.evidence.claims import OF_MEANS, Claim, ClaimBook, claim_files, load_claims
from study.evidence.comparison import Comparison, Side, make_comparison
from study.evidence.format import counted, fmt, join_words
from study.evidence.metric_catalog import KNOWN
from study.evidence.pipelines import Declared, declared, pipelines_of
from study.evidence.preregistration import claims_at
from study.runs import environment
from study.runs.recorded import results_of
from study.settings import Arm, Row, Study, UserError, load_study

GATE_SINCE = "2026-11-30T06:03:00+00:00"
OLDER = "it was committed before claims were judged before their runs"
HAS_RESULTS = "both arms have results already"
LEAST_POWER = 0.5
USUAL_POWER = 0.8
FEWEST_PAIRS = 3  # from which a spread is taken
MOST_PAIRS = 10_000
MOST_RUNS = 200
# Scores that cannot be better, by the last part of a metric's path.
BEST_POSSIBLE = {"mae": 0.0, "mse": 0.0, "ssim": 1.0, "ms_ssim": 1.0}


@dataclass(frozen=True)
class Assessment:
    """What a claim can decide with its registered seeds.

    `problems`: sentences, empty for a claim that passes. `enforced`: whether they refuse its runs;
    `exempt` says why not. `power` at a true effect of the margin, None where it is not known, and
    then `basis` says why. `seeds_for_half`, `seeds_for_usual`: pairs for a power of 0.5 and 0.8.
    """

    claim: str
    level: float
    problems: tuple[str, ...]
    power: float | None
    basis: str
    seeds_for_half: int | None
    seeds_for_usual: int | None
    exempt: str | None

    @property
    def enforced(self) -> bool:
        return self.exempt is None

    @property
    def sentence(self) -> str | None:
        """The problems in one sentence; None for a claim that passes."""
        return f"{self.claim}: {'; '.join(self.problems)}" if self.problems else None


@dataclass(frozen=True)
class Known:
    """What claims are judged by: stored results, declared arms and data sets, and the claims that
    are only reported, with the reason."""

    arms: Mapping[str, ArmResults]
    declared: Declared
    exempt: Mapping[str, str]


def assess(claim: Claim, book: ClaimBook, known: Known) -> Assessment:
    """Judge one claim of `book`."""
    comparison = make_comparison(claim, known.arms, known.declared.rows)
    size = len(book.families[claim.family])
    level = statistics.ALPHA / size
    # Of a claim with looks the last one decides alone: it can rely on no more.
    last = spending.allowances(claim.looks, level)[-1] if claim.looks else level
    unreachable, power = _unreachable(comparison, last, size), _power(comparison, last, known)
    problems = (
        unreachable,
        None if unreachable else _weak(claim, last, power),
        _measures_nothing(comparison, known),
        _other_margin(claim, book, known.exempt),
    )
    return Assessment(
        claim.id,
        level,
        tuple(problem for problem in problems if problem),
        power.value,
        power.basis,
        power.for_half,
        power.for_usual,
        known.exempt.get(claim.id),
    )


def refuse(root: Path, names: Collection[str]) -> None:
    """Raise UserError when a new claim on one of these arms cannot be decided.

    `names`: arms of the pipeline folder `root`; claims about them are in its own claims.yaml and,
    as `<pipeline>/<arm>`, in that of the checkout.
    """
    refuse_claims(assessed(root, names, new_only=True))


def refuse_claims(assessments: Iterable[Assessment]) -> None:
    """Raise UserError with the problems of those that are enforced."""
    if words := [a.sentence for a in assessments if a.enforced and a.sentence]:
        raise UserError(
            f"{'; '.join(words)}. Change the claim before its runs, or leave it out; nothing was "
            "run or written"
        )


def assessed(root: Path, names: Collection[str], new_only: bool = False) -> list[Assessment]:
    """The claims about some arms of the pipeline folder `root`, judged.

    Raises UserError for a claims.yaml, params.yaml or result that cannot be read.
    """
    found: list[Assessment] = []
    for file, prefix in claim_files(root):
        book, wanted = load_claims(file), {f"{prefix}{name}" for name in names}
        claims = [claim for claim in book.claims if wanted & set(claim.arm_names)]
        exempt = exemptions(book) if claims else {}
        # Results are read for claims that can be refused, and there are few of them.
        claims = [claim for claim in claims if not (new_only and claim.id in exempt)]
        if claims:
            settings = file.parent / "params.yaml"
            known = known_of(file.parent, claims, load_study(settings), exempt)
            found += [assess(claim, book, known) for claim in claims]
    return found


def known_of(
    root: Path,
    claims: Sequence[Claim],
    study: Study,
    exempt: Mapping[str, str],
    arms: Mapping[str, ArmResults] | None = None,
) -> Known:
    """What some claims of the claims.yaml in `root` are judged by.

    `study`: its params.yaml; `arms`: the stored results where they were read already.
    """
    pipelines = pipelines_of(name for claim in claims for name in claim.arm_names)
    if arms is None:
        arms = load_arms(root / "results")
        for name in sorted(pipelines):
            arms |= load_recorded(root, name)
    return Known(arms, declared(root, study, pipelines), exempt)


# --- who is past the gate ---------------------------------------------------------------------


def exemptions(book: ClaimBook) -> dict[str, str]:
    """Claim id -> why it is reported and not refused. New claims are not in it."""
    root = book.path.parent
    last = ("rev-list", "-1", f"--before={GATE_SINCE}", "HEAD", "--", book.path.name)
    commit = (environment.git(*last, root=root) or "").strip()
    old = claims_at(book.path, commit) if commit else None
    before = {claim.id: claim for claim in old.claims} if old else {}
    found: dict[str, str] = {}
    for claim in book.claims:
        later = {"replaces": claim.replaces}
        if claim.id in before and before[claim.id].model_copy(update=later) == claim:
            found[claim.id] = OLDER
        elif all(_has_results(root, n) for n in (claim.arms.treatment, claim.arms.control)):
            found[claim.id] = HAS_RESULTS
    return found


def _has_results(root: Path, name: str) -> bool:
    return any((results_of(root, name) / "seeds").glob("s*.json"))


# --- whatever the data ------------------------------------------------------------------------


def _unreachable(comparison: Comparison, level: float, claims: int) -> str | None:
    """Why no outcome of the runs can decide the claim, with the seeds that could; None for none."""
    claim = comparison.claim
    at = f"at level {fmt(level)} ({counted(claims, 'claim')} in family {claim.family}"
    at += ", last look)" if claim.looks else ")"
    baselines = [side.name for side in comparison.sides if side.is_reference]
    if not comparison.varied or (claim.evidence not in OF_MEANS and baselines):
        names = join_words(baselines)
        return f"{names} is not a network: it has no failure rate, and one run no spread"
    asked = [set(side.asked.seeds) for side in comparison.varied if side.asked is not None]
    if claim.survival is None and len(asked) == 2 and not asked[0] & asked[1]:
        names = " and ".join(side.name for side in comparison.varied)
        return (
            f"{names} share no seed, and runs are compared seed by seed: declare the same in both"
        )
    n = claim.needed_seeds
    if claim.survival is not None:
        return _no_look(claim, level, at)
    if claim.evidence == "failure_rate":
        test = statistics.RATE_TESTS[claim.test].p
        smallest = test((n, n), (0, n))
        if smallest <= level:
            return None
        least = statistics.least_n(lambda k: test((k, k), (0, k)) <= level, n, MOST_RUNS)
        return (
            f"{n} runs per arm cannot differ {at}: all against none has exact p = "
            f"{fmt(smallest, 2)}; {least} runs per arm are the fewest that can"
        )
    least = statistics.least_pairs(level)
    if n >= least:
        return None
    return (
        f"{n} pairs cannot decide it {at}: the smallest exact p is "
        f"{fmt(statistics.smallest_sign_flip_p(n), 2)}; {least} pairs are the fewest that can"
    )


def _no_look(claim: Claim, level: float, at: str) -> str | None:
    """Every look has a smallest p, that of arms which are wholly apart."""
    plan = claim.survival
    assert plan is not None, "asked of survival claims"
    rounds = len(plan.seeds)
    if any(
        _smallest_log_rank_p(look, plan.sides) <= spending.spent(level, look / rounds)
        for look in plan.looks
    ):
        return None
    least = statistics.least_n(
        lambda n: _smallest_log_rank_p(n, plan.sides) <= level, rounds, MOST_RUNS
    )
    return (
        f"none of its looks can reject {at}: after all {rounds} rounds the smallest p is "
        f"{fmt(_smallest_log_rank_p(rounds, plan.sides), 2)}; {least} rounds are the fewest that "
        "can"
    )


def _smallest_log_rank_p(rounds: int, sides: int) -> float:
    return min(1.0, sides / math.comb(2 * rounds, rounds))


# --- power ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Power:
    """`value` None: unknown; `basis` is the reason."""

    value: float | None
    basis: str
    for_half: int | None = None
    for_usual: int | None = None


def _power(comparison: Comparison, level: float, known: Known) -> _Power:
    claim = comparison.claim
    if claim.survival is not None:
        return _Power(None, "the power of a survival claim is not computed")
    if claim.evidence == "failure_rate":
        return _power_of_rates(comparison, level, known)
    spread = _spread(comparison, known)
    if spread is None:
        return _Power(None, f"no comparable stored runs have {claim.metric}")
    deviation, basis = spread
    margin = claim.margin.value

    def power(n: int) -> float:
        if deviation == 0:
            return 1.0
        if claim.direction == "equal":
            return statistics.power_to_agree(margin, 0.0, deviation, n, level)
        return statistics.power_to_differ(margin, deviation, n, level)

    return _found(power, claim.needed_seeds, MOST_PAIRS, f"spread {fmt(deviation, 3)} {basis}")


def _found(power: Callable[[int], float], n: int, most: int, basis: str) -> _Power:
    value = power(n)

    def least(aim: float) -> int | None:
        return n if value >= aim else statistics.least_n(lambda k: power(k) >= aim, n, most)

    return _Power(value, basis, least(LEAST_POWER), least(USUAL_POWER))


def _power_of_rates(comparison: Comparison, level: float, known: Known) -> _Power:
    """The control's rate is the stored one; without any, the one that makes it easiest."""
    claim, margin = comparison.claim, comparison.claim.margin.value
    anchor = _stored_or_nearest(comparison.control, known)
    sign = 1 if claim.direction == "higher" else -1
    if anchor is None:
        rates = (0.0, min(1.0, margin))
        basis = "at the control's rate that makes it easiest (no comparable stored runs)"
    else:
        runs = len(anchor.seeds)
        failed = runs - len(anchor.with_outcome("ok"))
        rates = (failed / runs, failed / runs + sign * margin)
        basis = f"{failed} of {runs} stored runs of {anchor.name} failed or collapsed"
        if not 0 <= rates[1] <= 1:
            way = "above" if sign > 0 else "below"
            return _Power(0.0, f"{basis}, and no rate lies {fmt(margin)} {way} that")

    def power(n: int) -> float:
        # Boschloo's test has at least this power; its own takes minutes for so many tables.
        return statistics.fisher_power(rates, n, level)

    return _found(power, claim.needed_seeds, MOST_RUNS, basis)


def _weak(claim: Claim, level: float, power: _Power) -> str | None:
    if power.value is None or power.value >= LEAST_POWER:
        return None
    noun, most = ("run", MOST_RUNS) if claim.evidence == "failure_rate" else ("pair", MOST_PAIRS)
    if power.value == 0.0 and power.for_half is None:
        return f"no number of runs shows a difference of its margin: {power.basis}"
    unit = f" {claim.column.unit}" if claim.column.unit else ""
    needs = [
        f"{'more than ' + str(most) if n is None else n} for {fmt(aim)}"
        for n, aim in ((power.for_half, LEAST_POWER), (power.for_usual, USUAL_POWER))
    ]
    return (
        f"its power is {fmt(power.value, 2)} with {counted(claim.needed_seeds, noun)} at level "
        f"{fmt(level)} and margin {fmt(claim.margin.value)}{unit} ({power.basis}), at least "
        f"{fmt(LEAST_POWER)} is accepted; it needs {' and '.join(needs)}"
    )


# --- comparable stored runs -------------------------------------------------------------------


def _spread(comparison: Comparison, known: Known) -> tuple[float, str] | None:
    """Standard deviation of the differences that the claim will have, and the runs behind it.

    Of its own pairs; without any, of the control's runs paired with those of the arms on the same
    data that are nearest to it; against a reference, of the runs of the nearest arm.
    """
    metric = comparison.claim.metric
    own = comparison.differences if comparison.seeds else []
    if len(own) >= FEWEST_PAIRS:
        return _deviation([own]), f"over its own {counted(len(own), 'pair')}"
    if comparison.fixed is not None:
        if not comparison.varied:
            return None  # two rows of one value each: no spread, and no test
        anchor = _stored_or_nearest(comparison.varied[0], known, metric)
        if anchor is None:
            return None
        values = list(anchor.values(metric).values())
        return _deviation([values]), f"over {counted(len(values), 'stored run')} of {anchor.name}"
    anchor = _stored_or_nearest(comparison.control, known, metric)
    if anchor is None:
        return None
    pairs = {
        name: differences
        for name, other in known.arms.items()
        if name != anchor.name
        and _is_network(other)
        and other.data_sha256 == anchor.data_sha256
        and len(differences := _differences(other, anchor, metric)) >= FEWEST_PAIRS
    }
    near = _nearest(anchor.row, {name: known.arms[name] for name in pairs})
    if not near:
        return None
    counts = sorted({len(pairs[name]) for name in near})
    each = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    others = f"{'each of ' if near[1:] else ''}{join_words(near)}"
    basis = f"over {each} pairs of {anchor.name} with {others}"
    return _deviation([pairs[name] for name in near]), basis


def _deviation(samples: Sequence[Sequence[float]]) -> float:
    """Pooled standard deviation."""
    variances = [float(np.var(sample, ddof=1)) for sample in samples]
    freedom = [len(sample) - 1 for sample in samples]
    return math.sqrt(float(np.average(variances, weights=freedom)))


def _differences(arm: ArmResults, control: ArmResults, metric: str) -> list[float]:
    left, right = arm.values(metric), control.values(metric)
    return [left[seed] - right[seed] for seed in sorted(left.keys() & right.keys())]


def _stored_or_nearest(side: Side, known: Known, metric: str | None = None) -> ArmResults | None:
    """The results of an arm; without enough, of the stored network with the fewest other settings.

    `metric`: a number that enough of its seeds have.
    """
    row = side.row
    if side.results is not None and _enough(side.results, metric):
        return side.results
    if row is None:
        return None
    stored = {name: arm for name, arm in known.arms.items() if _enough(arm, metric)}
    near = _nearest(row, {name: arm for name, arm in stored.items() if _is_network(arm)})
    return known.arms[near[0]] if near else None


def _enough(arm: ArmResults, metric: str | None) -> bool:
    return len(arm.seeds if metric is None else arm.values(metric)) >= FEWEST_PAIRS


def _is_network(arm: ArmResults) -> bool:
    return arm.label == "arm" and isinstance(arm.row, Arm)


def _nearest(row: Row | None, arms: Mapping[str, ArmResults]) -> list[str]:
    """The arms that differ from `row` in the fewest factors."""
    if row is None:
        return []
    distances = {
        name: len(factors(row, arm.row)) for name, arm in arms.items() if arm.row is not None
    }
    least = min(distances.values(), default=0)
    return [name for name, distance in distances.items() if distance == least]


# --- what is asked ----------------------------------------------------------------------------


def _measures_nothing(comparison: Comparison, known: Known) -> str | None:
    """Why the metric cannot tell a method that retrieves from one that does not: the phase of the
    objects is a function of their amplitude, or the claim is vacuous.

    None elsewhere, and where no constant was scored on this data."""
    column = KNOWN.get(comparison.claim.metric)
    if column is None or column.channel is None or comparison.claim.metric.startswith("gap."):
        return vacuous(comparison, known)
    metric = comparison.claim.metric
    for side in comparison.sides:
        if side.row is None or column.channel != "phase":
            continue
        pipeline = side.name.rpartition("/")[0]
        data = f"{pipeline}/{side.row.data}" if pipeline else side.row.data
        params = known.declared.data.get(data)
        if params is not None and params.phase in (False, "none"):
            return f"the objects of {side.row.data} have no phase: a constant has the best {metric}"
        if params is not None and params.phase is True:
            return (
                f"the phase of the objects of {side.row.data} is a function of their amplitude "
                f"(phase: from_amplitude), so {metric} cannot tell retrieving it from copying it: "
                "use a data set with phase: independent"
            )
    return vacuous(comparison, known)


def vacuous(comparison: Comparison, known: Known) -> str | None:
    """Why a constant object already answers the claim: it meets the goal, or no score of the
    metric can be better than its own. None where neither holds or no constant was scored."""
    claim = comparison.claim
    if claim.metric not in KNOWN or claim.metric.startswith("gap."):
        return None
    for side in comparison.sides:
        if side.row is None:
            continue
        best = _best(claim.metric, side, known)
        for name, arm in _on_data(side, known).items():
            value = _score(arm, claim.metric) if arm.label == "floor" else None
            if value is None:
                continue
            has = f"{claim.metric} is {fmt(value)} for a constant object ({name})"
            if claim.bound is not None:
                if (value < claim.bound) == (claim.direction == "lower") or value == claim.bound:
                    return f"{has}, which meets the goal {fmt(claim.bound)} on {side.row.data}"
                continue
            worse = None if best is None else value - best
            if worse is not None and (worse if claim.column.better == "lower" else -worse) <= 1e-9:
                return (
                    f"{has} and cannot be better than {fmt(best)} on {side.row.data}: it measures "
                    "nothing there"
                )
    return None


def _on_data(side: Side, known: Known) -> dict[str, ArmResults]:
    """Stored arms of the same pipeline on the same data set."""
    assert side.row is not None
    pipeline = side.name.rpartition("/")[0]
    return {
        name: arm
        for name, arm in known.arms.items()
        if name.rpartition("/")[0] == pipeline and side.row.data in arm.facts("data", "path")
    }


def _score(arm: ArmResults, metric: str) -> float | None:
    """Mean of the metric over the seeds of a reference, of which there is one where all seeds have
    the same objects."""
    values = arm.values(metric).values()
    return float(np.mean(list(values))) if values else None


def _best(metric: str, side: Side, known: Known) -> float | None:
    """The best score on a data set: that of the truth, or the bound of the metric."""
    if (bound := BEST_POSSIBLE.get(metric.rpartition(".")[2])) is not None:
        return bound
    ceilings = (arm for arm in _on_data(side, known).values() if arm.label == "ceiling")
    return next((score for arm in ceilings if (score := _score(arm, metric)) is not None), None)


def _other_margin(claim: Claim, book: ClaimBook, exempt: Mapping[str, str]) -> str | None:
    """Why no earlier claim of the file about the metric has this margin; None where one has, or
    where there is none.

    Claims that another one replaces do not count; nor do, for a new claim, those that are older
    than the gate: a rate margin of 0.1, which 8 runs cannot show, would bind every later one.
    """
    replaced = {old for other in book.claims for old in other.replaces}
    if exempt.get(claim.id) != OLDER:
        replaced |= {other for other, reason in exempt.items() if reason == OLDER}
    ids = [other.id for other in book.claims]
    earlier: dict[float, str] = {}
    for other in book.claims[: ids.index(claim.id)]:
        if other.metric == claim.metric and other.id not in replaced:
            earlier.setdefault(other.margin.value, other.id)
    if not earlier or claim.margin.value in earlier or claim.id in replaced:
        return None
    unit = f" {claim.column.unit}" if claim.column.unit else ""
    told = join_words(f"{fmt(value)}{unit} in {first}" for value, first in earlier.items())
    return (
        f"its margin for {claim.metric} is {fmt(claim.margin.value)}{unit}, but {told}: one metric "
        "takes one margin"
    )

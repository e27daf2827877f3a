"""The check of a claim before its runs: whether it can be decided, and is likely to be.

A claim is refused if
- no outcome of its runs could reach its level: too few pairs for means, too few runs for the exact
  test of failure rates, no planned look at which the log-rank test can reject, or no common seed;
- its power is below 0.5 for a true effect equal to the margin (for equality and for "not worse by
  more than the margin": zero) and the spread of comparable stored runs (the message names them).
  Without comparable runs, the power is unknown and the claim is accepted;
- a constant object has the best possible score of its metric on its data, or meets its bound;
- its margin differs from that of earlier new claims about the same metric.

The level is that of the first Holm step of the family, alpha divided by the number of claims, which
the claim has regardless of the other claims.

Only new claims are refused. Others are only reported: claims whose arms all have results, and
claims that are older than this check according to git (`GATE_SINCE`). They were registered under
the rules of their time, and changing a claim so that its arms may run would defeat its
registration.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from study.evidence import spending, statistics
from study.evidence.arms import ArmResults, load_arms, load_recorded
from study.evidence.claims import OF_MEANS, Claim, ClaimBook, check_arms, claim_files, load_claims
from study.evidence.comparison import Comparison, make_comparison
from study.evidence.constant_answers import answered_by_constant
from study.evidence.expected_power import MOST_RUNS, Background, expected_power, low_power_problem
from study.evidence.format import counted, fmt, join_words
from study.evidence.pipelines import declared, pipelines_of
from study.evidence.preregistration import claims_at
from study.runs import environment
from study.runs.recorded import results_of
from study.settings import Study, UserError, load_study

GATE_SINCE = "2026-11-30T06:03:00+00:00"
OLDER = "it was committed before claims were judged before their runs"
HAS_RESULTS = "all its arms have results already"


@dataclass(frozen=True)
class Assessment:
    """What a claim can decide with its registered seeds.

    `problems`: sentences, empty if the claim passes. `enforced`: whether problems prevent its runs;
    if not, `exempt` is the reason. `power`: for a true effect equal to the margin, None if unknown;
    `basis`: how it was estimated, or why it is unknown. `seeds_for_half`, `seeds_for_usual`: pairs
    (or runs per arm) for a power of 0.5 and 0.8.
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
        """The problems in one sentence; None if the claim passes."""
        return f"{self.claim}: {'; '.join(self.problems)}" if self.problems else None


def assess(claim: Claim, book: ClaimBook, known: Background) -> Assessment:
    """Check one claim of `book`."""
    comparison = make_comparison(claim, known.arms, known.declared.rows)
    size = len(book.families[claim.family])
    level = statistics.ALPHA / size
    # For a claim with looks, only the last look is checked.
    last = spending.allowances(claim.looks, level)[-1] if claim.looks else level
    unreachable = _unreachable(comparison, last, size)
    power = expected_power(comparison, last, known)
    problems = (
        unreachable,
        None if unreachable else low_power_problem(claim, last, power),
        answered_by_constant(comparison, known),
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


def refuse_undecidable(root: Path, names: Collection[str]) -> None:
    """Raise UserError if a new claim on one of these arms cannot be decided.

    `names`: arms of the pipeline folder `root`; claims about them are in its claims.yaml and, as
    `<pipeline>/<arm>`, in that of the checkout.
    """
    refuse_claims(assessed(root, names, new_only=True))


def refuse_claims(assessments: Iterable[Assessment]) -> None:
    """Raise UserError with the problems of all enforced assessments, if there are any."""
    if words := [a.sentence for a in assessments if a.enforced and a.sentence]:
        raise UserError(
            f"{'; '.join(words)}. Change or remove the claim before training; nothing was "
            "run or written"
        )


def assessed(root: Path, names: Collection[str], new_only: bool = False) -> list[Assessment]:
    """Check the claims about some arms of the pipeline folder `root`.

    `new_only`: skip exempt claims. Raises UserError for a claims.yaml, params.yaml or result that
    cannot be read, and for a claim that names an unknown arm.
    """
    found: list[Assessment] = []
    for file, prefix in claim_files(root):
        book, wanted = load_claims(file), {f"{prefix}{name}" for name in names}
        claims = [claim for claim in book.claims if wanted & set(claim.arm_names)]
        exempt = exemptions(book) if claims else {}
        # Results are read only for claims that can be refused, of which there are few.
        claims = [claim for claim in claims if not (new_only and claim.id in exempt)]
        if claims:
            study = load_study(file.parent / "params.yaml")
            known = known_of(file.parent, claims, study, exempt)
            others = {*known.arms, *known.declared.rows}
            check_arms(replace(book, claims=tuple(claims)), study, others)
            found += [assess(claim, book, known) for claim in claims]
    return found


def known_of(
    root: Path,
    claims: Sequence[Claim],
    study: Study,
    exempt: Mapping[str, str],
    arms: Mapping[str, ArmResults] | None = None,
) -> Background:
    """The background for checking some claims of the claims.yaml in `root`.

    `study`: its params.yaml; `exempt`: claims that are not refused, with the reason; `arms`: the
    stored results, if they were already read.
    """
    pipelines = pipelines_of(name for claim in claims for name in claim.arm_names)
    if arms is None:
        arms = load_arms(root / "results")
        for name in sorted(pipelines):
            arms |= load_recorded(root, name)
    return Background(arms, declared(root, study, pipelines), exempt)


# --- claims older than this check -------------------------------------------------------------


def exemptions(book: ClaimBook) -> dict[str, str]:
    """Claim id -> why the claim is only reported, not refused; new claims are not included."""
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
        elif all(_has_results(root, name) for name in claim.arm_names):
            found[claim.id] = HAS_RESULTS
    return found


def _has_results(root: Path, name: str) -> bool:
    return any((results_of(root, name) / "seeds").glob("s*.json"))


# --- checks that do not depend on results -----------------------------------------------------


def _unreachable(comparison: Comparison, level: float, claims: int) -> str | None:
    """Why no outcome of the runs can decide the claim, with the number of seeds needed; or None."""
    claim = comparison.claim
    at = f"at level {fmt(level)} ({counted(claims, 'claim')} in family {claim.family}"
    at += ", last look)" if claim.looks else ")"
    baselines = [side.name for side in comparison.sides if side.is_baseline]
    if not comparison.varied or (claim.evidence not in OF_MEANS and baselines):
        names = join_words(baselines)
        return f"{names} is not a network: it has no failure rate, and one run no spread"
    seeds = [set(side.asked.seeds) for side in comparison.varied if side.asked is not None]
    if claim.survival is None and len(seeds) == 2 and not seeds[0] & seeds[1]:
        names = " and ".join(side.name for side in comparison.varied)
        return (
            f"{names} share no seed, and runs are compared seed by seed: declare the same in both"
        )
    n = claim.needed_seeds
    if claim.survival is not None:
        return _no_look(claim, level, at)
    if claim.evidence == "failure_rate":
        test = statistics.RATE_TESTS[claim.test].p
        # The smallest p falls with n, and is below every level long before this number.
        enough = min(n, MOST_RUNS)
        smallest = test((enough, enough), (0, enough))
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
    """Why no look of a survival claim can reject, or None.

    The smallest p at a look is that of completely separated arms.
    """
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


def _smallest_log_rank_p(rounds: int, tails: int) -> float:
    return min(1.0, tails / math.comb(2 * rounds, rounds))


def _other_margin(claim: Claim, book: ClaimBook, exempt: Mapping[str, str]) -> str | None:
    """How the margin differs from those of earlier claims about the metric; None if one agrees or
    there are none.

    Replaced claims are ignored, and for a new claim also those older than this check: otherwise a
    margin for rates of 0.1, which 8 runs cannot show, would bind all later claims. Margins of
    survival claims are compared only within a family, whose claims share the horizon.
    """
    replaced = {old for other in book.claims for old in other.replaces}
    if exempt.get(claim.id) != OLDER:
        replaced |= {other for other, reason in exempt.items() if reason == OLDER}
    ids = [other.id for other in book.claims]
    earlier: dict[float, str] = {}
    for other in book.claims[: ids.index(claim.id)]:
        same_scale = claim.survival is None or other.family == claim.family
        if other.metric == claim.metric and same_scale and other.id not in replaced:
            earlier.setdefault(other.margin.value, other.id)
    if not earlier or claim.margin.value in earlier or claim.id in replaced:
        return None
    unit = f" {claim.column.unit}" if claim.column.unit else ""
    others = join_words(f"{fmt(value)}{unit} in {first}" for value, first in earlier.items())
    return (
        f"its margin for {claim.metric} is {fmt(claim.margin.value)}{unit}, but {others}: each "
        "metric has one margin"
    )

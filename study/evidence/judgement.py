"""The entry of a claim in the findings: its verdict and everything on which this is based."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from study.evidence import statistics, survival
from study.evidence.claim_files import files_behind
from study.evidence.claim_finding import (
    ClaimFinding,
    Contrast,
    Family,
    GateBeforeRuns,
    GateOfClaim,
    LifeOfRun,
    LookTaken,
    MeansTest,
    RanksTest,
    RatesTest,
    SeedOfClaim,
    SideOfSeed,
    SurvivalOfArm,
    SurvivalTest,
    Verdict,
)
from study.evidence.claims import BOUND, OF_MEANS, ClaimBook
from study.evidence.comparability import checks_of
from study.evidence.comparison import Comparison, Side
from study.evidence.constant_answers import vacuous
from study.evidence.decidability import assess
from study.evidence.estimates import Effect, Estimate
from study.evidence.expected_power import Background
from study.evidence.flags import scale_defects
from study.evidence.format import counted, fmt, join_words, reproduce
from study.evidence.metric_catalog import CHECKPOINTS
from study.evidence.power import needs_of
from study.evidence.preregistration import not_confirmatory
from study.evidence.verdicts import Decision, outcomes


def make_finding(
    comparison: Comparison,
    decision: Decision,
    alpha: float,
    book: ClaimBook,
    known: Background,
    past: Sequence[Verdict],
    root: Path,
) -> ClaimFinding:
    """The finding for one claim.

    `alpha`: its Holm level; `past`: its earlier verdicts; `root`: the pipeline folder.
    """
    claim = comparison.claim
    if decision.looks:
        comparison = comparison.at(decision.looks[-1].rounds)
    kind, standing = _standing(comparison, book)
    needs = needs_of(comparison, alpha) if _lacks_seeds(decision) else None
    command = reproduce(sorted(claim.arm_names, key=claim.arms.treatment.__eq__))
    effect = None
    if decision.effect is not None:
        effect = Effect.of(decision.effect, id=f"{claim.id}/effect", unit=claim.column.unit)
    history = _history(comparison, decision, kind, past)
    return ClaimFinding(
        id=claim.id,
        text=claim.text,
        requested=claim.kind,
        kind=kind,
        standing=standing,
        status=decision.status,
        reason=decision.reason,
        contrast=Contrast(treatment=claim.arms.treatment, control=claim.arms.control),
        metric=claim.metric,
        title=claim.column.title,
        unit=claim.column.unit,
        direction=claim.direction,
        decided_by=claim.evidence,
        bound=claim.bound,
        margin=claim.margin.value,
        margin_unit=claim.margin.unit,
        needed_seeds=claim.needed_seeds,
        family=Family(
            name=claim.family, claims=[c.id for c in book.families[claim.family]], alpha=alpha
        ),
        changed=comparison.changed,
        effect=effect,
        test=_test(comparison, decision, alpha),
        pairing=_pairing(comparison),
        n=comparison.n,
        needs=needs,
        gate=GateBeforeRuns(**asdict(assess(claim, book, known))),
        replaces=dict(claim.replaces),
        seeds=_seeds(comparison),
        gates=[
            GateOfClaim(name=g.name, passed=True)
            if g.passed
            else GateOfClaim(name=g.name, passed=False, reason=g.reason)
            for g in checks_of(comparison)
        ],
        limits=_limits(comparison, decision, alpha),
        one_object=_one_object(comparison),
        evidence=files_behind(comparison, root),
        claim_sha256=claim.sha256,
        reproduce=f"{command} && dvc repro -s findings",
        history=history,
        supersedes=history[-2] if history[1:] else None,
        **_of_few(comparison, decision, known),
    )


def _of_few(comparison: Comparison, decision: Decision, known: Background) -> dict[str, Any]:
    """Fields that few claims have; they are omitted if empty."""
    looks = [LookTaken(**asdict(look)) for look in decision.looks]
    found = {
        "published": comparison.claim.published,
        "vacuous": vacuous(comparison, known),
        "planned_looks": list(comparison.claim.looks),
        "looks_taken": looks,
    }
    return {key: value for key, value in found.items() if value}


def _lacks_seeds(decision: Decision) -> bool:
    """Whether more seeds could decide the claim."""
    return decision.status in ("inconclusive", "pending")


def _pairing(comparison: Comparison) -> str:
    if comparison.claim.evidence not in OF_MEANS:
        return "none"
    return "seed" if comparison.fixed is None else "one fixed value"


def _standing(comparison: Comparison, book: ClaimBook) -> tuple[str, str]:
    """("confirmatory" or "exploratory", a sentence with the number of seeds and the reason).

    A claim is confirmatory only with exactly the number of pairs that it fixed: otherwise seeds
    could be added until a result appears. A claim with looks fixed these, too, and each look uses
    part of its level. Baselines are not checked, since their results do not depend on random draws.
    """
    claim = comparison.claim
    n = f"{comparison.n} of {claim.needed_seeds} seeds"
    looks = claim.looks if claim.survival is None else claim.survival.looks
    planned = set(looks) if looks else {claim.needed_seeds}
    # Runs beyond the latest look wait for the next one.
    seeds = comparison.shared if claim.looks else comparison.seeds
    runs = [
        (content["seed"], content["code"]["commit"], content["code"]["dirty"])
        for _, content in comparison.runs
        if content["label"] == "arm"
    ]
    why = not_confirmatory(claim, book, runs, {side.name: seeds for side in comparison.varied})
    if why is None and comparison.n > claim.needed_seeds:
        why = f"the claim fixes {claim.needed_seeds} seeds, more of them is optional stopping"
    if why is None and comparison.n in planned:
        return "confirmatory", f"confirmatory, {n}: the claim was committed before any of its runs"
    return "exploratory", f"exploratory, {n}" + (f": {why}" if why else "")


def _test(
    comparison: Comparison, decision: Decision, alpha: float
) -> RatesTest | MeansTest | RanksTest | SurvivalTest | None:
    """The deciding test with additional ones; None if no test may be computed."""
    judged = decision.status not in ("pending", "void", "not evaluable")
    if comparison.ranked and judged and not comparison.missing:
        return _ranks_test(comparison)
    if decision.effect is None:
        return None
    if comparison.claim.evidence == "failure_rate":
        rates = {side.name: comparison.rate(side) for side in comparison.sides}
        return RatesTest(
            name=statistics.RATE_TESTS[comparison.claim.test].title,
            p=comparison.rate_p,
            rates={n: Estimate.of(statistics.clopper_pearson(*rate)) for n, rate in rates.items()},
        )
    if comparison.claim.evidence == "survival":
        return _survival_test(comparison, alpha)
    equal = comparison.claim.direction == "equal"
    improvement = statistics.probability_of_improvement(
        *zip(*comparison.pairs, strict=True), lower_is_better=comparison.claim.direction == "lower"
    )
    return MeansTest(
        name=_test_name(comparison),
        p=comparison.test_p,
        sign_flip_p=statistics.sign_flip_p(comparison.differences),
        smallest_sign_flip_p=statistics.smallest_sign_flip_p(len(comparison.pairs)),
        probability_of_claimed_order=None if equal else improvement,
    )


def _ranks_test(comparison: Comparison) -> RanksTest:
    wins, losses, ties = outcomes(comparison)
    dead = {s.name: (len(comparison.dead(s)), comparison.n) for s in comparison.varied}
    paired = comparison.fixed is None
    how = "exact signed ranks" if paired else "exact sign test against one fixed value"
    sides = "" if comparison.claim.evidence == "mean_difference" else ", one-sided"
    return RanksTest(
        name=f"{how}, failures last{sides}",
        p=comparison.rank_p,
        wins=wins,
        losses=losses,
        ties=ties,
        smallest_p=statistics.smallest_sign_flip_p(comparison.n),
        dead={n: Estimate.of(statistics.clopper_pearson(*count)) for n, count in dead.items()},
    )


def _survival_test(comparison: Comparison, alpha: float) -> SurvivalTest:
    """The looks taken, both survival curves, and the published counts."""
    plan, looks = comparison.claim.survival, comparison.looks(alpha)
    assert plan is not None, "a survival claim has a plan"
    arms = {}
    for part, side in zip(("treatment", "control"), comparison.sides, strict=True):
        lives = comparison.lives(side)
        counts = sum(life.died for life in lives), len(lives)
        epochs, alive = survival.kaplan_meier(lives) if lives else ([], [])
        published = plan.published[part]
        arms[side.name] = SurvivalOfArm(
            lives=[LifeOfRun(**asdict(life)) for life in lives],
            curve={"epochs": epochs, "alive": alive},
            died=Estimate.of(statistics.clopper_pearson(*counts)) if lives else None,
            published=None if published is None else published.model_dump(),
        )
    return SurvivalTest(
        name=f"log-rank, exact by permutation, {'two' if plan.sides == 2 else 'one'}-sided",
        p=looks[-1].p if looks else None,
        looks=[LookTaken(**asdict(look)) for look in looks],
        planned_looks=plan.looks,
        arms=arms,
    )


def _test_name(comparison: Comparison) -> str:
    student = "paired t" if comparison.fixed is None else "one-sample t against one fixed value"
    if comparison.claim.evidence in (BOUND, "non_inferior"):
        return f"{student}, one-sided"
    return f"two one-sided {student}, doubled" if comparison.claim.direction == "equal" else student


def _seeds(comparison: Comparison) -> list[SeedOfClaim]:
    """The numbers and outcomes of both runs for each seed on which the claim is judged."""
    return [
        SeedOfClaim(
            seed=seed,
            treatment=_side(comparison, comparison.treatment, seed),
            control=_side(comparison, comparison.control, seed),
        )
        for seed in comparison.seeds
    ]


def _side(comparison: Comparison, side: Side, seed: int) -> SideOfSeed:
    content = side.stored(seed) or {}
    return SideOfSeed(
        value=comparison.value(side, seed),
        outcome=content.get("outcome", "missing"),
        cause=content.get("cause"),
    )


def _limits(comparison: Comparison, decision: Decision, alpha: float) -> list[str]:
    """Limitations of the verdict that follow from the numbers."""
    claim, effect = comparison.claim, decision.effect
    limits = []
    if claim.kind == "bundle":
        limits.append(
            f"not attributable to one factor: {join_words(sorted(comparison.changed or {}))}"
        )
    if comparison.fixed is not None and claim.bound is None:
        limits.append(
            f"{comparison.fixed.name} is not a network: one fixed value, not paired; the spread "
            "is that of the other arm only, and the rule of changed factors cannot apply (the "
            "method differs)"
        )
    limits += _object_limits(comparison)
    limits += _scale_limits(comparison)
    if effect is not None and claim.evidence in OF_MEANS:
        smallest = statistics.smallest_sign_flip_p(effect.n)
        if smallest > alpha:
            limits.append(
                f"with {counted(effect.n, 'pair')} the exact sign-flip p cannot fall below "
                f"{fmt(smallest, 2)}; the level of the claim is {fmt(alpha)}"
            )
    decided = decision.status in ("supported", "refuted") and claim.direction != "equal"
    if decided and effect is not None and abs(effect.estimate) < claim.margin.value:
        limits.append(f"the estimate is smaller than the margin {fmt(claim.margin.value)}")
    commits = {str(content["code"]["commit"])[:12] for _, content in comparison.runs}
    if len(commits) > 1:
        limits.append(
            f"runs of several commits ({join_words(sorted(commits))}), with one behaviour per arm"
        )
    return limits


def _one_object(comparison: Comparison) -> bool:
    """Whether all runs used the same object."""
    return any("seed_sha256" not in content["data"] for _, content in comparison.runs)


def _object_limits(comparison: Comparison) -> list[str]:
    """The limitation that the verdict is based on a single object, if this is the case."""
    if not _one_object(comparison):
        return []
    paths = sorted({content["data"]["path"] for _, content in comparison.runs})
    return [
        f"one draw of the object ({join_words(paths)}): the spread over seeds is not the spread "
        "over objects"
    ]


def _scale_limits(comparison: Comparison) -> list[str]:
    """Amplitude-scale flags of the reconstructions from which a mean is computed."""
    checkpoint = comparison.claim.metric.partition(".")[0]
    if comparison.claim.evidence not in OF_MEANS or checkpoint not in CHECKPOINTS:
        return []
    arms = {side.name: side.results for side in comparison.sides if side.results is not None}
    judged = {f"s{seed}" for seed in comparison.seeds}
    return [
        flag.reason
        for flag in scale_defects(arms)
        if flag.checkpoint == checkpoint and judged & set(flag.scales)
    ]


# --- history ----------------------------------------------------------------------------------


def _history(
    comparison: Comparison, decision: Decision, kind: str, past: Sequence[Verdict]
) -> list[Verdict]:
    """All verdicts so far, the current one last; one is added only if the verdict or the seeds
    changed."""
    effect = decision.effect
    commit, date = _latest(comparison)
    now = Verdict(
        status=decision.status,
        kind=kind,
        claim_sha256=comparison.claim.sha256,
        n=comparison.n,
        reason=decision.reason,
        seeds=list(comparison.seeds),
        estimate=None if effect is None else effect.estimate,
        low=None if effect is None else effect.low,
        high=None if effect is None else effect.high,
        commit=commit,
        date=date,
    )
    compared = ("status", "kind", "claim_sha256", "n")
    if past and all(getattr(past[-1], key) == getattr(now, key) for key in compared):
        if "seeds" not in past[-1].model_fields_set:  # earlier versions counted pairs only
            return [*past[:-1], past[-1].model_copy(update={"seeds": now.seeds})]
        if past[-1].seeds == now.seeds:
            return list(past)
    return [*past, now]


def _latest(comparison: Comparison) -> tuple[str | None, str | None]:
    """Commit and commit date of the newest run of the claim; None without commits."""
    codes = [content["code"] for _, content in comparison.runs if content["code"]["commit"]]
    if not codes:
        return None, None
    youngest = max(codes, key=lambda code: (_instant(code["commit_date"]), code["commit"]))
    return youngest["commit"], youngest["commit_date"]


def _instant(date: str | None) -> float:
    return datetime.fromisoformat(date).timestamp() if date else 0.0

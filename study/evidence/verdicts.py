"""The status of each claim, determined by rules from stored numbers only.

    void            the arms differ in more, or in other, factors than the claim names
    not evaluable   a comparability check failed: data, code, tree, settings, checkpoint,
                    unexplained equal results, degenerate object
    pending         an arm has no run yet (for a survival claim: no arm has one)
    inconclusive    a seed is missing, there are too few pairs, or the interval includes zero
    equivalent      the whole interval is within the margin (for `equal` claims: supported)
    supported / refuted   the interval excludes zero, on the claimed / on the other side

These are the stored statuses; `ClaimFinding.word` derives from them and the numbers the words that
readers see (`study.evidence.words`).

These are checked in the order of `decide`. Means are decided by the paired t interval at the Holm
level of the claim; failure rates by Fisher's or Boschloo's exact test at that level; survival by
the exact log-rank test at planned looks; goals and "not worse by more than the margin", which are
one-sided, by the side of the limit on which the 1 - 2 alpha interval lies.

A verdict is exploratory unless git shows that the claim was committed first, exactly the required
number of seeds is available, and no seed committed since is omitted. Staleness is not a status: it
is computed on reading (`study.evidence.staleness.stale`), as running the stage again would hide it.

If a run of a claim about means failed or collapsed, the arms are compared by rank with failures
last (`study.evidence.ranking`), since failures are not missing at random and must not be an
advantage. A claim with planned looks is judged at each look at the level available there
(`study.evidence.spending`); the first look that decides it is the last one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from study.evidence import spending, statistics
from study.evidence.claims import OF_MEANS, Claim
from study.evidence.comparability import failed_checks
from study.evidence.comparison import Comparison
from study.evidence.format import counted, fmt, join_words, percent
from study.evidence.statistics import Interval
from study.evidence.survival import Look, lifetime_difference

STATUSES = (
    "supported",
    "refuted",
    "equivalent",
    "inconclusive",
    "pending",
    "not evaluable",
    "void",
)


@dataclass(frozen=True)
class Decision:
    """A status, its reason as a sentence, and the effect or None. `looks`: the looks taken for a
    claim about means."""

    status: str
    reason: str
    effect: Interval | None = None
    looks: tuple[Look, ...] = ()


def decide(comparison: Comparison, alpha: float) -> Decision:
    """The status of one claim at the level `alpha` (its Holm level)."""
    void = confounded(comparison)
    if void:
        return Decision("void", void)
    if comparison.claim.looks and comparison.look is None:
        return _decide_at_looks(comparison, alpha)
    if failed := failed_checks(comparison):
        return Decision("not evaluable", "; ".join(str(check.reason) for check in failed))
    if comparison.missing:
        return Decision(
            "inconclusive" if _begun(comparison) else "pending", "; ".join(comparison.missing)
        )
    if comparison.claim.evidence == "failure_rate":
        return _decide_rate(comparison, alpha)
    if comparison.claim.evidence == "survival":
        return _decide_survival(comparison, alpha)
    return (_decide_ranks if comparison.ranked else _decide_mean)(comparison, alpha)


def _decide_at_looks(comparison: Comparison, alpha: float) -> Decision:
    """Decide by the first planned look that gives a decision, or else report the latest one."""
    planned, there = comparison.claim.looks, comparison.looks_there
    if not there:
        return decide(comparison.at(planned[0]), alpha)
    taken: list[Look] = []
    decision = Decision("pending", "")
    for look, allowed in zip(there, spending.allowances(planned, alpha), strict=False):
        one = comparison.at(look)
        decision = decide(one, allowed)
        found = p_of(one)
        p = 1.0 if found is None else found
        taken.append(Look(look, p, allowed, statistics.smallest_sign_flip_p(look)))
        if decision.status != "inconclusive":
            break
    last = taken[-1]
    words = f"look at {last.rounds} of {planned[-1]} pairs, {fmt(last.allowed, 2)} of the level "
    words += fmt(alpha)
    if decision.status == "inconclusive" and len(taken) < len(planned):
        following = planned[len(taken)]
        words += f"; {comparison.complete} pairs are there, the next look is at {following}"
    return replace(decision, reason=f"{decision.reason} ({words})", looks=tuple(taken))


def p_of(comparison: Comparison) -> float | None:
    """The p value for Holm's procedure; None without a test."""
    if comparison.claim.looks and comparison.look is None:
        found = [p_of(comparison.at(look)) for look in comparison.looks_there]
        ps = [1.0 if p is None else p for p in found]
        return spending.level_to_reject(ps, comparison.claim.looks) if ps else None
    if comparison.missing or failed_checks(comparison):
        return None
    if comparison.claim.evidence == "failure_rate":
        return comparison.rate_p
    if comparison.claim.evidence == "survival":
        taken = comparison.looks(statistics.ALPHA)
        return taken[-1].p if taken else None
    if comparison.ranked:
        return comparison.rank_p
    return None if len(comparison.pairs) < statistics.least_pairs() else comparison.test_p


def _begun(comparison: Comparison) -> bool:
    """Whether all arms have results; for a survival claim, whether any arm has a planned run."""
    plan = comparison.claim.survival
    stored = [set(side.results.seeds) for side in comparison.varied if side.results is not None]
    if plan is not None:
        return any(set(plan.seeds) & seeds for seeds in stored)
    return all(side.there for side in comparison.sides)


def confounded(comparison: Comparison) -> str | None:
    """Why the contrast does not isolate the factors that the claim names, or None."""
    changed, named = comparison.changed, comparison.claim.changes
    if changed is None:
        return None
    names = f"{comparison.treatment.name} and {comparison.control.name}"
    if not changed:
        return f"{names} differ in no setting"
    more = sorted(set(changed) - set(named)) if named else sorted(changed)[1:] and sorted(changed)
    if more:
        allowed = join_words(named) if named else "one factor"
        return f"{names} differ in {join_words(sorted(changed))}; the claim names {allowed}"
    less = sorted(set(named) - set(changed))
    return f"{names} do not differ in {join_words(less)}, which the claim names" if less else None


def _decide_mean(comparison: Comparison, alpha: float) -> Decision:
    effect = effect_of(comparison, 1 - (2 if comparison.one_sided else 1) * alpha)
    least = statistics.least_pairs()
    if effect.n < least:
        return Decision(
            "inconclusive",
            f"{counted(effect.n, 'pair')}; below {least} no exact test can reach "
            f"{statistics.ALPHA:g}",
            effect,
        )
    assert effect.low is not None and effect.high is not None
    if comparison.one_sided:
        return _against_a_limit(comparison, effect)
    leaves_out_zero = effect.low > 0 or effect.high < 0
    return _by_rule(comparison.claim, effect, leaves_out_zero, _interval_words(comparison, effect))


def _decide_ranks(comparison: Comparison, alpha: float) -> Decision:
    """Decide by the exact test on ranks, with failures last. Equality cannot be shown, because the
    difference between dead runs is not defined."""
    claim, (better, worse) = comparison.claim, comparison.rank_ps
    counts = (
        f"{len(comparison.dead(side))} of {comparison.n} runs of {side.name}"
        for side in comparison.varied
    )
    wins, losses, ties = outcomes(comparison)
    words = (
        f"{join_words(counts)} failed or collapsed and rank last; {comparison.treatment.name} is "
        f"better in {wins}, worse in {losses} of {wins + losses + ties} pairs; exact p = "
        f"{fmt(comparison.rank_p, 2)}, level {fmt(alpha)}"
    )
    if better == 1.0 or worse == 1.0:
        words += "; an arm with a dead run is never better than one without"
    met, missed = (better, worse) if comparison.claimed_better else (worse, better)
    two_sided = claim.evidence == "mean_difference"
    reached = alpha / 2 if two_sided else alpha
    if claim.direction == "equal":
        return Decision("refuted" if min(met, missed) <= reached else "inconclusive", words)
    status = "supported" if met <= reached else "refuted" if missed <= reached else "inconclusive"
    return Decision(status, words)


def outcomes(comparison: Comparison) -> tuple[int, int, int]:
    """Numbers of pairs in which the treatment is better, worse, and equal (or both runs dead)."""
    gaps = comparison.rank_gaps
    wins, losses = sum(gap > 0 for gap in gaps), sum(gap < 0 for gap in gaps)
    return wins, losses, len(gaps) - wins - losses


def _decide_rate(comparison: Comparison, alpha: float) -> Decision:
    """Decide by the exact test only: for two rates from few runs no interval agrees with it."""
    treatment, control = (comparison.rate(side) for side in comparison.sides)
    p = comparison.rate_p
    words = (
        f"{treatment[0]} of {treatment[1]} runs of {comparison.treatment.name} failed or "
        f"collapsed, {control[0]} of {control[1]} of {comparison.control.name}; "
        f"exact p = {fmt(p, 2)}, level {fmt(alpha)}"
    )
    return _by_rule(comparison.claim, effect_of(comparison, 1 - alpha), p <= alpha, words)


def _decide_survival(comparison: Comparison, alpha: float) -> Decision:
    """Decide by the first planned look whose exact log-rank p is within the allowed level."""
    plan = comparison.claim.survival
    assert plan is not None, "a survival claim has a plan"
    effect, looks = effect_of(comparison, 1 - alpha), comparison.looks(alpha)
    deaths = [
        f"{sum(life.died for life in comparison.lives(side))} of {len(comparison.seeds)} runs "
        f"of {side.name}"
        for side in comparison.sides
    ]
    done = f"{len(comparison.seeds)} of {len(plan.seeds)} rounds; {join_words(deaths)} died"
    if not looks:
        return Decision("inconclusive", f"{done}; the first look is at {plan.looks[0]}", effect)
    look = looks[-1]
    words = (
        f"{done}; log-rank p = {fmt(look.p, 2)} after {counted(look.rounds, 'round')}, "
        f"{fmt(look.allowed, 2)} allowed there of the level {fmt(alpha)} (smallest possible "
        f"{fmt(look.least, 2)})"
    )
    if not look.rejects:
        return Decision("inconclusive", words, effect)
    longer = effect.estimate > 0
    claimed = longer == (comparison.claim.direction == "higher")
    return Decision("supported" if claimed else "refuted", words, effect)


def _against_a_limit(comparison: Comparison, effect: Interval) -> Decision:
    """Decide a goal or a "not worse by more than the margin" claim by the side of the limit on
    which the whole interval lies. The margin is the limit of the latter and irrelevant for goals.
    """
    assert effect.low is not None and effect.high is not None
    above, below = effect.low > comparison.limit, effect.high < comparison.limit
    met, missed = (above, below) if comparison.claim.direction == "higher" else (below, above)
    status = "supported" if met else "refuted" if missed else "inconclusive"
    return Decision(status, _interval_words(comparison, effect), effect)


def _by_rule(claim: Claim, effect: Interval, differs: bool, words: str) -> Decision:
    margin = claim.margin.value
    inside = statistics.equivalent(effect, margin)
    if claim.direction == "equal":
        assert effect.low is not None and effect.high is not None
        outside = effect.low > margin or effect.high < -margin
        status = "supported" if inside else "refuted" if outside else "inconclusive"
    elif inside:
        status = "equivalent"
    elif not differs:
        status = "inconclusive"
    else:
        claimed = effect.estimate < 0 if claim.direction == "lower" else effect.estimate > 0
        status = "supported" if claimed else "refuted"
    return Decision(status, words, effect)


def _interval_words(comparison: Comparison, effect: Interval) -> str:
    unit = f" {comparison.claim.column.unit}" if comparison.claim.column.unit else ""
    fixed = comparison.fixed
    n = counted(effect.n, "pair" if fixed is None else "seed")
    against = "" if fixed is None else f" against one fixed value ({fixed.name}), not paired"
    against = (
        f" against {fmt(comparison.claim.bound)}" if comparison.claim.bound is not None else against
    )
    return (
        f"{comparison.treatment.name} minus {comparison.control.name}: {fmt(effect.estimate)}"
        f"{unit}, {percent(effect.level)} interval {fmt(effect.low)} to {fmt(effect.high)}, "
        f"{n}{against}; margin {fmt(comparison.claim.margin.value)}{unit}"
    )


def effect_of(comparison: Comparison, level: float) -> Interval:
    """Treatment minus control: mean difference with the paired t interval; difference of mean
    epochs lived; or difference of two rates, without interval, as none agrees with the exact test.
    """
    if comparison.claim.evidence in OF_MEANS:
        return statistics.mean_interval(comparison.differences, level)
    if comparison.claim.evidence == "survival":
        return lifetime_difference(
            comparison.lives(comparison.treatment), comparison.lives(comparison.control), level
        )
    (failed, n), (others, m) = (comparison.rate(side) for side in comparison.sides)
    return Interval(failed / n - others / m, None, None, min(n, m), level)


def judge(comparisons: Sequence[Comparison]) -> list[tuple[Decision, float]]:
    """Decision and Holm level of each claim of a family.

    All claims of the family in claims.yaml count: a claim without evidence has p = 1.
    """
    ps = [None if confounded(comparison) else p_of(comparison) for comparison in comparisons]
    levels = statistics.holm_levels(ps)
    return [
        (decide(comparison, level), level)
        for comparison, level in zip(comparisons, levels, strict=True)
    ]

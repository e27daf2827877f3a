"""The status of every claim, by rule and from stored numbers alone.

    void            the arms differ in more, or in other, factors than the claim names
    not evaluable   a gate fails: data, code, tree, settings, checkpoint, arms equal for no reason,
                    degenerate object
    inconclusive    a seed is missing, too few pairs, or the interval straddles zero; or what would
                    be supported or refuted is not repeated on the claim's second object
    equivalent      the whole interval lies within the margin (for `equal` claims: supported)
    supported / refuted   the interval leaves out zero on the claimed side / on the other

In this order. What decides is the paired t interval at the Holm level of the claim's family; for
failure rates Fisher's exact test at that level. A verdict is exploratory unless git shows that the
claim came first, as many seeds as it asks for are there, and none that was committed since is left
out. *Stale* is no stored status: it
is computed on reading (`ledger.stale`), because running the stage again would hide it.

A failed seed makes a mean difference inconclusive: failures are not missing at random.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from study.evidence import statistics
from study.evidence.claims import Claim
from study.evidence.second import Second, effect_of, repeat
from study.evidence.statistics import Interval
from study.evidence.trial import Trial
from study.evidence.wording import counted, fmt, listed, percent

STATUSES = ("supported", "refuted", "equivalent", "inconclusive", "not evaluable", "void")


@dataclass(frozen=True)
class Decision:
    """A status, the sentence that gives its reason, and the effect where there is one.

    `first`: the status on the first object, where the second one took it back.
    """

    status: str
    reason: str
    effect: Interval | None = None
    second: Second | None = None
    first: str | None = None


def decide(trial: Trial, alpha: float) -> Decision:
    """The status of one claim, held to `alpha` (its Holm level)."""
    void = confounded(trial)
    if void:
        return Decision("void", void)
    if trial.failed_gates:
        return Decision("not evaluable", "; ".join(str(gate.reason) for gate in trial.failed_gates))
    if trial.missing:
        return Decision("inconclusive", "; ".join(trial.missing))
    if trial.claim.evidence == "failure_rate":
        return _decide_rate(trial, alpha)
    return _decide_mean(trial, alpha)


def confounded(trial: Trial) -> str | None:
    """Why the contrast does not isolate what the claim names, or None."""
    changed, named = trial.changed, trial.claim.changes
    if changed is None:
        return None
    names = f"{trial.treatment.name} and {trial.control.name}"
    if not changed:
        return f"{names} differ in no setting"
    more = sorted(set(changed) - set(named)) if named else sorted(changed)[1:] and sorted(changed)
    if more:
        allowed = listed(named) if named else "one factor"
        return f"{names} differ in {listed(sorted(changed))}; the claim names {allowed}"
    less = sorted(set(named) - set(changed))
    return f"{names} do not differ in {listed(less)}, which the claim names" if less else None


def _decide_mean(trial: Trial, alpha: float) -> Decision:
    effect = effect_of(trial, 1 - alpha)
    least = statistics.least_pairs()
    if effect.n < least:
        return Decision(
            "inconclusive",
            f"{counted(effect.n, 'pair')}; below {least} no exact test can reach "
            f"{statistics.ALPHA:g}",
            effect,
        )
    assert effect.low is not None and effect.high is not None
    leaves_out_zero = effect.low > 0 or effect.high < 0
    return _by_rule(trial.claim, effect, leaves_out_zero, _interval_words(trial, effect))


def _decide_rate(trial: Trial, alpha: float) -> Decision:
    """By the exact test alone: two rates of a few runs have no interval that agrees with it."""
    treatment, control = (trial.rate(side) for side in trial.sides)
    p = statistics.fisher_p(treatment, control)
    words = (
        f"{treatment[0]} of {treatment[1]} runs of {trial.treatment.name} failed or collapsed, "
        f"{control[0]} of {control[1]} of {trial.control.name}; exact p = {fmt(p, 2)}, held to "
        f"{fmt(alpha)}"
    )
    return _by_rule(trial.claim, effect_of(trial, 1 - alpha), p <= alpha, words)


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


def _interval_words(trial: Trial, effect: Interval) -> str:
    unit = f" {trial.claim.column.unit}" if trial.claim.column.unit else ""
    fixed = trial.fixed
    n = counted(effect.n, "pair" if fixed is None else "seed")
    against = "" if fixed is None else f" against one fixed value ({fixed.name}), not paired"
    return (
        f"{trial.treatment.name} minus {trial.control.name}: {fmt(effect.estimate)}{unit}, "
        f"{percent(effect.level)} interval {fmt(effect.low)} to {fmt(effect.high)}, "
        f"{n}{against}; margin {fmt(trial.claim.margin.value)}{unit}"
    )


def with_second(trial: Trial, decision: Decision) -> Decision:
    """The decision as the second object leaves it: what does not repeat there is not decided."""
    second = repeat(trial, decision.status, decision.effect)
    if second is None:
        return decision
    if decision.status not in ("supported", "refuted") or second.status != "not repeated":
        return replace(decision, second=second)
    reason = (
        f"{decision.status} on the first object ({decision.reason}), not repeated on the second: "
        f"{second.reason}"
    )
    return Decision("inconclusive", reason, decision.effect, second, first=decision.status)


def judge(trials: Sequence[Trial]) -> list[tuple[Decision, float]]:
    """Decision and Holm level of every claim of one family.

    The family is as large as claims.yaml says: a claim without evidence counts as p = 1.
    """
    ps = [None if confounded(trial) else trial.p for trial in trials]
    levels = statistics.holm_levels(ps)
    return [
        (with_second(trial, decide(trial, level)), level)
        for trial, level in zip(trials, levels, strict=True)
    ]

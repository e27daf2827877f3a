"""Comparability checks of a claim: the conditions under which its arms can be compared.

A comparison with a failed check has no verdict ("not evaluable"); the reason names the problem.
"""

from __future__ import annotations

from dataclasses import dataclass

from study.evidence import flags
from study.evidence.arms import block, lookup
from study.evidence.claims import OF_MEANS
from study.evidence.comparison import DEAD, Comparison
from study.evidence.evaluable import why_not
from study.evidence.format import join_words
from study.settings import leaves


@dataclass(frozen=True)
class Check:
    """One condition of a verdict; `reason` explains why it failed."""

    name: str
    reason: str | None

    @property
    def passed(self) -> bool:
        return self.reason is None


def checks_of(comparison: Comparison) -> tuple[Check, ...]:
    """All checks of a claim, in the order in which they are shown."""
    return (
        Check("same data", _data(comparison)),
        Check("same code", _code(comparison)),
        Check("clean tree", _tree(comparison)),
        Check("settings as requested", _settings(comparison)),
        Check("checkpoint", _checkpoint(comparison)),
        Check("arms distinguishable", _identity(comparison)),
        Check("not degenerate", _degenerate(comparison)),
        Check("failure rates available", _rates(comparison)),
    )


def failed_checks(comparison: Comparison) -> list[Check]:
    """The failed checks, which prevent a verdict."""
    return [check for check in checks_of(comparison) if not check.passed]


def _data(comparison: Comparison) -> str | None:
    for side in comparison.sides:
        if side.results and len(side.results.facts("data", "sha256")) > 1:
            return f"the seeds of {side.name} ran on different data"
    if "data" in comparison.claim.changes:
        return None
    hashes = {side.results.data_sha256 for side in comparison.sides if side.results}
    names = f"{comparison.treatment.name} and {comparison.control.name}"
    if len(hashes) > 1:
        return (
            f"{names} ran on different data, and the claim does not name data as its changed factor"
        )
    apart = [seed for seed in comparison.seeds if not _one_object(comparison, seed)]
    return f"{names} ran on different objects with seeds {join_words(apart)}" if apart else None


def _one_object(comparison: Comparison, seed: int) -> bool:
    """Whether both runs of a seed have the same objects, if these are drawn per seed."""
    stored = (side.stored(seed) for side in comparison.sides)
    return len({lookup(one, ("data", "seed_sha256")) for one in stored if one is not None}) < 2


def _code(comparison: Comparison) -> str | None:
    """Check that all seeds of an arm have the same fingerprint (DVC retrains if it changes)."""
    mixed = [
        side.name
        for side in comparison.sides
        if side.results and len(side.results.facts("code", "fingerprint")) > 1
    ]
    return f"seeds of one arm ran with different code: {join_words(mixed)}" if mixed else None


def _tree(comparison: Comparison) -> str | None:
    dirty = [name for name, content in comparison.runs if content["code"]["dirty"]]
    return (
        f"started from a tree with uncommitted changes: {join_words(dirty)}; commit, train again"
        if dirty
        else None
    )


def _settings(comparison: Comparison) -> str | None:
    for side in comparison.sides:
        if side.results is not None and len(side.results.facts("settings")) > 1:
            return f"the seeds of {side.name} ran with different settings"
        if side.results is None or side.asked is None:
            continue
        if any(settings != leaves(side.asked) for settings in side.results.facts("settings")):
            pipeline, slash, _ = side.name.partition("/")
            file = f"{pipeline}/params.yaml" if slash else "params.yaml"
            return f"the results of {side.name} have other settings than {file}"
    return None


def _checkpoint(comparison: Comparison) -> str | None:
    requested = comparison.claim.metric.partition(".")[0]
    if requested not in ("best", "last"):
        return None
    for name, content in comparison.runs:
        found = lookup(block(content, requested) or {}, ("checkpoint",))
        if found not in (None, requested, "only"):
            return f"{name}: the object of checkpoint {requested} is labelled {found}"
    return None


def _identity(comparison: Comparison) -> str | None:
    """Check that results are not identical because a setting had no effect on the run."""
    left, right = comparison.treatment.results, comparison.control.results
    return None if left is None or right is None else flags.lost_setting(left, right)


def _degenerate(comparison: Comparison) -> str | None:
    """Check that no reconstruction is degenerate; this also applies to claims about losses."""
    if comparison.claim.evidence not in OF_MEANS:
        return None
    checkpoint = comparison.claim.metric.partition(".")[0]
    checkpoint = checkpoint if checkpoint in ("best", "last") else "last"
    channel = comparison.claim.column.channel or "amplitude"
    found = []
    for name, content in comparison.runs:
        if comparison.ranked and content["outcome"] in DEAD:
            continue
        reason = why_not(content, checkpoint, channel)
        # The floor is deliberately constant, and labelled as such.
        if reason is not None and content["label"] != "floor":
            found.append(f"{name}: {reason}")
    return "; ".join(found) or None


def _rates(comparison: Comparison) -> str | None:
    if comparison.claim.survival is not None:
        return _undeclared(comparison)
    baseline = next((side.name for side in comparison.sides if side.is_baseline), None)
    if comparison.claim.evidence != "failure_rate" or baseline is None:
        return None
    return f"{baseline} is not a network: its runs always end, so they have no failure rate"


def _undeclared(comparison: Comparison) -> str | None:
    """Check that there are only declared seeds: others may have been selected from many tried."""
    for side in comparison.sides:
        stored = set() if side.results is None else set(side.results.seeds)
        if extra := sorted(stored - set(side.declared)):
            return f"{side.name} has results of seeds that nothing declares: {join_words(extra)}"
    return None

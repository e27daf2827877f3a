"""Two arms with the same result: usually a setting that never reached the run.

The earlier work drew conclusions from flags that were lost on the way. So equal scores (to three
digits) or identical histories of two arms with one seed raise a flag. It has a reason when the
numbers show one; without a reason it is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.evidence.arms import ArmResults, block, lookup, pairs_of
from study.evidence.summary import changed_factors

# The published set prints numbers for degenerate objects too.
SIGNATURE = tuple(
    f"last.published.{channel}.{metric}"
    for channel in ("amplitude", "phase")
    for metric in ("ssim", "mae")
)


def identical_arms(arms: Mapping[str, ArmResults]) -> list[dict[str, Any]]:
    """A flag for every two arms, on one data set, that share a result in any seed."""
    flags = (_flag(left, right) for left, right in pairs_of(arms))
    return [flag for flag in flags if flag]


def _flag(left: ArmResults, right: ArmResults) -> dict[str, Any] | None:
    if left.data_sha256 is None or left.data_sha256 != right.data_sha256:
        return None
    shared = sorted(set(left.seeds) & set(right.seeds))
    scores = [s for s in shared if _same_scores(left.numbers[s], right.numbers[s])]
    histories = [s for s in shared if _same_history(left.seeds[s], right.seeds[s])]
    seeds = sorted({*scores, *histories})
    if not seeds:
        return None
    reason = _reason(left, right, seeds, histories_only=not scores)
    return {
        "arms": [left.name, right.name],
        "same_scores": scores,
        "same_histories": histories,
        "reason": reason,
        "is_error": reason is None,
    }


def _same_scores(left: Mapping[str, float], right: Mapping[str, float]) -> bool:
    known = [path for path in SIGNATURE if path in left and path in right]
    return bool(known) and all(f"{left[path]:.3g}" == f"{right[path]:.3g}" for path in known)


def _same_history(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    hashes = [lookup(content, ("training", "history_sha256")) for content in (left, right)]
    return hashes[0] is not None and hashes[0] == hashes[1]


def _reason(
    left: ArmResults, right: ArmResults, seeds: list[int], histories_only: bool
) -> str | None:
    """What explains it, from the numbers; None when nothing does."""
    changed = changed_factors(left, right)
    if changed == []:
        return "no setting differs between them"
    runs = [arm.seeds[seed] for arm in (left, right) for seed in seeds]
    if all(_is_constant(run) for run in runs):
        return "both are constant objects, and any constant has these scores"
    path = "training.clipped_fraction"
    clipped = [arm.numbers[seed].get(path) for arm in (left, right) for seed in seeds]
    if changed and all(name.startswith("clip.") for name in changed) and set(clipped) == {0.0}:
        return "the clipped fraction is 0 in both: the clip in which they differ never acted"
    if histories_only:
        return "the histories are one and the scores differ: the setting acts after training only"
    return None


def _is_constant(run: Mapping[str, Any]) -> bool:
    gate = lookup(block(run, "last") or {}, ("gate", "amplitude"))
    return bool(gate) and not gate["evaluable"] and gate["spread_ratio"] is not None

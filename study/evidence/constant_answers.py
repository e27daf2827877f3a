"""Claims whose metric or bound cannot distinguish a reconstruction from a constant object."""

from __future__ import annotations

import numpy as np

from study.evidence.arms import ArmResults
from study.evidence.comparison import Comparison, Side
from study.evidence.expected_power import Background
from study.evidence.format import fmt
from study.evidence.metric_catalog import KNOWN

# Best possible scores, by the last part of a metric's path.
BEST_POSSIBLE = {"mae": 0.0, "mse": 0.0, "ssim": 1.0, "ms_ssim": 1.0}


def answered_by_constant(comparison: Comparison, known: Background) -> str | None:
    """Why the metric cannot tell whether a method retrieves the object, or None: the phase of the
    objects is a function of their amplitude, or the claim is vacuous.

    Also None if no constant object was scored on this data set and the phase is independent."""
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


def vacuous(comparison: Comparison, known: Background) -> str | None:
    """Why a constant object already answers the claim: it meets the goal, or has the best possible
    score. None if neither holds or no constant object was scored."""
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


def _on_data(side: Side, known: Background) -> dict[str, ArmResults]:
    """Stored arms of the same pipeline on the same data set."""
    assert side.row is not None
    pipeline = side.name.rpartition("/")[0]
    return {
        name: arm
        for name, arm in known.arms.items()
        if name.rpartition("/")[0] == pipeline and side.row.data in arm.facts("data", "path")
    }


def _score(arm: ArmResults, metric: str) -> float | None:
    """Mean of the metric over the seeds of an arm, or None (a reference has a single value if all
    seeds have the same objects)."""
    values = arm.values(metric).values()
    return float(np.mean(list(values))) if values else None


def _best(metric: str, side: Side, known: Background) -> float | None:
    """The best possible score on a data set: the limit of the metric, or that of the ceiling."""
    if (bound := BEST_POSSIBLE.get(metric.rpartition(".")[2])) is not None:
        return bound
    ceilings = (arm for arm in _on_data(side, known).values() if arm.label == "ceiling")
    return next((score for arm in ceilings if (score := _score(arm, metric)) is not None), None)

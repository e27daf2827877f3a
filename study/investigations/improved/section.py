"""The improved arm beside the control, the untrained back-projections and other references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

from study.evidence.estimates import Estimate
from study.evidence.summary import against
from study.report.cells import estimate
from study.report.gather import Inputs, not_here
from study.report.page import Section
from study.report.sections import ERRORS, SCORES, SECONDS

BESIDE = (
    *("better", "control", "back_projection_1", "back_projection_5", "rpie", "flat", "oracle"),
    *("better_second", "control_second", "better_lr2e2", "control_lr2e2"),
)
RIVALS = ("control", "back_projection_1", "back_projection_5", "rpie")


def better(inputs: Inputs) -> Mapping[str, Any]:
    """Values of the template."""
    arm = f"{inputs.main}better"
    return {
        "here": arm in inputs.arms,
        "not_here": not_here("The arm `better`"),
        "arms": inputs.stored([f"{inputs.main}{name}" for name in BESIDE]),
        "columns": {**SCORES, "last.r_factor.sum": "R-factor", **SECONDS},
        "against": _against(inputs) if arm in inputs.arms else {},
    }


def _against(inputs: Inputs) -> dict[str, list[Markup]]:
    """`better` minus each other row, for both errors, with 95 % intervals and without a test."""
    found: dict[str, list[Markup]] = {}
    for name in RIVALS:
        parts = [_difference(inputs, name, path, title) for path, title in ERRORS.items()]
        if None not in parts:
            found[name] = [part for part in parts if part]
    return found


def _difference(inputs: Inputs, name: str, path: str, title: str) -> Markup | None:
    """Paired by seed against a trained arm; against a row of one run, mean minus its number."""
    ours, theirs = inputs.arms[f"{inputs.main}better"], inputs.arms.get(f"{inputs.main}{name}")
    if theirs is None or ours.data_sha256 != theirs.data_sha256:
        return None
    if theirs.label == "arm":
        facts: Estimate | None = against(ours, theirs, [path]).get(path)
    else:
        facts = _shifted(*(inputs.cell(arm.name, path).facts for arm in (ours, theirs)))
    if facts is None:
        return None
    value = estimate(facts, source=f"{ours.name}/mean/{path} minus {theirs.name}/mean/{path}")
    return Markup("{} {} (95 %, n = {})").format(title, value, facts.n)


def _shifted(ours: Estimate | None, fixed: Estimate | None) -> Estimate | None:
    """`ours` minus one fixed value."""
    if ours is None or fixed is None:
        return None
    ends = [None if end is None else end - fixed.estimate for end in (ours.low, ours.high)]
    shifted = ours.estimate - fixed.estimate
    return Estimate(estimate=shifted, low=ends[0], high=ends[1], level=ours.level, n=ours.n)


SECTIONS = (Section("The better arm", "investigations/improved/section.html", better),)

"""The report's section: LD50 of every curve, the figure, the sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.investigations.stability.facts import PIPELINE, load, recorded
from study.investigations.stability.figure import draw_stability
from study.report.gather import Inputs, not_here
from study.report.page import Section


def stability(inputs: Inputs) -> Mapping[str, Any]:
    files = set(recorded(inputs.root))
    if not files:
        return {"found": None, "drawn": not_here("Deaths against the learning rate")}
    inputs.used |= files
    found = load(inputs.root / PIPELINE, files)
    return {"found": found, "drawn": draw_stability(found)}


SECTIONS = (
    Section(
        "Which learning rate kills half of the runs",
        "investigations/stability/section.html",
        stability,
    ),
)

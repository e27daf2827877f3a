"""The published table beside ours: `published` of findings.json, line by line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.investigations.published.table import TITLES, protocol_notes
from study.report.gather import Inputs
from study.report.page import Section


def published(inputs: Inputs) -> Mapping[str, Any]:
    table = inputs.findings.published or {"entries": []}
    entries = table["entries"]
    decision = inputs.findings.decision or {}
    run = {entry["scale"] for entry in entries if entry["arm"]}
    return {
        "rows": [(i, entry) for i, entry in enumerate(entries) if entry["scale"] in run],
        "titles": TITLES,
        "always": table.get("always_different") or [],
        "notes": protocol_notes(table) if entries else [],
        "not_run": sorted({entry["scale"] for entry in entries} - run),
        "here": bool(entries),
        "decisions": list((decision.get("under") or {}).values()),
        "undecided": decision.get("reason"),
    }


SECTIONS = (
    Section(
        "The published table, side by side", "investigations/published/section.html", published
    ),
)

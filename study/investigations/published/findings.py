"""The published table and the decision: in findings.json, in findings.md, on the Findings page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.evidence.arms import ArmResults
from study.evidence.format import join_words
from study.evidence.model import Findings
from study.investigations import View
from study.investigations.published import comparison, decision
from study.investigations.published.table import HEADS, protocol_notes, rows, section


def facts(arms: Mapping[str, ArmResults], root: Path) -> dict[str, Any]:
    """What findings.json holds of them."""
    return {"published": comparison.compare(arms), "decision": decision.decide(arms)}


def markdown(findings: Findings) -> list[str]:
    """Their sections of findings.md."""
    published, decided = findings.published, findings.decision
    return [section(published) if published else "", decision.section(decided) if decided else ""]


def views(findings: Findings) -> list[View]:
    """Both views of findings.json, in the words of findings.md."""
    return [_table(findings.published), _decision(findings.decision)]


def _table(published: Mapping[str, Any] | None) -> View:
    name = "published table"
    if not published or not published.get("entries"):
        return View(name, "findings.json holds no comparison with the published numbers.")
    return View(
        name,
        heads=HEADS,
        rows=[[cell.replace("**", "") for cell in row] for row in rows(published)],
        filter_by="verdict",
        sentences=[f"In every row: {join_words(published['always_different'])}."],
        details=("Which settings differ from the published ones", protocol_notes(published)),
    )


def _decision(decided: Mapping[str, Any] | None) -> View:
    if not decided:
        return View("decision", "findings.json holds no decision.")
    lines = decision.section(decided).partition("\n\n")[2].splitlines()
    words = [line.removeprefix("- ").replace("**", "").replace("`", "") for line in lines if line]
    return View("decision", sentences=words)

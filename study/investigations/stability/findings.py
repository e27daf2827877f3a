"""The curves in findings.json, in findings.md and on the Findings page.

Only what is stored in a curve is shown: nothing is fitted here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.evidence.arms import ArmResults
from study.evidence.format import enumerated, inline, percent, table
from study.evidence.model import Findings
from study.investigations import View
from study.investigations.stability.dose import Ld50
from study.investigations.stability.facts import (
    PIPELINE,
    Stable,
    bounded,
    load,
    named,
    recorded,
)
from study.settings import Model

TITLE = "Which learning rate kills half of the runs"
NAME = "stability"
HEADS = ("curve", "LD50 of the learning rate", "ratio", "died", "of them not finite")


class CurveFinding(Model):
    """`ratio`: of its LD50 to that of the curve `versus`; None of that curve itself."""

    curve: str
    label: str
    ld50: Ld50
    ratio: Ld50 | None
    runs: int
    dead: int
    diverged: int


class StabilityFinding(Model):
    """The key `stability` of findings.json."""

    headline: str | None
    versus: str
    curves: tuple[CurveFinding, ...]
    missing: tuple[str, ...]


def facts(arms: Mapping[str, ArmResults], root: Path) -> dict[str, Any]:
    """What findings.json holds of the recorded curves of a checkout; nothing without any."""
    files = recorded(root)
    if not files:
        return {}
    return {NAME: found(load(root / PIPELINE, files)).model_dump(mode="json")}


def found(stable: Stable) -> StabilityFinding:
    """The stored curves as they are published."""
    curves = [
        CurveFinding(
            curve=curve.curve,
            label=curve.label,
            ld50=curve.ld50,
            ratio=stable.ratios.get(curve.curve),
            runs=len(curve.runs),
            dead=sum(curve.deaths.dead),
            diverged=curve.diverged,
        )
        for curve in stable.curves
    ]
    return StabilityFinding(
        headline=stable.headline,
        versus=stable.versus,
        curves=tuple(curves),
        missing=stable.missing,
    )


def markdown(findings: Findings) -> list[str]:
    """The section of findings.md."""
    if (stored := _stored(findings)) is None:
        return []
    return [f"## {TITLE}\n\n{inline(' '.join(_words(stored)))}\n\n{table(HEADS, _rows(stored))}\n"]


def views(findings: Findings) -> list[View]:
    """The same table and words on the Findings page."""
    if (stored := _stored(findings)) is None:
        return [View(NAME, "findings.json holds no curve; `study stability` computes them.")]
    leads = stored.headline is not None
    return [View(NAME, heads=HEADS, rows=_rows(stored), sentences=_words(stored), leads=leads)]


def _stored(findings: Findings) -> StabilityFinding | None:
    content = findings.stability
    return None if content is None else StabilityFinding.model_validate(content)


def _words(stored: StabilityFinding) -> list[str]:
    """The headline, what the ratio is, and which curves are missing."""
    words = [stored.headline] if stored.headline else []
    level = percent(stored.curves[0].ld50.level)
    words.append(
        f"Ratio: LD50 over that of {named(stored.versus)}. Intervals of an LD50 are exact, those "
        f"of a ratio are combined from two; {level} each, not corrected for their number."
    )
    if stored.missing:
        words.append(f"Not computed yet: {enumerated([named(name) for name in stored.missing])}.")
    return words


def _rows(stored: StabilityFinding) -> list[list[str]]:
    return [
        [
            curve.label,
            bounded(curve.ld50),
            "–" if curve.ratio is None else bounded(curve.ratio),
            f"{curve.dead} of {curve.runs}",
            str(curve.diverged),
        ]
        for curve in stored.curves
    ]

"""The published table beside ours: `published` of findings.json, line by line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.evidence.published_table import TITLES
from study.evidence.wording import fmt, listed
from study.report.document import Block, Bullets, Heading, Line, Number, Status, Table, paragraph
from study.report.gather import Inputs

HEADS = ("published run", "number", "published", "what it measured", "scale, weights", "ours")
WIDTHS = (25, 24, 22, 42, 18, 28, 52)


def published(inputs: Inputs) -> list[Block]:
    title: list[Block] = [Heading(2, "The published table, side by side")]
    table = inputs.findings.get("published")
    if not table or not table.get("entries"):
        words = "The comparison with the published numbers is not in this findings.json."
        return [*title, paragraph(words)]
    entries = table["entries"]
    run = {entry["scale"] for entry in entries if entry["arm"]}
    rows = tuple(_row(entry, i) for i, entry in enumerate(entries) if entry["scale"] in run)
    caption = (
        "Published values and ours at the same protocol; ours is the mean over seeds with its 95 % "
        f"interval. {_differences(table)}"
    )
    blocks = [*title]
    if rows:
        blocks.append(Table((caption,), (*HEADS, "verdict"), rows, WIDTHS, (0, 1, 2, 3, 4, 6)))
    absent = sorted({entry["scale"] for entry in entries} - run)
    if absent:
        told = f"No arm of the published protocol is stored at {' or '.join(absent)} scale."
        blocks.append(paragraph(told))
    return [*blocks, *_decision(inputs.findings.get("decision") or {})]


def _decision(decision: Mapping[str, Any]) -> list[Block]:
    """What the published plan's rule gives on our runs, under every crash rule."""
    if not decision:
        return []
    if not decision.get("under"):
        return [paragraph(f"The published plan's decision: none; {decision.get('reason')}.")]
    lines = [
        (
            f'The published plan\'s decision, where a crash is "{facts["crash_rule"]}": ',
            Status(facts["branch"]),
            f", candidate {facts['candidate_arm']} (failed: {_failures(facts)}).",
        )
        for facts in decision["under"].values()
    ]
    return [Bullets(tuple(lines))]


def _failures(facts: Mapping[str, Any]) -> str:
    return listed(
        f"{role} {rate['failed']} of {rate['n']}" for role, rate in facts["failures"].items()
    )


def _differences(table: Mapping[str, Any]) -> str:
    always = table.get("always_different") or []
    return f"In every row: {'; '.join(always)}." if always else ""


def _row(entry: Mapping[str, Any], place: int) -> tuple[Line, ...]:
    return (
        (entry["row"],),
        (TITLES[entry["number"]],),
        (str(entry["published"]),),
        (entry["measured"],),
        (f"{entry['scale']}, {entry['weights']}",),
        _ours(entry, place),
        (Status(entry["verdict"]), f": {entry['reason']}"),
    )


def _ours(entry: Mapping[str, Any], place: int) -> Line:
    """Our number; "not evaluable" where every seed's is blank."""
    reasons = listed(dict.fromkeys(entry["blank"].values()))
    ours = entry["ours"]
    if ours is None or ours.get("estimate") is None:
        return (f"not evaluable: {reasons}" if entry["blank"] else "–",)
    below = "" if ours["low"] is None else f"[{fmt(ours['low'], 3)}, {fmt(ours['high'], 3)}]"
    where = ours.get("id") or f"published.entries[{place}].ours in findings.json"
    value = Number(fmt(ours["estimate"], 3), where, below, explained="id" in ours)
    blank = f"; {len(entry['blank'])} not evaluable: {reasons}" if entry["blank"] else ""
    return (value, f" n = {ours['n']}{blank}")

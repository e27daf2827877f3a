"""The published table beside ours: `published` of findings.json, line by line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.evidence.published_table import TITLES, protocol_notes
from study.evidence.wording import fmt, listed
from study.report.document import (
    Block,
    Bullets,
    Heading,
    Line,
    Number,
    Status,
    Table,
    paragraph,
    printed,
)
from study.report.gather import Inputs

HEADS = (
    "published run",
    "number",
    "published",
    "what it measured",
    "scale, weights",
    "ours",
    "verdict",
    "order against the control",
)
WIDTHS = (25, 24, 20, 38, 18, 28, 48, 30)


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
        "Published values beside ours; what differs in protocol stands below. Ours is the mean "
        "over seeds with its 95 % interval. Order: the run minus the control, as published and, "
        f"paired by seed, ours. {_differences(table)}"
    )
    blocks = [*title]
    if rows:
        blocks.append(Table((caption,), HEADS, rows, WIDTHS, (0, 1, 2, 3, 4, 6, 7)))
    if notes := protocol_notes(table):
        blocks.append(Bullets(tuple((f"{note}.",) for note in notes)))
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
        _order(entry["order"], place),
    )


def _ours(entry: Mapping[str, Any], place: int) -> Line:
    """Our number; "not evaluable" where every seed's is blank."""
    reasons = listed(dict.fromkeys(entry["blank"].values()))
    ours = entry["ours"]
    if ours is None or ours.get("estimate") is None:
        return (f"not evaluable: {reasons}" if entry["blank"] else "–",)
    blank = f"; {len(entry['blank'])} not evaluable: {reasons}" if entry["blank"] else ""
    return (_value(ours, f"published.entries[{place}].ours"), f" n = {ours['n']}{blank}")


def _order(order: Mapping[str, Any] | None, place: int) -> Line:
    """The published difference to the control, ours, and whether they agree."""
    if order is None:
        return ("–",)
    theirs, ours = f"published {printed(fmt(order['published'], 3))}", order["ours"]
    if ours is None:
        return (f"{theirs}: {order['verdict']}",)
    value = _value(ours, f"published.entries[{place}].order.ours")
    return (f"{theirs}, ours ", value, f" n = {ours['n']}: {order['verdict']}")


def _value(facts: Mapping[str, Any], place: str) -> Number:
    """An estimate with its interval, by its id or else by its place in findings.json."""
    below = "" if facts["low"] is None else f"[{fmt(facts['low'], 3)}, {fmt(facts['high'], 3)}]"
    where = facts.get("id") or f"{place} in findings.json"
    return Number(fmt(facts["estimate"], 3), where, below, explained="id" in facts)

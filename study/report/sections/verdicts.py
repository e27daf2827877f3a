"""Every claim with its status, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.evidence.wording import fmt
from study.report.document import Block, Heading, Line, Number, Status, Table, paragraph
from study.report.gather import Inputs
from study.report.sections.cells import effect

HEADS = ("claim", "status", "effect [interval], unit", "n", "kind", "second object")
WIDTHS = (72, 20, 33, 12, 18, 25)


def verdicts(inputs: Inputs) -> list[Block]:
    claims = inputs.findings["claims"]
    if not claims:
        return [Heading(2, "Verdicts"), paragraph("claims.yaml holds no claim.")]
    rows = [_row(entry) for entry in claims.values()]
    caption = (
        "Verdict on every claim. Effect: treatment minus control, paired by seed (against a row "
        "without seeds: minus its one value), with the interval at the level to which Holm's rule "
        "holds the claim in its family; for failures the difference of rates, decided by Fisher's "
        "exact test. Margin: the least effect that matters. n: pairs of seeds, of those that the "
        "claim asked for. Second object: the same contrast on data with another object; repeated "
        "means that its 95 % interval (for failures the exact test) says the same."
    )
    parts: list[Block] = [Heading(2, "Verdicts")]
    parts.append(Table((caption,), HEADS, tuple(rows), WIDTHS, words=(0, 1, 4, 5)))
    return [*parts, *_superseded(inputs)]


def _row(entry: Mapping[str, Any]) -> tuple[Line, ...]:
    return (
        (f"{entry['id']}: {entry['text']}",),
        (Status(entry["status"]),),
        effect(entry),
        (f"{entry['n']} of {entry['needed_seeds']}",),
        (entry["kind"] + (", bundle" if entry["requested"] == "bundle" else ""),),
        _second(entry),
    )


def _second(entry: Mapping[str, Any]) -> Line:
    """What the second object says, as it was judged."""
    judged = entry["second_object"]
    if judged is None:
        return ("none named: one object",)
    found = judged["effect"]
    if found is None:
        return (f"{judged['status']}: {judged['reason']}",)
    where = f"claims.{entry['id']}.second_object.effect in findings.json"
    below = "" if found["low"] is None else f"[{fmt(found['low'], 3)}, {fmt(found['high'], 3)}]"
    value = Number(fmt(found["estimate"], 3), where, below, explained=False)
    return (f"{judged['status']}: ", value, f" n = {judged['n']}")


def _superseded(inputs: Inputs) -> list[Block]:
    entries = inputs.findings.get("superseded") or {}
    if not entries:
        return []
    told = "; ".join(f"{name} (last: {e['status']})" for name, e in entries.items())
    return [paragraph(f"Superseded claims, kept in findings.json: {told}.")]

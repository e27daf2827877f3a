"""Every claim with its status, in one table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.evidence import statistics
from study.evidence.columns import OUTCOME
from study.evidence.wording import fmt, percent
from study.report.document import Block, Heading, Line, Number, Status, Table, number, paragraph
from study.report.gather import Inputs

HEADS = ("claim", "status", "effect [interval], unit", "n", "kind", "second object")
WIDTHS = (72, 20, 33, 12, 18, 25)


def verdicts(inputs: Inputs) -> list[Block]:
    claims = inputs.findings["claims"]
    if not claims:
        return [Heading(2, "Verdicts"), paragraph("claims.yaml holds no claim.")]
    rows = [_row(inputs, entry) for entry in claims.values()]
    caption = (
        "Verdict on every claim. Effect: treatment minus control, paired by seed, with the "
        "interval at the level to which Holm's rule holds the claim in its family; for failures "
        "the difference of rates, decided by Fisher's exact test. n: pairs of seeds, of those that "
        "the claim asked for. Second object: the same contrast on data with another object, "
        "described with its 95 % interval, not tested."
    )
    parts: list[Block] = [Heading(2, "Verdicts")]
    parts.append(Table((caption,), HEADS, tuple(rows), WIDTHS, words=(0, 1, 4, 5)))
    return [*parts, *_superseded(inputs)]


def _row(inputs: Inputs, entry: Mapping[str, Any]) -> tuple[Line, ...]:
    return (
        (f"{entry['id']}: {entry['text']}",),
        (Status(entry["status"]),),
        _effect(entry),
        (f"{entry['n']} of {entry['needed_seeds']}",),
        (entry["kind"] + (", bundle" if entry["requested"] == "bundle" else ""),),
        _second(inputs, entry),
    )


def _effect(entry: Mapping[str, Any]) -> Line:
    """The effect, or why there is none."""
    effect, test = entry["effect"], entry["test"]
    if effect is None:
        return (entry["reason"],)
    unit = f" {entry['unit']}" if entry["unit"] else ""
    if effect["low"] is None:
        p = (
            f", exact p\u00a0=\u00a0{fmt(test['p'], 2)}"
            if test and test.get("p") is not None
            else ""
        )
        kind = ("difference of rates ",) if entry["metric"] == OUTCOME else ()
        return (*kind, *number(effect), f"{unit}{p}")
    return (*number(effect), f"{unit}, {percent(effect['level'])}")


def _second(inputs: Inputs, entry: Mapping[str, Any]) -> Line:
    """What the second object says: as judged, or the contrast of the arms `<name>_second`."""
    judged = entry.get("second_object")
    if judged:
        return _told(entry, judged)
    sides = [f"{entry['contrast'][side]}_second" for side in ("treatment", "control")]
    if len(inputs.stored(sides)) < 2:
        return ("not repeated",)
    left, right = (inputs.arms[side].values(entry["metric"]) for side in sides)
    seeds = sorted(set(left) & set(right))
    if not seeds or inputs.arms[sides[0]].data_sha256 != inputs.arms[sides[1]].data_sha256:
        return ("repeated, not comparable",)
    found = statistics.paired_interval([left[s] for s in seeds], [right[s] for s in seeds])
    where = f"{sides[0]}/mean/{entry['metric']} minus {sides[1]}/mean/{entry['metric']}"
    below = "" if found.low is None else f"[{fmt(found.low, 3)}, {fmt(found.high, 3)}]"
    cell = Number(fmt(found.estimate, 3), where, below, explained=False)
    return ("repeated: ", cell, f" n = {found.n}")


def _told(entry: Mapping[str, Any], judged: Mapping[str, Any]) -> Line:
    effect = judged["effect"]
    if effect is None:
        return (f"{judged['status']}: {judged['reason']}",)
    where = f"claims.{entry['id']}.second_object.effect in findings.json"
    below = "" if effect["low"] is None else f"[{fmt(effect['low'], 3)}, {fmt(effect['high'], 3)}]"
    value = Number(fmt(effect["estimate"], 3), where, below, explained=False)
    return (f"{judged['status']}: ", value, f" n = {judged['n']}")


def _superseded(inputs: Inputs) -> list[Block]:
    entries = inputs.findings.get("superseded") or {}
    if not entries:
        return []
    told = "; ".join(f"{name} (last: {e['status']})" for name, e in entries.items())
    return [paragraph(f"Superseded claims, kept in findings.json: {told}.")]

"""What the verdicts do not show: the limits that findings.json computed, each once."""

from __future__ import annotations

from study.evidence.report import identical
from study.evidence.wording import counted, listed
from study.report.document import Block, Bullets, Heading, Line, paragraph
from study.report.gather import Inputs


def limits(inputs: Inputs) -> list[Block]:
    lines = [*_of_claims(inputs), *_of_arms(inputs)]
    blocks: list[Block] = [Heading(2, "Limits")]
    return [*blocks, Bullets(tuple(lines)) if lines else paragraph("findings.json names none.")]


def _of_claims(inputs: Inputs) -> list[Line]:
    found: dict[str, list[str]] = {}
    for entry in inputs.findings["claims"].values():
        for limit in entry["limits"]:
            found.setdefault(limit, []).append(entry["id"])
    return [
        (f"{limit[0].upper()}{limit[1:]}. ({_claims(names, inputs)})",)
        for limit, names in found.items()
    ]


def _claims(names: list[str], inputs: Inputs) -> str:
    total = len(inputs.findings["claims"])
    return f"all {counted(total, 'claim')}" if len(names) == total > 1 else listed(names)


def _of_arms(inputs: Inputs) -> list[Line]:
    scale = [(f"{flag['reason']}.",) for flag in inputs.findings["scale_flags"]]
    same = [(f"{line}.",) for line in identical(inputs.findings["flags"])]
    waiting = [name for name, arm in inputs.findings["arms"].items() if not arm["data"]]
    told = [(f"Arms without results: {listed(waiting)}.",)] if waiting else []
    return [*scale, *same, *told]

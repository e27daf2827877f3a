"""The table of bench/README.md, generated from latest.json between two markers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.runs import write_text

README = "README.md"
BEGIN, END = "<!-- latest.json: begin -->", "<!-- latest.json: end -->"
WORDS = {True: "yes", False: "**no**", None: "not measured"}


def markdown(entries: Sequence[dict[str, Any]]) -> str:
    """One row per goal; goals that were not measured have a reason instead of a value."""
    rows = [
        f"| {e['id']} | {e['what']} | {_value(e)} | {_limit(e)} | {WORDS[e['met']]} |"
        for e in entries
    ]
    head = ["| goal | what | measured | asked | met |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", _where(entries)])


def _value(entry: dict[str, Any]) -> str:
    if entry["value"] is None:
        return str(entry["why"])
    return (
        f"{entry['value']:,.3g} {entry['unit']}".strip()
        if entry["value"] < 1e3
        else (f"{entry['value']:,.0f} {entry['unit']}")
    )


def _limit(entry: dict[str, Any]) -> str:
    sign = "≥" if entry["better"] == "higher" else "≤"
    return f"{sign} {entry['goal']:,g} {entry['unit']}".strip()


def _where(entries: Sequence[dict[str, Any]]) -> str:
    """The machines and package versions used for the entries."""
    machines: dict[str, dict[str, dict[str, None]]] = {}
    for entry in entries:
        machine = entry["machine"]
        line = (
            f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gb']:g} GB, "
            f"GPU: {machine['gpu'] or 'none'}"
        )
        packages = machines.setdefault(line, {})
        for name, version in entry["versions"].items():
            if version is not None:
                packages.setdefault(name, {})[version] = None
    lines = [
        f"{line}; "
        + ", ".join(f"{name} {' and '.join(packages[name])}" for name in sorted(packages))
        for line, packages in machines.items()
    ]
    return "Measured on: " + "; and on: ".join(lines) + "."


def written(text: str, entries: Sequence[dict[str, Any]]) -> str:
    """`text` with the table between the markers replaced."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{markdown(entries)}\n{END}{rest.split(END)[1]}"


def update(folder: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Update the table in the README in `folder`."""
    readme = folder / README
    write_text(readme, written(readme.read_text(), entries))

"""Formatting of numbers, lists and tables in the text of the findings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def fmt(value: float | None, digits: int = 4) -> str:
    """A number to `digits` significant digits, or a dash."""
    return "–" if value is None else f"{value:.{digits}g}"


def span(values: Sequence[float]) -> str:
    """`0.01 to 0.025` to two digits, or the one number."""
    low, high = fmt(min(values), 2), fmt(max(values), 2)
    return low if low == high else f"{low} to {high}"


def percent(level: float) -> str:
    return f"{fmt(100 * level)} %"


def plus_minus(facts: Mapping[str, Any]) -> str:
    """A stored interval as `0.0631 [0.0612, 0.0650], n = 6`; bounds may be None."""
    estimate = fmt(facts["estimate"])
    if facts["low"] is None:
        return f"{estimate}, n = {facts['n']}"
    return f"{estimate} [{fmt(facts['low'])}, {fmt(facts['high'])}], n = {facts['n']}"


def join_words(items: Iterable[Any]) -> str:
    return ", ".join(str(item) for item in items) or "none"


def enumerated(items: Sequence[str]) -> str:
    """`a, b and c`."""
    return " and ".join([*([", ".join(items[:-1])] if items[1:] else []), *items[-1:]])


def counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


BRACKET = re.compile(r"\](?=[(\[:])")  # part of a link, an image or a reference definition


def inline(text: str) -> str:
    """Text on a single line of Markdown, without links, images and HTML elements.

    Used for stored text in findings.md. Emphasis and code are kept, as generated sentences use
    them.
    """
    return BRACKET.sub(r"]\\", " ".join(text.split()).replace("<", "&lt;"))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; vertical bars in cells are escaped."""
    cells = [[inline(cell).replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    lines = [cells[0], ["---"] * len(heads), *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def reproduce(arms: Iterable[str]) -> str:
    """The command that recomputes the results of these arms; `<study>/<arm>` is a recorded arm."""
    targets: dict[str, list[str]] = {}
    for name in dict.fromkeys(arms):
        pipeline, _, arm = name.rpartition("/")
        targets.setdefault(pipeline, []).append(f"evaluate@{arm}")
    parts = []
    for pipeline, stages in targets.items():
        command = f"dvc repro {' '.join(stages)}"
        parts.append(
            f"(cd {pipeline} && {command}) && study record {pipeline}" if pipeline else command
        )
    return " && ".join(parts)

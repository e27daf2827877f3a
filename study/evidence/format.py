"""Formatting of numbers, lists and tables for sentences of the findings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def fmt(value: float | None, digits: int = 4) -> str:
    """A number to `digits` significant digits, or a dash."""
    return "–" if value is None else f"{value:.{digits}g}"


def percent(level: float) -> str:
    return f"{fmt(100 * level)} %"


def plus_minus(facts: Mapping[str, Any]) -> str:
    """`0.0631 [0.0612, 0.0650], n = 6` of a stored interval, which may have no bounds."""
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


BRACKET = re.compile(r"\](?=[(\[:])")  # of a link, an image, or the definition of one


def inline(text: str) -> str:
    """Text that keeps to its line of Markdown and makes no link, image or element of HTML.

    Stored text in findings.md passes through here. Emphasis and code stay: our sentences have some.
    """
    return BRACKET.sub(r"]\\", " ".join(text.split()).replace("<", "&lt;"))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; bars within a cell are escaped."""
    cells = [[inline(cell).replace("|", "\\|") for cell in row] for row in (heads, *rows)]
    lines = [cells[0], ["---"] * len(heads), *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def reproduce(arms: Iterable[str]) -> str:
    """The command that computes the results of these arms again; `<study>/<arm>` is recorded."""
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

"""What a report is made of, before it is a page or a PDF: blocks of lines, lines of pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas
from matplotlib.figure import Figure

from study.evidence.wording import fmt


@dataclass(frozen=True)
class Number:
    """A value as text, and where it comes from.

    `id`: what `study explain` is asked for, or, with `explained` false, the file and entry that
    hold the value. `below`: its interval, in a second line of a table cell.
    """

    text: str
    id: str
    below: str = ""
    explained: bool = True


@dataclass(frozen=True)
class Code:
    text: str


@dataclass(frozen=True)
class Status:
    """A verdict's status; it stands out by weight and word, colour only repeats it."""

    text: str


Piece = str | Number | Code | Status
Line = tuple[Piece, ...]


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Paragraph:
    line: Line


@dataclass(frozen=True)
class Bullets:
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Table:
    """`widths`: share of the page's width for each column, any unit. The columns `words` hold text
    and are set left, all others hold numbers."""

    caption: Line
    heads: tuple[str, ...]
    rows: tuple[tuple[Line, ...], ...]
    widths: tuple[float, ...]
    words: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class Drawing:
    """A figure with the numbers that it shows; `name` is the stem of its files."""

    name: str
    figure: Figure
    data: pandas.DataFrame
    caption: Line


Block = Heading | Paragraph | Bullets | Table | Drawing


def paragraph(*pieces: Piece) -> Paragraph:
    return Paragraph(pieces)


def said(text: str) -> Paragraph:
    """A sentence as a paragraph; what stands between backticks is code."""
    parts = text.split("`")
    return Paragraph(tuple(Code(p) if i % 2 else p for i, p in enumerate(parts) if p))


def number(facts: Mapping[str, Any] | None, digits: int = 3, absent: str = "–") -> Line:
    """A table cell of a stored estimate with its interval below it."""
    if facts is None or facts.get("estimate") is None:
        return (absent,)
    below = ""
    if facts.get("low") is not None:
        below = f"[{fmt(facts['low'], digits)}, {fmt(facts['high'], digits)}]"
    return (Number(fmt(facts["estimate"], digits), facts["id"], below),)


def printed(text: str) -> str:
    """A number as it is printed: with a minus sign, not a hyphen."""
    return text.replace("-", "−")


def text_of(line: Line, breaks: str = " ") -> str:
    """A line without its markup; an interval follows its number after `breaks`."""
    parts = []
    for piece in line:
        if isinstance(piece, Number):
            parts.append(
                printed(piece.text) + (breaks + printed(piece.below) if piece.below else "")
            )
        else:
            parts.append(piece if isinstance(piece, str) else piece.text)
    return "".join(parts)

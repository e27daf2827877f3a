"""The pipeline as an SVG graph: one box per stage kind with its arms counted by state.

Text has the colour of the theme; states have a colour, a symbol and a number. The graph has a
minimum width and scrolls horizontally on a narrow page.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

LINE_CHARACTERS = 23  # that fit into a box
WIDTH, HEIGHT, GAP_X, GAP_Y, EDGE = 176, 78, 44, 22, 10
# Symbol and colour of each state; the colours are legible on light and dark backgrounds.
MARKS = {
    "fresh": ("✓", "#1a8f5f"),
    "stale": ("↻", "#c77700"),
    "not pulled": ("↓", "#2f78c4"),
    "missing": ("○", "#8a8a8a"),
}


@dataclass(frozen=True)
class Box:
    """One stage kind. `counts`: stages per state; `reads`: kinds whose outputs it reads."""

    kind: str
    counts: Mapping[str, int]
    reads: Sequence[str]


def layers(boxes: Sequence[Box]) -> dict[str, int]:
    """Column of each kind: one to the right of the last kind that it reads."""
    by_kind = {box.kind: box for box in boxes}
    found: dict[str, int] = {}

    def column(kind: str) -> int:
        if kind not in found:
            found[kind] = 1 + max((column(k) for k in by_kind[kind].reads), default=-1)
        return found[kind]

    for box in boxes:
        column(box.kind)
    return found


def places(boxes: Sequence[Box]) -> dict[str, tuple[float, float]]:
    """Upper left corner (x, y) of each box in px: columns from left to right, each box level with
    the boxes it reads, so that arrows do not run behind boxes."""
    columns: dict[int, list[Box]] = {}
    at = layers(boxes)
    for box in boxes:
        columns.setdefault(at[box.kind], []).append(box)
    rows: dict[str, float] = {}
    for column in sorted(columns):
        free = 0.0
        level = {box.kind: _level(box, rows) for box in columns[column]}
        for kind in sorted(level, key=level.__getitem__):
            alone = len(level) == 1
            rows[kind] = level[kind] if alone else max(free, float(int(level[kind])))
            free = rows[kind] + 1
    return {
        kind: (EDGE + at[kind] * (WIDTH + GAP_X), EDGE + row * (HEIGHT + GAP_Y))
        for kind, row in rows.items()
    }


def _level(box: Box, rows: Mapping[str, float]) -> float:
    """Mean row of the boxes that a box reads."""
    return sum(rows[kind] for kind in box.reads) / len(box.reads) if box.reads else 0.0


def page(boxes: Sequence[Box], chosen: str | None, label: str, ink: str) -> str:
    """The graph as HTML. `label`: alternative text; `ink`: colour of the text."""
    drawn, width = svg(boxes, chosen, ink)
    source = base64.b64encode(drawn.encode()).decode()
    return (
        '<div tabindex="0" style="overflow-x:auto">'
        f'<img alt="{html.escape(label, quote=True)}" src="data:image/svg+xml;base64,{source}" '
        f'style="display:block;width:100%;min-width:{min(width, 760):g}px;max-width:{width:g}px">'
        "</div>"
    )


def svg(boxes: Sequence[Box], chosen: str | None, ink: str) -> tuple[str, float]:
    """The graph as SVG, and its natural width in px."""
    at = places(boxes)
    width = max((x for x, _ in at.values()), default=0) + WIDTH + EDGE
    height = max((y for _, y in at.values()), default=0) + HEIGHT + EDGE
    arrows = "".join(_arrow(at[source], at[box.kind]) for box in boxes for source in box.reads)
    drawn = "".join(part for box in boxes for part in _box(box, at[box.kind], box.kind == chosen))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" '
        f'width="{width:g}" height="{height:g}" color="{ink}" '
        f'font-family="Helvetica, Arial, sans-serif">'
        f"{arrows}{drawn}</svg>"
    ), width


def _arrow(source: tuple[float, float], target: tuple[float, float]) -> str:
    x0, y0 = source[0] + WIDTH, source[1] + HEIGHT / 2
    x1, y1 = target[0] - 7, target[1] + HEIGHT / 2
    turn = target[0] - GAP_X  # straight past the columns in between, then across to the row
    bend = (x1 - turn) / 2
    curve = f"M{x0:g},{y0:g} H{turn:g} C{turn + bend:g},{y0:g} {x1 - bend:g},{y1:g} {x1:g},{y1:g}"
    head = f"M{x1:g},{y1 - 4:g} L{x1 + 7:g},{y1:g} L{x1:g},{y1 + 4:g} Z"
    return (
        f'<path d="{curve}" fill="none" stroke="currentColor" stroke-opacity=".45" '
        f'stroke-width="1.5"/><path d="{head}" fill="currentColor" fill-opacity=".6"/>'
    )


def _box(box: Box, place: tuple[float, float], chosen: bool) -> Iterator[str]:
    x, y = place
    thick, strong = (2.5, 1) if chosen else (1, 0.45)
    yield (
        f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="5" fill="currentColor" '
        f'fill-opacity=".04" stroke="currentColor" stroke-opacity="{strong}" '
        f'stroke-width="{thick}"/>'
    )
    total = sum(box.counts.values())
    yield _text(x + 12, y + 24, html.escape(box.kind), 15, 600)
    if total > 1:
        yield _text(x + WIDTH - 12, y + 24, f"× {total}", 13, 400, "end")
    yield from _bar(box, x + 12, y + 34, total)
    yield _text(x + 12, y + 62, _counted(box), 12.5, 400)


def _bar(box: Box, x: float, y: float, total: int) -> Iterator[str]:
    """A bar whose segments show the share of arms in each state."""
    whole = WIDTH - 24
    for state, (_, colour) in MARKS.items():
        share = whole * box.counts.get(state, 0) / max(total, 1)
        if share:
            yield (f'<rect x="{x:.2f}" y="{y:g}" width="{share:.2f}" height="7" fill="{colour}"/>')
            x += share


def _counted(box: Box) -> str:
    """The counts as text, such as `✓ 12 fresh`; without words if they are wider than the box."""
    there = [(state, box.counts[state]) for state in MARKS if box.counts.get(state)]
    if len(there) == 1:
        state, count = there[0]
        number = f"{count} " if count > 1 else ""
        return _mark(state) + f" {number}{state}"
    words = len("  ".join(f"x {count} {state}" for state, count in there)) <= LINE_CHARACTERS
    return "  ".join(
        f"{_mark(state)} {count}{' ' + state if words else ''}" for state, count in there
    )


def _mark(state: str) -> str:
    mark, colour = MARKS[state]
    return f'<tspan fill="{colour}" font-weight="700">{mark}</tspan>'


def _text(x: float, y: float, text: str, size: float, weight: int, anchor: str = "start") -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" font-weight="{weight}" '
        f'text-anchor="{anchor}" fill="currentColor" xml:space="preserve">{text}</text>'
    )

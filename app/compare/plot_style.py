"""Style of the charts: one colour and one dash per arm, for light and dark themes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape as html_escape
from typing import Any, TypeAlias

import plotly.graph_objects as go
import streamlit as st
from plotly.colors import sequential
from streamlit.delta_generator import DeltaGenerator

# Okabe and Ito, in the order of the theme; the first one is legible on paper and on ink.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#7F6A00", "#5C5C5C"),
)
# One per place, so that lines differ without colour; on paper as in study/report/figures/style.py.
DASHES = (
    *("solid", "dash", "dot", "dashdot", "longdash", "longdashdot"),
    *("9px,3px,2px,3px,2px,3px", "2px,8px"),
)
GRAY = "#8A8A8A"
# Streamlit's theme reads plotly's first magma colour, #000004, as the fourth colour of its own.
MAGMA = ["#060410", *sequential.Magma[1:]]
MARKS = {"ok": "circle", "collapsed": "x", "failed": "triangle-down-open"}
# A text that plotly may render: literals, numbers, and other texts after `label`. A test
# (tests/app/plotly_calls.py) checks what figures are given.
Label: TypeAlias = str
NAME_PX = 14  # height of a name at the end of a line
WIDEST_NAMES_PX = 240
CONFIG = {
    "displaylogo": False,
    "scrollZoom": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "toImage"],
}


@dataclass(frozen=True)
class End:
    """The last point of a line, in the coordinates of plotly's annotations (log10 on log axes)."""

    name: str
    place: int
    x: float
    y: float


def colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def line(place: int, width: float = 2.0) -> dict[str, Any]:
    """The line of the arm at `place` in every chart of several arms; `width` in px."""
    return {"color": colour(place), "dash": DASHES[place % len(DASHES)], "width": width}


def faint(place: int, alpha: float = 0.3) -> str:
    red, green, blue = (int(colour(place)[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def label(text: str) -> Label:
    """Stored text as plotly shows it literally: its texts may hold tags, links and `%{...}`."""
    return html_escape(text, quote=False).replace("%{", "&#37;{")


def labels(texts: Iterable[object]) -> list[Label]:
    return [label(str(text)) for text in texts]


def shape(figure: go.Figure, height: int, **layout: Any) -> go.Figure:
    """Common margins, legend above, and a view that survives a redraw."""
    figure.update_layout(
        **{
            "height": height,
            "margin": {"l": 56, "r": 12, "t": 34, "b": 42},
            "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "title": None},
            "uirevision": "kept",
            "hoverlabel": {"namelength": -1},
            **layout,
        }
    )
    return figure


def name_ends(figure: go.Figure, ends: Sequence[End], y_range: tuple[float, float]) -> None:
    """A name beside the end of every line, with a leader where names had to move apart.

    `y_range`: of the axis, as plotly has it. Call it after `shape`, whose height and margin count.
    Where more lines end at one place than names fit, their hover has to name them.
    """
    margin, (low, high) = figure.layout.margin, y_range
    height = figure.layout.height - margin.t - margin.b
    longest = max((len(end.name) for end in ends if len(ends) * NAME_PX <= height), default=0)
    for x in {end.x for end in ends}:
        here = sorted((end for end in ends if end.x == x), key=lambda end: -end.y)
        if len(here) * NAME_PX > height:
            continue
        tops = [height * (high - min(max(end.y, low), high)) / (high - low) for end in here]
        for end, top, moved in zip(here, tops, spread(tops, NAME_PX, height), strict=True):
            figure.add_annotation(
                x=end.x, y=min(max(end.y, low), high), text=label(end.name), font={"size": 11},
                ax=16, ay=moved - top, xanchor="left", showarrow=True, arrowhead=0, arrowwidth=1,
                arrowcolor=colour(end.place), standoff=5,
            )  # fmt: skip
    figure.update_layout(margin={"r": min(margin.r + 6 * longest + 20, WIDEST_NAMES_PX)})


def spread(tops: Sequence[float], gap: float, height: float) -> list[float]:
    """Ascending places at least `gap` apart, near `tops` (ascending) and within [0, height]."""
    found: list[float] = []
    for top in tops:
        found.append(max(top, found[-1] + gap) if found else max(top, 0.0))
    for i in reversed(range(len(found))):
        found[i] = min(found[i], height - gap * (len(found) - 1 - i))
    return found


def wide(key: str) -> DeltaGenerator:
    """A place for charts of several panels: in a narrow window it scrolls, so that they keep a
    legible size (see the style of `app.layout`)."""
    return st.container(key=f"wide-{key}")


def show(figure: go.Figure, key: str, alt: str, **config: Any) -> Any:
    """`config`: changes to CONFIG."""
    return st.plotly_chart(figure, key=key, config={**CONFIG, **config}, alt=alt)

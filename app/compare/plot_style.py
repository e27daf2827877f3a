"""How the charts of the page look: one colour and one dash an arm, in light and in dark."""

from __future__ import annotations

from html import escape
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from plotly.colors import sequential

# Okabe and Ito, in the order of the theme; the first one is legible on paper and on ink.
COLOURS = (
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7"),
    *("#E69F00", "#56B4E9", "#7F6A00", "#5C5C5C"),
)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dash")
GRAY = "#8A8A8A"
# Streamlit's theme reads plotly's first magma colour, #000004, as the fourth colour of its own.
MAGMA = ["#060410", *sequential.Magma[1:]]
MARKS = {"ok": "circle", "collapsed": "x", "failed": "triangle-down-open"}
CONFIG = {
    "displaylogo": False,
    "scrollZoom": True,
    "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "toImage"],
}


def colour(place: int) -> str:
    return COLOURS[place % len(COLOURS)]


def dash(place: int) -> str:
    return DASHES[place % len(DASHES)]


def faint(place: int, alpha: float = 0.3) -> str:
    red, green, blue = (int(colour(place)[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def label(arm: str) -> str:
    """An arm's name as text of a chart, which would read tags in it."""
    return escape(arm)


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


def show(figure: go.Figure, key: str, alt: str, **config: Any) -> Any:
    """`config`: what differs from CONFIG."""
    return st.plotly_chart(figure, key=key, config={**CONFIG, **config}, alt=alt)

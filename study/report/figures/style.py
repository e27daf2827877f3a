"""The style of all figures, and how they are saved.

Figures are 180 mm wide with 8 pt text, which is kept as text in SVG. Colours are those of Okabe and
Ito (distinguishable with any colour vision); every distinction by colour is also made by position,
marker or text. Files depend only on the data: they have no dates or random ids.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextPath
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

WIDTH_MM = 180.0
SIZE_PT = 8.0  # font size of all text, the smallest size that is easily readable on paper
MM = 1 / 25.4
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GRAY = "#CC79A7", "#56B4E9", "#222222", "#8A8A8A"
# Same order as in app/compare/plot_style.py, so that an arm has the same colour in app and report.
CYCLE = (BLUE, RED, GREEN, PURPLE, ORANGE, SKY, "#7F6A00", "#5C5C5C")
# One per colour, so that lines can be distinguished without colour.
DASHES: tuple[Any, ...] = (
    *("-", "--", ":", "-.", (0, (6, 2)), (0, (6, 2, 1, 2))),
    *((0, (5, 1.5, 1, 1.5, 1, 1.5)), (0, (1, 4))),
)
OUTCOMES = {"ok": BLUE, "collapsed": RED, "failed": PURPLE}
MARKS = {"ok": "o", "collapsed": "x", "failed": "v"}
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": SIZE_PT,
    **dict.fromkeys(("axes.titlesize", "axes.labelsize", "legend.fontsize"), SIZE_PT),
    **dict.fromkeys(("xtick.labelsize", "ytick.labelsize"), SIZE_PT),
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": BLACK,
    "text.color": BLACK,
    "lines.linewidth": 1.0,
    "legend.frameon": False,
    "image.interpolation": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "armature",
    "pdf.fonttype": 42,
    "figure.facecolor": "white",
    "axes.unicode_minus": True,
}


@dataclass(frozen=True)
class Drawing:
    """A figure and the numbers that it shows. `name`: stem of its files."""

    name: str
    figure: Figure
    data: pandas.DataFrame
    caption: str


@dataclass(frozen=True)
class Saved:
    """A figure as SVG, and its numbers as CSV."""

    svg: str
    csv: str


def styled() -> Any:
    """Context manager with the style, in which figures must be created and saved."""
    return mpl.rc_context(STYLE)


def canvas(height_mm: float, width_mm: float = WIDTH_MM) -> Figure:
    return Figure(figsize=(width_mm * MM, height_mm * MM))


def grid(
    figure: Figure,
    rows: int,
    columns: int,
    edges_mm: Sequence[float],
    gaps_mm: Sequence[float],
    heights: Sequence[float] = (),
) -> np.ndarray:
    """An array of (rows, columns) axes.

    `edges_mm`: left, right, bottom, top; `gaps_mm`: horizontal and vertical distance between axes;
    `heights`: relative heights of the rows (default: equal).
    """
    width, height = (side / MM for side in figure.get_size_inches())
    left, right, bottom, top = edges_mm
    w = (width - left - right - gaps_mm[0] * (columns - 1)) / columns
    shares = np.array(heights or [1.0] * rows)
    tall = (height - bottom - top - gaps_mm[1] * (rows - 1)) * shares / shares.sum()
    axes = np.empty((rows, columns), dtype=object)
    for i in range(rows):
        for j in range(columns):
            x = left + j * (w + gaps_mm[0])
            y = height - top - tall[: i + 1].sum() - i * gaps_mm[1]
            axes[i, j] = figure.add_axes((x / width, y / height, w / width, tall[i] / height))
    return axes


def room_mm(labels: Iterable[str], pad_mm: float = 3.0) -> float:
    """Width in mm of the widest label beside an axis; `pad_mm`: added for the ticks."""
    font = FontProperties(family="DejaVu Sans")
    lines = [line for label in labels for line in label.split("\n") if line]
    widths = [TextPath((0, 0), line, SIZE_PT, prop=font).get_extents().width for line in lines]
    return max(widths, default=0.0) * 25.4 / 72 + pad_mm


def plain_log(axis: Axes, which: str = "y") -> None:
    """Make an axis logarithmic, with labels such as 0.01 and 1e6, since small exponents are
    unreadable on paper. Call it after the limits are set: a narrow range gets more ticks."""
    axis.set(**{f"{which}scale": "log"})
    chosen = axis.yaxis if which == "y" else axis.xaxis
    low, high = axis.get_ylim() if which == "y" else axis.get_xlim()
    if high / low < 50:
        subs = (1, 1.5, 2, 3, 4, 6, 8) if high / low < 8 else (1, 2, 5)
        chosen.set_major_locator(LogLocator(subs=subs, numticks=30))
    chosen.set_major_formatter(lambda value, _: brief(value))
    chosen.set_minor_formatter(NullFormatter())


def brief(value: float) -> str:
    """A short form of a number: `0.05`, `100`, `1e6`, `3e-5`."""
    text = f"{value:g}" if 1e-3 <= abs(value) < 1e4 else f"{value:.0e}"
    return re.sub(r"e([+-])0*", lambda m: "e" + m[1].strip("+"), text)


def short(arm: str) -> str:
    """An arm's name without its pipeline."""
    return arm.rpartition("/")[2]


def wrapped(arm: str, width: int = 16) -> str:
    """A long name on several lines, broken at its underscores."""
    words = short(arm).replace("_", "_ ")
    lines = textwrap.wrap(words, width) or [""]
    return "\n".join(line.replace("_ ", "_") for line in lines)


def bare(axis: Axes) -> None:
    """Remove the ticks of an axis for an image and frame it."""
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.4)


def blank(axis: Axes, words: str) -> None:
    """Show text instead of an image."""
    bare(axis)
    axis.set_facecolor("#F4F4F4")
    axis.text(0.5, 0.5, words, transform=axis.transAxes, ha="center", va="center", color=BLACK)


def colourbar(
    figure: Figure, image: Any, box_mm: Sequence[float], label: str, horizontal: bool = True
) -> None:
    """Draw a thin colour bar in the box (x, y, width, height) in mm from the lower left corner."""
    width, height = (side / MM for side in figure.get_size_inches())
    x, y, w, h = box_mm
    axis = figure.add_axes((x / width, y / height, w / width, h / height))
    side = "horizontal" if horizontal else "vertical"
    bar = figure.colorbar(image, cax=axis, orientation=side)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]
    bar.set_label(label, labelpad=1.5)
    axis.tick_params(length=1.5, pad=1.5)
    if isinstance(image.norm, LogNorm):
        bar.formatter = FuncFormatter(lambda value, _: brief(value))
        bar.update_ticks()
    else:
        bar.ax.locator_params(nbins=3)


def save(drawing: Drawing) -> Saved:
    """Convert a figure and its numbers to SVG and CSV."""
    svg = io.StringIO()
    drawing.figure.savefig(svg, format="svg", metadata={"Date": None, "Title": drawing.name})
    return Saved(svg.getvalue(), drawing.data.to_csv(index=False, float_format="%.6g"))

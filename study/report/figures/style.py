"""How every figure looks, and how it becomes bytes.

180 mm wide, 7 pt, text as text. Colours of Okabe and Ito (told apart with any colour vision), each
repeated by a place, a mark or a word. Bytes depend on the data alone: no date, no random ids.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from study.report.document import Drawing

WIDTH_MM = 180.0
MM = 1 / 25.4
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY, BLACK, GRAY = "#CC79A7", "#56B4E9", "#222222", "#8A8A8A"
CYCLE = (BLACK, BLUE, RED, GREEN, ORANGE, PURPLE, SKY, GRAY)
OUTCOMES = {"ok": BLUE, "collapsed": RED, "failed": PURPLE}
STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Helvetica", "Arial"],
    "font.size": 7,
    "axes.titlesize": 7,
    "axes.labelsize": 7,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
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
class Saved:
    """A figure as text, its numbers, and its size in mm."""

    svg: str
    csv: str
    size_mm: tuple[float, float]


def styled() -> Any:
    """Context in which figures are made and saved."""
    return mpl.rc_context(STYLE)


def canvas(height_mm: float, width_mm: float = WIDTH_MM) -> Figure:
    return Figure(figsize=(width_mm * MM, height_mm * MM))


def grid(
    figure: Figure, rows: int, columns: int, edges_mm: Sequence[float], gaps_mm: Sequence[float]
) -> np.ndarray:
    """rows x columns axes; `edges_mm`: left, right, bottom, top; `gaps_mm`: between, x and y."""
    width, height = (side / MM for side in figure.get_size_inches())
    left, right, bottom, top = edges_mm
    w = (width - left - right - gaps_mm[0] * (columns - 1)) / columns
    h = (height - bottom - top - gaps_mm[1] * (rows - 1)) / rows
    axes = np.empty((rows, columns), dtype=object)
    for i in range(rows):
        for j in range(columns):
            x = left + j * (w + gaps_mm[0])
            y = height - top - h - i * (h + gaps_mm[1])
            axes[i, j] = figure.add_axes((x / width, y / height, w / width, h / height))
    return axes


def short(arm: str) -> str:
    """An arm's name without its pipeline."""
    return arm.rpartition("/")[2]


def wrapped(arm: str, width: int = 16) -> str:
    """A long name on two lines, broken at its underscores."""
    words = short(arm).replace("_", "_ ")
    lines = textwrap.wrap(words, width) or [""]
    return "\n".join(line.replace("_ ", "_") for line in lines)


def bare(axis: Axes) -> None:
    """An axis that only holds an image."""
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(True)
        spine.set_linewidth(0.4)


def blank(axis: Axes, words: str, size: float = 6.5) -> None:
    """Words where an image would stand."""
    bare(axis)
    axis.set_facecolor("#F4F4F4")
    axis.text(
        0.5, 0.5, words, transform=axis.transAxes, ha="center", va="center", size=size, color=BLACK
    )


def colourbar(
    figure: Figure, image: Any, box_mm: Sequence[float], label: str, horizontal: bool = True
) -> None:
    """A thin bar in the box (x, y, width, height) from the figure's lower left corner."""
    width, height = (side / MM for side in figure.get_size_inches())
    x, y, w, h = box_mm
    axis = figure.add_axes((x / width, y / height, w / width, h / height))
    side = "horizontal" if horizontal else "vertical"
    bar = figure.colorbar(image, cax=axis, orientation=side)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]
    bar.set_label(label, labelpad=1.5)
    axis.tick_params(length=1.5, pad=1.5, labelsize=6)
    if not isinstance(image.norm, LogNorm):
        bar.ax.locator_params(nbins=3)


def save(drawing: Drawing) -> Saved:
    """SVG and CSV of one figure."""
    svg = io.StringIO()
    drawing.figure.savefig(svg, format="svg", metadata={"Date": None, "Title": drawing.name})
    width, height = (side / MM for side in drawing.figure.get_size_inches())
    table = drawing.data.to_csv(index=False, float_format="%.6g")
    return Saved(svg.getvalue(), table, (width, height))


def save_pages(drawings: Sequence[Drawing]) -> bytes:
    """All figures as one PDF, one a page, so that its fonts are embedded once."""
    out = io.BytesIO()
    with PdfPages(out, metadata={"CreationDate": None}) as pages:
        for drawing in drawings:
            pages.savefig(drawing.figure)
    return out.getvalue()

"""bench/scaling.png: CPU time against the number of patterns and of runs, on logarithmic axes.

Filled points are measurements. The dashed line is the fitted law beyond the largest measured size;
the open point at the end of the axis is labelled with the extrapolated time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

Record = Mapping[str, Any]

ROOM = 20  # factor by which the axis extends beyond the last size, for the labels
LINE_PT = 15  # distance between labels, in points
INK, FAINT = "#22262b", "#8b9098"
COLOURS = {
    "simulate": "#1f5f8b",
    "epoch": "#b3541e",
    "evaluate": "#1f5f8b",
    "collect": "#7a6a9b",
    "findings": "#b3541e",
    "index": "#3b7d5a",
}
TITLES = {
    "simulate": "simulate",
    "epoch": "one epoch of a\nhybrid, w = 8",
    "evaluate": "evaluate",
    "collect": "collect",
    "findings": "findings",
    "index": "app index",
}
PANELS = {
    "patterns": "patterns of 64 × 64 px",
    "runs": "runs, five seeds per arm",
}
TICKS = {0.01: "10 ms", 1: "1 s", 60: "1 min", 3600: "1 h"}
STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 10.5,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(records: Sequence[Record], out: Path) -> None:
    with mpl.rc_context(STYLE):
        figure, axes = plt.subplots(1, 2, figsize=(12, 5.2), sharey=True)
        figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.12)
        for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
            panel(axis, [record for record in records if record["axis"] == name], title)
        axes[0].set_ylabel("CPU time")
        axes[0].set_yticks(list(TICKS), list(TICKS.values()))
        place = {"loc": "center left", "bbox_to_anchor": (0.2, 0.25)}
        axes[0].legend(handles=kinds(), frameon=False, labelcolor=INK, **place)
        axes[1].tick_params(left=False)
        axes[1].spines["left"].set_visible(False)
        figure.canvas.draw()  # fixes the layout, on which the label positions depend
        for axis, name in zip(axes, PANELS, strict=True):
            name_curves(axis, [record for record in records if record["axis"] == name])
        figure.savefig(out, dpi=100, metadata={"Software": None})
        plt.close(figure)


def kinds() -> list[Line2D]:
    """The two kinds of points, for the legend."""
    return [
        Line2D([], [], color=FAINT, marker="o", markersize=5, label="measured"),
        Line2D(
            [],
            [],
            color=FAINT,
            linestyle="--",
            marker="o",
            markersize=6,
            markerfacecolor="white",
            label="extrapolated",
        ),
    ]


def panel(axis: Axes, records: Sequence[Record], title: str) -> None:
    axis.set_xscale("log")
    axis.set_yscale("log")
    for record in records:
        curve(axis, record)
    first = min(record["sizes"][0] for record in records)
    last = records[0]["extrapolated"]["sizes"][-1]
    axis.set_xlim(first / 1.6, last * ROOM)
    axis.spines["bottom"].set_bounds(first / 1.6, last)
    axis.hlines(list(TICKS), first / 1.6, last, color="#e4e6e9", linewidth=0.8, zorder=0)
    decades = range(round(math.log10(first)), round(math.log10(last)) + 1)
    axis.set_xticks([10**k for k in decades], [f"{10**k:,}" for k in decades])
    for ruler in (axis.xaxis, axis.yaxis):
        ruler.set_minor_locator(NullLocator())
    axis.set_xlabel(title, loc="left")


def curve(axis: Axes, record: Record) -> None:
    colour = COLOURS[record["name"]]
    sizes, seconds = (record["extrapolated"][key] for key in ("sizes", "cpu_s"))
    axis.plot(record["sizes"], record["cpu_s"], "-o", color=colour, linewidth=1.8, markersize=5)
    axis.plot(sizes, seconds, "--", color=colour, linewidth=1.3)
    axis.plot(sizes[-1], seconds[-1], "o", color=colour, markerfacecolor="white", markersize=6)


def name_curves(axis: Axes, records: Sequence[Record]) -> None:
    """Label the end of each curve with name and time; labels are moved up to avoid overlap."""
    ends = {r["name"]: tuple(r["extrapolated"][k][-1] for k in ("sizes", "cpu_s")) for r in records}
    free = -math.inf
    for name, end in sorted(ends.items(), key=lambda item: item[1][1]):
        height = axis.transData.transform(end)[1] * 72 / axis.figure.dpi  # points
        place = max(height, free)
        axis.annotate(
            f"{TITLES[name]}: {clock(end[1])}",
            end,
            xytext=(9, place - height),
            textcoords="offset points",
            verticalalignment="center",
            color=COLOURS[name],
            linespacing=1.25,
        )
        free = place + LINE_PT


def clock(seconds: float) -> str:
    """A duration with about two digits: 4 s, 8 min, 1.5 h."""
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.2g} {unit}"
    return f"{seconds:.2g} s"

"""The page's figures for print: 180 mm wide, as those of the report, and mostly drawn by them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from app.compare.curves import Line, Quantity, best_epoch, has
from app.compare.rows import RowOf
from app.compare.scenes import CHANNELS, Scene
from study.report.figures.reconstructions import scenes_figure
from study.report.figures.residuals import residuals_figure
from study.report.figures.resolution import rings_figure
from study.report.figures.scenes import Shown
from study.report.figures.style import BLACK, CYCLE, GRAY, canvas, grid, short

DASHES = ("-", "--", ":", "-.", (0, (6, 2)), (0, (6, 2, 1, 2)), "-", "--")
MARKS = {"ok": "o", "collapsed": "x", "failed": "v"}


def as_shown(scenes: Sequence[Scene]) -> list[Shown]:
    """Scenes as the report's figures take them; those without a truth have no place there."""
    found = []
    for one in scenes:
        pairs = {channel: pair for channel in CHANNELS if (pair := one.pair(channel)) is not None}
        if len(pairs) == len(CHANNELS):
            blank = {k: v.removeprefix("not evaluable: ") for k, v in one.blank.items()}
            found.append(Shown(one.arm, one.seed, pairs, blank, one.result, one.dataset))
    return found


def images(scenes: Sequence[Scene]) -> Figure:
    return scenes_figure(as_shown(scenes))


def residuals(scenes: Sequence[Scene], pattern: int) -> Figure:
    """The scan maps, and the pattern of those that stored it."""
    return residuals_figure([s for s in as_shown(scenes) if pattern in s.result.shown], pattern)


def resolution(scenes: Sequence[Scene]) -> Figure:
    return rings_figure(as_shown(scenes))[0]


# --- curves -----------------------------------------------------------------------------------


def curves(lines: Sequence[Line], shown: Sequence[Quantity]) -> Figure:
    """One panel a quantity; seeds thin, median thick, the best epoch of every seed a dot."""
    figure = canvas(12 + 48 * len(shown))
    axes = grid(figure, len(shown), 1, (14, 36, 9, 3), (0, 5))[:, 0]
    for axis, quantity in zip(axes, shown, strict=True):
        for line in lines:
            if has(line, quantity):
                _curve(axis, line, quantity)
        axis.set_ylabel(quantity.axis)
        if quantity.log:
            axis.set_yscale("log")
        axis.grid(axis="y", color=GRAY, lw=0.25, alpha=0.5)
    axes[-1].set_xlabel("epoch")
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), handlelength=2.6)
    return figure


def _curve(axis: Axes, line: Line, quantity: Quantity) -> None:
    colour = CYCLE[line.place % len(CYCLE)]
    for seed, rows in line.history.groupby("seed"):
        epoch, value = rows["epoch"].to_numpy(), rows[quantity.column].to_numpy(float)
        axis.plot(epoch, value, color=colour, lw=0.5, alpha=0.5)
        best = best_epoch(rows)
        if best is not None:
            axis.plot(best, value[epoch == best][0], "o", ms=2.2, color=colour, mew=0)
        outcome = line.outcomes.get(int(str(seed)), "ok")
        finite = np.flatnonzero(np.isfinite(value))
        if outcome != "ok" and finite.size:
            axis.plot(epoch[finite[-1]], value[finite[-1]], MARKS[outcome], ms=4, color=colour)
    median = line.history.groupby("epoch")[quantity.column].median()
    told = f"{short(line.arm)} ({len(line.outcomes)} seeds)"
    style = DASHES[line.place % len(DASHES)]
    axis.plot(median.index, median, color=colour, lw=1.5, ls=style, label=told)


# --- one mark a seed --------------------------------------------------------------------------


def seeds(rows: Sequence[RowOf], title: str) -> Figure:
    """Rows are arms: a mark a seed, diamond and bar the mean with its 95 % interval."""
    figure = canvas(16 + 7 * len(rows), 120)
    axis = grid(figure, 1, 1, (36, 4, 10, 3), (0, 0))[0, 0]
    for y, row in enumerate(rows):
        _row(axis, y, row)
    axis.set_yticks(range(len(rows)), [f"{short(row.arm)} ({row.seeds})" for row in rows])
    axis.set_ylim(len(rows) - 0.4, -0.6)
    axis.set_xlabel(title)
    axis.grid(axis="x", color=GRAY, lw=0.25, alpha=0.5)
    axis.margins(x=0.06)
    return figure


def _row(axis: Axes, y: int, row: RowOf) -> None:
    colour = CYCLE[y % len(CYCLE)]
    for seed, value in row.values.items():
        mark = MARKS[row.outcomes.get(seed, "ok")]
        axis.plot(value, y - 0.13, mark, ms=3, color=colour, alpha=0.8)
    if row.interval is not None:
        low, high = row.interval["low"], row.interval["high"]
        if low is not None:
            axis.plot([low, high], [y + 0.22, y + 0.22], color=BLACK, lw=1)
        axis.plot(row.interval["estimate"], y + 0.22, "D", ms=3, color=BLACK, mew=0)
    if row.lost:
        reasons = "; ".join(sorted(set(row.lost.values())))
        told = f"{len(row.lost)} without: {reasons}"
        axis.text(0.99, y, told[:60], transform=axis.get_yaxis_transform(), ha="right", va="center")

"""Validation loss per epoch: every seed thin, the median thick, the best epoch of each marked."""

from __future__ import annotations

import math

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from study.report.document import Drawing
from study.report.figures.style import GRAY, OUTCOMES, canvas, grid, wrapped
from study.report.gather import Group, Inputs, not_here

COLUMNS = 5
ROW_MM = 36.0


def draw_curves(inputs: Inputs, group: Group) -> Drawing | str:
    """Small multiples, one an arm of the group, on one logarithmic axis."""
    arms = [
        arm for arm in inputs.stored(inputs.ordered(group.arms), "arm") if len(_losses(inputs, arm))
    ]
    if not arms:
        return not_here(f"Loss curves of {group.name}")
    rows = math.ceil(len(arms) / COLUMNS)
    figure = canvas(4 + rows * ROW_MM + (8 if rows == 1 else 0))
    axes = grid(figure, rows, COLUMNS, (13, 2, 9, 8), (3, 13))
    for i, axis in enumerate(axes.flat):
        if i >= len(arms):
            axis.set_visible(False)
            continue
        _panel(axis, inputs, arms[i])
        if i % COLUMNS:
            axis.tick_params(labelleft=False)
        if i + COLUMNS >= len(arms):
            axis.set_xlabel("epoch")
    _common_scale(list(axes.flat)[: len(arms)])
    figure.text(0.003, 0.5, "validation loss", rotation=90, va="center")
    table = pandas.concat([_losses(inputs, arm).assign(arm=arm) for arm in arms])
    return Drawing(f"curves_{_stem(group)}", figure, table, (_caption(inputs, arms),))


def _stem(group: Group) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in group.name).strip("_")


def _caption(inputs: Inputs, arms: list[str]) -> str:
    counts = sorted({len(inputs.arms[arm].seeds) for arm in arms})
    n = f"n = {counts[0]}" + (f" to {counts[-1]}" if counts[1:] else "")
    return (
        f"Validation loss (no unit, logarithmic) over epochs, {n} seeds an arm. Thin: every seed, "
        "blue where it ended ok, red where it collapsed, purple where it failed (× at its last "
        "finite loss). Thick: the median of all seeds. Dots: the best epoch of each seed."
    )


def _losses(inputs: Inputs, arm: str) -> pandas.DataFrame:
    """seed, epoch, val_loss; a seed that failed before its first epoch ended has no row."""
    history = inputs.history(arm)
    if "val_loss" not in history:
        return pandas.DataFrame({"seed": [], "epoch": [], "val_loss": []})
    return history.filter(items=["seed", "epoch", "val_loss"])


def _panel(axis: Axes, inputs: Inputs, arm: str) -> None:
    table = _losses(inputs, arm)
    for seed, rows in table.groupby("seed"):
        outcome = inputs.arms[arm].seeds[int(str(seed))]["outcome"]
        colour = OUTCOMES[outcome]
        loss = rows["val_loss"].to_numpy(dtype=float)
        epoch = rows["epoch"].to_numpy()
        axis.plot(epoch, loss, color=colour, lw=0.5, alpha=0.7)
        finite = np.flatnonzero(np.isfinite(loss))
        if finite.size:
            best = finite[np.argmin(loss[finite])]
            axis.plot(epoch[best], loss[best], "o", ms=2.2, color=colour, mew=0)
        if outcome == "failed" and finite.size:
            axis.plot(epoch[finite[-1]], loss[finite[-1]], "x", ms=4, color=colour, mew=0.8)
    median = table.groupby("epoch")["val_loss"].median()
    axis.plot(median.index, median, color="#222222", lw=1.4)
    axis.set_yscale("log")
    axis.set_title(wrapped(arm, 26), pad=2, fontsize=6.5)
    axis.grid(axis="y", color=GRAY, lw=0.25, alpha=0.5)
    axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def _common_scale(axes: list[Axes]) -> None:
    """One range for all panels, with more ticks where the range is narrow."""
    low = min(axis.get_ylim()[0] for axis in axes)
    high = max(axis.get_ylim()[1] for axis in axes)
    span = high / low
    subs = (1, 1.5, 2, 3, 4, 6, 8) if span < 8 else (1, 2, 5) if span < 50 else (1,)
    for axis in axes:
        axis.set_ylim(low, high)
        axis.yaxis.set_major_locator(LogLocator(subs=subs, numticks=30))
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.yaxis.set_minor_formatter(NullFormatter())

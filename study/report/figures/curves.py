"""Curves against the epoch: a thin line per seed, a thick median, a marker at the best epoch."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from study.report.figures.style import (
    BLACK,
    CYCLE,
    DASHES,
    GRAY,
    MARKS,
    OUTCOMES,
    Drawing,
    canvas,
    grid,
    plain_log,
    room_mm,
    short,
    wrapped,
)  # fmt: skip
from study.report.gather import Group, Inputs, not_here
from study.report.series import Curves

COLUMNS = 5
ROW_MM = 39.0
LABEL = 24  # characters per line that fit beside a panel
LOSS = "val_loss"


def draw_curves(inputs: Inputs, group: Group) -> Drawing | str:
    """Validation losses as small multiples, one per arm of the group, with a common log axis."""
    arms = inputs.stored(inputs.ordered(group.arms), "arm")
    lines = [line for arm in arms if (line := _losses(inputs, arm)).has(LOSS)]
    if not lines:
        return not_here(f"Loss curves of {group.name}")
    rows = math.ceil(len(lines) / COLUMNS)
    figure = canvas(4 + rows * ROW_MM + (8 if rows == 1 else 0))
    axes = grid(figure, rows, COLUMNS, (13, 2, 10, 9), (3, 16))
    for i, axis in enumerate(axes.flat):
        if i >= len(lines):
            axis.set_visible(False)
            continue
        _draw(axis, lines[i], LOSS, OUTCOMES)
        axis.set_title(wrapped(lines[i].arm, 17), pad=2)
        axis.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        axis.set_yscale("log")
        if i % COLUMNS:
            axis.tick_params(labelleft=False)
        if i + COLUMNS >= len(lines):
            axis.set_xlabel("epoch")
    _common_scale(list(axes.flat)[: len(lines)])
    figure.text(0.003, 0.5, "validation loss", rotation=90, va="center")
    table = pandas.concat([line.history.assign(arm=line.arm) for line in lines])
    return Drawing(f"curves_{group.stem}", figure, table, _caption(lines))


def _caption(lines: Sequence[Curves]) -> str:
    counts = sorted({len(line.outcomes) for line in lines})
    n = f"n = {counts[0]}" + (f" to {counts[-1]}" if counts[1:] else "")
    return (
        f"Validation loss (dimensionless, log scale) against the epoch, {n} seeds per arm. Thin "
        "lines: single seeds, blue if they ended ok, red if they collapsed (×), purple if they "
        "failed (triangle at the last finite loss). Thick lines: the median of all seeds. Dots: "
        "the best epoch of each seed."
    )


def _losses(inputs: Inputs, arm: str) -> Curves:
    """Validation losses per seed; a seed that failed in its first epoch has no row."""
    history = inputs.history(arm).filter(items=["seed", "epoch", LOSS])
    outcomes = {seed: content["outcome"] for seed, content in inputs.arms[arm].seeds.items()}
    return Curves(arm, 0, history, outcomes)


def curves_figure(lines: Sequence[Curves], panels: Sequence[tuple[str, str, bool]]) -> Figure:
    """All arms in one panel per quantity. `panels`: (column, label, whether the axis is
    logarithmic)."""
    names = [f"{short(line.arm)} ({len(line.outcomes)} seeds)" for line in lines]
    figure = canvas(12 + 48 * len(panels))
    labels = [textwrap.fill(label, LABEL) for _, label, _ in panels]
    left = 16 + 4 * max(label.count("\n") for label in labels)
    axes = grid(figure, len(panels), 1, (left, room_mm(names, 12), 10, 3), (0, 5))[:, 0]
    for axis, label, (column, _, log) in zip(axes, labels, panels, strict=True):
        for line, name in zip(lines, names, strict=True):
            if line.has(column):
                colour = CYCLE[line.place % len(CYCLE)]
                _draw(axis, line, column, dict.fromkeys(OUTCOMES, colour), colour, name)
        axis.set_ylabel(label)
        if log:
            plain_log(axis)
    axes[-1].set_xlabel("epoch")
    axes[0].legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), handlelength=2.6)
    return figure


def _draw(
    axis: Axes,
    line: Curves,
    column: str,
    colours: dict[str, str],
    median: str = BLACK,
    name: str = "",
) -> None:
    """Draw one arm. `colours`: outcome of a seed -> colour; `median`: colour of the median."""
    for seed, rows in line.history.groupby("seed"):
        colour = colours[line.outcomes.get(int(str(seed)), "ok")]
        axis.plot(rows["epoch"], rows[column], color=colour, lw=0.5, alpha=0.6)
    for outcome, points in line.best(column).items():
        axis.plot(*zip(*points, strict=True), "o", ms=2.2, color=colours[outcome], mew=0)
    for outcome, points in line.ends(column).items():
        axis.plot(*zip(*points, strict=True), MARKS[outcome], ms=4, color=colours[outcome], mew=0.8)
    middle = line.middle(column)["median"]
    dash = DASHES[line.place % len(DASHES)]
    axis.plot(middle.index, middle, color=median, lw=1.4, ls=dash, label=name)
    axis.grid(axis="y", color=GRAY, lw=0.25, alpha=0.5)


def _common_scale(axes: Sequence[Axes]) -> None:
    """Set the same range for all panels."""
    low = min(axis.get_ylim()[0] for axis in axes)
    high = max(axis.get_ylim()[1] for axis in axes)
    for axis in axes:
        axis.set_ylim(low, high)
        plain_log(axis)

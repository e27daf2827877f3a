"""Share of dead units by layer, for all arms, and over epochs for arms with dead units.

From the columns `dead.<layer>` of the histories. A unit is dead when its activation is constant
over a batch; see study/training/diagnostics.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from study.evidence.format import counted, fmt, percent
from study.report.figures.style import (
    Drawing,
    canvas,
    colourbar,
    room_mm,
    short,
    wrapped,
)
from study.report.gather import Inputs, not_here

PREFIX = "dead."
LAYER_MM, ARMS_SHOWN, CLOSE = 3.3, 14, 2
# If the largest share is below this, a map would have a single colour.
WORTH_DRAWING = 0.01
TOP_MM = 9.0
# Width of the labels beside the bar.
LEAST_MM = 32.0


def dead_share(inputs: Inputs, arm: str) -> pandas.DataFrame:
    """Share of dead units, epochs x layers, mean over the seeds; empty if none is stored."""
    history = inputs.history(arm)
    layers = [name for name in history.columns if name.startswith(PREFIX)]
    if not layers or history.empty:
        return pandas.DataFrame()
    means = {name.removeprefix(PREFIX): history.groupby("epoch")[name].mean() for name in layers}
    return pandas.DataFrame(means)


def draw_dead(inputs: Inputs, arms: Sequence[str]) -> Drawing | str:
    """Left: layers x arms at the worst epoch. Right: layers x epochs of the arms with most dead
    units."""
    tables = {arm: dead_share(inputs, arm) for arm in inputs.stored(arms, "arm")}
    tables = {arm: table for arm, table in tables.items() if not table.empty}
    if not tables:
        return not_here("Dead units")
    worst = {arm: float(table.to_numpy().max()) for arm, table in tables.items()}
    if max(worst.values()) < WORTH_DRAWING:
        top = max(worst, key=lambda arm: worst[arm])
        share, arms = percent(float(fmt(worst[top], 2))), counted(len(worst), "arm")
        return (
            f"Dead units: in {arms} no layer lost more than {share} of its units at any epoch, "
            f"mean over seeds (the most in {top}); no map is drawn of that."
        )
    kept = sorted(sorted(tables, key=lambda arm: -worst[arm])[:ARMS_SHOWN], key=list(tables).index)
    layers = _layers([tables[arm] for arm in kept])
    close = [arm for arm in sorted(kept, key=lambda arm: -worst[arm]) if worst[arm] > 0][:CLOSE]
    foot = room_mm(short(arm) for arm in kept)
    height = max(LAYER_MM * len(layers), LEAST_MM) + foot + TOP_MM
    figure = canvas(height)
    axes = _axes(figure, room_mm(layers), foot, len(kept), len(close))
    left = np.stack([_column(tables[arm].max(), layers) for arm in kept], axis=1)
    image = _map(axes[0], left)
    axes[0].set_xticks(range(len(kept)), [short(arm) for arm in kept], rotation=90)
    axes[0].set_yticks(range(len(layers)), layers)
    axes[0].set_title("worst epoch", pad=3)
    for axis, arm in zip(axes[1:], close, strict=True):
        _over_epochs(axis, tables[arm], layers, wrapped(arm, 20))
    box = (169, foot, 2, height - foot - TOP_MM)
    colourbar(figure, image, box, "share of dead units", horizontal=False)
    table = pandas.concat([tables[arm].reset_index().assign(arm=arm) for arm in kept])
    return Drawing("dead_units", figure, table, _caption(inputs, worst, kept))


def _axes(figure: Any, left: float, bottom: float, arms: int, close: int) -> list[Axes]:
    """Axes with widths in proportion to their content, and the colour bar on the right."""
    width, height = (side * 25.4 for side in figure.get_size_inches())
    right, gap = 15.0, 4.0
    room = width - left - right - gap * close
    first = room if not close else min(6.0 * arms + 6, 0.5 * room)
    widths = [first, *([(room - first) / close] * close if close else [])]
    axes, x = [], left
    for size in widths:
        box = (x / width, bottom / height, size / width, (height - bottom - TOP_MM) / height)
        axes.append(figure.add_axes(box))
        x += size + gap
    return axes


def _layers(tables: Sequence[pandas.DataFrame]) -> list[str]:
    longest = sorted(tables, key=lambda table: -len(table.columns))
    return list(dict.fromkeys(name for table in longest for name in table.columns))


def _column(shares: Any, layers: Sequence[str]) -> np.ndarray:
    """Shares in the order of the layers; NaN for a layer that the arm does not have."""
    return np.array([shares.get(layer, np.nan) for layer in layers], dtype=float)


def _map(axis: Axes, shares: np.ndarray) -> Any:
    axis.set_facecolor("#DDDDDD")
    for spine in axis.spines.values():
        spine.set_visible(True)
    axis.tick_params(length=1.5)
    return axis.imshow(shares, aspect="auto", cmap="cividis", vmin=0, vmax=1)


def _over_epochs(axis: Axes, table: pandas.DataFrame, layers: Sequence[str], name: str) -> None:
    image = _map(axis, np.stack([_column(row, layers) for _, row in table.iterrows()], axis=1))
    first, last = table.index[0], table.index[-1]
    image.set_extent((first - 0.5, last + 0.5, len(layers) - 0.5, -0.5))
    axis.set_yticks(range(len(layers)), [""] * len(layers))
    axis.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axis.set_xlabel("epoch")
    axis.set_title(name, pad=3)


def _caption(inputs: Inputs, worst: Mapping[str, float], kept: Sequence[str]) -> str:
    top = max(worst, key=lambda arm: worst[arm])
    counts = sorted({len(inputs.arms[arm].seeds) for arm in kept})
    n = f"{counts[0]}" + (f" to {counts[-1]}" if counts[1:] else "")
    shown = (
        "" if len(kept) == len(worst) else f" ({len(kept)} of {len(worst)} arms, those with most)"
    )
    return (
        f"Share of dead units (0 to 1) by layer, mean over n = {n} seeds per arm{shown}, at the "
        "epoch at which it is largest, and over the epochs for the arms that lost most. Light "
        f"gray: the arm has no such layer. The largest share of all is {worst[top]:.3g}, in {top}."
    )

"""Fourier ring correlation with the truth, up to Nyquist, computed as for the scores."""

from __future__ import annotations

import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.report.figures.scenes import CHANNELS, Shown, find_shown, missing, ring_curve
from study.report.figures.style import (
    CYCLE,
    DASHES,
    GRAY,
    Drawing,
    canvas,
    grid,
    room_mm,
    short,
)
from study.report.gather import Inputs


def draw_resolution(inputs: Inputs) -> Drawing | str:
    shown, absent = find_shown(inputs)
    if not shown:
        return missing("Fourier ring correlation", absent)
    figure, table = rings_figure(shown)
    caption = (
        "Fourier ring correlation of one reconstruction per arm (n = 1, the seed with the median "
        "amplitude MAE, last weights) with the true object, against the spatial frequency up to "
        "Nyquist (0.5 per px); mean removed, Hann window. Dotted line: 0.5; its first crossing is "
        "the score FRC 0.5. Degenerate channels have no curve."
    )
    return Drawing("frc", figure, table, caption)


def rings_figure(shown: list[Shown]) -> tuple[Figure, pandas.DataFrame]:
    """Amplitude and phase panels with one line per reconstruction, and the plotted numbers."""
    figure = canvas(72)
    right = room_mm([*(short(one.arm) for one in shown), "(not evaluable)"], 10)
    axes = grid(figure, 1, 2, (11, right, 10, 6), (7, 0))[0]
    parts = [_panel(axis, shown, channel) for axis, channel in zip(axes, CHANNELS, strict=True)]
    axes[0].set_ylabel("FRC against the truth")
    axes[1].tick_params(labelleft=False)
    axes[1].legend(loc="upper left", bbox_to_anchor=(1.01, 1.02), handlelength=2.2)
    return figure, pandas.concat(parts)


def _panel(axis: Axes, shown: list[Shown], channel: str) -> pandas.DataFrame:
    parts = [pandas.DataFrame()]
    for i, one in enumerate(shown):
        name = short(one.arm)
        if channel in one.blank:
            axis.plot([], [], color=CYCLE[i], label=f"{name}\n(not evaluable)")
            continue
        frequency, found = ring_curve(one.pairs[channel])
        axis.plot(frequency, found, color=CYCLE[i], ls=DASHES[i], lw=0.9, label=name)
        facts = {"arm": one.arm, "seed": one.seed, "channel": channel}
        parts.append(
            pandas.DataFrame({**facts, "frequency_per_px": frequency, "correlation": found})
        )
    axis.axhline(0.5, color=GRAY, lw=0.7, ls=":")
    axis.set_xlim(0, 0.5)
    axis.set_ylim(0, 1.02)
    axis.set_xlabel("spatial frequency (1/px)")
    axis.set_title(channel, pad=3)
    return pandas.concat(parts)

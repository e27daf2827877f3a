"""True object and arms: amplitude, phase, and their differences from the true object.

Amplitude in grey and phase on a diverging map, both with the range of the true object; phase in
rad, symmetric about its mean direction. The ranges of differences are symmetric about zero. Pixels
are square and not smoothed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from study.report.figures.scenes import CHANNELS, Shown, find_shown, missing, same_size
from study.report.figures.style import (
    Drawing,
    bare,
    blank,
    canvas,
    colourbar,
    grid,
    wrapped,
)
from study.report.gather import Inputs

SIDE_MM, GAP_MM, LEFT_MM = 28.0, 1.2, 28.0
UNITS = {"amplitude": "object units", "phase": "rad"}


def draw_reconstructions(inputs: Inputs) -> Drawing | str:
    found, absent = find_shown(inputs)
    if not found:
        return missing("Reconstructions", absent)
    shown = same_size(found)
    seeds = ", ".join(f"{one.arm} seed {one.seed}" for one in shown if _is_trained(inputs, one))
    figure = scenes_figure(shown)
    return Drawing("reconstructions", figure, _table(shown), _caption(seeds, absent))


def scenes_figure(found: list[Shown]) -> Figure:
    """One row for the true object and for each reconstruction with the region of the first one."""
    shown = same_size(found)
    rows = len(shown) + 1
    figure = canvas(rows * SIDE_MM + (rows - 1) * GAP_MM + 15)
    right = 180 - LEFT_MM - 4 * SIDE_MM - 3 * GAP_MM
    axes = grid(figure, rows, 4, (LEFT_MM, right, 10, 5), (GAP_MM, GAP_MM))
    looks = _looks(shown[0])
    images = _truth_row(axes[0], shown[0], looks)
    for line, one in zip(axes[1:], shown, strict=True):
        images |= _row(line, one, looks)
    _heads(axes[0])
    _scale_bar(axes[0, 0], shown[0])
    _bars(figure, images)
    return figure


def _is_trained(inputs: Inputs, one: Shown) -> bool:
    return inputs.arms[one.arm].label == "arm"


def _caption(seeds: str, absent: Mapping[str, str]) -> str:
    left_out = "; ".join(f"{name}: {why}" for name, why in absent.items())
    return (
        "Reconstructions of the test object, last weights, n = 1 object and one seed per arm, the "
        f"one with the median amplitude MAE ({seeds or 'no trained arm'}). Amplitude in object "
        "units, with the range of the true object (percentiles 0.5 to 99.5). Phase in rad on a "
        "diverging map, symmetric about the mean direction of the true phase; the global phase "
        "relative to the true object is removed. Differences are prediction minus truth; the scale "
        "of the amplitude difference is plus or minus half of the amplitude range. Pixels are "
        "square and not smoothed; the scale bar is 20 px."
        + (f" Left out: {left_out}." if left_out else "")
    )


def _looks(one: Shown) -> dict[str, dict[str, Any]]:
    """Colour maps and ranges, from the true object only."""
    low, high = np.percentile(one.pairs["amplitude"].truth, (0.5, 99.5))
    limit = float(np.percentile(np.abs(one.pairs["phase"].truth), 99.5)) or np.pi
    half = (high - low) / 2
    return {
        "amplitude": {"cmap": "gray", "vmin": low, "vmax": high},
        "phase": {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit},
        "amplitude difference": {"cmap": "PuOr_r", "vmin": -half, "vmax": half},
        "phase difference": {"cmap": "PuOr_r", "vmin": -limit, "vmax": limit},
    }


def _truth_row(axes: np.ndarray, one: Shown, looks: Mapping[str, Any]) -> dict[str, Any]:
    images = {}
    for axis, channel in zip(axes, CHANNELS, strict=False):
        images[channel] = axis.imshow(one.pairs[channel].truth, **looks[channel])
        bare(axis)
    for axis in axes[2:]:
        axis.set_axis_off()
    axes[0].set_ylabel("truth", rotation=0, ha="right", va="center", labelpad=4)
    return images


def _row(axes: np.ndarray, one: Shown, looks: Mapping[str, Any]) -> dict[str, Any]:
    images = {}
    for i, channel in enumerate(CHANNELS):
        pair = one.pairs[channel]
        views = {channel: pair.prediction, f"{channel} difference": pair.prediction - pair.truth}
        for axis, (name, image) in zip((axes[i], axes[i + 2]), views.items(), strict=True):
            if channel in one.blank:
                blank(axis, f"not evaluable:\n{one.blank[channel]}")
                continue
            images[name] = axis.imshow(image, **looks[name])
            bare(axis)
    axes[0].set_ylabel(wrapped(one.arm), rotation=0, ha="right", va="center", labelpad=4)
    return images


def _heads(axes: np.ndarray) -> None:
    titles = ("amplitude", "phase", "amplitude difference", "phase difference")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, pad=3)


def _scale_bar(axis: Axes, one: Shown) -> None:
    height, width = one.pairs["amplitude"].truth.shape
    x, y = 0.06 * width, 0.93 * height
    axis.plot([x, x + 20], [y, y], color="black", lw=3.2, solid_capstyle="butt")
    axis.plot([x, x + 20], [y, y], color="white", lw=1.8, solid_capstyle="butt")
    axis.set_xlim(-0.5, width - 0.5)
    axis.set_ylim(height - 0.5, -0.5)
    box = {"facecolor": "black", "alpha": 0.6, "pad": 0.8, "lw": 0}
    axis.text(x + 10, y - 5, "20 px", color="white", ha="center", va="bottom", bbox=box)


def _bars(figure: Figure, images: Mapping[str, Any]) -> None:
    titles = ("amplitude", "phase", "amplitude difference", "phase difference")
    for i, name in enumerate(titles):
        if name in images:
            x = LEFT_MM + i * (SIDE_MM + GAP_MM) + 2
            unit = UNITS[name.partition(" ")[0]]
            colourbar(figure, images[name], (x, 7.4, SIDE_MM - 4, 1.2), unit)


def _table(shown: list[Shown]) -> pandas.DataFrame:
    """Line profiles through the middle row of each image."""
    parts = []
    for one in shown:
        for channel, pair in one.pairs.items():
            if channel in one.blank:
                continue
            middle = pair.truth.shape[0] // 2
            facts = {"x_px": np.arange(pair.truth.shape[1]), "truth": pair.truth[middle]}
            table = pandas.DataFrame({**facts, "prediction": pair.prediction[middle]})
            parts.append(table.assign(arm=one.arm, seed=one.seed, channel=channel, y_px=middle))
    return pandas.concat(parts) if parts else pandas.DataFrame()

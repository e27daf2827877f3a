"""Residuals: the R-factor of each pattern of the scan, and one pattern in detail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from study.formats.reconstruction import amplitudes
from study.report.figures.scenes import Shown, find_shown, missing
from study.report.figures.style import (
    Drawing,
    bare,
    canvas,
    colourbar,
    grid,
    wrapped,
)
from study.report.gather import Inputs

WANTED = ("control", "better", "back_projection_5", "rpie")
SIDE_MM, GAP_MM, LEFT_MM = 33.0, 3.0, 26.0
HEADS = ("R-factor over the scan", "measured", "predicted", "predicted − measured")


def draw_residuals(inputs: Inputs) -> Drawing | str:
    shown, absent = find_shown(inputs, WANTED)
    shown = [one for one in shown if np.isfinite(one.result.r_factor).any()]
    if not shown:
        return missing("Residuals", absent)
    common = _common_pattern(shown)
    figure = residuals_figure(shown, common)
    return Drawing("residuals", figure, _table(shown), _caption(shown, common))


def residuals_figure(shown: list[Shown], pattern: int) -> Figure:
    """One row per reconstruction: R-factors over the scan, and pattern number `pattern`.

    All of `shown` must have stored this pattern.
    """
    rows = len(shown)
    figure = canvas(rows * SIDE_MM + (rows - 1) * GAP_MM + 18)
    right = 180 - LEFT_MM - 4 * SIDE_MM - 3 * GAP_MM
    axes = grid(figure, rows, 4, (LEFT_MM, right, 12, 6), (GAP_MM, GAP_MM))
    for axis, title in zip(axes[0], HEADS, strict=True):
        axis.set_title(title, pad=3)
    norms = _norms(shown, pattern)
    images: list[Any] = []
    for line, one in zip(axes, shown, strict=True):
        images = _row(line, one, pattern, norms)
        line[0].set_ylabel(wrapped(one.arm), rotation=0, ha="right", va="center", labelpad=4)
    units = ("R-factor (no unit)", "amplitude (no unit)", "amplitude", "difference")
    for i, (image, unit) in enumerate(zip(images, units, strict=True)):
        x = LEFT_MM + i * (SIDE_MM + GAP_MM) + 2
        colourbar(figure, image, (x, 8.6, SIDE_MM - 4, 1.2), unit)
    return figure


def _caption(shown: list[Shown], pattern: int) -> str:
    inside = int(np.isfinite(shown[0].result.r_factor).sum())
    return (
        f"Left: R-factors of the n = {inside} test patterns whose window is inside the scored "
        "region, at their positions in the scan; the same scale for all arms. Right: pattern "
        f"{pattern} (framed), whose R-factor is closest to the median of {shown[0].arm}; "
        "amplitude = sqrt(counts) / photon scale (dimensionless), measured and predicted on the "
        "same logarithmic scale. One seed per arm, the one with the median amplitude MAE; last "
        "weights."
    )


def _common_pattern(shown: list[Shown]) -> int:
    """The pattern with R closest to the first arm's median, among those stored by all arms."""
    kept = set(shown[0].result.shown.tolist())
    for one in shown[1:]:
        kept &= set(one.result.shown.tolist())
    ratio = shown[0].result.r_factor
    inside = [index for index in sorted(kept) if np.isfinite(ratio[index])]
    middle = np.nanmedian(ratio)
    return min(inside, key=lambda index: abs(float(ratio[index]) - middle))


def _norms(shown: list[Shown], index: int) -> list[Normalize]:
    ratios = np.concatenate([one.result.r_factor for one in shown])
    measured, _ = amplitudes(shown[0].dataset, shown[0].result, index)
    misses = [
        np.nanmax(np.abs(np.subtract(*amplitudes(one.dataset, one.result, index)))) for one in shown
    ]
    top = float(np.nanmax(measured))
    amplitude = LogNorm(top * 1e-3, top, clip=True)
    limit = float(max(misses)) or 1.0
    ratio = Normalize(0, float(np.nanpercentile(ratios, 98)))
    return [ratio, amplitude, amplitude, Normalize(-limit, limit)]


def _row(axes: np.ndarray, one: Shown, index: int, norms: list[Normalize]) -> list[Any]:
    measured, predicted = amplitudes(one.dataset, one.result, index)
    images = [_map(axes[0], one, index, norms[0])]
    views = (measured, predicted, predicted - measured)
    for axis, view, norm, colours in zip(
        axes[1:], views, norms[1:], ("magma", "magma", "PuOr_r"), strict=True
    ):
        images.append(axis.imshow(view, norm=norm, cmap=colours))
        bare(axis)
    return images


def _map(axis: Axes, one: Shown, index: int, norm: Normalize) -> Any:
    """Draw R over the scan as squares with a side of one step, y downwards as in the object."""
    places = one.dataset.splits["test"].positions_px[:, 0]
    ratio = one.result.r_factor
    inside = np.isfinite(ratio)
    y, x = places[inside].T
    # Area of a marker in square points, so that neighbours touch.
    steps = max(len(np.unique(y)), len(np.unique(x)))
    size = (SIDE_MM * 72 / 25.4 / (steps + 0.5)) ** 2
    image = axis.scatter(x, y, c=ratio[inside], norm=norm, cmap="viridis", s=size, marker="s", lw=0)
    axis.scatter(
        *places[index, ::-1], s=size, marker="s", facecolor="none", edgecolor="#D55E00", lw=1.0
    )
    axis.set_aspect("equal")
    axis.invert_yaxis()
    axis.margins(0.5 / steps)
    bare(axis)
    return image


def _table(shown: list[Shown]) -> pandas.DataFrame:
    parts = []
    for one in shown:
        y, x = one.dataset.splits["test"].positions_px[:, 0].T
        facts = {"arm": one.arm, "seed": one.seed, "y_px": y, "x_px": x}
        parts.append(pandas.DataFrame({**facts, "r_factor": one.result.r_factor}))
    return pandas.concat(parts)

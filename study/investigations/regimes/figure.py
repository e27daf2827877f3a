"""Regime map: error of every method over scan step, dose and probe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from study.evidence.format import percent
from study.investigations.regimes.results import TIE, HeatMap, heat_map
from study.report.figures.style import (
    RED,
    Drawing,
    blank,
    canvas,
    colourbar,
    grid,
    room_mm,
)

TITLES = {
    "control": "control",
    "better": "better arm",
    "back_projection": "back-projection",
    "rpie": "rPIE",
    "rpie_damped": "rPIE, damped",
    "rpie_converged": "rPIE, converged",
    "rpie_blind": "rPIE, probe refined",
    "network_rpie": "network, then rPIE",
}
HEIGHT_MM = 19  # of one method's map
METRICS = {
    "amplitude_mae": ("amplitude MAE", "object units"),
    "phase_mae": ("phase MAE", "rad"),
}


def draw_regimes(content: Mapping[str, Any], metric: str) -> Drawing | str:
    """Rows: methods; columns: probe known or perturbed; each a map of dose over scan step."""
    found = heat_map(content, metric)
    there = {method for _, _, method in found.rows}
    methods = [method for method in TITLES if method in there]
    probes = list(dict.fromkeys(probe for _, probe, _ in found.rows))
    doses = sorted({dose for dose, _, _ in found.rows}, reverse=True)
    values = [value for row in found.values for value in row if value]
    if not values:
        return f"Regime map of {METRICS[metric][0]}: no cell is evaluable."
    left = room_mm((TITLES[method].replace(", ", ",\n") for method in methods), 15)
    figure = canvas(31 + HEIGHT_MM * len(methods))
    axes = grid(figure, len(methods), len(probes), (left, 3, 24, 6), (2, 2))
    norm = LogNorm(min(values), max(values) if max(values) > min(values) else 2 * min(values))
    image = None
    for line, method in zip(axes, methods, strict=True):
        for axis, probe in zip(line, probes, strict=True):
            image = _map(axis, found, (probe, method), doses, norm) or image
    _labels(axes, methods, probes, doses, found.steps_px)
    title, unit = METRICS[metric]
    colourbar(figure, image, (left + 30, 9, 147 - left - 30, 2), f"{title} ({unit})")
    return Drawing(f"regimes_{metric}", figure, _table(found), _caption(title, unit, found))


def _table(found: HeatMap) -> pandas.DataFrame:
    """One line per cell; a missing error is empty."""
    lines = [
        {"dose": row[0], "probe": row[1], "method": row[2], "step_px": step, found.number: value}
        | {"lowest": best}
        for row, values, bests in zip(found.rows, found.values, found.best, strict=True)
        for step, value, best in zip(found.steps_px, values, bests, strict=True)
    ]
    return pandas.DataFrame(lines)


def _map(
    axis: Axes, found: HeatMap, place: tuple[str, str], doses: Sequence[float], norm: LogNorm
) -> Any:
    """One method with one probe; a frame around every cell in which it has the lowest error."""
    rows = {dose: k for k, (dose, *rest) in enumerate(found.rows) if tuple(rest) == place}
    if not rows:
        blank(axis, "not run")
        axis.set(xlim=(-0.5, len(found.steps_px) - 0.5), ylim=(len(doses) - 0.5, -0.5))
        return None
    shares = np.full((len(doses), len(found.steps_px)), np.nan)
    axis.set_facecolor("#EEEEEE")
    for dose, k in rows.items():
        i = doses.index(dose)
        for j, (value, best) in enumerate(zip(found.values[k], found.best[k], strict=True)):
            shares[i, j] = value or np.nan
            dark = bool(value) and norm(value) < 0.55
            words = "n.e." if value is None else _brief(value)
            colour = "white" if dark else "#222222"
            axis.text(j, i, words, ha="center", va="center", color=colour)
            if best:
                box = Rectangle((j - 0.44, i - 0.42), 0.88, 0.84, fill=False, ec=RED, lw=1.2)
                axis.add_patch(box)
    for spine in axis.spines.values():
        spine.set_visible(True)
    return axis.imshow(shares, norm=norm, cmap="cividis", aspect="auto")


def _brief(value: float) -> str:
    """At most four characters, to fit in a cell; the table beside the figure has all digits."""
    text = f"{value:.2g}" if value >= 0.001 else f"{value:.0e}".replace("e-0", "e-")
    return text.removeprefix("0")


def _labels(
    axes: np.ndarray,
    methods: Sequence[str],
    probes: Sequence[str],
    doses: Sequence[float],
    steps: Sequence[float],
) -> None:
    for axis, probe in zip(axes[0], probes, strict=True):
        axis.set_title(f"{probe} probe", pad=3)
    for axis in axes.flat:
        axis.set_xticks(range(len(steps)), [])
        axis.set_yticks(range(len(doses)), [])
        axis.tick_params(length=1.5)
    for axis in axes[-1]:
        axis.set_xticks(range(len(steps)), [f"{step:g}" for step in steps])
        axis.set_xlabel("scan step (px)")
    words = [f"{dose:.0e}".replace("e+0", "e") for dose in doses]
    for axis, method in zip(axes[:, 0], methods, strict=True):
        axis.set_yticks(range(len(doses)), words)
        name = TITLES[method].replace(", ", ",\n")
        axis.set_ylabel(name, rotation=0, ha="right", va="center", labelpad=4)


def _caption(title: str, unit: str, found: HeatMap) -> str:
    n = sum(value is not None for row in found.values for value in row)
    return (
        f"{title[0].upper()}{title[1:]} ({unit}, logarithmic colour) of every method, n = {n} "
        "reconstructions with a score, one per cell: one object, one seed and no interval, so the "
        "map shows where methods differ and does not prove an order. Rows of a map: photons per "
        "pattern. Framed: the lowest error of that scan step, dose and probe, or within "
        f"{percent(TIE)} of it. n.e.: not evaluable, the reconstruction is degenerate."
    )

"""When is a network worth it: error of every method over scan step, dose and probe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.patches import Rectangle

from study.report.document import Drawing
from study.report.figures.style import RED, blank, canvas, colourbar, grid
from study.report.gather import Inputs

TITLES = {
    "control": "control",
    "better": "better arm",
    "rpie": "rPIE",
    "rpie_blind": "rPIE, probe refined",
    "back_projection": "back-projection",
    "network_rpie": "network, then rPIE",
}
METRICS = {
    "amplitude_mae": ("amplitude MAE", "object units"),
    "phase_mae": ("phase MAE", "rad"),
}
Cell = Mapping[str, Any]


def draw_regimes(inputs: Inputs, metric: str) -> Drawing | str:
    """Rows: probe known or perturbed; columns: methods; each a map of dose over scan step."""
    if inputs.regimes is None:
        return "Regime map: not stored here (recorded/studies/regimes.json); `make repro-all`."
    cells = inputs.regimes["cells"]
    run = dict.fromkeys(cell["method"] for cell in cells)
    methods = [*(name for name in TITLES if name in run), *(n for n in run if n not in TITLES)]
    probes = list(dict.fromkeys(cell["probe"] for cell in cells))
    doses = sorted({cell["dose"] for cell in cells}, reverse=True)
    steps = list(inputs.regimes["steps_px"])
    values = [v for cell in cells if (v := scored(cell, metric)) is not None]
    if not values:
        return f"Regime map of {METRICS[metric][0]}: no cell is evaluable."
    figure = canvas(24 + 30 * len(probes))
    axes = grid(figure, len(probes), len(methods), (21, 16, 11, 6), (2, 4))
    norm = LogNorm(min(values), max(values) if max(values) > min(values) else 2 * min(values))
    best = winners(cells, metric)
    image = None
    for line, probe in zip(axes, probes, strict=True):
        for axis, method in zip(line, methods, strict=True):
            chosen = [c for c in cells if c["probe"] == probe and c["method"] == method]
            image = _map(axis, chosen, (doses, steps), metric, norm) or image
            _frame(axis, chosen, (doses, steps), best)
    _labels(axes, methods, probes, doses, steps)
    title, unit = METRICS[metric]
    bar = (167, 13, 2, 28 * len(probes) - 4)
    colourbar(figure, image, bar, f"{title} ({unit})", horizontal=False)
    table = pandas.DataFrame(cells).assign(metric=metric)
    table["winner"] = [best.get(_place(cell)) == cell["method"] for cell in cells]
    return Drawing(f"regimes_{metric}", figure, table, (_caption(title, unit, len(cells)),))


def scored(cell: Cell, metric: str) -> float | None:
    """The cell's error, None where it is not evaluable."""
    value = cell.get(metric)
    if value is None or not cell.get("evaluable", True) or not math.isfinite(value) or value <= 0:
        return None
    return float(value)


def winners(cells: Sequence[Cell], metric: str) -> dict[tuple[Any, ...], str]:
    """(probe, dose, step) -> method with the lowest error among the evaluable ones."""
    found: dict[tuple[Any, ...], tuple[float, str]] = {}
    for cell in cells:
        value = scored(cell, metric)
        if value is not None:
            entry = (value, str(cell["method"]))
            found[_place(cell)] = min(found.get(_place(cell), entry), entry)
    return {place: method for place, (_, method) in found.items()}


def _place(cell: Cell) -> tuple[Any, ...]:
    return (cell["probe"], cell["dose"], cell["step_px"])


def _map(axis: Axes, cells: Sequence[Cell], ticks: Any, metric: str, norm: LogNorm) -> Any:
    doses, steps = ticks
    if not cells:
        blank(axis, "not run")
        return None
    shares = np.full((len(doses), len(steps)), np.nan)
    axis.set_facecolor("#EEEEEE")
    for cell in cells:
        i, j = doses.index(cell["dose"]), steps.index(cell["step_px"])
        value = scored(cell, metric)
        shares[i, j] = np.nan if value is None else value
        dark = value is not None and norm(value) < 0.55
        words = "n.e." if value is None else _brief(value)
        axis.text(
            j, i, words, ha="center", va="center", size=5, color="white" if dark else "#222222"
        )
    for spine in axis.spines.values():
        spine.set_visible(True)
    return axis.imshow(shares, norm=norm, cmap="cividis", aspect="auto")


def _brief(value: float) -> str:
    return f"{value:.2g}".removeprefix("0")


def _frame(axis: Axes, cells: Sequence[Cell], ticks: Any, best: Mapping[Any, str]) -> None:
    """A frame around every cell in which this method wins."""
    doses, steps = ticks
    for cell in cells:
        if best.get(_place(cell)) == cell["method"]:
            i, j = doses.index(cell["dose"]), steps.index(cell["step_px"])
            box = Rectangle((j - 0.44, i - 0.42), 0.88, 0.84, fill=False, ec=RED, lw=1.4)
            axis.add_patch(box)


def _labels(
    axes: np.ndarray,
    methods: Sequence[str],
    probes: Sequence[str],
    doses: Sequence[float],
    steps: Sequence[float],
) -> None:
    for axis, method in zip(axes[0], methods, strict=True):
        axis.set_title(TITLES.get(method, method), pad=3)
    for axis in axes.flat:
        axis.set_xticks(range(len(steps)), [])
        axis.set_yticks(range(len(doses)), [])
        axis.tick_params(length=1.5)
    for axis in axes[-1]:
        axis.set_xticks(range(len(steps)), [f"{step:g}" for step in steps])
        axis.set_xlabel("scan step (px)")
    for axis, probe in zip(axes[:, 0], probes, strict=True):
        axis.set_yticks(range(len(doses)), [f"{dose:.0e}".replace("e+0", "e") for dose in doses])
        axis.set_ylabel(f"{probe} probe\nphotons a pattern")


def _caption(title: str, unit: str, n: int) -> str:
    return (
        f"{title[0].upper()}{title[1:]} ({unit}, logarithmic colour) of every method, n = {n} "
        "cells, one reconstruction each. Framed: the lowest error of that scan step, dose and "
        "probe. n.e.: not evaluable, the reconstruction is degenerate."
    )

"""The steps around a collapse, from a replay: error and gradient, pre-activations, updates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas
from matplotlib.axes import Axes

from study.investigations.traces.figure import part_colours
from study.investigations.traces.results import errors, numbers, replay_facts
from study.report.figures.style import (
    BLACK,
    BLUE,
    GRAY,
    RED,
    Drawing,
    canvas,
    grid,
    plain_log,
    room_mm,
)

BEFORE, AFTER = 20, 12
PANELS = {
    "largest": "largest pre-activation",
    "update": "weights moved (learning rates)",
    "moment": "root of Adam's second moment",
}
# (1 - b1) / sqrt(1 - b2) of Adam: step of a weight for one large gradient after small ones.
ONE_STEP = 0.1 / np.sqrt(0.001)


def draw_replay(trace: Mapping[str, Any]) -> Drawing:
    """Draw a replay. `trace`: result of `study trace replay`. Steps are counted within the epoch
    after the checkpoint."""
    facts = replay_facts(trace)
    marks = [facts[name]["step"] for name in ("lost", "peak") if facts[name]]
    steps = np.arange(max(1, min(marks) - BEFORE), min(trace["steps"], max(marks) + AFTER) + 1)
    figure = canvas(118)
    right = room_mm(trace["parts"], 14)
    axes = grid(figure, 2, 2, (12, right, 10, 7), (13, 9))
    _norms(axes[0, 0], trace, steps)
    for axis, (key, title) in zip(axes.flat[1:], PANELS.items(), strict=True):
        for part, (colour, style) in part_colours(trace["parts"]).items():
            column = numbers(trace["by_part"][key][part])
            axis.plot(steps, column[steps - 1], color=colour, ls=style, lw=0.9, label=part)
        plain_log(axis)
        axis.set_title(title, pad=3)
    axes[0, 1].legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))
    axes[1, 0].axhline(ONE_STEP, color=GRAY, lw=0.7, ls=(0, (4, 2)))
    for axis in axes.flat:
        for mark in marks:
            axis.axvline(mark, color=RED, lw=0.6)
        axis.grid(axis="y", color=GRAY, lw=0.25, alpha=0.5)
    for axis in axes[1]:
        axis.set_xlabel(f"step of epoch {facts['epoch']}")
    table = pandas.DataFrame({"step": steps, "error": errors(trace)[steps - 1]})
    for name in ("gradient_norm", "loss", "patterns"):
        table[name] = numbers(trace["columns"][name])[steps - 1]
    for key in PANELS:
        for part in trace["parts"]:
            table[f"{key}.{part}"] = numbers(trace["by_part"][key][part])[steps - 1]
    return Drawing(f"replay_s{trace['seed']}", figure, table, CAPTION)


def _norms(axis: Axes, trace: Mapping[str, Any], steps: np.ndarray) -> None:
    axis.plot(steps, errors(trace)[steps - 1], color=BLACK, label="error / constant object's")
    norms = numbers(trace["columns"]["gradient_norm"])
    axis.plot(steps, norms[steps - 1], color=BLUE, label="gradient norm")
    plain_log(axis)
    axis.legend(loc="upper left")
    axis.set_title("error and gradient", pad=3)


CAPTION = (
    "The steps of the published LayerScale arm around its collapse, repeated to the bit from the "
    "checkpoint before that epoch. Red: the first step that is no better than a constant object, "
    "and the step with the largest gradient norm. Largest pre-activation, by part. How far a step "
    "moved the weights of a part (root mean square, in learning rates; dashed: what Adam does with "
    "one large gradient after small ones). Root of the mean of Adam's second moments before the "
    "step."
)

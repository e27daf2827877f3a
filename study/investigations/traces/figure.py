"""Step by step: error, largest pre-activation and dead units by part, of two arms side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas
from matplotlib.axes import Axes

from study.evidence.format import counted, fmt
from study.investigations.traces.results import errors, numbers
from study.report.figures.style import (
    BLACK,
    GRAY,
    RED,
    Drawing,
    canvas,
    colourbar,
    grid,
    plain_log,
    room_mm,
)

OTHER_SEEDS = 0.35
# Heights of a panel and of a part's row; width of the line beside a part's name.
PANEL_MM, PART_MM, KEY_MM = 42.0, 3.4, 5.0
ALIVE = ("healthy", "recovered")
ENCODER, DECODER = "Blues", "Oranges"
Trace = Mapping[str, Any]


def draw_traces(traces: Sequence[Trace]) -> Drawing | str:
    """Left: a run that collapsed; right: one that survived, at the same rate if there is one."""
    pair = choose(traces)
    if pair is None:
        ends = dict.fromkeys(trace["facts"]["ended"] for trace in traces)
        return f"Traces: no pair to draw, all runs ended {' or '.join(ends)}."
    parts = max((trace["parts"] for trace in pair), key=len)
    left, dead_mm = room_mm(parts) + KEY_MM, PART_MM * len(parts)
    figure = canvas(PANEL_MM * 2 + dead_mm + 28)
    heights = (PANEL_MM, PANEL_MM, dead_mm)
    axes = grid(figure, 3, 2, (left, 15, 10, 8), (left, 5), heights)
    images = [_column(column, main, traces) for column, main in zip(axes.T, pair, strict=True)]
    _frame(axes, pair)
    colourbar(figure, images[0], (168, 10, 2, dead_mm), "share of dead units", horizontal=False)
    table = pandas.concat([_table(trace) for trace in pair])
    return Drawing("traces", figure, table, _caption(pair, traces))


def choose(traces: Sequence[Trace]) -> tuple[Trace, Trace] | None:
    """The first run that collapsed and a run to compare it with; None without such a pair. The
    second run survived. Preferably every run of its arm survived, the arm trains at the same
    highest rate, and all its tensors get a gradient.
    """
    dead = {t["arm"] for t in traces if t["facts"]["ended"] not in ALIVE}
    bad = next((t for t in traces if t["facts"]["ended"] == "collapsed"), None)
    alive = [t for t in traces if t["facts"]["ended"] in ALIVE]
    if bad is None or not alive:
        return None

    def strangeness(trace: Trace) -> tuple[bool, ...]:
        return trace["arm"] in dead, rate(trace) != rate(bad), trace["facts"]["zero_tensors"] > 0

    return bad, min(alive, key=strangeness)


def rate(trace: Trace) -> float:
    """The highest learning rate of the traced steps."""
    return max(trace["columns"]["learning_rate"])


# --- the panels -------------------------------------------------------------------------------


def _column(column: np.ndarray, main: Trace, traces: Sequence[Trace]) -> Any:
    """The three panels of one run; the image of the last."""
    others = [t for t in traces if t["arm"] == main["arm"] and t is not main]
    _errors(column[0], main, others)
    _largest(column[1], main, others)
    column[0].set_title(f"{main['arm']}, seed {main['seed']}: {main['facts']['ended']}", pad=3)
    return _dead(column[2], main)


def _steps(trace: Trace) -> np.ndarray:
    return np.arange(1, trace["steps"] + 1)


def _errors(axis: Axes, main: Trace, others: Sequence[Trace]) -> None:
    for other in others:
        axis.plot(_steps(other), errors(other), color=BLACK, lw=0.4, alpha=OTHER_SEEDS)
    axis.plot(_steps(main), errors(main), color=BLACK, lw=1.0)
    axis.axhline(1, color=GRAY, lw=0.7, ls=(0, (4, 2)))
    step = main["facts"]["first_bad_step"]
    if step is not None:
        axis.axvline(step, color=RED, lw=0.7)


def _largest(axis: Axes, main: Trace, others: Sequence[Trace]) -> None:
    colours = part_colours(main["parts"])
    for part, (colour, style) in colours.items():
        for other in others:
            column = numbers(other["by_part"]["largest"][part])
            axis.plot(other["shown_steps"], column, color=colour, lw=0.3, alpha=OTHER_SEEDS)
        column = numbers(main["by_part"]["largest"][part])
        axis.plot(main["shown_steps"], column, color=colour, ls=style, lw=0.9)
    step = main["facts"]["first_bad_step"]
    if step is not None:
        axis.axvline(step, color=RED, lw=0.7)


def _dead(axis: Axes, main: Trace) -> Any:
    """One row per part, with the line that it has in the panel above."""
    parts = main["parts"]
    shares = np.stack([numbers(main["by_part"]["dead"][part]) for part in parts])
    edges = np.array([0.7, *(np.asarray(main["shown_steps"]) + 0.5)])
    image = axis.pcolormesh(
        edges, np.arange(len(parts) + 1), shares, cmap="cividis", vmin=0, vmax=1, rasterized=True
    )
    axis.set_yticks(np.arange(len(parts)) + 0.5, parts)
    axis.tick_params(axis="y", length=0, pad=16)
    place = axis.get_yaxis_transform()
    for row, (colour, style) in enumerate(part_colours(parts).values()):
        axis.plot(
            (-0.085, -0.01),
            (row + 0.5, row + 0.5),
            color=colour,
            ls=style,
            lw=1.2,
            transform=place,
            clip_on=False,
        )
    axis.set_ylim(len(parts), 0)
    return image


def _frame(axes: np.ndarray, pair: Sequence[Trace]) -> None:
    """Set common scales and axis labels."""
    last = max(trace["steps"] for trace in pair)
    for axis in axes.flat:
        axis.set_xlim(0.7, last + 0.5)
        plain_log(axis, "x")
    for row in axes[:2]:
        low, high = zip(*(axis.dataLim.intervaly for axis in row), strict=True)
        for axis in row:
            axis.set_yscale("log")
            axis.set_ylim(0.6 * min(low), 1.6 * max(high))
            plain_log(axis)
            axis.grid(axis="y", color=GRAY, lw=0.25, alpha=0.5)
            axis.tick_params(labelbottom=False)
    axes[0, 0].set_ylabel("error / constant object's")
    axes[1, 0].set_ylabel("largest pre-activation")
    for axis in axes[2]:
        axis.set_xlabel("step")


def part_colours(parts: Sequence[str]) -> dict[str, tuple[Any, Any]]:
    """Colour and line style by part: encoder blue, decoder and head orange, later parts darker;
    outputs of a merge dashed, of its norm dotted."""
    late = [part for part in parts if part.startswith(("decoder", "head"))]
    found: dict[str, tuple[Any, Any]] = {}
    for part in parts:
        own = late if part in late else [name for name in parts if name not in late]
        shade = 0.35 + 0.6 * own.index(part) / max(1, len(own) - 1)
        colour = mpl.colormaps[DECODER if part in late else ENCODER](shade)
        merged, normed = part.endswith(".merge"), part.endswith(".norm")
        found[part] = (colour, (0, (3, 1)) if merged else (0, (1, 1)) if normed else "-")
    return found


# --- words and numbers ------------------------------------------------------------------------


def _caption(pair: Sequence[Trace], traces: Sequence[Trace]) -> str:
    runs = " and ".join(
        f"{t['arm']} (seed {t['seed']}, rate up to {fmt(rate(t), 2)})" for t in pair
    )
    counts = {t["arm"]: sum(other["arm"] == t["arm"] for other in traces) for t in pair}
    seeds = " and ".join(counted(count, "seed") for count in counts.values())
    return (
        f"Step by step (logarithmic): {runs}. Thin: the other traced seeds of the arm ({seeds} in "
        "all). Top: mean absolute error of the step's batch, over that of the best constant object "
        "on the same batch (dashed: equal to it); red: the first bad step. Middle: the largest "
        "magnitude before the activation, by part (the line beside its name below; dashed: a "
        "decoder's merge, dotted: its norm). Bottom: share of units whose activation is constant "
        "over the batch, this seed."
    )


def _table(trace: Trace) -> pandas.DataFrame:
    """One row per shown step and part, with the step's error."""
    steps = trace["shown_steps"]
    error = errors(trace)[np.asarray(steps) - 1]
    rows = [
        pandas.DataFrame(
            {
                "arm": trace["arm"],
                "seed": trace["seed"],
                "step": steps,
                "error": error,
                "part": part,
                **{key: numbers(found[part]) for key, found in trace["by_part"].items()},
            }
        )
        for part in trace["parts"]
    ]
    return pandas.concat(rows)

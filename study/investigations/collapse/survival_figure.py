"""Survival of runs: Kaplan-Meier curves of the survival arms, one mark per run.

Left: the published learning rate; right: the accelerated test. A curve falls when a run fails; a
triangle marks a run that was alive at its last epoch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from study.evidence.metric_catalog import SURVIVAL
from study.evidence.survival import Life, kaplan_meier
from study.report.figures.style import (
    CYCLE,
    GRAY,
    Drawing,
    canvas,
    grid,
    room_mm,
    short,
)
from study.report.gather import Inputs, not_here

ROW_MM, CURVE_MM = 3.8, 48.0
# The publication's log of the LayerScale arm: best weights there, a constant object at the end.
PUBLISHED_BEST_EPOCH = 4


def lives_of(inputs: Inputs, arm: str) -> dict[int, Life]:
    """Seed -> survival time of its run; empty for an arm without survival data."""
    seeds = inputs.arms[arm].seeds
    found = {seed: content.get(SURVIVAL) for seed, content in seeds.items()}
    return {s: Life(facts["epochs"], facts["event"]) for s, facts in found.items() if facts}


def draw_survival(inputs: Inputs, panels: Mapping[str, Sequence[str]]) -> Drawing | str:
    """One panel per entry of `panels`, title -> arms; arms without a finished run are left out."""
    lives = {
        title: {
            arm: found for arm in inputs.stored(arms, "arm") if (found := lives_of(inputs, arm))
        }
        for title, arms in panels.items()
    }
    lives = {title: found for title, found in lives.items() if found}
    if not lives:
        return not_here("Survival curves")
    rows = max(len(arms) for arms in lives.values())
    left = room_mm(_label(arm, found) for arms in lives.values() for arm, found in arms.items())
    figure = canvas(CURVE_MM + ROW_MM * rows + 24)
    axes = grid(figure, 1, len(lives), (left, 4, 10 + ROW_MM * rows + 4, 7), (left, 0))[0]
    height = figure.get_size_inches()[1] * 25.4
    for axis, (title, arms) in zip(axes, lives.items(), strict=True):
        _curves(axis, arms)
        axis.set_title(title, pad=3)
        box = axis.get_position()
        below = figure.add_axes(
            (box.x0, 10 / height, box.width, ROW_MM * rows / height), sharex=axis
        )
        _runs(below, arms)
        axis.tick_params(labelbottom=False)
        axis.set_ylabel("share of runs alive")
    axes[0].axvline(PUBLISHED_BEST_EPOCH, color=GRAY, lw=0.6, ls=":")
    table = pandas.DataFrame(
        [
            {"arm": arm, "seed": seed, "epochs": life.epochs, "died": life.died}
            for arms in lives.values()
            for arm, found in arms.items()
            for seed, life in found.items()
        ]
    )
    return Drawing("survival", figure, table, CAPTION)


def _curves(axis: Axes, arms: Mapping[str, Mapping[int, Life]]) -> None:
    longest = max(life.epochs for found in arms.values() for life in found.values())
    for place, found in enumerate(arms.values()):
        epochs, alive = kaplan_meier(list(found.values()))
        xs, ys = [0.0, *epochs, longest], [1.0, *alive, (alive or [1.0])[-1]]
        # A small shift separates curves that coincide.
        shifted = [y - 0.008 * place for y in ys]
        axis.step(xs, shifted, where="post", color=CYCLE[place % len(CYCLE)])
    axis.set_ylim(-0.06, 1.05)


def _runs(axis: Axes, arms: Mapping[str, Mapping[int, Life]]) -> None:
    for place, found in enumerate(arms.values()):
        colour = CYCLE[place % len(CYCLE)]
        for died, mark in ((True, "x"), (False, ">")):
            epochs = [life.epochs for life in found.values() if life.died is died]
            axis.plot(epochs, [place] * len(epochs), mark, ms=3.5, color=colour, mew=0.9)
    axis.set_ylim(len(arms) - 0.4, -0.6)
    axis.set_yticks(range(len(arms)), [_label(arm, found) for arm, found in arms.items()])
    for place, tick in enumerate(axis.get_yticklabels()):
        tick.set_color(CYCLE[place % len(CYCLE)])
    axis.tick_params(left=False)
    axis.spines["left"].set_visible(False)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axis.set_xlabel("epoch")


def _label(arm: str, found: Mapping[int, Life]) -> str:
    words = short(arm).removeprefix("survival_").removesuffix("_lr3e3").replace("_", " ")
    return f"{words}, {sum(life.died for life in found.values())} of {len(found)} died"


CAPTION = (
    "Kaplan-Meier curves of the published LayerScale arm at its own size (n = 64, width 32) and of "
    "arms that differ from it in one setting. Below each curve one mark per run: a cross where it "
    "died, a triangle where it was alive at its last epoch. Dotted: the epoch of the best weights "
    "in the published log, whose run ended as a constant object. Curves that coincide are drawn "
    "slightly apart."
)

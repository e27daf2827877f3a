"""One dot per seed and arm, lines through the same seed, and the mean with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from study.report.document import Drawing
from study.report.figures.curves import _stem
from study.report.figures.style import BLACK, BLUE, GRAY, RED, canvas, grid, short
from study.report.gather import Group, Inputs, not_here

PANELS = {
    "last.standard.amplitude.mae": "amplitude MAE (object units)",
    "last.standard.phase.mae": "phase MAE (rad)",
}
ROW_MM = 6.0
ENDS = ("floor", "ceiling")


def draw_seeds(inputs: Inputs, group: Group) -> Drawing | str:
    """Rows are arms, in the order of the study; amplitude on the left, phase on the right."""
    arms = [a for a in inputs.ordered(group.arms) if inputs.arms[a].label not in ENDS]
    if not inputs.stored(arms, "arm"):
        return not_here(f"Seeds of {group.name}")
    figure = canvas(17 + ROW_MM * len(arms))
    axes = grid(figure, 1, 2, (38, 3, 9, 3), (5, 0))[0]
    for axis, (path, title) in zip(axes, PANELS.items(), strict=True):
        _panel(axis, inputs, arms, path)
        axis.set_xlabel(title)
    axes[0].set_yticks(range(len(arms)), [_name(inputs, arm) for arm in arms])
    axes[1].set_yticks(range(len(arms)), [""] * len(arms))
    return Drawing(f"seeds_{_stem(group)}", figure, _table(inputs, arms), (_CAPTION,))


_CAPTION = (
    "One dot a seed, scores of the last weights. Thin lines join the same seed in arms on the same "
    "data. Diamond and bar: mean over seeds with its 95 % t interval; n is the number of seeds "
    "with a score (amplitude / phase where they differ). Open square: a reference, which has one "
    "run and no seeds. A seed whose reconstruction is degenerate has no dot."
)


def _name(inputs: Inputs, arm: str) -> str:
    counts = [str((inputs.facts(arm, path) or {}).get("n", 0)) for path in PANELS]
    label = inputs.arms[arm].label
    told = f"n = {' / '.join(dict.fromkeys(counts))}" if label == "arm" else label
    return f"{short(arm)} ({told})"


def _panel(axis: Axes, inputs: Inputs, arms: Sequence[str], path: str) -> None:
    found = {arm: inputs.facts(arm, path) for arm in arms}
    _lines(axis, inputs, arms, found)
    for y, arm in enumerate(arms):
        facts = found[arm]
        if facts is None:
            lost = inputs.entry(arm).get("degenerate")
            words = "not evaluable: degenerate" if lost else "no score: the runs failed"
            axis.text(0.01, y, words, transform=axis.get_yaxis_transform(), va="center")
            continue
        values = list(facts["values"].values())
        if inputs.arms[arm].label != "arm":
            axis.plot(values, [y] * len(values), "s", ms=4, mfc="white", mec=BLACK, mew=0.8)
            continue
        axis.plot(values, [y - 0.13] * len(values), "o", ms=2.6, color=BLUE, mew=0, alpha=0.8)
        _mean(axis, y + 0.22, facts)
    axis.set_ylim(len(arms) - 0.4, -0.6)
    axis.grid(axis="x", color=GRAY, lw=0.25, alpha=0.5)
    axis.margins(x=0.06)
    axis.xaxis.set_major_locator(MaxNLocator(6))


def _mean(axis: Axes, y: float, facts: Mapping[str, Any]) -> None:
    if facts["low"] is not None:
        axis.plot([facts["low"], facts["high"]], [y, y], color=RED, lw=1.1)
    axis.plot(facts["estimate"], y, "D", ms=3, color=RED, mew=0)


def _lines(
    axis: Axes, inputs: Inputs, arms: Sequence[str], found: Mapping[str, Mapping[str, Any] | None]
) -> None:
    """A line for every seed, broken where the data change: across that fence nothing is paired."""
    above: dict[str, tuple[int, float, str | None]] = {}
    for y, arm in enumerate(arms):
        if inputs.arms[arm].label != "arm":
            continue
        data = inputs.arms[arm].data_sha256
        for seed, value in (found[arm] or {}).get("values", {}).items():
            before = above.get(seed)
            if before is not None and before[2] == data:
                axis.plot([before[1], value], [before[0] - 0.13, y - 0.13], color=GRAY, lw=0.35)
            above[seed] = (y, value, data)


def _table(inputs: Inputs, arms: Sequence[str]) -> pandas.DataFrame:
    rows = [
        {"arm": arm, "number": path, "seed": seed, "value": value}
        for arm in arms
        for path in PANELS
        for seed, value in ((inputs.facts(arm, path) or {}).get("values", {})).items()
    ]
    return pandas.DataFrame(rows, columns=["arm", "number", "seed", "value"])

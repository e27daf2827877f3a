"""Chart with one marker per seed and arm, lines through equal seeds, means with 95 % intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from study.evidence.evaluable import NOT_EVALUABLE
from study.evidence.format import join_words
from study.report.figures.style import (
    BLACK,
    BLUE,
    CYCLE,
    GRAY,
    MARKS,
    RED,
    Drawing,
    canvas,
    grid,
    plain_log,
    room_mm,
    short,
)  # fmt: skip
from study.report.gather import Group, Inputs, not_here
from study.report.series import Axis, Seeds, axis_of, limits

PANELS = {
    "last.standard.amplitude.mae": "amplitude MAE (object units)",
    "last.standard.phase.mae": "phase MAE (rad)",
}
ROW_MM = 6.0
ENDS = ("floor", "ceiling")
CAPTION = (
    "One marker per seed (dot: ok, ×: collapsed, triangle: beyond the axis), scores of the last "
    "weights. Thin lines connect the same seed in arms on the same data. Diamond and bar: mean "
    "over seeds with its 95 % t interval; n is the number of seeds with a score (amplitude / phase "
    "if they differ). Open square: a reference, which has one run and no seeds. Seeds with a "
    "degenerate reconstruction have no marker."
)


def draw_seeds(inputs: Inputs, group: Group) -> Drawing | str:
    """One row per arm, in the order of the study; amplitude on the left, phase on the right."""
    arms = [a for a in inputs.ordered(group.arms) if inputs.arms[a].label not in ENDS]
    if not inputs.stored(arms, "arm"):
        return not_here(f"Seeds of {group.name}")
    panels = {path: [_seeds(inputs, arm, path) for arm in arms] for path in PANELS}
    figure = seeds_figure({PANELS[path]: rows for path, rows in panels.items()})
    numbers = [
        {"arm": arm, "number": path, "seed": seed, "value": value}
        for i, arm in enumerate(arms)
        for path, rows in panels.items()
        for seed, value in rows[i].values.items()
    ]
    table = pandas.DataFrame(numbers, columns=["arm", "number", "seed", "value"])
    return Drawing(f"seeds_{group.stem}", figure, table, CAPTION)


def _seeds(inputs: Inputs, arm: str, path: str) -> Seeds:
    results, cell = inputs.arms[arm], inputs.cell(arm, path)
    counts = [str(len(inputs.cell(arm, panel).values)) for panel in PANELS]
    trained = results.label == "arm"
    label = f"n = {' / '.join(dict.fromkeys(counts))}" if trained else results.label
    note, mean = "", None
    if cell.facts is None:
        why = join_words(dict.fromkeys(cell.reasons.values()))
        note = f"{NOT_EVALUABLE}: {why}" if cell.reasons else "no score: the runs failed"
    else:
        mean = (cell.facts.estimate, cell.facts.low, cell.facts.high)
    return Seeds(
        name=f"{short(arm)} ({label})",
        values=cell.values,
        mean=mean,
        note=note,
        outcomes={f"s{seed}": content["outcome"] for seed, content in results.seeds.items()},
        data=results.data_sha256,
        trained=trained,
    )


def seeds_figure(panels: Mapping[str, Sequence[Seeds]]) -> Figure:
    """One panel per entry (axis label -> arms); all panels have the same arms in the same order."""
    names = [row.name for row in next(iter(panels.values()))]
    figure = canvas(18 + ROW_MM * len(names))
    axes = grid(figure, 1, len(panels), (room_mm(names), 4, 10, 3), (5, 0))[0]
    for axis, (label, rows) in zip(axes, panels.items(), strict=True):
        scale = axis_of([value for row in rows for value in row.values.values()])
        for y, row in enumerate(rows):
            _row(axis, y, row, scale)
        _lines(axis, rows, scale)
        axis.set_xlabel(label)
        axis.set_yticks(range(len(names)), names if axis is axes[0] else [""] * len(names))
        axis.set_ylim(len(names) - 0.4, -0.6)
        axis.grid(axis="x", color=GRAY, lw=0.25, alpha=0.5)
        _fit(axis, scale)
    return figure


def _fit(axis: Axes, scale: Axis | None) -> None:
    """Set the range of an axis, which is not extended by a few extreme outliers."""
    if scale is None:
        return
    axis.set_xlim(*limits(scale))
    if scale[2] == "log":
        plain_log(axis, "x")
    else:
        axis.xaxis.set_major_locator(MaxNLocator(6))


def _row(axis: Axes, y: int, row: Seeds, scale: Axis | None) -> None:
    """Draw one arm, in its own colour if it has one."""
    marks, mean = (BLUE, RED) if row.place is None else (CYCLE[row.place % len(CYCLE)],) * 2
    if row.note:
        # Next to the markers if there are any, otherwise in their place.
        x, side = (0.99, "right") if row.values else (0.01, "left")
        place = axis.get_yaxis_transform()
        axis.text(x, y, row.note[:60], transform=place, va="center", ha=side)
    if not row.trained:
        axis.plot(
            list(row.values.values()), [y] * len(row.values), "s", ms=4, mfc="white", mec=BLACK
        )
        return
    for _, x, offset, outcome, side in row.drawn(scale):
        mark = {"left": "<", "right": ">"}.get(side, MARKS[outcome])
        axis.plot(x, y + offset, mark, ms=2.6, color=marks, alpha=0.8, clip_on=not side)
    if row.mean is not None:
        estimate, low, high = row.mean
        if low is not None and high is not None:
            axis.plot([low, high], [y + 0.22, y + 0.22], color=mean, lw=1.1)
        axis.plot(estimate, y + 0.22, "D", ms=3, color=mean, mew=0)


def _lines(axis: Axes, rows: Sequence[Seeds], scale: Axis | None) -> None:
    """Connect equal seeds of consecutive trained arms on the same data, which are paired."""
    above: dict[str, tuple[float, float, str | None]] = {}
    for y, row in enumerate(rows):
        if not row.trained:
            continue
        for seed, value, offset, *_ in row.drawn(scale):
            before = above.get(seed)
            if before is not None and before[2] == row.data:
                axis.plot([before[1], value], [before[0], y + offset], color=GRAY, lw=0.35)
            above[seed] = (y + offset, value, row.data)

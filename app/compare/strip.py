"""One mark a seed and arm; diamond and bar are the mean with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.compare import looks
from app.compare.rows import METRICS, RowOf, Settings

ROW_PX = 38


def figure(
    rows: Sequence[RowOf], metric: str, settings: Settings, place: Mapping[str, int]
) -> go.Figure:
    made = go.Figure()
    for y, row in enumerate(rows):
        made.add_trace(seeds(row, y, place[row.arm]))
        if row.interval is not None and len(row.values) > 1:
            made.add_trace(interval(row, y, place[row.arm]))
        if row.lost:
            made.add_annotation(
                x=1, xref="x domain", y=y, xanchor="right", showarrow=False, text=lost_words(row),
                font={"size": 11},
            )  # fmt: skip
    column = METRICS[metric]
    unit = f" ({column.unit})" if column.unit else ""
    weights = "" if metric.startswith("training.") else f", {settings.checkpoint}"
    made.update_xaxes(title_text=f"{looks.label(column.title)}{unit}{weights}")
    if not any(row.values for row in rows):
        made.update_xaxes(showticklabels=False)  # plotly's own range would look like values
    names = [looks.label(row.arm) for row in rows]
    made.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=names, range=[len(rows) - 0.5, -0.5],
        automargin=True, zeroline=False,
    )  # fmt: skip
    looks.shape(made, 70 + ROW_PX * len(rows), showlegend=False)
    made.update_layout(margin={"t": 8, "l": 8})
    return made


def seeds(row: RowOf, y: int, place: int) -> go.Scatter:
    """Marks spread over the row by their order, so that equal values do not hide each other."""
    numbers = list(row.values)
    step = 0.36 / max(1, len(numbers) - 1)
    offsets = [-0.34 + step * i if numbers[1:] else -0.16 for i in range(len(numbers))]
    outcomes = [row.outcomes.get(seed, "ok") for seed in numbers]
    return go.Scatter(
        x=list(row.values.values()), y=[y + offset for offset in offsets], mode="markers",
        marker={
            "color": looks.faint(place, 0.85), "size": 8,
            "symbol": [looks.MARKS[outcome] for outcome in outcomes],
        },
        customdata=[f"s{s} {o}" for s, o in zip(numbers, outcomes, strict=True)],
        hovertemplate=f"{looks.label(row.arm)} %{{customdata}}: %{{x:.5g}}<extra></extra>",
    )  # fmt: skip


def interval(row: RowOf, y: int, place: int) -> go.Scatter:
    assert row.interval is not None
    facts = row.interval
    return go.Scatter(
        x=[facts["estimate"]], y=[y + 0.24], mode="markers",
        marker={"symbol": "diamond", "size": 10, "color": looks.colour(place)},
        error_x={
            "type": "data", "symmetric": False, "array": [facts["high"] - facts["estimate"]],
            "arrayminus": [facts["estimate"] - facts["low"]], "color": looks.colour(place),
            "thickness": 2, "width": 4,
        },
        hovertemplate=f"{looks.label(row.arm)}: mean %{{x:.5g}} [{facts['low']:.5g}, "
        f"{facts['high']:.5g}], n = {facts['n']}<extra></extra>",
    )  # fmt: skip


def lost_words(row: RowOf) -> str:
    """What the seeds without a mark are: `s3, s4 not evaluable: constant amplitude`."""
    by_reason: dict[str, list[str]] = {}
    for seed, reason in row.lost.items():
        by_reason.setdefault(reason, []).append(f"s{seed}")
    told = "; ".join(f"{', '.join(seeds)} {reason}" for reason, seeds in by_reason.items())
    return looks.label(told if len(told) < 70 else told[:69] + "…")

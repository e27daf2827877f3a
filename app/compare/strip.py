"""One mark a seed and arm; diamond and bar are the mean with its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.compare import plot_style
from app.compare.rows import METRICS, RowOf, Settings
from study.evidence.estimates import Estimate
from study.report.series import Seeds

ROW_PX = 38


def figure(
    rows: Sequence[RowOf], metric: str, settings: Settings, place: Mapping[str, int]
) -> go.Figure:
    made = go.Figure()
    for y, row in enumerate(rows):
        made.add_trace(seeds(row, y, place[row.arm]))
        if row.cell.facts is not None and len(row.cell.values) > 1:
            made.add_trace(interval(row.arm, row.cell.facts, y, place[row.arm]))
        if row.lost:
            made.add_annotation(
                x=1, xref="x domain", y=y, xanchor="right", showarrow=False, text=lost_words(row),
                font={"size": 11},
            )  # fmt: skip
    column = METRICS[metric]
    unit = f" ({column.unit})" if column.unit else ""
    weights = "" if metric.startswith("training.") else f", {settings.checkpoint}"
    made.update_xaxes(title_text=f"{plot_style.label(column.title)}{unit}{weights}")
    if not any(row.cell.values for row in rows):
        made.update_xaxes(showticklabels=False)  # plotly's own range would look like values
    names = [plot_style.label(row.arm) for row in rows]
    made.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=names, range=[len(rows) - 0.5, -0.5],
        automargin=True, zeroline=False,
    )  # fmt: skip
    plot_style.shape(made, 70 + ROW_PX * len(rows), showlegend=False)
    made.update_layout(margin={"t": 8, "l": 8})
    return made


def as_seeds(row: RowOf) -> Seeds:
    """The row as the chart of the page and the exported figure show it."""
    facts, why = row.cell.facts, "; ".join(sorted(set(row.lost.values())))
    return Seeds(
        name=f"{row.arm.rpartition('/')[2]} ({row.seeds})",
        values={f"s{seed}": value for seed, value in row.cell.values.items()},
        mean=None if facts is None else (facts.estimate, facts.low, facts.high),
        note=f"{len(row.lost)} without: {why}" if row.lost else "",
        outcomes={f"s{seed}": outcome for seed, outcome in row.outcomes.items()},
    )


def seeds(row: RowOf, y: int, place: int) -> go.Scatter:
    marks = as_seeds(row).marks()
    return go.Scatter(
        x=[value for _, value, _, _ in marks], y=[y + offset for _, _, offset, _ in marks],
        mode="markers",
        marker={
            "color": plot_style.faint(place, 0.85), "size": 8,
            "symbol": [plot_style.MARKS[outcome] for *_, outcome in marks],
        },
        customdata=[f"{seed} {outcome}" for seed, _, _, outcome in marks],
        hovertemplate=f"{plot_style.label(row.arm)} %{{customdata}}: %{{x:.5g}}<extra></extra>",
    )  # fmt: skip


def interval(arm: str, facts: Estimate, y: int, place: int) -> go.Scatter:
    estimate, low, high = facts.estimate, facts.low or 0.0, facts.high or 0.0
    return go.Scatter(
        x=[estimate], y=[y + 0.24], mode="markers",
        marker={"symbol": "diamond", "size": 10, "color": plot_style.colour(place)},
        error_x={
            "type": "data", "symmetric": False, "array": [high - estimate],
            "arrayminus": [estimate - low], "color": plot_style.colour(place),
            "thickness": 2, "width": 4,
        },
        hovertemplate=f"{plot_style.label(arm)}: mean %{{x:.5g}} [{low:.5g}, {high:.5g}], "
        f"n = {facts.n}<extra></extra>",
    )  # fmt: skip


def lost_words(row: RowOf) -> str:
    """What the seeds without a mark are: `s3, s4 not evaluable: constant amplitude`."""
    by_reason: dict[str, list[str]] = {}
    for seed, reason in row.lost.items():
        by_reason.setdefault(reason, []).append(seed)
    told = "; ".join(f"{', '.join(seeds)} {reason}" for reason, seeds in by_reason.items())
    return plot_style.label(told if len(told) < 70 else told[:69] + "…")

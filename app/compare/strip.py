"""One mark per seed and arm; diamond and bar are the mean with its 95 % interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import plotly.graph_objects as go

from app.compare import plot_style
from app.compare.rows import METRICS, RowOf, Settings, lost_text, title_of
from study.evidence.estimates import Estimate
from study.report.series import Axis, Seeds, axis_of, limits

ROW_PX = 38


def figure(
    rows: Sequence[RowOf], metric: str, settings: Settings, place: Mapping[str, int]
) -> go.Figure:
    made, scale = go.Figure(), axis_of([v for row in rows for v in row.cell.values.values()])
    for y, row in enumerate(rows):
        made.add_trace(seeds(row, y, place[row.arm], scale))
        if row.cell.facts is not None and len(row.cell.values) > 1:
            made.add_trace(interval(row.arm, row.cell.facts, y, place[row.arm]))
        if row.lost:
            made.add_annotation(
                x=1, xref="x domain", y=y, xanchor="right", showarrow=False, text=lost_words(row),
                font={"size": 11},
            )  # fmt: skip
    made.update_xaxes(title_text=plot_style.label(axis_label(metric, settings)))
    if scale is None:
        made.update_xaxes(showticklabels=False)  # plotly's own range would look like values
    else:
        low, high = limits(scale)
        ends = [math.log10(low), math.log10(high)] if scale[2] == "log" else [low, high]
        made.update_xaxes(type=scale[2], range=ends)
    names = [plot_style.label(row.arm) for row in rows]
    made.update_yaxes(
        tickvals=list(range(len(rows))), ticktext=names, range=[len(rows) - 0.5, -0.5],
        automargin=True, zeroline=False,
    )  # fmt: skip
    plot_style.shape(made, 70 + ROW_PX * len(rows), showlegend=False)
    made.update_layout(margin={"t": 8, "l": 8})
    return made


def axis_label(metric: str, settings: Settings) -> str:
    """Title of the axis, on the page and in exported figures."""
    column = METRICS[metric]
    unit = f" ({column.unit})" if column.unit else ""
    weights = "" if metric.startswith("training.") else f", {settings.checkpoint}"
    return f"{title_of(metric)}{unit}{weights}"


def as_seeds(row: RowOf, place: int) -> Seeds:
    """The row as data for the chart of the page and the exported figure."""
    facts, why = row.cell.facts, "; ".join(sorted(set(row.lost.values())))
    return Seeds(
        name=f"{row.arm.rpartition('/')[2]} ({row.seeds})",
        values=row.cell.values,
        mean=None if facts is None else (facts.estimate, facts.low, facts.high),
        note=f"{len(row.lost)} without: {why}" if row.lost else "",
        outcomes=row.outcomes,
        place=place,
    )


def seeds(row: RowOf, y: int, place: int, scale: Axis | None) -> go.Scatter:
    """One mark per seed; an arrow at the end of the axis for values beyond it."""
    marks = as_seeds(row, place).drawn(scale)
    return go.Scatter(
        x=[x for _, x, *_ in marks], y=[y + offset for _, _, offset, *_ in marks],
        mode="markers",
        marker={
            "color": plot_style.faint(place, 0.85), "size": 8,
            "symbol": [
                f"triangle-{side}-open" if side else plot_style.MARKS[outcome]
                for *_, outcome, side in marks
            ],
        },
        customdata=[
            plot_style.label(f"{seed} {outcome}: {row.cell.values[seed]:.5g}")
            + (", beyond the axis" if side else "")
            for seed, _, _, outcome, side in marks
        ],
        hovertemplate=f"{plot_style.label(row.arm)} %{{customdata}}<extra></extra>",
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
        f"n = {facts.n:d}<extra></extra>",
    )  # fmt: skip


def lost_words(row: RowOf) -> plot_style.Label:
    """What the seeds without a mark are: `s3 and s4: not evaluable: constant amplitude`."""
    reasons = lost_text(row.lost, len(row.outcomes))
    return plot_style.label(reasons if len(reasons) < 70 else reasons[:69] + "…")

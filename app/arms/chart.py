"""A metric of the shown arms against one numeric setting, or as a heat map over two."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import pandas
import plotly.graph_objects as go
import streamlit as st

from app import choose, escape, export
from app.arms.rows import ArmRow, TableColumn
from app.compare import plot_style
from app.compare.config import settings_of
from study.evidence.metric_catalog import KNOWN
from study.report.series import WIDE, axis_of, limits
from study.settings import Scalar

NONE = "none"
Settings = Mapping[str, Mapping[str, Scalar]]  # by arm


def show(rows: Sequence[ArmRow], shown: Sequence[TableColumn]) -> None:
    """The expander under the table; it computes only while it is open. The selection is in the
    address."""
    opened = bool(choose.asked("x"))
    with st.expander("Chart against a setting", expanded=opened, icon=":material/show_chart:",
                     on_change="rerun", key="arms-chart") as box:  # fmt: skip
        if box.open:
            _chart(rows, shown)


def _chart(rows: Sequence[ArmRow], shown: Sequence[TableColumn]) -> None:
    settings = {row.name: found for row in rows if (found := settings_of(row.name)) is not None}
    numeric = varying(settings)
    if not numeric:
        st.caption("No numeric setting differs between the listed arms.")
        return
    titles = {column.title: column for column in shown}
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        usual = next((t for t in titles if t == "amp MAE"), next(iter(titles)))
        title = str(choose.one("Metric", list(titles), "y", usual))
        first = str(choose.one("Setting", numeric, "x"))
        others = [NONE, *(name for name in numeric if name != first)]
        second = str(choose.one("Second setting", others, "by", NONE))
    column = titles[title]
    table = values(rows, column, settings, [first] if second == NONE else [first, second])
    if table.empty:
        st.caption(escape.markdown(f"No shown arm has {title} and these settings."))
        return
    unit = KNOWN[column.path].unit
    label = f"{title} ({unit})" if unit else title
    if second == NONE:
        figure, shape = curve(table, first, label, settings), "mean and interval by arm"
    else:
        figure, shape = heat_map(table, first, second, label), f"and {second}, as a heat map"
    alt = f"{label} of {table['arm'].nunique()} arms against {first}, {shape}"
    with plot_style.wide("arms-chart"):
        plot_style.show(figure, "arms-chart-figure", alt)
    names = list(dict.fromkeys(table["arm"]))
    facts = export.Facts.of("against_setting", names, tuple(table["id"]), alt)
    export.popover("export_arms_chart", facts, table=lambda: export.with_commands(table))


def varying(settings: Settings) -> list[str]:
    """Names of the numeric settings with at least two values."""
    found: dict[str, set[float]] = {}
    for own in settings.values():
        for name, value in own.items():
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                found.setdefault(name, set()).add(float(value))
    return sorted(name for name, numbers in found.items() if len(numbers) > 1)


def values(
    rows: Sequence[ArmRow], column: TableColumn, settings: Settings, names: Sequence[str]
) -> pandas.DataFrame:
    """One line per arm that has the metric and all the settings: columns arm, id, estimate, low,
    high, n and the settings."""
    found = []
    for row in rows:
        cell, own = row.line.cells[column.path], settings.get(row.name, {})
        numbers = {name: own.get(name) for name in names}
        numeric = all(isinstance(v, (int, float)) and not isinstance(v, bool)
                      for v in numbers.values())  # fmt: skip
        if cell.facts is not None and numeric:
            facts = cell.facts
            found.append(
                {"arm": row.name, "id": cell.id, "estimate": facts.estimate, "low": facts.low,
                 "high": facts.high, "n": len(cell.values), **numbers}
            )  # fmt: skip
    return pandas.DataFrame(found)


def curve(table: pandas.DataFrame, name: str, label: str, settings: Settings) -> go.Figure:
    """Mean and interval of every arm; a line joins arms that differ only in this setting, and has
    their name at its end."""
    made, there = go.Figure(), sorted(set(table[name]))
    log_x, scale = wide(there), axis_of(list(table["estimate"]))
    assert scale is not None, "a table with a row has an axis"
    log_y = scale[2] == "log"
    rest = {
        arm: tuple((k, v) for k, v in sorted(settings[arm].items()) if k != name)
        for arm in table["arm"]
    }
    families = list(dict.fromkeys(rest[arm] for arm in table["arm"]))
    ends = []
    for place, family in enumerate(families):
        part = table.loc[[rest[arm] == family for arm in table["arm"]]].sort_values(by=[name])
        high, low = part["high"] - part["estimate"], part["estimate"] - part["low"]
        made.add_scatter(
            x=part[name], y=part["estimate"], mode="lines+markers" if len(part) > 1 else "markers",
            line=plot_style.line(place), marker={"size": 8}, showlegend=False,
            customdata=[
                (plot_style.label(arm), int(n))
                for arm, n in zip(part["arm"], part["n"], strict=True)
            ],
            error_y={"type": "data", "array": high, "arrayminus": low, "thickness": 1.5},
            hovertemplate=f"%{{customdata[0]}}: %{{y:.4g}}, n = %{{customdata[1]}}<br>"
            f"{plot_style.label(name)} %{{x}}<extra></extra>",
        )  # fmt: skip
        x, y = (float(part[column].iloc[-1]) for column in (name, "estimate"))
        ends.append(
            plot_style.End(
                family_name(part["arm"]), place, math.log10(x) if log_x else x,
                math.log10(y) if log_y else y,
            )
        )  # fmt: skip
    if log_x:
        made.update_xaxes(type="log", tickvals=there, ticktext=[f"{value:g}" for value in there])
    # Set explicitly, since plotly would reserve space for the names inside the axes.
    xs = [math.log10(value) if log_x else float(value) for value in there]
    room = 0.05 * (xs[-1] - xs[0]) or 0.5
    made.update_xaxes(range=(xs[0] - room, xs[-1] + room))
    low, high = limits(scale)  # of the means: one wide interval does not hide the others
    y_range = (math.log10(low), math.log10(high)) if log_y else (low, high)
    made.update_yaxes(type=scale[2], range=y_range, nticks=6)
    made.update_xaxes(title_text=plot_style.label(name))
    made.update_yaxes(title_text=plot_style.label(label))
    plot_style.shape(made, 360)
    plot_style.name_ends(made, ends, y_range)
    return made


def family_name(arms: Iterable[str]) -> str:
    """`control and 4 more`, without the study, which is on the page."""
    first, *others = (arm.rpartition("/")[2] for arm in arms)
    return f"{first} and {len(others)} more" if others else first


def heat_map(table: pandas.DataFrame, first: str, second: str, label: str) -> go.Figure:
    """The mean over the arms of every pair of values; the hover text has their number."""
    cells = table.pivot_table("estimate", index=second, columns=first, aggfunc="mean")
    names = table.pivot_table("arm", index=second, columns=first, aggfunc=", ".join)
    names = names.reindex(index=cells.index, columns=cells.columns)
    logarithmic = wide(table["estimate"])
    shown = cells.map(math.log10) if logarithmic else cells
    title = f"log10 {label}" if logarithmic else label
    made = go.Figure(
        go.Heatmap(
            z=shown, x=[f"{v:g}" for v in cells.columns], y=[f"{v:g}" for v in cells.index],
            customdata=[[plot_style.label(str(arms)) for arms in row] for row in names.to_numpy()],
            text=[["" if math.isnan(v) else f"{v:.3g}" for v in row] for row in cells.to_numpy()],
            texttemplate="%{text}", colorscale="Cividis", xgap=2, ygap=2,
            colorbar={"title": {"text": plot_style.label(title), "side": "right"}, "thickness": 10},
            hovertemplate="%{customdata}: %{text}<extra></extra>",
        )
    )  # fmt: skip
    made.update_xaxes(type="category", title_text=plot_style.label(first))
    made.update_yaxes(type="category", title_text=plot_style.label(second))
    return plot_style.shape(made, 160 + 44 * len(cells))


def wide(numbers: Iterable[float]) -> bool:
    """Whether an axis of these values is logarithmic."""
    least, *_, most = sorted([*numbers] * 2)
    return least > 0 and most > WIDE * least

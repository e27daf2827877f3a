"""The arms table as a component: estimate, interval, n and one dot per seed in every cell.

Data reach the browser as JSON and are written there as text nodes; no text of a file becomes HTML.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit.components.v2 import component
from streamlit.delta_generator import DeltaGenerator

from app import choose
from app.arms.rows import ArmRow, Axis, TableColumn, axis, beyond, position
from study.evidence.arms import OUTCOMES
from study.evidence.cells import Cell
from study.evidence.estimates import MeanOfArm
from study.evidence.format import counted, fmt, join_words
from study.evidence.metric_catalog import KNOWN

HERE = Path(__file__).parent
NAME = "armature.arms_table"
MOUNT = component(
    NAME,
    html='<div class="frame"></div>',
    css=(HERE / "table.css").read_text(),
    js=(HERE / "table.js").read_text(),
)
Fence = tuple[str, Sequence[ArmRow]]  # heading, rows


def show(
    fences: Sequence[Fence], shown: Sequence[TableColumn], selected: list[str], sort: str
) -> Any:
    """Draw the table. The result's `selected` are arms, its `number` the id of one just clicked.

    `sort`: the alias of a column, after `-` where the largest value is first; "" for no order.
    """
    return MOUNT(
        key="arms-table",
        data={**content(fences, shown, selected), "sort": sort},
        default={"selected": selected, "sort": sort},
        on_selected_change=_keep_selected,
        on_sort_change=_keep_sort,
        on_number_change=_nothing,
    )


def chosen_columns(every: Sequence[TableColumn], place: DeltaGenerator) -> list[TableColumn]:
    """The columns that the menu at `place` leaves; all where none is chosen."""
    titles = [column.title for column in every]
    with place, st.popover("Columns", icon=":material/view_column:", type="tertiary"):
        kept = choose.several("Columns", titles, "columns")
    return [column for column in every if column.title in kept] or list(every)


def _keep_selected() -> None:
    """The ticks are in the address. Their key is not that of Compare: Streamlit takes what the
    widgets of another page are bound to out of the address of this one."""
    st.query_params["tick"] = list(st.session_state["arms-table"]["selected"])


def _keep_sort() -> None:
    chosen = str(st.session_state["arms-table"]["sort"])
    if chosen:
        st.query_params["sort"] = chosen
    else:
        st.query_params.pop("sort", None)


def _nothing() -> None:
    """A click on a number draws the page again, and the page shows the number."""


def content(
    fences: Sequence[Fence], shown: Sequence[TableColumn], selected: Sequence[str]
) -> dict[str, Any]:
    """What the browser gets."""
    return {
        "columns": [_head(column) for column in shown],
        "fences": [
            {"heading": heading if len(fences) > 1 else "", "rows": _rows(rows, shown)}
            for heading, rows in fences
        ],
        "selected": list(selected),
    }


def _head(column: TableColumn) -> dict[str, Any]:
    known = KNOWN[column.path]
    better = {"lower": "↓", "higher": "↑", None: ""}[known.better]
    return {
        "alias": column.alias,
        "title": column.title,
        "unit": known.unit,
        "better": better,
        "about": f"{known.title} ({column.path}): {known.definition}",
    }


def _rows(rows: Sequence[ArmRow], shown: Sequence[TableColumn]) -> list[dict[str, Any]]:
    trained = [row for row in rows if row.line.arm.trained] or rows
    axes = {c.path: axis(row.line.cells[c.path] for row in trained) for c in shown}
    return [_row(row, shown, axes) for row in rows]


def _row(
    row: ArmRow, shown: Sequence[TableColumn], axes: Mapping[str, Axis | None]
) -> dict[str, Any]:
    arm = row.line.arm
    return {
        "arm": row.name,
        "name": row.name.rpartition("/")[2],
        "label": "" if arm.trained else arm.label,
        "asks": arm.asks or "",
        "versus": (arm.versus or "").rpartition("/")[2],
        "changed": changes(row.changed),
        "outcomes": [len(getattr(arm.seeds, outcome)) for outcome in OUTCOMES],
        "missing": f"missing {join_words(arm.seeds.missing)}" if arm.seeds.missing else "",
        "causes": [f"{seed}: {cause}" for seed, cause in arm.causes.items()],
        "cells": [_cell(row, c, axes[c.path]) for c in shown],
    }


def changes(changed: Mapping[str, tuple[Any, Any]]) -> list[str]:
    """`factor: before → after`, without options that one of two networks does not have and the
    other leaves at null."""
    shown = {name: (_plain(a), _plain(b)) for name, (a, b) in changed.items()}
    return [f"{name}: {a} → {b}" for name, (a, b) in shown.items() if a != b]


def _cell(row: ArmRow, column: TableColumn, scale: Axis | None) -> dict[str, Any]:
    """Complete arms are ordered by `sort`, then those with a `partial` mean."""
    cell = row.line.cells[column.path]
    half = None if cell.facts is None else cell.facts.half
    return {
        "id": cell.id,
        "text": cell.value(3),
        "half": "" if half is None else f" ± {fmt(half, 2)}",
        "sort": cell.estimate,
        "partial": cell.status == "partial",
        "n": _seeds(cell, row),
        "blank": not cell.values,
        "all": bool(cell.values) and len(cell.values) == cell.ran,
        "why": _why(cell, row),
        "epochs": _epochs(row) if column.path == "best.val_loss" else "",
        "log": scale is not None and scale[2] == "log",
        "strip": None if scale is None or cell.facts is None else _strip(cell.facts, scale),
    }


def _seeds(cell: Cell, row: ArmRow) -> str:
    """`5 of 6 seeds`, `4 survivors of 20`; baselines have values and no survivors."""
    n = len(cell.values)
    if not row.line.arm.trained:
        return {0: "", 1: "one value"}.get(n, f"{n} values")
    return (
        f"{counted(n, 'survivor')} of {cell.ran}"
        if cell.status == "partial"
        else (f"{n} of {cell.ran} seeds")
    )


def _why(cell: Cell, row: ArmRow) -> str:
    unexplained = cell.facts is None and not cell.reasons and row.line.arm.trained
    return "no run has this number" if unexplained else cell.why


def _strip(facts: MeanOfArm, scale: Axis) -> dict[str, Any]:
    at = {"low": facts.low, "high": facts.high, "mean": facts.estimate}
    return {
        "dots": [_dot(seed, value, scale) for seed, value in facts.values.items()],
        **{k: None if v is None else round(position(v, scale), 4) for k, v in at.items()},
    }


def _dot(seed: str, value: float, scale: Axis) -> list[Any]:
    """Where a seed lies, what it says, and whether that is beyond the axis."""
    return [round(position(value, scale), 4), f"{seed} {fmt(value)}", beyond(value, scale)]


def _epochs(row: ArmRow) -> str:
    """Which epochs were the best of the seeds."""
    if not row.best_epochs:
        return ""
    first, last = row.best_epochs[0], row.best_epochs[-1]
    return f"epoch {first}" if first == last else f"epochs {first}–{last}"


def _plain(value: Any) -> str:
    return "–" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


# --- as a file --------------------------------------------------------------------------------

HEADS = (
    "arm", "is", "data", "data_sha256", "versus", "changed", "ok", "failed", "collapsed", "missing",
    "id", "number", "unit", "estimate", "low", "high", "n", "values", "not_evaluable",
)  # fmt: skip


def as_csv(rows: Sequence[ArmRow], shown: Sequence[TableColumn]) -> str:
    """One line per arm and number, with its id: whole digits, every seed's value."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(HEADS)
    for row in rows:
        arm = row.line.arm
        head = [row.name, arm.label, row.data, row.data_sha256, arm.versus, " ".join(row.changed)]
        counts = [len(getattr(arm.seeds, key)) for key in (*OUTCOMES, "missing")]
        for column in shown:
            cell = row.line.cells[column.path]
            writer.writerow([*head, *counts, *_fields(cell), _why(cell, row)])
    return stream.getvalue()


def _fields(cell: Cell) -> list[Any]:
    facts, column = cell.facts, cell.column
    values = " ".join(f"{seed}={value!r}" for seed, value in cell.values.items())
    bounds = [None, None, None] if facts is None else [facts.estimate, facts.low, facts.high]
    return [cell.id, column.path, column.unit, *bounds, len(cell.values), values]

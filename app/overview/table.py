"""The arms table as a component: estimate, interval, n and one dot a seed in every cell.

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

from app.overview.rows import (
    ArmRow,
    Axis,
    Cell,
    Shown,
    axis,
    beyond,
    number,
    position,
    seeds_words,
)
from study.evidence.arms import OUTCOMES
from study.evidence.columns import KNOWN
from study.evidence.wording import fmt, listed

HERE = Path(__file__).parent
NAME = "armature.arms_table"
MOUNT = component(
    NAME,
    html='<div class="frame" tabindex="0" role="region" aria-label="Arms"></div>',
    css=(HERE / "table.css").read_text(),
    js=(HERE / "table.js").read_text(),
)
Fence = tuple[str, Sequence[ArmRow]]  # heading, rows


def show(fences: Sequence[Fence], shown: Sequence[Shown], selected: list[str]) -> Any:
    """Draw the table. The result's `selected` are arms, its `number` the id of one just clicked."""
    return MOUNT(
        key="arms-table",
        data=content(fences, shown, selected),
        default={"selected": selected},
        on_selected_change=_keep,
        on_number_change=_nothing,
    )


def _keep() -> None:
    """The selection stands in the URL, like every other."""
    st.query_params["arms"] = list(st.session_state["arms-table"]["selected"])


def _nothing() -> None:
    """A click on a number draws the page again, and the page shows the number."""


def content(
    fences: Sequence[Fence], shown: Sequence[Shown], selected: Sequence[str]
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


def _head(column: Shown) -> dict[str, Any]:
    known = KNOWN[column.path]
    better = {"lower": "↓", "higher": "↑", None: ""}[known.better]
    return {
        "alias": column.alias,
        "title": column.title,
        "unit": known.unit,
        "better": better,
        "about": f"{known.title} ({column.path}): {known.definition}",
    }


def _rows(rows: Sequence[ArmRow], shown: Sequence[Shown]) -> list[dict[str, Any]]:
    trained = [row for row in rows if row.label == "arm"] or rows
    axes = {c.alias: axis(row.cells[c.alias] for row in trained) for c in shown}
    return [_row(row, shown, axes) for row in rows]


def _row(row: ArmRow, shown: Sequence[Shown], axes: Mapping[str, Axis | None]) -> dict[str, Any]:
    return {
        "arm": row.name,
        "name": row.name.rpartition("/")[2],
        "label": "" if row.label == "arm" else row.label,
        "versus": (row.versus or "").rpartition("/")[2],
        "changed": [f"{name}: {_plain(a)} → {_plain(b)}" for name, (a, b) in row.changed.items()],
        "outcomes": [len(row.seeds[outcome]) for outcome in OUTCOMES],
        "missing": f"missing {listed(row.seeds['missing'])}" if row.seeds["missing"] else "",
        "causes": [f"{seed}: {cause}" for seed, cause in row.causes.items()],
        "cells": [_cell(row.cells[c.alias], row, c, axes[c.alias]) for c in shown],
    }


def _cell(cell: Cell, row: ArmRow, column: Shown, scale: Axis | None) -> dict[str, Any]:
    return {
        "id": cell.id if cell.values else "",
        "text": number(cell),
        "half": "" if cell.half is None else f" ± {fmt(cell.half, 2)}",
        "sort": cell.estimate,
        "n": seeds_words(cell, row),
        "why": cell.why,
        "epochs": _epochs(row) if column.path == "best.val_loss" else "",
        "log": scale is not None and scale[2] == "log",
        "strip": None if scale is None or not cell.values else _strip(cell, scale),
    }


def _strip(cell: Cell, scale: Axis) -> dict[str, Any]:
    at = {"low": cell.low, "high": cell.high, "mean": cell.estimate}
    return {
        "dots": [_dot(seed, value, scale) for seed, value in cell.values.items()],
        **{k: None if v is None else round(position(v, scale), 4) for k, v in at.items()},
    }


def _dot(seed: int, value: float, scale: Axis) -> list[Any]:
    """Where a seed lies, what it says, and whether that is beyond the axis."""
    return [round(position(value, scale), 4), f"s{seed} {fmt(value)}", beyond(value, scale)]


def _epochs(row: ArmRow) -> str:
    """Which epochs were the best of the seeds."""
    if not row.best_epochs:
        return ""
    first, last = row.best_epochs[0], row.best_epochs[-1]
    return f"epoch {first}" if first == last else f"epochs {first}–{last}"


def _plain(value: Any) -> str:
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


# --- as a file --------------------------------------------------------------------------------

HEADS = (
    "arm", "is", "data", "data_sha256", "versus", "changed", "ok", "failed", "collapsed", "missing",
    "id", "number", "unit", "estimate", "low", "high", "n", "values", "not_evaluable",
)  # fmt: skip


def as_csv(rows: Sequence[ArmRow], shown: Sequence[Shown]) -> str:
    """One line an arm and number, with its id: whole digits, every seed's value."""
    stream = io.StringIO()
    writer = csv.writer(stream)
    writer.writerow(HEADS)
    for row in rows:
        head = [row.name, row.label, row.data, row.data_sha256, row.versus, " ".join(row.changed)]
        counts = [len(row.seeds[key]) for key in (*OUTCOMES, "missing")]
        for column in shown:
            writer.writerow([*head, *counts, *_fields(row.cells[column.alias], column)])
    return stream.getvalue()


def _fields(cell: Cell, column: Shown) -> list[Any]:
    values = " ".join(f"s{seed}={value!r}" for seed, value in cell.values.items())
    numbers = [cell.estimate, cell.low, cell.high, len(cell.values)]
    return [cell.id, column.path, cell.unit, *numbers, values, cell.why]

"""The rows of the chosen arms, computed once for what lies on disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import load
from app.overview.rows import ArmRow, arm_row, ordered, record
from study.evidence.flags import identical_arms, scale_defects, words
from study.params import Row, UserError

Records = Mapping[str, Mapping[str, str | float | None]]


def table(checkpoint: str) -> tuple[Mapping[str, ArmRow], Records]:
    """Every stored arm as a row of the table, and as a query sees it. Not to be changed."""
    stamp = load.stamp(load.ROOT / "results", load.ROOT / "recorded")
    settings = load.stamp(load.ROOT / "params.yaml", *load.ROOT.glob("*/params.yaml"))
    return _table(checkpoint, stamp, settings)


@st.cache_resource(show_spinner=False, max_entries=4)
def _table(
    checkpoint: str, key: load.Stamp, settings: load.Stamp
) -> tuple[dict[str, ArmRow], dict[str, Any]]:
    arms, asked = load.results(), _asked()
    rows = {}
    for name, arm in arms.items():
        row = asked.get(name)
        control = arms.get(row.versus) if row is not None and row.versus else None
        rows[name] = arm_row(arm, row, control, checkpoint)
    return rows, {name: record(row, arms[name]) for name, row in rows.items()}


def _asked() -> Mapping[str, Row]:
    """What was asked for; results are shown without it where params.yaml cannot be read."""
    try:
        return load.rows()
    except UserError:
        return {}


def fenced(names: list[str], rows: Mapping[str, ArmRow]) -> list[tuple[str, list[ArmRow]]]:
    """(heading, rows) by data set, the control's first: nothing is compared across."""
    groups: dict[tuple[str, str | None], list[ArmRow]] = {}
    for name in ordered(names, load.results()):
        row = rows[name]
        groups.setdefault((row.data, row.data_sha256), []).append(row)
    return [(f"{data} · {_short(sha)}", found) for (data, sha), found in groups.items()]


def _short(sha: str | None) -> str:
    return f"data {sha[:12]}" if sha else "seeds on different data sets"


def flags() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Arms that share a result, and amplitude scales off 1, from what lies on disk."""
    return _flags(load.stamp(load.ROOT / "results", load.ROOT / "recorded"))


@st.cache_resource(show_spinner=False, max_entries=2)
def _flags(key: load.Stamp) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    arms = load.results()
    same = [{**flag, "words": words(flag)} for flag in identical_arms(arms)]
    return same, scale_defects(arms)

"""The rows of the chosen arms and their comparison with the committed results, cached by the state
of the stored files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from app import load
from app.arms.rows import ArmRow, arm_rows
from study.evidence.committed import Repetition, committed_results, compare_arms
from study.evidence.flags import identical_arms, scale_defects
from study.evidence.model import Flag, ScaleFlag
from study.runs.environment import git


def table(checkpoint: str) -> Mapping[str, ArmRow]:
    """Every stored arm as a row of the table. Do not modify the result."""
    stamp = load.stamp(*load.result_places())
    settings = load.stamp(load.ROOT / "params.yaml", *load.ROOT.glob("*/params.yaml"))
    return _table(checkpoint, stamp, settings)


@st.cache_resource(show_spinner=False, max_entries=4)
def _table(checkpoint: str, key: load.Stamp, settings: load.Stamp) -> Mapping[str, ArmRow]:
    return arm_rows(load.results(), load.rows(), checkpoint)


def fenced(names: Sequence[str], rows: Mapping[str, ArmRow]) -> list[tuple[str, list[ArmRow]]]:
    """(heading, rows) by data set, the control's first; arms on different data sets are not
    compared."""
    groups: dict[tuple[str, str | None], list[ArmRow]] = {}
    for name, row in rows.items():
        if name in names:
            groups.setdefault((row.data, row.data_sha256), []).append(row)
    return [(f"{data} · {_short(sha)}", found) for (data, sha), found in groups.items()]


def _short(sha: str | None) -> str:
    return f"data {sha[:12]}" if sha else "seeds on different data sets"


def flags() -> tuple[list[Flag], list[ScaleFlag]]:
    """Arms that share a result, and amplitude scales off 1, from what is stored."""
    return _flags(load.stamp(*load.result_places()))


@st.cache_resource(show_spinner=False, max_entries=2)
def _flags(key: load.Stamp) -> tuple[list[Flag], list[ScaleFlag]]:
    return identical_arms(load.results()), scale_defects(load.results())


def comparison() -> Mapping[str, Repetition]:
    """Arm of this pipeline -> identical, reproduced, differs, new or missing. Empty without git or
    committed results.
    """
    commit = (git("rev-parse", "HEAD", root=load.ROOT) or "").strip()
    return _comparison(commit, load.stamp(load.ROOT / "results")) if commit else {}


@st.cache_resource(show_spinner=False, max_entries=4)
def _comparison(commit: str, key: load.Stamp) -> Mapping[str, Repetition]:
    committed = committed_results(load.ROOT, commit)
    here = {name: arm for name, arm in load.results().items() if "/" not in name}
    return compare_arms(here, committed) if committed else {}

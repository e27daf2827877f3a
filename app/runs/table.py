"""Every run as a row: filtered by state and arm, one of them chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import streamlit as st

from app import choose, escape
from app.runs.words import ORDER, ago, clock, epochs, label, lasting, run_id
from study.jobs import RunRow

Rows = Sequence[tuple[RunRow, str]]  # a row, and its state as the page calls it


def filters(rows: Rows) -> None:
    """The two filters; both stand in the address."""
    there = {state for _, state in rows} | set(choose.asked("state"))  # also when its last run ends
    known = [state for state in ORDER if state in there]
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        choose.several("State", known, "state")
        choose.several("Arm", sorted({row.arm for row, _ in rows}), "arm")


def count(shown: Rows, rows: Rows) -> None:
    """How many runs the filters leave, by state."""
    counts = Counter(state for _, state in shown)
    counted = ", ".join(f"{counts[state]} {state}" for state in ORDER if state in counts)
    left = f"{len(shown)} of {len(rows)} runs: " if len(shown) < len(rows) else ""
    st.caption(escape.markdown(left + counted))


def passing(rows: Rows) -> Rows:
    """The rows that the filters leave, as they stand now."""
    wanted, arms = st.session_state.get("state"), st.session_state.get("arm")
    return [
        (row, state)
        for row, state in rows
        if (not wanted or state in wanted) and (not arms or row.arm in arms)
    ]


def ordered(rows: Rows) -> Rows:
    """What works and what waits first, then the latest, last what nobody started."""
    place = {state: min(i, 5) for i, state in enumerate(ORDER)} | {"not started": len(ORDER)}
    return sorted(rows, key=lambda item: (place.get(item[1], 5), -(item[0].started or 0.0)))


def show(rows: Rows) -> None:
    """The table; a click on a row chooses it."""
    st.dataframe(
        [_record(row, state) for row, state in rows],
        hide_index=True,
        key="runs-table",
        on_select=_choose,
        selection_mode="multi-row",
        row_height=30,
        placeholder="–",
        height=min(38 + 30 * max(1, len(rows)), 430),
        column_config={
            "state": st.column_config.TextColumn(width=140),
            "seed": st.column_config.NumberColumn(width="small"),
            "validation loss": st.column_config.NumberColumn(format="%.4g"),
            "cause": st.column_config.TextColumn(width="large"),
        },
        alt=f"{len(rows)} runs with state, epoch, time left, heartbeat and cause",
    )
    st.session_state["runs-shown"] = [run_id(row) for row, _ in rows]
    if st.session_state.pop("runs-picked", False):
        st.rerun(scope="app")  # the table is a part of the page, the chosen run another


def _choose() -> None:
    """The last of the chosen rows is shown in full; all of them can be acted on."""
    picked = st.session_state["runs-table"].selection.rows
    shown = st.session_state.get("runs-shown", [])
    found = [shown[place] for place in picked if place < len(shown)]
    st.session_state["runs-chosen"] = found
    st.session_state["runs-picked"] = True
    if found:
        st.session_state["run"] = found[-1]


SIGNS: Mapping[str, str] = {
    "running": "▶", "preparing": "◔", "committing": "◕", "queued": "…", "done": "✓", "failed": "✕",
    "collapsed": "▁", "stopped": "❚❚", "cancelled": "◼", "unknown": "?", "not started": "○",
}  # fmt: skip


def _record(row: RunRow, state: str) -> dict[str, str | int | float | None]:
    going = state in ("running", "unknown")
    return {
        "state": f"{SIGNS.get(state, '·')} {label(row, state)}",
        "arm": row.arm,
        "seed": row.seed,
        "epoch": epochs(row),
        "left": lasting(row.eta_s),
        "heartbeat": ago(row.heartbeat) if going else "–",
        "started": clock(row.started),
        "validation loss": row.val_loss,
        "cause": row.cause or "",
    }


def pick(rows: Rows) -> str | None:
    """The run that is shown in full; the address names it as ?run=agc/s3."""
    return choose.one("Run", [run_id(row) for row, _ in rows], "run")

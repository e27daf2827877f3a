"""The table of all runs, with filters by state and arm and a selection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import streamlit as st

from app import choose, escape
from app.runs.words import ORDER, ago, clock, epochs, label, lasting, run_id
from study.jobs import RunRow

Rows = Sequence[tuple[RunRow, str]]  # a row and its displayed state


def filters(rows: Rows) -> None:
    """Draw the filters by state and arm; both are kept in the address."""
    # A chosen state stays a choice even when its last run has left it.
    there = {state for _, state in rows} | set(choose.asked("state"))
    known = [state for state in ORDER if state in there]
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        choose.several("State", known, "state")
        choose.several("Arm", sorted({row.arm for row, _ in rows}), "arm")


def count(shown: Rows, rows: Rows) -> None:
    """Show the number of filtered runs per state."""
    counts = Counter(state for _, state in shown)
    counted = ", ".join(f"{counts[state]} {state}" for state in ORDER if state in counts)
    left = f"{len(shown)} of {len(rows)} runs: " if len(shown) < len(rows) else ""
    st.caption(escape.markdown(left + counted))


def passing(rows: Rows) -> Rows:
    """The rows that pass the current filters."""
    wanted, arms = st.session_state.get("state"), st.session_state.get("arm")
    return [
        (row, state)
        for row, state in rows
        if (not wanted or state in wanted) and (not arms or row.arm in arms)
    ]


def ordered(rows: Rows) -> Rows:
    """Active and queued runs first, then the most recent, and last the runs not started."""
    place = {state: min(i, 5) for i, state in enumerate(ORDER)} | {"not started": len(ORDER)}
    return sorted(rows, key=lambda item: (place.get(item[1], 5), -(item[0].started or 0.0)))


def show(rows: Rows) -> None:
    """Draw the table; a click on a row selects it."""
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
        st.rerun(scope="app")  # the selected run is drawn outside this fragment


def _choose() -> None:
    """Store the selection: actions apply to all selected rows, details show the last one."""
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
    """The run whose details are shown, in the address as ?run=agc/s3; None without runs."""
    return choose.one("Run", [run_id(row) for row, _ in rows], "run")

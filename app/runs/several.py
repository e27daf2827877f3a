"""Actions on all runs selected in the table: start, stop, retry."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from app import access, actions, load
from app.escape import Markdown
from app.escape import markdown as escaped
from app.runs.table import Rows
from app.runs.words import run_id
from app.runs.working import act
from study import jobs as job_queue
from study.jobs import Job

USUAL = "local"


def executor(key: str = "executor") -> str:
    """The executor for new runs; a selection box is drawn only if several are available."""
    there = job_queue.ready(load.ROOT)
    if len(there) < 2:
        return USUAL
    chosen = st.selectbox(
        "Where", there, key=key, width=160,
        help="local: this machine; slurm: the cluster (docs/cluster.md)",
    )  # fmt: skip
    return chosen or USUAL


def show(rows: Rows, jobs: Sequence[Job]) -> None:
    """Draw the buttons for the selected rows, if at least two are selected."""
    chosen = set(st.session_state.get("runs-chosen", []))
    mine = [(row, state) for row, state in rows if run_id(row) in chosen]
    if len(mine) < 2 or access.read_only():
        return
    known = {job.id: job for job in jobs}
    at_work = [row.job for row, _ in mine if row.job in known and not known[row.job].over]
    again = [
        row.job
        for row, _ in mine
        if row.job in known and known[row.job].state in ("failed", "cancelled")
    ]
    fresh: dict[str, list[int]] = {}
    for row, state in mine:
        if state == "not started":
            fresh.setdefault(row.arm, []).append(row.seed)
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        st.markdown(f"**{len(mine):d} runs selected**", width="content")
        where = executor() if fresh else USUAL
        _button("Start", "start-chosen", fresh, lambda: _start(fresh, where))
        _button("Stop", "stop-chosen", dict.fromkeys(at_work), lambda: _each(actions.stop, at_work))
        _button("Retry", "retry-chosen", dict.fromkeys(again), lambda: _each(actions.retry, again))
    if at_work:
        names = ", ".join(sorted({known[job].arm for job in at_work if job in known}))
        st.caption(f"Stop ends whole jobs with all their seeds: {escaped(names)}.")


def _button(label: Markdown, key: str, what: Mapping[str, object], do: Callable[[], None]) -> None:
    if what:
        st.button(f"{label} {len(what):d}", key=key, on_click=act, args=(do,))


def _start(fresh: Mapping[str, Sequence[int]], where: str) -> None:
    for arm, seeds in fresh.items():
        actions.start(arm, tuple(seeds), where)


def _each(do: Callable[[str], None], jobs: Sequence[str | None]) -> None:
    """Act once per job, even if several of its runs are selected."""
    for job in dict.fromkeys(jobs):
        if job is not None:
            do(job)

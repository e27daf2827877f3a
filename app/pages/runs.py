"""Runs: queued, running and ended runs, with the causes of failures."""

from collections.abc import Sequence

import streamlit as st

from app import layout, load, strip, waiting
from app.fragments import fragment
from app.runs import curves, detail, several, table, working
from app.runs.words import run_id, state_of
from study.jobs import Job, RunRow

POLL_S = 2.0

layout.enter("Runs", "Queued, running and ended runs, with the causes of failures.")


def named(jobs: Sequence[Job], rows: Sequence[RunRow]) -> table.Rows:
    """The rows, each with the state shown on the page."""
    known = {job.id: job for job in jobs}
    return [(row, state_of(row, known)) for row in rows]


def all_rows() -> tuple[RunRow, ...]:
    """Rows with a run or a job, and arms that were not started."""
    rows = load.run_rows()
    return (*rows, *load.not_started(rows))


def everything() -> table.Rows:
    return table.ordered(named(load.jobs(), all_rows()))


def offered(rows: table.Rows) -> set[str]:
    """The available runs and states."""
    return {word for row, state in rows for word in (run_id(row), state)}


def at_work(known: set[str]) -> None:
    """Refresh jobs and curves every two seconds, and the page if a run or state is new."""
    working.after()
    jobs, rows = load.jobs(), all_rows()
    if offered(named(jobs, rows)) != known:
        st.rerun(scope="app")
    working.refused()
    working.supervisor(any(not job.over for job in jobs))
    working.show(jobs, rows)
    waiting.arms(load.run_rows(), whole=False)
    curves.multiples([row for row in rows if row.state == "running"])


def all_runs() -> None:
    rows = everything()
    shown = table.passing(rows)
    table.count(shown, rows)
    table.show(shown)
    several.show(rows, load.jobs())


def chosen_run(name: str) -> None:
    working.after()
    found = {run_id(row): (row, state) for row, state in everything()}
    if name in found:
        row, state = found[name]
        detail.show(row, state, next((job for job in load.jobs() if job.id == row.job), None))


rows = everything()
every = POLL_S if load.busy() else None
if all(state == "not started" for _, state in rows):
    st.info(
        "No runs in this checkout. Start one: `study launch control`, or on the page New arm. "
        "Download computed runs: `make pull`."
    )
    layout.link("new_arm", "New arm")
if not rows:
    working.refused()
    st.stop()
fragment(at_work, every)(offered(rows))
strip.ask_for_notices()
table.filters(rows)
shown = table.passing(rows)
if not shown:
    st.info("No run matches these filters.")
    st.stop()
fragment(all_runs, every)()
name = table.pick(shown)
if name is not None:
    fragment(chosen_run, every)(name)

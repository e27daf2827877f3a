"""Unfinished jobs: what each is doing, its progress, and a button to stop it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import streamlit as st

from app import access, actions, load, states
from app.escape import markdown as escaped
from app.escape import sentence
from app.runs.words import ago, lasting, place, total_left
from study import jobs as job_queue
from study.evidence.format import counted
from study.jobs import Job, RunRow
from study.settings import UserError

REFUSED_S = 30.0


def supervisor(working: bool) -> None:
    """Show problems reported by the supervisor, or that jobs wait without a running supervisor."""
    word = job_queue.supervisor_state(load.ROOT)
    if word is not None and word.running and word.trouble:
        st.error(sentence(word.trouble), icon=":material/error:")
    if not working or (word is not None and word.running):
        return
    last = "" if word is None else f" Its last heartbeat was {escaped(ago(word.heartbeat))}."
    with st.container(border=True, horizontal=True, vertical_alignment="center"):
        st.markdown(
            f":orange[:material/warning:] Jobs are queued but no supervisor is running.{last}"
        )
        if not access.read_only() and st.button("Resume", key="resume", icon=":material/resume:"):
            act(actions.wake)


def show(jobs: Sequence[Job], rows: Sequence[RunRow]) -> None:
    """Draw one line per unfinished job."""
    served = load.served()
    left = total_left(rows)
    if left is not None:
        waits = sum(row.state in ("running", "queued") for row in rows)
        st.caption(escaped(f"{counted(waits, 'run')} left, about {lasting(left)} in total."))
    for job in (job for job in jobs if not job.over):
        with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
            states.chip(load.job_state(job, rows, served))
            st.markdown(f"**{escaped(job.arm)}**", width="content")
            mine = [row for row in rows if row.job == job.id and row.arm == job.arm]
            st.caption(sentence(" · ".join(_facts(job, mine))), width="stretch")
            _stop(job)


def _facts(job: Job, mine: Sequence[RunRow]) -> list[str]:
    done = sum(row.state in ("done", "failed", "collapsed") for row in mine)
    left = [row.eta_s for row in mine if row.eta_s is not None]
    parts = [f"{done} of {len(job.seeds)} seeds finished"]
    parts += [f"about {lasting(max(left))} left for the running seeds"] if left else []
    parts += [place(job)] if place(job) else []
    parts += [job.note] if job.note else []
    return [*parts, f"requested {ago(job.created)}"]


def _stop(job: Job) -> None:
    if access.read_only():
        return
    if job.cancel:
        st.caption("stopping …", width="content")
        return
    with st.popover("Stop", icon=":material/stop_circle:", key=f"stop-{job.id}"):
        st.markdown(f"Stop **{escaped(job.arm)}**? Its checkpoints are kept; Retry resumes it.")
        st.button(
            f"Yes, stop {escaped(job.arm)}", key=f"yes-stop-{job.id}", type="primary",
            on_click=act, args=(actions.stop, job.id),
        )  # fmt: skip


def act(what: Callable[..., object], *words: object) -> None:
    """Callback of a button: run the action before the page is drawn, and keep its error to show."""
    st.session_state["runs-acted"] = True
    st.session_state.pop("runs-refused", None)
    try:
        what(*words)
    except UserError as error:
        st.session_state["runs-refused"] = (str(error), time.time() + REFUSED_S)


def after() -> None:
    """Rerun the whole page after an action, which may affect other fragments.

    Called first in each fragment of the page.
    """
    if st.session_state.pop("runs-acted", False):
        st.rerun(scope="app")


def refused() -> None:
    """Show the error of the last action for 30 s, because the page is redrawn periodically."""
    message, until = st.session_state.get("runs-refused", ("", 0.0))
    if time.time() < until:
        st.error(sentence(message), icon=":material/error:")

"""The status strip of every page: commit, data, device, what runs, what ended, who may write.

It polls while something runs and stands still otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as html_escape

import streamlit as st

from app import access, escape, load, states
from app.fragments import fragment
from study.jobs import Job
from study.jobs.notice import message

POLL_S = 2.0


def show() -> None:
    busy = load.busy()
    _tell(st.session_state.pop("jobs-ended", ()))
    fragment(_strip, POLL_S if busy else None)(busy)


def _strip(was_busy: bool) -> None:
    """`was_busy`: when the page was drawn; the whole page is drawn again when that has changed."""
    facts = load.standing()
    with st.container(horizontal=True, horizontal_alignment="right", gap="small"):
        st.badge(
            escape.markdown(facts.commit),
            icon=":material/commit:",
            color="gray",
            help="Commit of this checkout",
        )
        if facts.dirty:
            st.badge(
                "changed", icon=":material/edit:", color="orange", help=escape.markdown(facts.dirty)
            )
        if facts.data is not None:
            st.badge(
                escape.markdown(facts.data), icon=":material/grid_on:", color="gray",
                help="Data set of the first arm, and its content's hash",
            )  # fmt: skip
        st.badge(
            escape.markdown(facts.device),
            icon=":material/memory:",
            color="gray",
            help="What runs started here use",
        )
        for state, count in facts.jobs.items():
            states.chip(state, f"{count:d} {escape.markdown(state)}")
        if access.read_only():
            why = escape.sentence(access.why_read_only())
            st.badge("read only", icon=":material/lock:", color="orange", help=why)
    ended = _ended()
    if facts.busy != was_busy:
        st.session_state["jobs-ended"] = ended  # a message does not outlive a redraw
        st.rerun(scope="app")
    _tell(ended)


def _ended() -> list[Job]:
    """The jobs that ended since this session looked last; none at its first look."""
    known = {job.id: job for job in load.jobs()}
    over = {name for name, job in known.items() if job.over}
    before = st.session_state.get("jobs-over")
    st.session_state["jobs-over"] = over
    return [] if before is None else [known[name] for name in sorted(over - before)]


def _tell(ended: Sequence[Job]) -> None:
    """A message on whatever page is open; app/browser.js shows it outside of the page too."""
    for job in ended:
        icon, _ = states.look(job.state)
        text = str(message(job)["text"])
        st.toast(escape.markdown(text), icon=icon, duration="long")
        st.html(f'<span data-ended="{html_escape(job.id)}">{html_escape(text)}</span>')


def ask_for_notices() -> None:
    """A button by which the browser asks for permission; hidden where that is settled."""
    st.button("Notify me when a job ends", key="notify", icon=":material/notifications:",
              help="By a message of this browser, while a page of this app is open")  # fmt: skip

"""The status strip of every page: commit, data, device, what runs, who may write.

It polls while something runs and stands still otherwise.
"""

from __future__ import annotations

import streamlit as st

from app import access, escape, load, states
from app.fragments import fragment

POLL_S = 2.0


def show() -> None:
    busy = load.busy()
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
            why = escape.markdown(access.why_read_only())
            st.badge("read only", icon=":material/lock:", color="orange", help=why)
    if facts.busy != was_busy:
        st.rerun(scope="app")

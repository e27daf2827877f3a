"""Add fresh seeds to an arm: choose them, estimate the run time, then add and start them."""

from __future__ import annotations

import streamlit as st

from app import access, actions, load
from app.escape import markdown as escaped
from app.new_arm.networks import ask_once, wait
from app.runs.several import executor
from study.editing import committing
from study.evidence.format import counted, join_words
from study.settings import Arm, Row, UserError

USUAL, MOST = 4, 100


def show(name: str, row: Row) -> None:
    """Draw the expander below the form; `?more=1` opens it. It computes only while it is open."""
    if access.read_only() or not isinstance(row, Arm):
        return
    label = f"More seeds of {escaped(name)}"
    asked = st.query_params.get("more") == "1"
    with st.expander(label, expanded=asked, icon=":material/casino:", on_change="rerun",
                     key=f"more-{name}") as box:  # fmt: skip
        if box.open:
            _form(name, row)


def _form(name: str, row: Arm) -> None:
    st.caption(
        "Settings and stored runs do not change. Adding seeds to a claim after seeing its results "
        "is optional stopping: register a new claim with fresh seeds instead (docs/evidence.md)."
    )
    n = st.number_input("Number of fresh seeds", 1, MOST, USUAL, key="more-count", width=200)
    commits = committing.unclean(load.ROOT) is not None
    add = ("arms", "extend", name, "-n", str(n), *(("--commit",) if commits else ()))
    priced = ask_once((*add, "--dry-run", "--json"), (row.seeds,))
    if not priced.done:
        with st.spinner("Choosing seeds"):
            wait(priced)
    if priced.answer is None:
        st.error(escaped(str(priced.refusal)), icon=":material/error:")
        return
    seeds, minutes = tuple(priced.answer["seeds"]), priced.answer["minutes"]
    price = "no time estimate (no past run)" if minutes is None else f"about {minutes:.0f} min"
    description = f"seeds {join_words(map(str, seeds))}; {counted(len(seeds), 'run')}, {price}"
    st.markdown(f"**{escaped(description)}**")
    st.code(" ".join(("study", *add)), language=None, wrap_lines=True)
    where = executor("more-executor")
    with st.container(horizontal=True):
        only = st.button("Add seeds", key="more-add", icon=":material/add:")
        start = st.button("Add seeds and start", key="more-start", icon=":material/play_arrow:")
    if only or start:
        _add(name, seeds, commits, where if start else None)


def _add(name: str, seeds: tuple[int, ...], commits: bool, where: str | None) -> None:
    """Add the seeds. `where`: the executor that starts them; None only adds them."""
    try:
        actions.more_seeds(name, seeds, commits)
        if where is not None:
            actions.start(name, seeds, where)
    except UserError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    st.switch_page("pages/runs.py", query_params={"arm": name})

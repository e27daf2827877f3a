"""New arm: one change to an existing arm, checked before it costs anything."""

import streamlit as st

from app import access, layout, load
from app.new_arm import claim, form_view, more, retire, summary, sweep
from app.new_arm.networks import networks, wait

layout.enter("New arm", "One change to an existing arm, checked before it costs anything.")
summary.announce()
study = load.study()
left, right = st.columns([5, 3], gap="medium")
with left, st.container(horizontal=True, vertical_alignment="bottom"):
    base = form_view.choose_base(study)
    name, question = st.empty(), st.empty()
proposal, cells = form_view.read(study, base)
with left:
    name.text_input(
        "Name", key="name", bind="query-params", placeholder=proposal.draft.name, max_chars=64
    )
    question.text_input(
        "Question", key="asks", bind="query-params", placeholder="put together from the difference",
        max_chars=300,
    )  # fmt: skip
    form_view.draw(base, proposal, cells)
    sweep.show(study, proposal, cells)
    more.show(base, proposal.base)
    retire.show(base)
form_view.remember(proposal)
with right, st.container(border=True):
    may = summary.difference(proposal)
    claimed, broken = claim.ask(proposal)
    commit = not access.read_only() and summary.commits(claimed)
    summary.line(proposal, claimed, commit)
    passed = proposal.plan is not None and proposal.plan.twin is None and summary.facts(proposal)
    summary.buttons(proposal, claimed, commit, may and passed and broken is None)
if not proposal.whole and proposal.lacking is None:
    with st.spinner("Loading the options of the networks"):
        wait(networks())
    st.rerun()

"""Add several arms at once, one per value of a single field, with an estimate of the run time."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import streamlit as st

from app import access, actions, load
from app.escape import markdown as escaped
from app.new_arm.form import Cell
from app.new_arm.form_view import Proposal, suggested
from app.new_arm.networks import check, wait
from app.runs.several import executor
from study.editing import committing
from study.editing.arms import Draft, Planned, planned
from study.evidence.format import counted
from study.settings import Arm, Study, UserError, leaves

MOST = 20
FIELD, VALUES = "sweep-field", "sweep-values"


@dataclass(frozen=True)
class Member:
    """One arm of a sweep; `refused`: why it cannot be added."""

    draft: Draft
    plan: Planned | None
    refused: str = ""


def members(study: Study, proposal: Proposal, field: str, values: Sequence[str]) -> list[Member]:
    """One arm per value of `field`, in addition to the changes in the form.

    Each name contains the value. Each member is checked against the study including the members
    before it.
    """
    found: list[Member] = []
    for value in values:
        kept = [s for s in proposal.draft.settings if s.partition("=")[0] != field]
        settings = (*kept, f"{field}={value}")
        name = suggested(study, proposal.draft.base, settings[-1:])
        draft = replace(proposal.draft, name=name, settings=settings, asks=None)
        try:
            plan = planned(study, draft, proposal.takes)
        except UserError as error:
            found.append(Member(draft, None, str(error)))
            continue
        if plan.twin is not None:
            found.append(Member(draft, None, f"{plan.twin} has these settings already"))
            continue
        study = study.model_copy(update={"arms": {**study.arms, name: plan.row}})
        found.append(Member(draft, plan))
    return found


def show(study: Study, proposal: Proposal, cells: Mapping[str, Sequence[Cell]]) -> None:
    """Draw the expander below the form; it computes only while it is open."""
    if access.read_only() or not isinstance(proposal.base, Arm):
        return
    with st.expander("Sweep one field", icon=":material/format_list_numbered:", on_change="rerun",
                     key="sweep") as box:  # fmt: skip
        if box.open:
            _form(study, proposal, [cell.field.path for found in cells.values() for cell in found])


def _form(study: Study, proposal: Proposal, fields: Sequence[str]) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        field = st.selectbox("Field", fields, key=FIELD, width=320)
        text = st.text_input("Values, separated by commas", key=VALUES, max_chars=300)
    values = list(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not values:
        st.caption("Each value adds one arm, which also has the changes made in the form.")
        return
    if len(values) > MOST:
        st.error(f"There are {len(values):d} values; at most {MOST} are accepted.")
        return
    found = members(study, proposal, field, values)
    for member in found:
        mark = ":red[:material/error:]" if member.plan is None else ":material/check:"
        message = f"{member.draft.name}: {field} = {member.draft.settings[-1].partition('=')[2]}"
        st.markdown(f"{mark} {escaped(message)} {escaped(member.refused)}")
    good = [member for member in found if member.plan is not None]
    if len(good) < len(found) or not _priced(proposal, good):
        return
    _buttons(proposal, good)


def _priced(proposal: Proposal, good: Sequence[Member]) -> bool:
    """Show the run time of the sweep, from the check of its first arm; whether that passed."""
    base = json.dumps(leaves(proposal.base), sort_keys=True)
    checked = check(good[0].draft, (base,))
    if not checked.done:
        with st.spinner("Checking the first arm"):
            wait(checked)
    if checked.answer is None:
        st.error(escaped(str(checked.refusal)), icon=":material/error:")
        return False
    runs, minutes = checked.answer["seeds"] * len(good), checked.answer["minutes"]
    price = "no estimate (the base has no measured run)"
    if minutes is not None:
        price = f"about {max(1, round(minutes * len(good)))} min on {checked.answer['cores']} cores"
    message = f"{counted(len(good), 'arm')}, {runs} runs, {price}"
    st.markdown(f"**{escaped(message)}**")
    return True


def _buttons(proposal: Proposal, good: Sequence[Member]) -> None:
    where = executor("sweep-executor")
    commits = committing.unclean(load.ROOT) is not None
    with st.container(horizontal=True):
        only = st.button("Add all", key="sweep-add", icon=":material/add:")
        start = st.button("Add all and start", key="sweep-start", icon=":material/play_arrow:")
    if not only and not start:
        return
    done: list[str] = []
    try:
        for member in good:
            assert member.plan is not None
            actions.add(member.draft, None, proposal.takes, member.plan.row, commits)
            if commits:
                actions.commit(member.draft, None, proposal.takes)
            done.append(member.draft.name)
        for name in done if start else ():
            actions.start(name, None, where)
    except UserError as error:
        added = f"Added: {', '.join(done)}. " if done else ""
        st.error(escaped(f"{added}{error}"), icon=":material/error:")
        return
    st.switch_page("pages/runs.py", query_params={"arm": done})

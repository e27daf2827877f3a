"""Beside the form: the difference from the base, the check, the command, the buttons."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import access, acts, frame, load
from app.escape import markdown as escaped
from app.new_arm.ask import Proposal
from app.new_arm.form import word
from app.new_arm.networks import check, wait
from study.claiming import ClaimDraft, command
from study.params import UserError, leaves


def difference(proposal: Proposal) -> bool:
    """What changes against the base; whether that may be written, as far as it goes."""
    base, plan = escaped(proposal.draft.base), proposal.plan
    for path, sentence in proposal.refused.items():
        st.error(escaped(sentence if not path else f"{path}: {sentence}"), icon=":material/error:")
    if plan is None:
        if not proposal.refused:
            st.markdown(f"**No difference from {base} yet.** Change a field.")
        return False
    count = len(plan.changes)
    st.markdown(f"**{'One factor' if count == 1 else f'{count} factors'} changed against {base}**")
    for path, (old, new) in plan.changes.items():
        st.markdown(f"{escaped(path)} &nbsp; {escaped(word(old))} → **{escaped(word(new))}**")
    if plan.twin is not None:
        _twin(plan.twin)
        return False
    if count == 1:
        return True
    return st.checkbox(
        "Intentionally confounded", key="confounded", bind="query-params",
        help="A difference between the arms cannot be attributed to one factor.",
    )  # fmt: skip


def _twin(name: str) -> None:
    st.warning(
        f"{escaped(name)} has these settings already: use it, or change a field.",
        icon=":material/content_copy:",
    )
    with st.container(horizontal=True):
        frame.link("compare", f"Compare {name}", arms=name)
        frame.link("runs", f"Runs of {name}", arm=name)


# --- the check --------------------------------------------------------------------------------


def facts(proposal: Proposal) -> bool:
    """Ask for the check of this draft and show what it says; whether it passed."""
    assert proposal.plan is not None
    base = json.dumps(leaves(proposal.base), sort_keys=True)
    place = load.ROOT / proposal.plan.row.data / "manifest.json"
    asked = check(proposal.draft, (base, place.is_file()))
    shown = st.empty()
    if not asked.done:
        with shown.container(), st.spinner("Checking geometry, parameters, memory and time"):
            wait(asked)
    if asked.answer is None:
        shown.error(escaped(str(asked.refusal)), icon=":material/error:")
        return False
    with shown.container():
        _told(asked.answer, proposal)
    return True


def _told(answer: Mapping[str, Any], proposal: Proposal) -> None:
    rows = [("data set", _data(answer)), ("geometry", _geometry(answer))]
    if "parameters" in answer:
        widths = " · ".join(str(width) for width in answer["channels"])
        rows += [
            ("parameters", f"{answer['parameters']:,} (channels {widths})"),
            ("memory", f"{answer['memory_mb']:,.0f} MB a run"),
        ]
    rows.append(("time", _time(answer, proposal)))
    st.markdown("\n".join(["|check||", "|:--|:--|", *(f"|{k}|{escaped(v)}|" for k, v in rows)]))


def _data(answer: Mapping[str, Any]) -> str:
    state = "here" if answer["data_here"] else "not here yet: made or pulled when the run starts"
    return f"{answer['data']}, {state}"


def _geometry(answer: Mapping[str, Any]) -> str:
    n, group = answer["n"], answer["group_size"]
    return f"{n} x {n} px, {group} {'pattern' if group == 1 else 'patterns'} a sample: fits"


def _time(answer: Mapping[str, Any], proposal: Proposal) -> str:
    runs = f"{answer['seeds']} {'run' if answer['seeds'] == 1 else 'runs'}"
    if answer["minutes"] is None:
        return f"{runs}; {proposal.draft.base} was never measured, so no estimate"
    told = f"{answer['minutes']:.0f} min" if answer["minutes"] >= 1 else "under 1 min"
    return f"{runs}, about {told} on {answer['cores']} cores, as measured on {proposal.draft.base}"


# --- the command and the buttons --------------------------------------------------------------


def line(proposal: Proposal, claim: ClaimDraft | None) -> None:
    st.markdown("The same on the command line")
    words = shlex.join(command(proposal.draft, claim))
    st.code(words.replace(" --", " \\\n  --"), language=None, wrap_lines=True)


def buttons(proposal: Proposal, claim: ClaimDraft | None, ready: bool) -> None:
    if access.read_only():
        st.info(escaped(access.why_read_only()), icon=":material/lock:")
        return
    with st.container(horizontal=True):
        only = st.button("Add", key="add", disabled=not ready, icon=":material/add:")
        start = st.button(
            "Add and start", key="add-start", disabled=not ready, type="primary",
            icon=":material/play_arrow:",
        )  # fmt: skip
    if only or start:
        _add(proposal, claim, start)


def _add(proposal: Proposal, claim: ClaimDraft | None, start: bool) -> None:
    assert proposal.plan is not None
    name = proposal.draft.name
    try:
        acts.add(proposal.draft, claim, proposal.takes, proposal.plan.row)
    except UserError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    trouble = None
    try:
        if start:
            acts.start(name)
    except UserError as error:
        trouble = str(error)
    _clear()
    if start and trouble is None:
        st.switch_page("pages/runs.py", query_params={"arm": name})
    st.session_state["new-arm-added"] = (name, claim.id if claim else None, trouble)
    st.rerun()


def _clear() -> None:
    """An empty form on the same base."""
    for key in [str(key) for key in st.session_state]:
        if key.startswith("new:") or key in ("name", "asks", "confounded", "claim"):
            del st.session_state[key]
    st.query_params.from_dict({key: v for key, v in st.query_params.items() if key == "from"})


def announce() -> None:
    """What the last click did."""
    added = st.session_state.pop("new-arm-added", None)
    if added is None:
        return
    name, claim, trouble = added
    told = f"Added {escaped(name)} to params.yaml"
    told += f" and {escaped(claim)} to claims.yaml: commit both before the runs." if claim else "."
    if trouble is None:
        st.success(told, icon=":material/check_circle:")
    else:
        st.warning(f"{told} It is not started: {escaped(trouble)}", icon=":material/warning:")
    frame.link("runs", f"Runs of {name}", arm=name)

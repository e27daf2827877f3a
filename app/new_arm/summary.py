"""The column beside the form: differences from the base, the check, the command, the buttons."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from app import access, actions, layout, load
from app.escape import markdown as escaped
from app.new_arm.form import word
from app.new_arm.form_view import Proposal, suggested
from app.new_arm.networks import check, wait
from app.runs.several import executor
from study.editing import committing
from study.editing.claiming import ClaimDraft, command
from study.runs.seed_folders import dataset_folders
from study.settings import UserError, leaves


def difference(proposal: Proposal) -> bool:
    """Show the changes from the base. Returns whether they permit adding the arm."""
    base, plan = escaped(proposal.draft.base), proposal.plan
    for path, sentence in proposal.refused.items():
        st.error(escaped(sentence if not path else f"{path}: {sentence}"), icon=":material/error:")
    if plan is None:
        if not proposal.refused:
            st.markdown(f"**No difference from {base} yet.** Change a field.")
        return False
    count = len(plan.changes)
    st.markdown(f"**{'One factor' if count == 1 else f'{count:d} factors'} changed from {base}**")
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
        f"{escaped(name)} has these settings already: use that arm or change a field.",
        icon=":material/content_copy:",
    )
    with st.container(horizontal=True):
        layout.link("compare", f"Compare {escaped(name)}", arms=name)
        layout.link("runs", f"Runs of {escaped(name)}", arm=name)


# --- the check --------------------------------------------------------------------------------


def facts(proposal: Proposal) -> bool:
    """Check this draft and show the result. Returns whether the check passed."""
    assert proposal.plan is not None
    base = json.dumps(leaves(proposal.base), sort_keys=True)
    place = dataset_folders(load.ROOT / proposal.plan.row.data)[0] / "manifest.json"
    # The check uses a generated name, so that renaming the draft does not repeat it.
    name = suggested(load.study(), proposal.draft.base, proposal.draft.settings)
    asked = check(replace(proposal.draft, name=name), (base, place.is_file()))
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
            ("memory", f"{answer['memory_mb']:,.0f} MB per run"),
        ]
    rows.append(("time", _time(answer, proposal)))
    st.markdown(
        "\n".join(["|check||", "|:--|:--|", *(f"|{escaped(k)}|{escaped(v)}|" for k, v in rows)])
    )


def _data(answer: Mapping[str, Any]) -> str:
    state = "present" if answer["data_here"] else "missing: generated or pulled before the run"
    return f"{answer['data']}, {state}"


def _geometry(answer: Mapping[str, Any]) -> str:
    n, group = answer["n"], answer["group_size"]
    return f"{n} x {n} px, {group} {'pattern' if group == 1 else 'patterns'} per sample: fits"


def _time(answer: Mapping[str, Any], proposal: Proposal) -> str:
    runs = f"{answer['seeds']} {'run' if answer['seeds'] == 1 else 'runs'}"
    if answer["minutes"] is None:
        return f"{runs}; no estimate, because {proposal.draft.base} has no measured run"
    message = f"{answer['minutes']:.0f} min" if answer["minutes"] >= 1 else "under 1 min"
    return (
        f"{runs}, about {message} on {answer['cores']} cores, as measured on {proposal.draft.base}"
    )


# --- the command and the buttons --------------------------------------------------------------


def commits(claim: ClaimDraft | None) -> bool:
    """Ask whether to commit the new arm, and show what this means for claims."""
    unclean = committing.unclean(load.ROOT)
    if unclean is None:
        st.caption("This folder is not a git repository: its runs cannot be used for claims.")
        return False
    files = ["params.yaml"] if claim is None else ["params.yaml", "claims.yaml"]
    chosen = st.checkbox(
        f"Commit {' and '.join(files)}", value=True, key="commit",
        help="Runs count for claims only if they start from a committed tree",
    )  # fmt: skip
    others = [name for name in unclean if name not in files]
    if not chosen:
        st.caption(":orange[Runs of an uncommitted arm are excluded from all claims.]")
    elif others:
        st.caption(
            f":orange[Uncommitted changes in {escaped(_listed(others))}: until you commit them, "
            "runs are excluded from all claims.]"
        )
    elif unclean:
        st.caption(
            f":orange[Uncommitted changes in {escaped(_listed(unclean))}: commit them first, or "
            "clear this box; the commit may contain only the new arm.]"
        )
    return chosen


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def line(proposal: Proposal, claim: ClaimDraft | None, commit: bool) -> None:
    """Show the command that adds this arm."""
    st.markdown("The same on the command line")
    words = shlex.join(command(proposal.draft, claim, commit))
    st.code(words.replace(" --", " \\\n  --"), language=None, wrap_lines=True)


def buttons(proposal: Proposal, claim: ClaimDraft | None, commit: bool, ready: bool) -> None:
    if access.read_only():
        st.info(escaped(access.why_read_only()), icon=":material/lock:")
        return
    where = executor()
    with st.container(horizontal=True):
        only = st.button("Add", key="add", disabled=not ready, icon=":material/add:")
        start = st.button(
            "Add and start", key="add-start", disabled=not ready, type="primary",
            icon=":material/play_arrow:",
        )  # fmt: skip
    if only or start:
        _add(proposal, claim, commit, where if start else None)


def _add(proposal: Proposal, claim: ClaimDraft | None, commit: bool, where: str | None) -> None:
    """Add, commit and start the arm, stopping at the first error; completed steps are reported.

    `where`: the executor that starts the arm; None only adds it.
    """
    assert proposal.plan is not None
    name, done, trouble = proposal.draft.name, "", None
    try:
        actions.add(proposal.draft, claim, proposal.takes, proposal.plan.row, commit)
    except UserError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    try:
        if commit:
            done = actions.commit(proposal.draft, claim, proposal.takes)
        if where is not None:
            actions.start(name, None, where)
    except UserError as error:
        trouble = str(error)
    _clear()
    if where is not None and trouble is None:
        st.switch_page("pages/runs.py", query_params={"arm": name})
    base, named = proposal.draft.base, claim.id if claim else None
    st.session_state["new-arm-added"] = Added(name, base, named, done, trouble)
    st.rerun()


@dataclass(frozen=True)
class Added:
    """The outcome of the last click. `commit`: "" if nothing was committed."""

    name: str
    base: str
    claim: str | None
    commit: str
    trouble: str | None


def _clear() -> None:
    """Empty the form; `announce` restores the base."""
    for key in [str(key) for key in st.session_state]:
        if key.startswith(("new:", "claim", "with_claim")) or key in (
            "name",
            "asks",
            "confounded",
            "commit",
        ):
            del st.session_state[key]
    st.query_params.from_dict({})  # parameters bound to widgets can be removed but not set


def announce() -> None:
    """Report the outcome of the last click; the form starts again from the same base."""
    added: Added | None = st.session_state.pop("new-arm-added", None)
    if added is None:
        return
    st.session_state["from"] = added.base
    message = f"Added {escaped(added.name)} to params.yaml"
    message += f" and {escaped(added.claim)} to claims.yaml" if added.claim else ""
    message += (
        f", committed as {escaped(added.commit)}." if added.commit else ": not committed yet."
    )
    if added.trouble is None:
        st.success(message, icon=":material/check_circle:")
    else:
        st.warning(
            f"{message} It was not started: {escaped(added.trouble)}", icon=":material/warning:"
        )
    layout.link("runs", f"Runs of {escaped(added.name)}", arm=added.name)

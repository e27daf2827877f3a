"""Recorded outputs missing in this checkout, and their download with progress and cancellation.

The pull is a detached process with a status file, so it survives a reload of the page and is
visible in every browser.
"""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app import access, actions, escape, load, states
from app.fragments import fragment
from app.provenance.state import Judged
from app.provenance.views import pull_name, size_text
from study.artifacts.pull import Pull, pulls, read_pull
from study.evidence.format import counted
from study.settings import UserError

POLL_S = 2.0


def show(found: Mapping[str, Judged], folder: str) -> None:
    """Show missing outputs, a button to pull them, and the last pull. `folder`: of the pipeline."""
    absent = {pull_name(j, folder): j for j in found.values() if j.state == "not pulled"}
    last = next(iter(pulls(load.ROOT)), None)
    if not absent and last is None:
        return
    st.subheader("Not in this checkout", anchor=False)
    if absent:
        size = sum(j.size for j in absent.values())
        verb = "is" if len(absent) == 1 else "are"
        st.text(f"{counted(len(absent), 'recorded output')} {verb} missing ({size_text(size)}).")
    running = last is not None and not last.over
    if access.read_only():
        st.caption(escape.sentence(access.why_read_only()))
    elif absent and not running:
        _ask(absent)
    if last is not None:
        fragment(_progress, POLL_S if running else None)(last.id, running)


def _ask(absent: Mapping[str, Judged]) -> None:
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    names = left.multiselect(
        "Pull only", list(absent), key="pull_names", placeholder="all missing outputs"
    )
    size = sum(absent[name].size for name in names or absent)
    right.button(
        f"Pull {len(names) or len(absent)} ({escape.markdown(size_text(size))})",
        key="pull",
        icon=":material/cloud_download:",
        on_click=_start,
        args=(tuple(names or absent),),
    )


def _start(names: tuple[str, ...]) -> None:
    try:
        actions.pull(names)
    except UserError as error:
        st.toast(escape.sentence(str(error)), icon=":material/error:")


def _cancel(pull_id: str) -> None:
    try:
        actions.cancel_pull(pull_id)
    except UserError as error:
        st.toast(escape.sentence(str(error)), icon=":material/error:")


def _progress(pull_id: str, was_running: bool) -> None:
    pull = read_pull(load.ROOT, pull_id)
    if pull.over and was_running:
        st.rerun()
    names = ", ".join(pull.names[:4]) + (" …" if len(pull.names) > 4 else "")
    if not pull.over:
        st.progress(_share(pull), text=escape.markdown(f"{_phase(pull)} {names}"))
        if not access.read_only():
            st.button("Cancel", key="pull_cancel", on_click=_cancel, args=(pull.id,))
        return
    state = {"finished": "done"}.get(pull.state, pull.state)
    st.markdown(
        f"{states.text(state, f'last pull {escape.markdown(pull.state)}')} {escape.markdown(names)}"
    )
    if pull.cause:
        causes = dict.fromkeys(pull.cause.splitlines())  # outputs often fail for the same cause
        st.error(escape.sentence(" ".join(causes)))
    if pull.lines:
        with st.expander("Output"):
            st.code("\n".join(pull.lines), language=None)


def _share(pull: Pull) -> float:
    return min(1.0, pull.done / pull.total) if pull.total else 0.0


def _phase(pull: Pull) -> str:
    if pull.phase == "moving" and pull.total:
        return f"Downloading {pull.done} of {pull.total} objects:"
    phases = {"connecting": "Contacting the remote:", "placing": "Checking out:"}
    return phases.get(pull.phase, "Downloading:")

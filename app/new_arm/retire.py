"""Take an arm out of the study, or give it another name: its findings stay, as superseded."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app import access, acts
from app.escape import markdown as escaped
from study.archive import Archived
from study.params import UserError


def show(arm: str) -> None:
    if access.read_only():
        return
    name = escaped(arm)
    with st.expander(f"Archive or rename {name}", icon=":material/inventory_2:"):
        st.caption(
            "The arm leaves params.yaml, or goes on under another name. Its results and the claims "
            "that name it move to archived/, and the findings keep those claims as superseded."
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            to = st.text_input("new name", key=f"rename-to-{arm}", max_chars=64, width=220)
            if st.button("Rename", key="rename", disabled=not to.strip()):
                _do(f"renamed to {escaped(to)}", lambda: acts.rename_arm(arm, to.strip()))
            with st.popover("Archive", icon=":material/archive:"):
                st.markdown(f"Take **{name}** out of the study?")
                if st.button(f"Yes, archive {name}", key="archive", type="primary"):
                    _do("archived", lambda: acts.archive_arm(arm))
    told = st.session_state.pop("new-arm-retired", None)
    if told:
        st.success(told, icon=":material/inventory_2:")


def _do(what: str, act: Callable[[], Archived]) -> None:
    try:
        done = act()
    except UserError as error:
        st.error(escaped(str(error)), icon=":material/error:")
        return
    claims = f" Superseded: {escaped(', '.join(done.claims))}." if done.claims else ""
    st.session_state["new-arm-retired"] = (
        f"The arm is {what}; what was under its name: {escaped(str(done.folder))}.{claims} "
        "`dvc repro findings` writes the findings anew."
    )
    st.query_params.clear()
    st.rerun()

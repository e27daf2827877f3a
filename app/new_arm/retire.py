"""Archive or rename an arm; claims that name it are kept in the findings as superseded."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from app import access, actions
from app.escape import markdown as escaped
from study.editing.archive import Archived
from study.settings import UserError

TOLD, REFUSED = "new-arm-retired", "new-arm-not-retired"


def show(arm: str) -> None:
    if access.read_only():
        return
    name = escaped(arm)
    with st.expander(f"Archive or rename {name}", icon=":material/inventory_2:"):
        st.caption(
            "The arm is removed from params.yaml or renamed. Its results and the claims that name "
            "it move to archived/, and the findings list those claims as superseded."
        )
        with st.container(horizontal=True, vertical_alignment="bottom"):
            to = st.text_input("new name", key=f"rename-to-{arm}", max_chars=64, width=220).strip()
            st.button("Rename", key="rename", disabled=not to, on_click=_rename, args=(arm, to))
            with st.popover("Archive", icon=":material/archive:"):
                st.markdown(f"Archive **{name}**?")
                st.button(
                    f"Yes, archive {name}",
                    key="archive",
                    type="primary",
                    on_click=_do,
                    args=("archived", lambda: actions.archive_arm(arm)),
                )
    message, refused = (st.session_state.pop(key, None) for key in (TOLD, REFUSED))
    if message:
        st.success(escaped(message), icon=":material/inventory_2:")
    if refused:
        st.error(escaped(refused), icon=":material/error:")


def _rename(arm: str, to: str) -> None:
    _do(f"renamed to {to}", lambda: actions.rename_arm(arm, to))


def _do(what: str, act: Callable[[], Archived]) -> None:
    """Run as a callback, so that the next page starts from an arm that still exists."""
    try:
        done = act()
    except UserError as error:
        st.session_state[REFUSED] = str(error)
        return
    claims = f" Superseded: {', '.join(done.claims)}." if done.claims else ""
    st.session_state[TOLD] = (
        f"The arm was {what}; its former results are in {done.folder}.{claims} "
        "Run `dvc repro findings` to update the findings."
    )
    st.session_state.pop("from", None)
    for key in ("set", "seeds"):
        if key in st.query_params:
            del st.query_params[key]

"""The menu of saved views on a page (app/view_files.py has the files)."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from app import access, actions, escape, load
from app.fragments import show_error
from app.view_files import FOLDER, files, read_view
from study.settings import UserError


def show(page: str) -> None:
    """The menu on a page: its saved views, and the present address under a name."""
    with st.popover("Views", icon=":material/bookmark:", type="tertiary"):
        for file in files(load.ROOT):
            try:
                view = read_view(file)
            except UserError as error:
                show_error(error)
                continue
            if view.page == page:
                with st.container(horizontal=True, vertical_alignment="center"):
                    st.page_link(
                        f"pages/{page}.py", label=escape.markdown(file.stem),
                        query_params=dict(view.query), width="stretch",
                    )  # fmt: skip
                    _delete(file)
        _save(page)


def _delete(file: Path) -> None:
    if not access.read_only():
        st.button(
            "", icon=":material/delete:", key=f"view-delete-{file.stem}", type="tertiary",
            help=f"Delete the view {escape.markdown(file.stem)}",
            on_click=_act, args=(file.stem, None),
        )  # fmt: skip


def _save(page: str) -> None:
    if access.read_only():
        return
    name = st.text_input(
        "Save this view as", key="view-name", max_chars=64, placeholder="best_by_ssim"
    )
    query = {key: st.query_params.get_all(key) for key in st.query_params}
    st.button("Save", key="view-save", disabled=not name, on_click=_act, args=(name, (page, query)))
    if refused := st.session_state.pop("view-refused", None):
        show_error(UserError(refused))
    st.caption(f"A file in {FOLDER}/; commit it to share it.")


def _act(name: str, address: tuple[str, dict[str, list[str]]] | None) -> None:
    """Save an address under the name, or delete the view."""
    try:
        if address is None:
            actions.delete_view(name)
        else:
            actions.save_view(name, *address)
    except UserError as error:
        st.session_state["view-refused"] = str(error)

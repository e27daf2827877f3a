"""What every page shares: the navigation, its title, and the strip that says where one is.

Streamlit keeps a navigation of its own for a folder called `pages` and lets it answer the first
request of a process when that is a deep link, before main.py runs. `enter` notices a page that was
not opened by main.py, declares the navigation and starts again: the second answer is ours.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app import access, acts, strip
from app.parts import tell
from study.params import UserError


@dataclass(frozen=True)
class Entry:
    """One page: its file in app/pages, which is its address too, its title and its icon."""

    name: str
    title: str
    icon: str


PAGES = (
    Entry("overview", "Overview", ":material/table_chart:"),
    Entry("new_arm", "New arm", ":material/add_circle:"),
    Entry("runs", "Runs", ":material/directions_run:"),
    Entry("compare", "Compare", ":material/compare:"),
    Entry("findings", "Findings", ":material/gavel:"),
    Entry("dataset", "Data set", ":material/grid_on:"),
    Entry("provenance", "Provenance", ":material/account_tree:"),
)
ICON = str(Path(__file__).with_name("icon.svg"))  # a material icon would be fetched from afar
_OPENED: ContextVar[bool] = ContextVar("opened by main.py", default=False)


def open_page() -> None:
    """What main.py does: declare the pages and run the one that was asked for."""
    page = navigation()
    _OPENED.set(True)
    access.check()
    try:
        _wake()
        page.run()
    except UserError as error:
        tell(error)


def _wake() -> None:
    """Once a session: work that a power cut or a killed supervisor left goes on."""
    if access.read_only() or st.session_state.get("woken"):
        return
    st.session_state["woken"] = True
    try:
        acts.wake()
    except UserError as error:
        tell(error)


def navigation():
    st.set_page_config(page_title="Armature", page_icon=ICON, layout="wide")
    pages = [
        st.Page(
            f"pages/{entry.name}.py",
            title=entry.title,
            icon=entry.icon,
            url_path=None if i == 0 else entry.name,
            default=i == 0,
        )
        for i, entry in enumerate(PAGES)
    ]
    return st.navigation(pages, position="top")


def enter(title: str, lead: str) -> None:
    """First line of every page: its title, one sentence on what it answers, the status strip."""
    if not _OPENED.get():
        navigation()
        st.rerun()
    st.html(STYLE)
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    left.title(title, anchor=False)
    left.caption(lead)
    with right:
        strip.show()


def link(name: str, label: str, **query: str | list[str]) -> None:
    """A link to another page with its selection in the address."""
    entry = next(entry for entry in PAGES if entry.name == name)
    st.page_link(f"pages/{name}.py", label=label, icon=entry.icon, query_params=query or None)


# Numbers stand under each other; wide tables scroll inside themselves, never the page.
STYLE = """
<style>
  [data-testid="stDataFrame"], table { font-variant-numeric: tabular-nums; }
  .stMainBlockContainer { max-width: 1500px; padding-left: 2rem; padding-right: 2rem; }
  .block-container { overflow-x: clip; }
  a:focus-visible, button:focus-visible {
    outline: 2px solid currentColor !important; outline-offset: 1px;
  }
</style>
"""

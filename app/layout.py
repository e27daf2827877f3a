"""The common parts of all pages: navigation, title and status strip.

Streamlit has its own navigation for a folder called `pages`. If the first request of a process is a
deep link, that navigation answers it before script.py runs. `enter` detects a page that was not
opened by script.py, declares our navigation and reruns.
"""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app import access, actions, load, strip
from app.escape import Markdown
from app.fragments import show_error
from study.settings import UserError


@dataclass(frozen=True)
class Entry:
    """One page: its file in app/pages, which is its address too, its title and its icon."""

    name: str
    title: str
    icon: str


PAGES = (
    Entry("summary", "Summary", ":material/summarize:"),
    Entry("findings", "Findings", ":material/gavel:"),
    Entry("arms", "Arms", ":material/table_chart:"),
    Entry("compare", "Compare", ":material/compare:"),
    Entry("my_scan", "My scan", ":material/upload_file:"),
    Entry("dataset", "Data", ":material/grid_on:"),
    Entry("provenance", "Provenance", ":material/account_tree:"),
    Entry("new_arm", "New arm", ":material/add_circle:"),
    Entry("runs", "Runs", ":material/directions_run:"),
)
ICON = str(Path(__file__).with_name("icon.svg"))  # material icons are fetched from the internet
MOST_PROBLEMS = 5  # sentences above a page
_OPENED: ContextVar[bool] = ContextVar("opened by script.py", default=False)


def open_page() -> None:
    """Declare the pages and run the requested one; called by script.py."""
    page = navigation()
    _OPENED.set(True)
    try:
        access.check()
        _wake()
        page.run()
    except UserError as error:
        show_error(error)


def _wake() -> None:
    """Once per session: continue jobs that were left by a power cut or a killed supervisor."""
    if access.read_only() or st.session_state.get("woken"):
        return
    st.session_state["woken"] = True
    try:
        actions.wake()
    except UserError as error:
        show_error(error)


def navigation():
    # Set the icon before the navigation, which would fetch one from the internet, and the title
    # after it.
    st.set_page_config(page_icon=ICON, layout="wide")
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
    chosen = st.navigation(pages, position="top")
    # A child process that imports the script again has no session and needs no title.
    st.set_page_config(page_title=f"{getattr(chosen, 'title', 'App')} · Armature")
    return chosen


def enter(title: Markdown, lead: Markdown) -> None:
    """First line of every page: title, one sentence about the page, status strip."""
    if not _OPENED.get():
        navigation()
        st.rerun()
    st.html(STYLE)
    st.html(SCRIPT, unsafe_allow_javascript=True)
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.title(title, anchor=False, width="content")
        st.caption(lead, width="stretch")
        with st.container(width="content"):
            strip.show()
    found = load.problems()
    for problem in found[:MOST_PROBLEMS]:
        show_error(UserError(problem))
    if found[MOST_PROBLEMS:]:
        st.caption(f"{len(found) - MOST_PROBLEMS} more files are damaged.")


def link(name: str, label: Markdown, **query: str | list[str]) -> None:
    """A link to another page with its selection in the address."""
    entry = next(entry for entry in PAGES if entry.name == name)
    st.page_link(f"pages/{name}.py", label=label, icon=entry.icon, query_params=query or None)


SCRIPT = f"<script>{Path(__file__).with_name('browser.js').read_text()}</script>"
# Digits are aligned; wide tables scroll, not the page.
STYLE = """
<style>
  [data-testid="stDataFrame"], table { font-variant-numeric: tabular-nums; }
  .stMainBlockContainer { max-width: 1500px; padding-left: 2rem; padding-right: 2rem; }
  @media (max-width: 480px) {
    .stMainBlockContainer { padding-left: 1rem; padding-right: 1rem; }
  }
  .block-container { overflow-x: clip; padding-top: 3.75rem; }
  [data-testid="stCaptionContainer"], [data-testid="stCaptionContainer"] p {
    color: inherit !important; opacity: 1 !important;
  }
  .js-plotly-plot :is([class$=tick], [class^=g-][class$=title], .colorbar) text,
  .js-plotly-plot text:is([class$=title]) {
    fill: currentColor !important;
  }
  .js-plotly-plot .annotation-text:not([style*="fill: rgb(255, 255, 255)"]) {
    fill: currentColor !important;
  }
  [data-testid="stCode"] .token.parameter { color: inherit !important; }
  @media (prefers-color-scheme: dark) {
    [data-tag], [data-tag] *, [kind^=primary]:enabled, [kind^=primary]:enabled * {
      color: #14171b !important;
    }
  }
  :root:not([data-notices="default"]) .st-key-notify, [data-ended] { display: none; }
  :is([class*="st-key-wide-"], [class*="st-key-images-zoom"]) { overflow-x: auto; }
  [class*="st-key-wide-"] > * { min-width: 640px; }
  :is([class*="st-key-images-zoom"], [class*="st-key-wide-profile"]) > * { min-width: 900px; }
  [class*="st-key-open-"] button :is(div, span, p) {
    white-space: normal; overflow-wrap: anywhere; text-align: left;
  }
  [data-testid="stPageLink-NavLink"] p { white-space: normal; overflow-wrap: anywhere; }
  a:focus-visible, button:focus-visible {
    outline: 2px solid currentColor !important; outline-offset: 1px;
  }
</style>
"""

"""The tabs: only the open tab computes, and its name is in the URL."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from app import choose, escape
from app.compare import config, curves, diagnostics, images, metrics, residuals, resolution
from app.compare.chosen import Block, Chosen, blocks
from app.fragments import fragment
from study.evidence.format import join_words

TABS: Mapping[str, Callable[[Chosen, Sequence[Block]], None]] = {
    "Curves": curves.show,
    "Metrics": metrics.show,
    "Images": images.show,
    "Residuals": residuals.show,
    "Resolution": resolution.show,
    "Config": config.show,
    "Diagnostics": diagnostics.show,
}


def show(chosen: Chosen) -> None:
    found = blocks(chosen.arms)
    if len(found) > 1:
        message = "; ".join(f"{block.title}: {join_words(block.arms)}" for block in found)
        st.warning(
            f"These arms ran on {len(found)} data sets ({escape.markdown(message)}). They are "
            "listed separately and not compared.",
            icon=":material/fence:",
        )
    opened = st.tabs(list(TABS), key="tab", on_change="rerun", bind="query-params")
    for tab, draw in zip(opened, TABS.values(), strict=True):
        with tab:
            if tab.open:
                fragment(draw)(chosen, found)


def known_tab() -> None:
    """Called before any widget: accepts tab names in any case; an unknown one is reported, and the
    first tab is opened."""
    for requested in choose.asked("tab")[:1]:
        named = next((tab for tab in TABS if tab.lower() == requested.lower()), None)
        if named is None:
            choose.tell_unknown("Tab", list(TABS), "tab")
            if "tab" not in st.session_state:  # otherwise the drawn tabs clear it
                del st.query_params["tab"]
        elif named != requested:
            choose.correct("tab", named)

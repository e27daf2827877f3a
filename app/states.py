"""States as colour, icon and word: never by colour alone."""

from __future__ import annotations

from typing import Literal, cast

import streamlit as st

Colour = Literal["red", "orange", "yellow", "blue", "green", "violet", "gray"]

# word: (icon, colour)
LOOKS: dict[str, tuple[str, Colour]] = {
    # runs and jobs
    "queued": ("schedule", "gray"),
    "preparing": ("hourglass_top", "blue"),
    "running": ("play_circle", "blue"),
    "committing": ("inventory_2", "blue"),
    "done": ("check_circle", "green"),
    "finished": ("check_circle", "green"),
    "ok": ("check_circle", "green"),
    "failed": ("error", "red"),
    "collapsed": ("trending_flat", "red"),
    "cancelled": ("cancel", "gray"),
    "stopped": ("pause_circle", "orange"),
    "unknown": ("help", "orange"),
    # verdicts
    "supported": ("thumb_up", "green"),
    "refuted": ("thumb_down", "red"),
    "equivalent": ("drag_handle", "blue"),
    "inconclusive": ("more_horiz", "gray"),
    "not evaluable": ("block", "orange"),
    "stale": ("history", "orange"),
    "void": ("do_not_disturb_on", "orange"),
    "superseded": ("low_priority", "gray"),
    # artifacts and stages
    "fresh": ("check_circle", "green"),
    "missing": ("cloud_off", "orange"),
    "not pulled": ("cloud_download", "orange"),
    # against the committed results
    "identical": ("check_circle", "green"),
    "reproduced": ("done_all", "green"),
    "differs": ("difference", "red"),
    "new": ("fiber_new", "blue"),
}


def look(state: str) -> tuple[str, Colour]:
    """Icon (as Streamlit writes it) and colour of a state; a plain one for words not known."""
    icon, colour = LOOKS.get(state, ("circle", cast("Colour", "gray")))
    return f":material/{icon}:", colour


def chip(state: str, label: str | None = None, help: str | None = None) -> None:
    icon, colour = look(state)
    st.badge(label or state, icon=icon, color=colour, help=help)


def text(state: str, label: str | None = None) -> str:
    """The chip as Markdown, for table cells and headings."""
    icon, colour = look(state)
    return f":{colour}-badge[{icon} {label or state}]"

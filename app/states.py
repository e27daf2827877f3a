"""States as colour, icon and word: never by colour alone."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from app import escape
from app.escape import Markdown

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
    "not started": ("radio_button_unchecked", "gray"),
    # verdicts
    "pending": ("pending", "gray"),
    "supported": ("thumb_up", "green"),
    "supported, below the margin": ("thumb_up", "gray"),
    "refuted": ("thumb_down", "red"),
    "refuted, below the margin": ("thumb_down", "gray"),
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
PLAIN: tuple[str, Colour] = ("circle", "gray")


def look(state: str) -> tuple[str, Colour]:
    """Icon (as Streamlit writes it) and colour of a state; a plain one for words not known."""
    icon, colour = LOOKS.get(state, PLAIN)
    return f":material/{icon}:", colour


def chip(state: str, label: Markdown | None = None, help: Markdown | None = None) -> None:
    icon, colour = look(state)
    st.badge(label or escape.markdown(state), icon=icon, color=colour, help=help)


def text(state: str, label: Markdown | None = None) -> Markdown:
    """The chip as Markdown, for table cells and headings."""
    known = LOOKS.get(state, PLAIN)
    return f":{known[1]}-badge[:material/{known[0]}: {label or escape.markdown(state)}]"

"""Parts of a page that rerun on their own, and errors of users shown as a sentence.

Streamlit shows a traceback for what a fragment raises before script.py could catch it: an error
has to become a sentence inside the fragment.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import streamlit as st

from app import escape
from study.settings import UserError

P = ParamSpec("P")


def show_error(error: UserError) -> None:
    """Show a user error or a damaged file on any page."""
    st.error(escape.sentence(str(error)), icon=":material/error:")


def fragment(draw: Callable[P, None], run_every: float | None = None) -> Callable[P, None]:
    """`draw` as a fragment, repeated every `run_every` seconds; shows a UserError in its place."""

    @functools.wraps(draw)  # Streamlit knows a fragment by the name of its function
    def drawn(*args: P.args, **kwargs: P.kwargs) -> None:
        guarded(draw, *args, **kwargs)

    return st.fragment(drawn, run_every=run_every)


def guarded(draw: Callable[P, None], *args: P.args, **kwargs: P.kwargs) -> None:
    """Draw one part of a page; a UserError in it takes its place and the page goes on."""
    try:
        draw(*args, **kwargs)
    except UserError as error:
        show_error(error)

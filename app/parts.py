"""Parts of a page that are drawn anew by themselves, and a user's mistake as a sentence.

Streamlit shows a traceback for what a fragment raises before main.py could catch it: a mistake has
to become a sentence inside the fragment.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec

import streamlit as st

from study.params import UserError

P = ParamSpec("P")


def tell(error: UserError) -> None:
    """A mistake or a broken file is a sentence on the page, whatever page it is."""
    st.error(str(error).replace("$", r"\$"), icon=":material/error:")


def fragment(draw: Callable[P, None], run_every: float | None = None) -> Callable[P, None]:
    """`draw` as a fragment, every `run_every` seconds anew; a UserError in it is told in place."""

    @functools.wraps(draw)  # Streamlit knows a fragment by the name of its function
    def told(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            draw(*args, **kwargs)
        except UserError as error:
            tell(error)

    return st.fragment(told, run_every=run_every)

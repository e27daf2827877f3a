"""A claim in the address, as `?claim-margin=0.05`: it holds what is not usual.

Its widgets have keys that name what their usual value depends on (another metric has another
margin), so they cannot be bound to the address.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import streamlit as st

from app import choose, escape

LONGEST = 400  # characters of a text


@dataclass(frozen=True)
class Address:
    """`settled`: whether the form is known whole; until then the address is read alone."""

    settled: bool

    def begin(self, field: str, key: str, usual: str, options: Collection[str] = ()) -> None:
        """Let the widget `key` of a field start with its value in the address, or with `usual`.

        The address sets the first widget of a field. A value that is none of `options` is
        reported.
        """
        name, first = f"claim-{field}", True
        if self.settled:
            first = st.session_state.setdefault(f"claim-first-{field}", key) == key
        if options:
            choose.tell_unknown(escape.markdown(field), options, name)
        if key not in st.session_state:
            requested = st.query_params.get(name, usual)[:LONGEST] if first else usual
            st.session_state[key] = requested if not options or requested in options else usual

    def keep(self, field: str, value: str | None, usual: str) -> None:
        name = f"claim-{field}"
        if not self.settled:
            return
        if value is None or value == usual:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != value:
            st.query_params[name] = value

    def forget(self) -> None:
        """No claim, no word of it."""
        for name in [name for name in st.query_params if name.startswith("claim-")]:
            del st.query_params[name]

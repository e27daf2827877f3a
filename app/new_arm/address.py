"""The claim in the page's address, such as `?claim-margin=0.05`; default values are omitted.

The keys of the claim's widgets contain whatever their default depends on (each metric has its own
default margin), so the widgets cannot be bound to the address directly.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import streamlit as st

from app import choose, escape

LONGEST = 400  # characters per text field


@dataclass(frozen=True)
class Address:
    """`settled`: whether the form is complete; until then the address is only read."""

    settled: bool

    def begin(self, field: str, key: str, usual: str, options: Collection[str] = ()) -> None:
        """Initialise the widget `key` of a field from the address, or with the default `usual`.

        Only the first widget of a field is set from the address. A value that is not in `options`
        is reported and replaced by `usual`.
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
        """Write the value of a field to the address, or remove it where it is the default."""
        name = f"claim-{field}"
        if not self.settled:
            return
        if value is None or value == usual:
            st.query_params.pop(name, None)
        elif st.query_params.get(name) != value:
            st.query_params[name] = value

    def forget(self) -> None:
        """Remove the claim from the address."""
        for name in [name for name in st.query_params if name.startswith("claim-")]:
            del st.query_params[name]

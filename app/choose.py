"""Selections that stand in the URL: a page can be sent, reloaded and come back to.

What a URL asks for and is not there becomes a sentence, and the rest of the selection stands.
Options are shown as they are: Streamlit writes what it shows into the URL, so a label that counts
something would be another address tomorrow.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import streamlit as st

from app import escape
from study.params import nearest


def asked(key: str) -> list[str]:
    """The values that the URL gives for `key`, in order, each once."""
    return list(dict.fromkeys(st.query_params.get_all(key)))


def several(
    label: str,
    options: Sequence[str],
    key: str,
    default: Sequence[str] = (),
    max_selections: int | None = None,
) -> list[str]:
    """A multiselect bound to `?key=a&key=b`; unknown values are told and left out."""
    tell_unknown(label, options, key)
    return st.multiselect(
        label,
        options,
        default=[value for value in default if value in options],
        key=key,
        bind="query-params",
        max_selections=max_selections,
    )


def one(
    label: str,
    options: Sequence[str],
    key: str,
    default: str | None = None,
) -> str | None:
    """A segmented control (up to five options, always one chosen) or a select box bound to `?key=`.

    None where there is nothing to choose from.
    """
    if not options:
        return None
    tell_unknown(label, options, key)
    first = default if default in options else options[0]
    if len(options) <= 5:
        return st.segmented_control(
            label, options, default=first, key=key, bind="query-params", required=True
        )
    return st.selectbox(label, options, index=options.index(first), key=key, bind="query-params")


def tell_unknown(label: str, options: Collection[str], key: str) -> None:
    """What the URL asks for under `key` and is not among `options`, in sentences."""
    unknown = [value for value in asked(key) if value not in options]
    for value in unknown[:3]:
        shown = value if len(value) <= 60 else value[:60] + "…"
        told = f"{shown!r}, which is not here{nearest(value, options) or '.'}"
        st.warning(f"The address asks for {label.lower()} {escape.markdown(told)}")

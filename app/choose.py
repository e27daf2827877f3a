"""Selections that are stored in the URL, so that a page can be shared and reloaded.

Unknown values in a URL are reported in a sentence, and the rest of the selection is kept. Options
have no counts in their labels: Streamlit writes labels into the URL, so a changing label would
change the address.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import streamlit as st

from app import escape
from app.escape import Markdown
from study.settings import nearest

MOST_NAMED = 8
PLAIN = re.compile(r"[\w–-]+([ /.][\w–-]+)*")  # has no special characters of Markdown


def asked(key: str) -> list[str]:
    """The values of `key` in the URL, in order and without repetitions."""
    return list(dict.fromkeys(st.query_params.get_all(key)))


def several(
    label: Markdown,
    options: Sequence[str],
    key: str,
    default: Sequence[str] = (),
    max_selections: int | None = None,
    elsewhere: Collection[str] = (),
) -> list[str]:
    """A multiselect bound to `?key=a&key=b`; unknown values are reported and left out. `elsewhere`:
    values that the page handles itself.
    """
    tell_unknown(label, [*options, *elsewhere], key)
    return st.multiselect(
        label,
        options,
        default=[value for value in default if value in options],
        key=key,
        bind="query-params",
        max_selections=max_selections,
    )


def one(
    label: Markdown,
    options: Sequence[str],
    key: str,
    default: str | None = None,
) -> str | None:
    """A segmented control (up to five options, one always selected) or a select box bound to
    `?key=`.

    A segmented control renders its options as Markdown, a select box does not. Escaping the options
    is not possible, since the address would contain the escapes. None without options.
    """
    if not options:
        return None
    tell_unknown(label, options, key)
    first = default if default in options else options[0]
    if len(options) <= 5 and all(PLAIN.fullmatch(option) for option in options):
        return st.segmented_control(
            label, options, default=first, key=key, bind="query-params", required=True
        )
    return st.selectbox(label, options, index=options.index(first), key=key, bind="query-params")


def correct(key: str, value: str | list[str], parameter: str | None = None) -> None:
    """Make the widget `key`, which is not drawn yet, show `value`, and remove `parameter` from the
    address.

    The address can be written until a widget is bound to it; after that only the session can, and
    Streamlit writes the address. The page is run again, because a widget uses the address at the
    start of the run (after the browser's Back, even in preference to the session).
    """
    if key not in st.session_state:
        _forget(parameter)
        st.query_params[key] = value
        st.rerun()
    if not st.session_state.pop(f"{key}-corrected", False):
        st.session_state[f"{key}-corrected"] = True
        st.rerun()
    _forget(parameter)
    st.session_state[key] = value


def _forget(parameter: str | None) -> None:
    """Remove an alias of a key from the address; no widget is bound to it."""
    if parameter is not None:
        del st.query_params[parameter]


def tell_outside(label: Markdown, numbers: range, key: str) -> bool:
    """Report values of `key` in the URL that are not in `numbers`; returns whether there are any.
    They are removed from the address, as a bound widget would do.
    """
    wrong = [value for value in asked(key) if not _is_in(value, numbers)]
    if wrong and key not in st.session_state:
        del st.query_params[key]
    for value in wrong[:3]:
        found = f"{_short(value)!r}; there are {numbers[0]} to {numbers[-1]}."
        st.warning(f"The address asks for {_named(label)} {escape.markdown(found)}")
    return bool(wrong)


def _is_in(value: str, numbers: range) -> bool:
    """Whether a text is one of `numbers`; int() refuses texts of thousands of digits."""
    return value.isascii() and value.isdigit() and len(value) < 10 and int(value) in numbers


def tell_unknown(label: Markdown, options: Collection[str], key: str) -> None:
    """Report values of `key` in the URL that are not among `options`."""
    unknown = [value for value in asked(key) if value not in options]
    for value in unknown[:3]:
        found = f"{_short(value)!r}, which does not exist{_hint(value, options)}"
        st.warning(f"The address asks for {_named(label)} {escape.markdown(found)}")


def _hint(value: str, options: Collection[str]) -> str:
    """The nearest option, or all options if there are few, or their number."""
    found = nearest(value, options)
    if found.startswith("; known") and len(options) > MOST_NAMED:
        return f"; {len(options)} are, for example {', '.join(sorted(options)[:3])}."
    return found or "."


def _named(label: Markdown) -> Markdown:
    return label.lower()


def _short(value: str) -> str:
    return value if len(value) <= 60 else value[:60] + "…"

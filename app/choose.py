"""Selections that stand in the URL: a page can be sent, reloaded and come back to.

What a URL asks for and is not there becomes a sentence, and the rest of the selection stands.
Options are shown as they are: Streamlit writes what it shows into the URL, so a label that counts
something would be another address tomorrow.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

import streamlit as st

from app import escape
from app.escape import Markdown
from study.settings import nearest

MOST_NAMED = 8
PLAIN = re.compile(r"[\w–-]+([ /.][\w–-]+)*")  # means nothing in Markdown


def asked(key: str) -> list[str]:
    """The values that the URL gives for `key`, in order, each once."""
    return list(dict.fromkeys(st.query_params.get_all(key)))


def several(
    label: Markdown,
    options: Sequence[str],
    key: str,
    default: Sequence[str] = (),
    max_selections: int | None = None,
    elsewhere: Collection[str] = (),
) -> list[str]:
    """A multiselect bound to `?key=a&key=b`; unknown values are reported and left out.

    `elsewhere`: values that the page answers itself.
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
    """A segmented control (up to five options, always one chosen) or a select box bound to `?key=`.

    A segmented control renders its options as Markdown, a select box does not. Escaped options are
    not a way out: the address would hold them.

    None where there is nothing to choose from.
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
    """Let the widget `key`, not drawn yet, show `value`, and drop `parameter` from the address.

    The address may be written until a widget is bound to it; from then on the session may, and
    Streamlit writes the address. The page starts once more: a widget takes what the address held
    when the run began, after the browser's Back even over the session.
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
    """Take another word for a key out of the address; no widget is bound to it."""
    if parameter is not None:
        del st.query_params[parameter]


def tell_outside(label: Markdown, numbers: range, key: str) -> bool:
    """What the URL asks for under `key` and is none of `numbers`, in sentences; whether there is.

    It leaves the address, as a widget that is bound to it would make it.
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
    """What the URL asks for under `key` and is not among `options`, in sentences."""
    unknown = [value for value in asked(key) if value not in options]
    for value in unknown[:3]:
        found = f"{_short(value)!r}, which is not here{_hint(value, options)}"
        st.warning(f"The address asks for {_named(label)} {escape.markdown(found)}")


def _hint(value: str, options: Collection[str]) -> str:
    """The option that is nearest; all of a few, or how many there are."""
    found = nearest(value, options)
    if found.startswith("; known") and len(options) > MOST_NAMED:
        return f"; {len(options)} are, for example {', '.join(sorted(options)[:3])}."
    return found or "."


def _named(label: Markdown) -> Markdown:
    return label.lower()


def _short(value: str) -> str:
    return value if len(value) <= 60 else value[:60] + "…"

"""A number with its kin: estimate, interval, n, id, and the command that gives it again."""

from __future__ import annotations

import streamlit as st

from app import escape, load
from study.evidence.cells import bounds
from study.evidence.explain import explain
from study.evidence.format import fmt
from study.settings import UserError


def show(number_id: str, label: escape.Markdown | None = None) -> None:
    """A popover under a number's id: what it is, its inputs with hashes, and how to repeat it."""
    with st.popover(label or escape.markdown(number_id), icon=":material/tag:"):
        tell(number_id)


@st.dialog("Number", width="medium", icon=":material/tag:")
def ask(number_id: str) -> None:
    """The same in a dialog, for a number that was clicked in a table."""
    st.code(number_id, language=None, wrap_lines=True)
    tell(number_id)


def tell(number_id: str) -> None:
    """What a number is, its inputs with hashes, and the command that gives it again."""
    try:
        message = explain(number_id, load.ROOT)
    except UserError as error:
        st.warning(escape.sentence(str(error)))
        return
    unit = f" {message.unit}" if message.unit else ""
    value = "null" if message.value is None else f"{fmt(message.value, 6)}{unit}"
    st.markdown(f"**{escape.markdown(value + bounds(message.facts))}**")
    st.caption(escape.markdown(message.definition))
    if message.note:
        st.caption(escape.markdown(message.note))
    st.markdown("This command must give that value again:")
    st.code(message.command, language="sh", wrap_lines=True)
    st.markdown(f"Inputs ({len(message.inputs)} files)")
    st.dataframe(
        [{"file": file, "sha256": digest[:16]} for file, digest in message.inputs],
        hide_index=True,
        alt=f"{len(message.inputs)} input files with their hashes",
    )

"""What an investigation adds to the page: a table with a filter, sentences, folded details."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import streamlit as st

from app import choose, escape
from study.investigations import View

MOST_WHOLE, MOST_PX = 8, 700  # rows that are shown without a scroll; height of the others


def show(view: View) -> None:
    if view.absent:
        st.info(escape.markdown(view.absent))
        return
    if view.rows:
        _table(view)
    st.markdown(_bullets(view.sentences))
    if view.details is not None:
        title, sentences = view.details
        with st.expander(escape.markdown(title)):
            st.markdown(_bullets(sentences))


def _table(view: View) -> None:
    column = list(view.heads).index(view.filter_by)
    words = [row[column].partition(":")[0] for row in view.rows]
    counts = Counter(words)
    kept = choose.several(
        escape.markdown(view.filter_by.capitalize()), list(counts), view.filter_by
    )
    st.caption(escape.markdown(", ".join(f"{count} {word}" for word, count in counts.items())))
    shown = [row for row, word in zip(view.rows, words, strict=True) if not kept or word in kept]
    heads = [escape.markdown(head) for head in view.heads]
    # Not a data frame: cells hold whole sentences, which a data frame would cut.
    st.table(
        [dict(zip(heads, map(escape.markdown, row), strict=True)) for row in shown],
        hide_index=True,
        border="horizontal",
        height=MOST_PX if len(shown) > MOST_WHOLE else "content",
        alt=f"{view.name}: {len(shown)} of {len(view.rows)} rows",
    )


def _bullets(sentences: Sequence[str]) -> escape.Markdown:
    return "\n".join(f"- {escape.markdown(text)}" for text in sentences) or "None."

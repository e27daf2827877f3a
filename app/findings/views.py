"""What an investigation adds to the page: a table with a filter, its figure, sentences, details."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from html import escape as html_escape
from typing import Any

import streamlit as st

from app import choose, escape, export, load
from study import investigations
from study.investigations import View
from study.reading import UserError

MOST_WHOLE, MOST_PX = 12, 700  # rows that are shown without a scroll; height of the others
# Paper in the dark too: the figure is the one of the report, with black letters.
FIGURE = """
<div style="overflow-x: auto">
  <img alt="{alt}" src="data:image/svg+xml;base64,{data}" style="width: 100%; min-width: 560px;
    max-width: 900px; padding: 8px; background: white; border-radius: 4px">
</div>
"""


def show(view: View) -> None:
    if view.absent:
        st.info(escape.markdown(view.absent))
        return
    if view.rows:
        _table(view)
    st.markdown(_bullets(view.sentences))
    _figure(view)
    if view.details is not None:
        title, sentences = view.details
        with st.expander(escape.markdown(title)):
            st.markdown(_bullets(sentences))


def _table(view: View) -> None:
    shown = _filtered(view) if view.filter_by else view.rows
    heads = [escape.markdown(head) for head in view.heads]
    # Not a data frame: cells hold whole sentences, which a data frame would cut.
    st.table(
        [dict(zip(heads, [escape.markdown(cell) for cell in row], strict=True)) for row in shown],
        hide_index=True,
        border="horizontal",
        height=MOST_PX if len(shown) > MOST_WHOLE else "content",
        alt=f"{view.name}: {len(shown)} of {len(view.rows)} rows",
    )


def _filtered(view: View) -> list[Sequence[str]]:
    """The rows that the reader asks for by the words of one column; counts them all."""
    column = list(view.heads).index(view.filter_by)
    words = [row[column].partition(":")[0] for row in view.rows]
    counts = Counter(words)
    kept = choose.several(
        escape.markdown(view.filter_by.capitalize()), list(counts), view.filter_by
    )
    st.caption(escape.markdown(", ".join(f"{count} {word}" for word, count in counts.items())))
    return [row for row, word in zip(view.rows, words, strict=True) if not kept or word in kept]


def _figure(view: View) -> None:
    """The figure of an investigation that the view is named after, as the report has it."""
    if "section" not in investigations.INVESTIGATIONS.get(view.name, ()):
        return
    try:
        found = _drawn(view.name, load.stamp(*load.result_places(), load.ROOT / "findings.json"))
    except UserError as error:  # a curve that differs from its record
        st.caption(escape.sentence(str(error)))
        return
    if found is None:
        return
    svg, caption = found
    alt = f"{view.name}: {' '.join(view.sentences[:1])} The table has its numbers."
    st.html(picture(svg, alt))
    st.caption(escape.markdown(caption))
    facts = export.Facts(view.name, caption, (), load.commit(), f"study {view.name} --show")
    export.popover(
        f"export_{view.name}", facts,
        draw=lambda: _drawing(view.name).figure,
        table=lambda: _drawing(view.name).data.assign(command=facts.command),
    )  # fmt: skip


def picture(svg: str, alt: str) -> str:
    """HTML of a figure, as wide as the page."""
    data = base64.b64encode(svg.encode()).decode()
    return FIGURE.format(alt=html_escape(alt), data=data)


@st.cache_data(show_spinner=False, max_entries=4)
def _drawn(name: str, key: load.Stamp) -> tuple[str, str] | None:
    """SVG and caption; None where nothing is drawn."""
    style = export.late("study.report.figures.style")
    with style.styled():
        drawing = _drawing(name)
        return None if drawing is None else (style.save(drawing).svg, drawing.caption)


def _drawing(name: str) -> Any:
    """The first figure of the report's section of an investigation, or None."""
    gather = export.late("study.report.gather")
    for part in investigations.parts("section"):
        if part.__name__.split(".")[-2] == name:
            inputs = gather.Inputs(load.ROOT, load.findings(), {}, (), {})
            drawn = part.SECTIONS[0].values(inputs)["drawn"]
            return None if isinstance(drawn, str) else drawn
    return None


def _bullets(sentences: Sequence[str]) -> escape.Markdown:
    return "\n".join(f"- {escape.markdown(text)}" for text in sentences) or "None."

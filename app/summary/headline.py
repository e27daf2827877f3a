"""The headline findings of claims.yaml: one line each, with effect, interval and n."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import streamlit as st

from app import escape, layout, states
from app.findings import interval, views
from app.findings.select import Listed
from study import investigations
from study.evidence.claim_words import kind
from study.evidence.format import counted
from study.evidence.model import Findings


def show(found: Findings, changed: Mapping[str, list[str]]) -> None:
    """Draw one line per headline claim.

    `changed`: claim id -> what changed in its evidence since the findings were computed.
    """
    st.html(interval.STYLE)
    if not found.headline:
        st.info("claims.yaml lists no claims under `headline`.")
    for name in found.headline:
        _line(Listed(found.claims[name], tuple(changed.get(name, ()))))
    words = Counter(claim.word for claim in found.claims.values())
    listed = "; ".join(f"{count} {word}" for word, count in words.most_common())
    total = counted(len(found.claims), "claim")
    st.caption(escape.markdown(f"{total} in total: {listed}. {interval.LEGEND}."))


def _line(listed: Listed) -> None:
    claim = listed.claim
    word = f"stale, was: {claim.word}" if listed.changed else claim.word
    left, middle, right = st.columns([11, 7, 4], vertical_alignment="center", gap="medium")
    left.markdown(
        f"{states.text(listed.state, escape.markdown(word))} {escape.markdown(claim.text)} "
        f":small[({escape.markdown(kind(claim))})]"
    )
    with middle:
        st.html(interval.picture(claim, interval.reach([claim]), listed.state))
    with right:
        layout.link("findings", escape.markdown(claim.id), claim=claim.id)


def investigated(found: Findings) -> None:
    """Show the leading result of each investigation: its main sentence, and its table on demand."""
    for part in investigations.parts("findings"):
        for view in part.views(found):
            if view.leads:
                st.subheader(escape.markdown(view.name.capitalize()), anchor=False)
                st.markdown(escape.markdown(view.sentences[0]))
                with st.expander(escape.markdown(f"Table: {view.name}"), on_change="rerun") as box:
                    if box.open:
                        views.show(view)

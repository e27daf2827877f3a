"""The published table beside ours, and the decision of the published plan on our runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import choose, escape
from study.evidence import decision, published_table
from study.evidence.published_table import HEADS
from study.evidence.wording import listed

VERDICT = HEADS.index("verdict")


def table(found: Mapping[str, Any]) -> None:
    """Published value, what it measured, ours, verdict: one row a number, scale and weights."""
    published = found.get("published")
    if not published or not published.get("entries"):
        st.info("findings.json holds no comparison with the published numbers.")
        return
    rows = [_plain(row) for row in published_table.rows(published)]
    words = [row[VERDICT].partition(":")[0] for row in rows]
    counts = Counter(words)
    kept = choose.several("Verdict", list(counts), "verdict")
    st.caption(", ".join(f"{count} {word}" for word, count in counts.items()))
    shown = [row for row, word in zip(rows, words, strict=True) if not kept or word in kept]
    st.dataframe(
        [dict(zip(HEADS, row, strict=True)) for row in shown],
        hide_index=True,
        width="stretch",
        height=min(700, 35 * (len(shown) + 1) + 3),
        column_config={
            "what it measured": st.column_config.TextColumn(width="medium"),
            "verdict": st.column_config.TextColumn(width="medium"),
        },
    )
    st.caption(f"In every row: {listed(published['always_different'])}.".replace("$", r"\$"))
    with st.expander("Which settings differ from the published ones"):
        st.markdown(_bullets(published_table.protocol_notes(published)))


def _plain(row: list[str]) -> list[str]:
    return [cell.replace("**", "") for cell in row]


def _bullets(notes: list[str]) -> str:
    return "\n".join(f"- {escape.markdown(note)}" for note in notes) or "None."


BRANCHES = {"gold": ("emoji_events", "green"), "silver": ("military_tech", "blue")}


def verdict(found: Mapping[str, Any]) -> None:
    """Gold, silver or pivot, under each crash rule, in the words of findings.md."""
    decided = found.get("decision")
    if not decided:
        st.info("findings.json holds no decision.")
        return
    for rule, facts in (decided["under"] or {}).items():
        branch = facts["branch"]
        icon, colour = BRANCHES.get(branch, ("alt_route", "orange"))
        st.markdown(f":{colour}-badge[:material/{icon}: {branch}] where a crash is: `{rule}`")
    st.markdown(
        decision.section(decided).partition("\n\n")[2].replace("$", r"\$").replace("<", "&lt;")
    )

"""The line above the table: verdicts, and how the results relate to the committed ones."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from app import load, states
from app.overview.committed import comparison
from study.evidence.wording import counted


def show() -> None:
    with st.container(horizontal=True, gap="medium", vertical_alignment="center"):
        _verdicts()
        _against_committed()


def _verdicts() -> None:
    """Chips that open Findings with only those claims."""
    found = load.findings()
    if found is None:
        st.caption("No findings.json yet: `dvc repro findings` judges the claims.")
        return
    changed = load.stale_claims()
    claims = found["claims"].items()
    counts = Counter("stale" if name in changed else entry["status"] for name, entry in claims)
    with st.container(horizontal=True, gap="small", width="content"):
        for status in (*found["counts"], "stale"):
            if count := counts[status]:
                st.page_link(
                    "pages/findings.py",
                    label=states.text(status, f"{count} {status}"),
                    help=f"The {counted(count, 'claim')} {status}, in Findings",
                    query_params={"status": status},
                )


def _against_committed() -> None:
    compared = comparison()
    if not compared:
        st.badge("nothing committed to compare with", icon=":material/help:", color="gray")
        return
    counts = Counter(entry.result for entry in compared.values())
    told = " · ".join(f"{count} {result}" for result, count in counts.items())
    icon, _ = states.look("differs" if counts["differs"] else next(iter(counts)))
    with st.popover(f"Against the committed results: {told}", icon=icon, type="tertiary"):
        st.caption(
            "identical: every score of every seed equal to 1e-6. reproduced: the means lie where "
            "the committed seeds predict them. differs: anything else."
        )
        st.dataframe(
            [{"arm": n, "is": e.result, "because": e.reason} for n, e in compared.items()],
            hide_index=True,
            width="stretch",
        )

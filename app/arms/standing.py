"""The line above the table: verdicts, and the comparison with the committed results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import streamlit as st

from app import escape, load, states
from app.arms.build import comparison
from app.fragments import show_error
from study.evidence.format import counted
from study.evidence.model import Findings
from study.settings import UserError


def show() -> None:
    with st.container(horizontal=True, gap="medium", vertical_alignment="center"):
        _verdicts()
        _against_committed()


def _verdicts() -> None:
    """Chips that open Findings with only those claims; a damaged file is reported and the arms are
    shown."""
    try:
        found, pending = load.findings(), load.pending_claims()
        changed = {} if found is None else load.stale_claims()
    except UserError as error:
        show_error(error)
        return
    counts = Counter() if found is None else _counts(found, changed)
    if found is None:
        st.caption("No findings.json yet: `dvc repro findings` judges the claims.")
    with st.container(horizontal=True, gap="small", width="content"):
        if pending:
            states.chip(
                "pending",
                f"{len(pending):d} not yet judged",
                help=escape.markdown(", ".join(c.id for c in pending)),
            )
        for status, count in counts.items():
            st.page_link(
                "pages/findings.py",
                label=states.text(status, f"{count:d} {escape.markdown(status)}"),
                help=escape.markdown(f"The {counted(count, 'claim')} {status}, in Findings"),
                query_params={"status": status},
            )


def _counts(found: Findings, changed: Collection[str]) -> Counter[str]:
    """Number of claims by status, in the order of the findings, without unused statuses."""
    counts = Counter(
        "stale" if name in changed else claim.status for name, claim in found.claims.items()
    )
    return Counter({s: counts[s] for s in (*found.counts, "stale") if counts[s]})


def _against_committed() -> None:
    compared = comparison()
    if not compared:
        st.badge("nothing committed to compare with", icon=":material/help:", color="gray")
        return
    counts = Counter(entry.result for entry in compared.values())
    message = " · ".join(f"{count} {result}" for result, count in counts.items())
    icon, _ = states.look("differs" if counts["differs"] else next(iter(counts)))
    with st.popover(
        f"Compared with the committed results: {escape.markdown(message)}",
        icon=icon,
        type="tertiary",
    ):
        st.caption(
            "identical: every score of every seed equal to 1e-6. reproduced: the means are in "
            "the range that the committed seeds predict. differs: anything else."
        )
        st.dataframe(
            [{"arm": n, "is": e.result, "because": e.reason} for n, e in compared.items()],
            hide_index=True,
            width="stretch",
            alt=f"{len(compared)} arms, whether each is identical, reproduced or differs, and why",
        )

"""Findings: every claim with its computed status and what it rests on."""

import streamlit as st

from app import choose, frame, load
from app.findings import board, published

CLAIMS, TABLE, DECISION = "claims", "published table", "decision"

frame.enter("Findings", "What was claimed, what the runs say, and how sure one can be.")
found = load.findings()
if found is None:
    st.info(
        "No findings in this checkout. `make repro` computes them from the stored results; "
        "`dvc repro findings` alone judges the claims anew."
    )
    st.stop()
view = choose.one("Show", [CLAIMS, TABLE, DECISION], "view", CLAIMS)
if view == TABLE:
    published.table(found)
elif view == DECISION:
    published.verdict(found)
else:
    board.show(found)

"""Findings: every claim with its computed verdict and its evidence."""

import streamlit as st

from app import choose, layout, load, waiting
from app.findings import board, views
from study import investigations

CLAIMS = "claims"

layout.enter("Findings", "Every claim with its verdict, its evidence and its uncertainty.")
waiting.claims()
found = load.findings()
if found is None:
    st.info(
        "No findings in this checkout. `make repro` computes them from the stored results; "
        "`dvc repro findings` computes only the verdicts."
    )
    st.stop()
more = {view.name: view for part in investigations.parts("findings") for view in part.views(found)}
chosen = choose.one("Show", [CLAIMS, *more], "view", CLAIMS)
if chosen in more:
    views.show(more[chosen])
else:
    board.show(found)

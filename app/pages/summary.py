"""Summary: the findings of the study and their certainty."""

import streamlit as st

from app import choose, layout, load
from app.arms import notices
from app.fragments import guarded
from app.summary import headline, pictures

ARMS_KEYS = ("study", "group", "weights", "q", "arms")  # of the arms table, which was here once


def found_here() -> None:
    """The findings, or how to compute them if there are none."""
    found = load.findings()
    if found is None and load.results():
        st.info(
            "No findings.json yet: `dvc repro findings` computes the verdicts from the results."
        )
    if found is None and not load.results():
        notices.empty()
    if found is None:
        return
    headline.show(found, load.stale_claims())
    headline.investigated(found)
    st.subheader("Pictures", anchor=False)
    pictures.show(found)


if any(key in st.query_params for key in ARMS_KEYS):
    asked = {key: choose.asked(key) for key in ARMS_KEYS if key in st.query_params}
    st.switch_page("pages/arms.py", query_params=asked)
layout.enter(
    "Summary",
    "Networks for ptychography, compared over seeds: findings and their certainty.",
)
guarded(found_here)
st.subheader("Go on", anchor=False)
with st.container(horizontal=True, gap="medium"):
    layout.link("findings", "All claims")
    layout.link("arms", "All arms")
    layout.link("new_arm", "Run your own arm")
st.caption(
    "Run it yourself: `make repro` computes the study (about an hour on two cores) and compares "
    "it with the committed results. Report: `make report` writes one HTML file with figures and "
    "inputs into build/report."
)

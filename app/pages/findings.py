"""Findings: every claim with its computed status and what it rests on."""

import streamlit as st

from app import frame, load, states

frame.enter("Findings", "What was claimed, what the runs say, and how sure one can be.")
found = load.findings()
if found is None:
    st.info("No findings in this checkout. `make repro` computes them from the stored results.")
    st.stop()
changed = load.stale_claims()
told = ", ".join(f"{count} {status}" for status, count in found["counts"].items() if count)
st.caption(told or "no claims")
for name, entry in found["claims"].items():
    status = "stale" if name in changed else entry["status"]
    with st.container(border=True):
        st.subheader(f"{states.text(status)} {name}", anchor=False)
        st.markdown(entry["text"])
        for sentence in changed.get(name, ()):
            st.warning(sentence)
        with st.expander("Evidence"):
            st.json(entry, expanded=1)

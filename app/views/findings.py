"""Findings: every claim with its computed status and what it rests on."""

import streamlit as st

from app import load
from study.params import UserError

MARK = {
    "supported": "✓",
    "refuted": "✗",
    "inconclusive": "?",
    "equivalent": "=",
    "not evaluable": "∅",
    "void": "⊘",
}

st.title("Findings")
try:
    found = load.findings()
except UserError as error:
    st.error(str(error))
    st.stop()
if found is None:
    st.info("No findings in this checkout. `make repro` computes them from the stored results.")
    st.stop()
try:
    changed = load.stale_claims(found)
except UserError as error:
    st.error(str(error))
    st.stop()
told = ", ".join(f"{count} {status}" for status, count in found["counts"].items() if count)
st.caption(f"commit {load.commit()} — {told or 'no claims'}")
for name, entry in found["claims"].items():
    status = "stale" if name in changed else entry["status"]
    with st.container(border=True):
        st.subheader(f"{MARK.get(status, '!')} {status} — {name}")
        st.markdown(entry["text"])
        for sentence in changed.get(name, ()):
            st.warning(sentence)
        with st.expander("Evidence"):
            st.json(entry, expanded=1)

"""The claims by family, filtered; only what is open is drawn in full."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import escape, load
from app.findings import entry, interval
from app.findings.select import Listed, choosers, listed, opened
from study.evidence.wording import counted

# Brings a claim into view that the address opened; no text of ours or others enters it.
SCROLL = """
<script>
  const opened = document.querySelector("[class*='st-key-claim-open-']");
  if (opened) opened.scrollIntoView({block: "start"});
</script>
"""


def show(found: Mapping[str, Any]) -> None:
    claims = listed(found, load.stale_claims())
    if not claims:
        st.info("claims.yaml holds no claim, so there is nothing to judge.")
        return
    chosen = choosers(claims)
    is_open = opened(claims)
    # What the address opens is shown whatever the filters say.
    shown = [c for c in claims if c in chosen or c.id in is_open]
    _summary(len(shown), len(claims))
    st.html(interval.STYLE)
    for family in dict.fromkeys(claim.family for claim in shown):
        _family(family, [c for c in shown if c.family == family], is_open)
    if is_open and "findings-seen" not in st.session_state:
        st.html(SCROLL, unsafe_allow_javascript=True)
    st.session_state["findings-seen"] = True


def _summary(shown: int, of: int) -> None:
    told = f"**{counted(of, 'claim')}**" if shown == of else f"**{shown} of {of} claims**"
    st.markdown(
        f"{told} · :small[point: effect, bar: interval at the claim's level, dots: seeds, "
        "grey band: the margin, dashes: zero, triangle: the claimed side]"
    )
    if not shown:
        st.info("No claim passes these filters.")


def _family(name: str, claims: list[Listed], is_open: set[str]) -> None:
    judged = [claim.entry for claim in claims if not claim.superseded]
    axis = interval.reach(judged)
    with st.container(border=True, gap="small"):
        size = len(judged[0]["family"]["claims"]) if judged else 0
        holm = f":small[{counted(size, 'claim')}, held together by Holm's rule]" if size > 1 else ""
        st.markdown(f"**{escape.markdown(name.replace('_', ' '))}** {holm}")
        for claim in claims:
            there = claim.id in is_open
            with st.container(key=f"claim-{'open' if there else 'line'}-{claim.id}", gap="small"):
                entry.line(claim, axis, there)
                if there:
                    entry.details(claim)

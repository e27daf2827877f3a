"""The filtered claims by family; only open claims are drawn in full."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from app import escape, load
from app.findings import entry, interval
from app.findings.select import Listed, filters, listed, opened
from app.fragments import show_error
from study.evidence.format import counted
from study.evidence.model import Findings
from study.settings import UserError

# Scrolls to a claim that the address opened; contains no variable text.
SCROLL = """
<script>
  const opened = document.querySelector("[class*='st-key-claim-open-']");
  if (opened) opened.scrollIntoView({block: "start"});
</script>
"""


def show(found: Findings) -> None:
    claims = listed(found, _stale_claims())
    if not claims and not found.superseded:
        st.info("claims.yaml contains no claims.")
        return
    chosen = filters(claims, found.superseded)
    is_open = opened([*found.claims, *found.superseded])
    # Claims opened by the address are shown regardless of the filters.
    shown = [c for c in claims if c.id in is_open or chosen.passes(c)]
    gone = {n: e for n, e in found.superseded.items() if n in is_open or chosen.passes_gone(n, e)}
    _summary(len(shown) + len(gone), len(claims) + len(found.superseded))
    st.html(interval.STYLE)
    for family in dict.fromkeys(one.claim.family.name for one in shown):
        _family(family, [c for c in shown if c.claim.family.name == family], is_open)
    for name, past in gone.items():
        entry.superseded(name, past, name in is_open)
    if is_open and "findings-seen" not in st.session_state:
        st.html(SCROLL, unsafe_allow_javascript=True)
    st.session_state["findings-seen"] = True


def _stale_claims() -> Mapping[str, list[str]]:
    """Stale claims; none, with a notice, if claims.yaml cannot be read."""
    try:
        return load.stale_claims()
    except UserError as error:
        show_error(error)
        return {}


def _summary(shown: int, of: int) -> None:
    message = (
        f"**{escape.markdown(counted(of, 'claim'))}**"
        if shown == of
        else f"**{shown:d} of {of:d} claims**"
    )
    st.markdown(f"{message} · :small[{interval.LEGEND}]")
    if not shown:
        st.info("No claim matches these filters.")


def _family(name: str, claims: list[Listed], is_open: set[str]) -> None:
    axis = interval.reach([one.claim for one in claims])
    size = len(claims[0].claim.family.claims)
    holm = (
        f":small[{escape.markdown(counted(size, 'claim'))}, corrected together by Holm's rule]"
        if size > 1
        else ""
    )
    with st.container(border=True, gap="small"):
        st.markdown(f"**{escape.markdown(name.replace('_', ' '))}** {holm}")
        for one in claims:
            there = one.id in is_open
            with st.container(key=f"claim-{'open' if there else 'line'}-{one.id}", gap="small"):
                entry.line(one, axis, there)
                if there:
                    entry.details(one)

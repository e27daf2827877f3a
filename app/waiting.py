"""What was added and not started: arms with a button that starts them, and claims to be judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from app import access, actions, layout, load, states
from app.escape import markdown as escaped
from app.runs.working import act
from study.evidence.claims import Claim
from study.evidence.format import counted
from study.jobs import RunRow
from study.settings import UserError

MOST = 5


def arms(rows: Sequence[RunRow], whole: bool = True) -> None:
    """One line for every arm with rows that are not started, the last of params.yaml first.

    `whole`: only arms without any result.
    """
    waiting: dict[str, list[int]] = {}
    for row in load.not_started(rows):
        waiting.setdefault(row.arm, []).append(row.seed)
    if whole:
        waiting = {name: seeds for name, seeds in waiting.items() if name not in load.results()}
    claims = _claims()
    for name, seeds in list(reversed(waiting.items()))[:MOST]:
        _arm(name, seeds, claims)
    if len(waiting) > MOST:
        st.caption(f"{len(waiting) - MOST} more arms are not started; Runs lists them all.")


def _arm(name: str, seeds: Sequence[int], claims: Mapping[str, Sequence[Claim]]) -> None:
    with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
        states.chip("not started")
        st.markdown(f"**{escaped(name)}**", width="content")
        facts = [load.study().arms[name].asks, counted(len(seeds), "seed")]
        facts += [f"claim {claim.id}: pending" for claim in claims.get(name, ())]
        st.caption(escaped(" · ".join(facts)), width="stretch")
        if not access.read_only():
            st.button(
                "Start", key=f"start-{name}", icon=":material/play_arrow:",
                on_click=act, args=(actions.start, name),
            )  # fmt: skip
        layout.link("runs", "Runs", arm=name)


def _claims() -> Mapping[str, Sequence[Claim]]:
    """Pending claims by arm; a broken claims.yaml is reported above the table."""
    try:
        pending = load.pending_claims()
    except UserError:
        return {}
    found: dict[str, list[Claim]] = {}
    for claim in pending:
        found.setdefault(claim.arms.treatment, []).append(claim)
    return found


def claims() -> None:
    """The claims that were not judged yet: their runs, or `dvc repro findings`, are missing."""
    for claim in load.pending_claims():
        with st.container(border=True, horizontal=True, vertical_alignment="center", gap="medium"):
            states.chip("pending")
            st.markdown(f"**{escaped(claim.id)}** {escaped(claim.text)}", width="stretch")
            layout.link("runs", "Runs", arm=claim.arms.treatment)

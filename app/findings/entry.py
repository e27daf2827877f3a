"""One claim on the page: a line, and the details if it is open."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from app import escape, layout, numbers, states
from app.findings import comment_form, interval
from app.findings.select import Listed, turn
from study.evidence.cells import bounds
from study.evidence.claim_finding import ClaimFinding, Gone, SideOfSeed, Verdict
from study.evidence.claim_words import claim_words, kind
from study.evidence.format import fmt
from study.evidence.metric_catalog import CHECKPOINTS

SHOWN = 3  # changes named in a warning
TOLD = ("Claim", "Test", "Changed factors", "To decide it")


def line(listed: Listed, half_axis: float, is_open: bool) -> None:
    """Status, claim, effect, and a button that opens the details."""
    claim = listed.claim
    state = listed.state
    left, middle, right = st.columns([11, 7, 4], vertical_alignment="center", gap="medium")
    with left:
        st.markdown(
            f"{states.text(state, escape.markdown(_word(listed)))} "
            f":small[{escape.markdown(kind(claim))}]  \n{escape.markdown(claim.text)}"
        )
    with middle:
        st.html(interval.picture(claim, half_axis, state))
    right.button(
        f"{'Close' if is_open else 'Open'} {escape.markdown(claim.id)}",
        key=f"open-{claim.id}",
        icon=":material/expand_less:" if is_open else ":material/expand_more:",
        type="tertiary",
        on_click=turn,
        args=(claim.id,),
    )


def _word(listed: Listed) -> str:
    """`stale`, or the status and the word for the numbers."""
    word = listed.claim.word
    return listed.status if listed.changed or word == listed.status else f"{listed.status}: {word}"


def details(listed: Listed) -> None:
    """The details of an open claim."""
    claim = listed.claim
    _stale(listed.changed)
    was = f"; the verdict was {claim.status}" if listed.changed else ""
    st.markdown(f"**{escape.markdown(listed.status + was)}**: {escape.markdown(claim.reason)}")
    st.caption(escape.markdown(claim.standing))
    left, right = st.columns([3, 2], gap="large")
    with left:
        _words(claim)
        _gates(claim)
    with right:
        _evidence(claim)
    _seeds(claim)
    _history(claim.history)
    comment_form.show(claim.id)


def _stale(changed: Sequence[str]) -> None:
    """What changed since the verdict: a few changes in one warning, all of them on request."""
    if not changed:
        return
    more = len(changed) - SHOWN
    shown = "; ".join([*changed[:SHOWN], *([f"and {more} more changes"] if more > 0 else [])])
    st.warning(f"Stale since the verdict: {escape.markdown(shown)}", icon=":material/history:")
    if more > 0:
        with st.expander(f"All {len(changed)} changes"):
            st.markdown("\n".join(f"- {escape.markdown(sentence)}" for sentence in changed))


def _words(claim: ClaimFinding) -> None:
    """Text by topic, as in findings.md."""
    words = claim_words(claim)
    lines = [
        f"- **{escape.markdown(topic)}**: {_unmarked(words[topic] or '')}"
        for topic in TOLD
        if words[topic]
    ]
    lines += [f"- **Limit**: {escape.markdown(limit)}" for limit in claim.limits]
    st.markdown("\n".join(lines))
    st.caption("This command computes the verdict again:")
    st.code(claim.reproduce, language="sh", wrap_lines=True)


def _unmarked(text: str) -> escape.Markdown:
    """Text of findings.md without its emphasis, escaped."""
    return escape.markdown(text.replace("**", "").replace("`", ""))


def _gates(claim: ClaimFinding) -> None:
    """Each gate with colour, icon and word; the reason of one that fails."""
    chips = [
        f":green-badge[:material/check: {escape.markdown(gate.name)}]"
        if gate.passed
        else f":red-badge[:material/block: {escape.markdown(gate.name)} fails]"
        for gate in claim.gates
    ]
    st.markdown(f"Gates: {' '.join(chips)}")
    for gate in claim.gates:
        if not gate.passed:
            st.caption(escape.markdown(str(gate.reason)))


def _evidence(claim: ClaimFinding) -> None:
    """Links to Compare with these arms and weights, the numbers, and the files."""
    arms = [claim.contrast.control, claim.contrast.treatment]
    checkpoint = claim.metric.partition(".")[0]
    state = {"checkpoint": checkpoint} if checkpoint in CHECKPOINTS else {}
    st.markdown("**Evidence**")
    for tab, words in (
        ("Metrics", "Numbers of both arms"),
        ("Images", "Reconstructions side by side"),
        ("Curves", "Losses over the epochs"),
    ):
        layout.link("compare", words, arms=arms, tab=tab, **state)
    if claim.effect is not None:
        numbers.show(claim.effect.id)
    with st.popover(f"{len(claim.evidence)} files", icon=":material/description:"):
        st.dataframe(
            [
                {
                    "run": item.run,
                    "file": item.file,
                    "sha256": item.sha256[:16],
                    "in": "git" if item.in_git else "DVC",
                }
                for item in claim.evidence
            ],
            hide_index=True,
            alt=f"{len(claim.evidence)} evidence files of {claim.id}, with their hashes",
        )


def _seeds(claim: ClaimFinding) -> None:
    """Every seed with both numbers and the outcome of both runs, including failed ones."""
    if not claim.seeds:
        return
    rows = [
        {
            "seed": seed.seed,
            claim.contrast.control: _side(seed.control),
            claim.contrast.treatment: _side(seed.treatment),
            "difference": fmt(seed.difference),
        }
        for seed in claim.seeds
    ]
    with st.expander(f"Every seed: {claim.n:d} of {claim.needed_seeds:d} pairs"):
        alt = f"{len(rows)} seeds of {claim.id}: both values and their difference"
        st.dataframe(rows, hide_index=True, width="content", alt=alt)


def _side(side: SideOfSeed) -> str:
    """The value of a run, or its outcome."""
    cause = f": {side.cause}" if side.cause else ""
    outcome = "" if side.outcome == "ok" else f"{side.outcome}{cause}"
    value = "" if side.value is None else fmt(side.value)
    return ", ".join(part for part in (value, outcome) if part) or "–"


def _history(history: Sequence[Verdict]) -> None:
    """Every verdict so far, the newest first."""
    rows = [
        {
            "date": (item.date or "no date")[:10],
            "commit": (item.commit or "no run")[:12],
            "verdict": item.status,
            "kind": item.kind,
            "n": item.n,
            "effect": f"{fmt(item.estimate, 3)}{bounds(item, 3)}",
            "because": item.reason,
        }
        for item in reversed(history)
    ]
    before = len(rows) - 1
    heading = f"History: supersedes {before} earlier" if before else "History: the first verdict"
    with st.expander(heading):
        alt = f"{len(rows)} verdicts of this claim, the newest first"
        st.dataframe(rows, hide_index=True, width="stretch", alt=alt)


def superseded(name: str, gone: Gone, is_open: bool) -> None:
    """The last verdict of a claim that was removed from claims.yaml."""
    with st.container(key=f"claim-{'open' if is_open else 'line'}-{name}", border=True):
        st.markdown(
            f"{states.text('superseded')} **{escape.markdown(name)}**  \n"
            f"{escape.markdown(gone.text)}"
        )
        st.caption("This claim is no longer in claims.yaml; its verdicts are kept.")
        st.markdown(escape.markdown(gone.reason))
        _history(gone.history)

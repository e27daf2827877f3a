"""One claim on the page: a line that is always there, and the rest only when it is open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from app import escape, frame, numbers, states
from app.findings import interval, talk
from app.findings.select import Listed, turn
from study.evidence.columns import CHECKPOINTS
from study.evidence.report import claim_words
from study.evidence.wording import fmt

TOLD = ("Claim", "Test", "Changed factors", "To decide it", "Second object")


def line(claim: Listed, half_axis: float, is_open: bool) -> None:
    """Status, claim, effect; a button that opens the rest."""
    entry = claim.entry
    left, middle, right = st.columns([6, 4, 1], vertical_alignment="center", gap="medium")
    with left:
        st.markdown(
            f"{states.text(claim.status)} **{escape.markdown(claim.id)}** "
            f":small[{_kind(entry)}]  \n{escape.markdown(entry['text'])}"
        )
    with middle:
        if not claim.superseded:
            st.html(interval.picture(entry, half_axis, claim.status))
    right.button(
        "Close" if is_open else "Open",
        key=f"open-{claim.id}",
        icon=":material/expand_less:" if is_open else ":material/expand_more:",
        type="tertiary",
        on_click=turn,
        args=(claim.id,),
        help=f"{'Close' if is_open else 'Open'} {escape.markdown(claim.id)}",
    )


def _kind(entry: Mapping[str, Any]) -> str:
    bundle = ", bundle" if entry.get("requested") == "bundle" else ""
    return f"{entry.get('kind', '')}{bundle}"


def details(claim: Listed) -> None:
    """Everything that is known about an open claim."""
    entry = claim.entry
    if claim.superseded:
        _gone(entry)
        return
    for sentence in claim.changed:
        st.warning(
            f"Stale since the verdict: {escape.markdown(sentence)}", icon=":material/history:"
        )
    st.markdown(f"**{_verdict(claim)}**: {escape.markdown(entry['reason'])}")
    st.caption(escape.markdown(entry["standing"]))
    left, right = st.columns([3, 2], gap="large")
    with left:
        _words(entry)
        _gates(entry)
    with right:
        _evidence(entry)
        _second(entry)
    _seeds(entry)
    _history(entry)
    talk.show(claim.id)


def _verdict(claim: Listed) -> str:
    was = claim.entry["status"]
    return was if claim.status == was else f"{claim.status}; the verdict was {was}"


def _words(entry: Mapping[str, Any]) -> None:
    """By topic, in the words of findings.md."""
    told = claim_words(entry)
    lines = [f"- **{topic}**: {_unmarked(told[topic] or '')}" for topic in TOLD if told[topic]]
    lines += [f"- **Limit**: {escape.markdown(limit)}" for limit in entry["limits"]]
    st.markdown("\n".join(lines))
    st.caption("This command computes the verdict again:")
    st.code(entry["reproduce"], language="sh", wrap_lines=True)


def _unmarked(text: str) -> str:
    """Words of findings.md without their own emphasis, and nothing else of them as Markdown."""
    return escape.markdown(text.replace("**", "").replace("`", ""))


def _gates(entry: Mapping[str, Any]) -> None:
    """Each gate with colour, icon and word; the reason of one that fails."""
    chips = [
        f":green-badge[:material/check: {escape.markdown(gate['name'])}]"
        if gate["passed"]
        else f":red-badge[:material/block: {escape.markdown(gate['name'])} fails]"
        for gate in entry["gates"]
    ]
    st.markdown(f"Gates: {' '.join(chips)}")
    for gate in entry["gates"]:
        if not gate["passed"]:
            st.caption(escape.markdown(str(gate["reason"])))


def _evidence(entry: Mapping[str, Any]) -> None:
    """Where to look: Compare with these arms and these weights, the number, the files."""
    arms = [entry["contrast"]["control"], entry["contrast"]["treatment"]]
    checkpoint = entry["metric"].partition(".")[0]
    state = {"checkpoint": checkpoint} if checkpoint in CHECKPOINTS else {}
    st.markdown("**Look at the evidence**")
    for tab, words in (
        ("Metrics", "Numbers of both arms"),
        ("Images", "Reconstructions side by side"),
        ("Curves", "Losses over the epochs"),
    ):
        frame.link("compare", words, arms=arms, tab=tab, **state)
    if entry["effect"] is not None:
        numbers.show(entry["effect"]["id"])
    with st.popover(f"{len(entry['evidence'])} files", icon=":material/description:"):
        st.dataframe(
            [
                {
                    "run": item["run"],
                    "file": item["file"],
                    "sha256": item["sha256"][:16],
                    "in": "git" if item["in_git"] else "DVC",
                }
                for item in entry["evidence"]
            ],
            hide_index=True,
        )


def _second(entry: Mapping[str, Any]) -> None:
    judged = entry["second_object"]
    if judged is None:
        st.caption("No second object named: one object.")
    elif judged["effect"] is not None:
        st.caption(f"On the second object: {escape.markdown(judged['status'])}")
        st.html(interval.second(judged, entry))


def _seeds(entry: Mapping[str, Any]) -> None:
    """Every seed with both numbers and what became of both runs, failed ones included."""
    if not entry["seeds"]:
        return
    names = entry["contrast"]
    rows = [
        {
            "seed": row["seed"],
            names["control"]: _side(row["control"]),
            names["treatment"]: _side(row["treatment"]),
            "difference": _difference(row),
        }
        for row in entry["seeds"]
    ]
    with st.expander(f"Every seed: {entry['n']} of {entry['needed_seeds']} pairs"):
        st.dataframe(rows, hide_index=True, width="content")


def _side(side: Mapping[str, Any]) -> str:
    """The value of a run, or what became of it."""
    cause = f": {side['cause']}" if side["cause"] else ""
    outcome = "" if side["outcome"] == "ok" else f"{side['outcome']}{cause}"
    value = "" if side["value"] is None else fmt(side["value"])
    return ", ".join(part for part in (value, outcome) if part) or "–"


def _difference(row: Mapping[str, Any]) -> str:
    values = row["treatment"]["value"], row["control"]["value"]
    return "–" if None in values else fmt(values[0] - values[1])


def _history(entry: Mapping[str, Any]) -> None:
    """Every verdict so far, the newest first."""
    rows = [
        {
            "date": (item["date"] or "no date")[:10],
            "commit": (item["commit"] or "no run")[:12],
            "verdict": item["status"],
            "kind": item["kind"],
            "n": item["n"],
            "effect": _bounds(item),
            "because": item["reason"],
        }
        for item in reversed(entry["history"])
    ]
    before = len(rows) - 1
    heading = f"History: supersedes {before} earlier" if before else "History: the first verdict"
    with st.expander(heading):
        st.dataframe(rows, hide_index=True, width="stretch")


def _bounds(item: Mapping[str, Any]) -> str:
    if item["estimate"] is None:
        return "–"
    bounds = "" if item["low"] is None else f" [{fmt(item['low'], 3)}, {fmt(item['high'], 3)}]"
    return f"{fmt(item['estimate'], 3)}{bounds}"


def _gone(entry: Mapping[str, Any]) -> None:
    """A claim that left claims.yaml: what was last said of it."""
    st.caption("This claim is no longer in claims.yaml; its verdicts are kept.")
    st.markdown(escape.markdown(str(entry.get("reason", ""))))
    _history(entry)

"""Select the arms of the table: this pipeline, a recorded study, or one question of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from app import choose, escape, load
from app.arms.rows import ArmRow
from study.evidence.arms import ArmResults
from study.evidence.pipelines import pipelines_of
from study.settings import UserError

HERE = "this pipeline"
ALL = "all"
CHECKPOINTS = ("last", "best")
LONGEST = 100


@dataclass(frozen=True)
class Choice:
    """`asks`: the question of the selected group, or ""; `text`: the words of the filter."""

    names: list[str]
    checkpoint: str
    asks: str
    text: str


def choice(arms: Mapping[str, ArmResults]) -> Choice:
    """Draw the selection widgets and the filter; returns the selected arms."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        study = choose.one("Results of", _studies(arms), "study", HERE)
        names = [n for n in arms if (n.partition("/")[0] if "/" in n else HERE) == study]
        names, asks = _question(str(study), names)
        checkpoint = str(choose.one("Weights", CHECKPOINTS, "weights", "last"))
        text = _filter()
    return Choice(names, checkpoint, asks, text)


def _question(study: str, names: list[str]) -> tuple[list[str], str]:
    """The arms of one question of a study, and the question; all arms if none is selected."""
    groups = _groups(study, names)
    picked = choose.one("Question", [ALL, *groups], "group", ALL) if groups else ALL
    return (names, "") if picked not in groups else (groups[picked][1], groups[picked][0])


def _studies(arms: Mapping[str, ArmResults]) -> list[str]:
    own = [HERE] if any("/" not in name for name in arms) else []
    return [*own, *sorted(pipelines_of(arms))]


def _groups(study: str, names: list[str]) -> dict[str, tuple[str, list[str]]]:
    """Name -> (question, its stored arms); empty if the settings cannot be read."""
    try:
        known = load.declared().groups
    except UserError:
        return {}
    found = {
        group.name: (group.asks, [name for name in group.arms if name in names])
        for group in known
        if group.study == study
    }
    return {name: entry for name, entry in found.items() if entry[1]}


def _filter() -> str:
    """The words of the text filter, in lower case."""
    text = st.text_input(
        "Filter",
        key="find",
        bind="query-params",
        max_chars=LONGEST,
        icon=":material/filter_alt:",
        placeholder="arm, question, what differs",
    )
    if old := st.query_params.get("q"):
        st.info(
            f"The address holds a query of an earlier version ({escape.markdown(old[:LONGEST])}). "
            "Filter by words here, and click on a column header to sort."
        )
    return text.strip().lower()


def passes(row: ArmRow, text: str) -> bool:
    """Whether every word of the filter occurs in the row of an arm."""
    arm = row.line.arm
    changed = (f"{name} {a} {b}" for name, (a, b) in row.changed.items())
    searched = " ".join(
        (row.name, str(arm.label), arm.asks or "", arm.versus or "", *changed)
    ).lower()
    return all(word in searched for word in text.split())

"""Which arms the table shows: this pipeline, a recorded study, or one question of a study."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from app import choose, escape, load
from app.overview.query import EXAMPLE, LONGEST, QueryError, Test, parse
from app.overview.rows import query_columns
from study.evidence.arms import ArmResults
from study.evidence.pipelines import pipelines_of
from study.params import UserError

HERE = "this pipeline"
ALL = "all"
CHECKPOINTS = ("last", "best")


@dataclass(frozen=True)
class Choice:
    """`asks`: the question of the group that is shown, "" where there is none."""

    names: list[str]
    checkpoint: str
    asks: str
    passes: Test


def choice(arms: Mapping[str, ArmResults]) -> Choice:
    """The choosers and the query box, and what they choose from the stored arms."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        study = choose.one("Results of", _studies(arms), "study", HERE)
        names = [n for n in arms if (n.partition("/")[0] if "/" in n else HERE) == study]
        names, asks = _question(str(study), names)
        checkpoint = str(choose.one("Weights", CHECKPOINTS, "weights", "last"))
        text = _box(checkpoint)
    return Choice(names, checkpoint, asks, _read(text, checkpoint))


def _question(study: str, names: list[str]) -> tuple[list[str], str]:
    """The arms of one question of a study, and the question; all of them where none is chosen."""
    groups = _groups(study, names)
    picked = choose.one("Question", [ALL, *groups], "group", ALL) if groups else ALL
    return (names, "") if picked not in groups else (groups[picked][1], groups[picked][0])


def _studies(arms: Mapping[str, ArmResults]) -> list[str]:
    own = [HERE] if any("/" not in name for name in arms) else []
    return [*own, *sorted(pipelines_of(arms))]


def _groups(study: str, names: list[str]) -> dict[str, tuple[str, list[str]]]:
    """Name -> (question, its arms that are stored); none where the settings cannot be read."""
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


def _box(checkpoint: str) -> str:
    short = [name for name in query_columns(checkpoint) if "." not in name]
    return st.text_input(
        "Query",
        key="q",
        bind="query-params",
        max_chars=LONGEST,
        icon=":material/filter_alt:",
        placeholder=EXAMPLE,
        help="Columns: " + ", ".join(f"`{name}`" for name in short) + ", and every path of the "
        "results, as `last.published.phase.ssim`. Words take `~` (contains), `!~`, `=`, `!=`; "
        "numbers take `<` `<=` `>` `>=` `=` `!=`. Join with `and`, `or`, `not`, brackets.",
    )


def _read(text: str, checkpoint: str) -> Test:
    """A query that cannot be read is told, with its place, and lets every row by."""
    try:
        return parse(text, query_columns(checkpoint))
    except QueryError as error:
        told = escape.markdown(str(error))
        st.warning(f"The query is not understood, so every arm is shown: {told}")
        st.code(f"{text}\n{' ' * error.at}^", language=None)
        return lambda record: True

"""Config: the settings in effect of the stored runs, by default only those that differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas
import streamlit as st

from app import escape, export, load
from app.compare.chosen import Block, Chosen
from app.compare.rows import versus_of
from study.editing.arms import value_text
from study.evidence.arms import factors
from study.evidence.format import join_words
from study.settings import Scalar


def show(chosen: Chosen, found: Sequence[Block]) -> None:
    everything = st.toggle("All settings", key="settings", bind="query-params")
    for sentence in changes(chosen.arms):
        st.markdown(f"- {escape.markdown(sentence)}")
    table = settings_table(chosen.arms, everything)
    if table.empty:
        st.info("These arms do not differ in any setting. Turn on “All settings” to see them.")
        return
    alt = f"Settings of {join_words(chosen.arms)}, one column per arm"
    st.dataframe(
        table, hide_index=True, key="settings_table", alt=alt, height=35 * (len(table) + 1) + 3
    )
    st.caption(
        f"{len(table)} settings, {'all' if everything else 'those that differ'}; as the "
        "objects of the stored runs reported them. – : the arm has no such setting."
    )
    export.popover(
        "export_config",
        export.Facts.of("settings", chosen.arms, (), alt),
        table=lambda: settings_table(chosen.arms, True),
    )


def settings_of(arm: str) -> Mapping[str, Scalar] | None:
    """The settings in effect; None if the seeds differ in them.

    Scoring refuses a run whose objects reported others than requested (`study.settings.effective`).
    """
    found = load.results()[arm].facts("settings")
    return found[0] if len(found) == 1 else None


def settings_table(arms: Sequence[str], everything: bool) -> pandas.DataFrame:
    """One row per setting, one column per arm."""
    columns = {arm: settings_of(arm) for arm in arms}
    names = sorted({name for column in columns.values() for name in column or ()})
    rows = []
    for name in names:
        values = {arm: setting_text(column, name) for arm, column in columns.items()}
        if everything or _differs(values, columns, name):
            rows.append({"setting": name, **values})
    return pandas.DataFrame(rows)


def _differs(
    values: Mapping[str, str], columns: Mapping[str, Mapping[str, Scalar] | None], name: str
) -> bool:
    """Whether a setting differs between networks, between references, or between those of both
    kinds that have it. That references do not have the settings of networks does not count."""
    trained = {arm for arm in columns if load.results()[arm].label == "arm"}
    kinds = ([a for a in columns if a in trained], [a for a in columns if a not in trained])
    having = [arm for arm, settings in columns.items() if settings is None or name in settings]
    return any(len({values[arm] for arm in arms}) > 1 for arms in (*kinds, having))


def setting_text(settings: Mapping[str, Scalar] | None, name: str) -> str:
    if settings is None:
        return "seeds differ"
    return value_text(settings[name]) if name in settings else "–"


def changes(arms: Sequence[str]) -> list[str]:
    """The changes of each arm relative to the arm it is compared with in params.yaml."""
    sentences = []
    for arm in arms:
        other = versus_of(arm)
        if other is None or other not in load.results():
            sentences.append(f"{arm} is a baseline; no arm is declared for comparison.")
            continue
        rows = load.results()[other].row, load.results()[arm].row
        if None in rows:
            sentences.append(f"{arm} against {other}: the seeds of one of them differ in settings.")
            continue
        found = factors(*rows)  # type: ignore[arg-type]
        parts = [
            f"{name} {value_text(old)} → {value_text(new)}" for name, (old, new) in found.items()
        ]
        sentences.append(f"{arm} against {other}: {'; '.join(parts) or 'no setting differs'}.")
    return sentences

"""Metrics: every arm's numbers over its seeds, both weights, the gap, and the difference to another
arm, paired by seed. These numbers are descriptive; claims are tested in Findings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas
import streamlit as st

from app import choose, escape, export, load, numbers
from app.compare import plot_style, strip
from app.compare.chosen import Block, Chosen, fenced
from app.compare.rows import METRICS, RowOf, Settings, row_of, title_of
from study.evidence import flags

PRINT = "app.compare.print_figures"

USUAL = ("standard.amplitude.mae", "standard.phase.mae", "val_loss", "r_factor.sum")
VERSUS = "versus"
FIXED = ("arm", "best", "last", "last minus best", "best at epoch", "difference", "seeds", "note")


def show(chosen: Chosen, found: Sequence[Block]) -> None:
    left, right = st.columns([3, 2])
    with left:
        metrics = choose.several("Metrics", list(METRICS), "metric", USUAL)
    with right:
        options = [VERSUS, *chosen.arms]
        against = choose.one("Difference to", options, "against", VERSUS)
    settings = Settings(chosen.checkpoint, None if against in (VERSUS, None) else against)
    if not metrics:
        st.info("Select at least one metric.")
    st.caption(
        "Mean over the seeds [95 % t interval]. Choose a cell to see its number's id, its inputs "
        "and the command that gives it again. Difference to versus: to the arm that each one is "
        "compared with in params.yaml. Marks: ● ok, ✕ collapsed, ▽ failed."
    )
    for block in fenced(found):
        for sentence in same_results(block.arms):
            st.warning(escape.markdown(sentence))
        for metric in metrics:
            panel(metric, block, settings)


def same_results(arms: Sequence[str]) -> list[str]:
    """Arms that share scores to three digits or a history, with the reason if one is known."""
    found = load.results()
    return [flag.words for flag in flags.identical_arms({arm: found[arm] for arm in arms})]


def panel(metric: str, block: Block, settings: Settings) -> None:
    """One metric: the table, the strip plot below it, and the source of each number."""
    rows = [row_of(arm, metric, settings) for arm in block.arms]
    st.subheader(escape.markdown(title_of(metric)), anchor=False)
    st.caption(escape.markdown(definition(metric)))
    picked = table(metric, rows, settings, block)
    alt = f"{title_of(metric)}: one mark per seed and arm, diamond and bar the mean with interval"
    figure = strip.figure(rows, metric, settings, block.place)
    plot_style.show(figure, block.key(f"strip_{metric}"), alt)
    with st.container(horizontal=True):
        if picked:
            numbers.show(picked)
        stem = f"metrics_{metric.replace('.', '_')}"
        ids = tuple(row.mean_id for row in rows)
        export.popover(
            block.key(f"export_{metric}"),
            export.Facts.of(stem, block.arms, ids, alt),
            table=lambda: csv(rows),
            draw=lambda: export.late(PRINT).seeds(
                rows, strip.axis_label(metric, settings), block.place
            ),
        )


def definition(metric: str) -> str:
    column = METRICS[metric]
    unit = f" In {column.unit}." if column.unit else ""
    better = f" {column.better.capitalize()} is better." if column.better else ""
    return f"{column.definition}.{unit}{better}"


def table(metric: str, rows: Sequence[RowOf], settings: Settings, block: Block) -> str | None:
    """Draw the table; returns the id of the selected number."""
    shown = pandas.DataFrame([cells(row, settings) for row in rows])
    shown = shown[[name for name in FIXED if name in shown and any(shown[name])]]
    names = {"difference": st.column_config.TextColumn(difference_head(settings))}
    event = st.dataframe(
        shown,
        hide_index=True,
        key=block.key(f"table_{metric}"),
        on_select="rerun",
        selection_mode="single-cell",
        column_config=names,
        alt=f"{title_of(metric)} of every arm: best, last, gap, difference, seeds",
    )
    places = list(event["selection"]["cells"]) if event else []  # type: ignore[index]
    if not places or places[0][0] >= len(rows):
        return None
    i, column = places[0]
    picked = rows[i].ids.get(column)
    if picked is None and column == "difference" and has_difference(rows[i], settings):
        st.caption(
            "No single id: this is the paired difference of "
            + escape.markdown(f"{rows[i].mean_id} and {settings.against}/mean/{rows[i].path}.")
        )
    return picked


def has_difference(row: RowOf, settings: Settings) -> bool:
    """Whether there is a paired difference to the selected arm."""
    return any(entry["what"] == f"minus {settings.against}" for entry in row.entries)


def difference_head(settings: Settings) -> str:
    return f"{settings.checkpoint}, minus {settings.against or 'versus'}"


def cells(row: RowOf, settings: Settings) -> dict[str, str]:
    return {"arm": row.arm, **row.texts, "seeds": row.seeds, "note": row.note}


def csv(rows: Sequence[RowOf]) -> pandas.DataFrame:
    """Every number of the table with its id, and every seed's."""
    found: list[Mapping[str, Any]] = [entry for row in rows for entry in row.entries]
    return export.with_commands(pandas.DataFrame(found))

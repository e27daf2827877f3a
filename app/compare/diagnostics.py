"""Diagnostics: dead units by layer, gradients by epoch, and statistics stored by `--diagnose`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas
import plotly.graph_objects as go
import streamlit as st

from app import choose, escape, export, load
from app.compare import plot_style
from app.compare.chosen import Block, Chosen, fenced
from app.compare.curves import Quantity, is_network, lines_of
from app.compare.curves import draw as draw_curves
from study.evidence.format import join_words
from study.reading import UserError, parse_json
from study.report.series import Curves
from study.runs import read_lines

GRADIENTS = (
    Quantity("gradient_norm_median", "gradient norm, median"),
    Quantity("gradient_norm_p99", "gradient norm, 99th percentile"),
    Quantity("gradient_norm_max", "gradient norm, largest"),
    Quantity("gradient_norm_clipped_max", "after the clip, largest"),
    Quantity("gradient_ratio", "local / spectral gradient"),
    Quantity("patch_std", "spread of the patches", log=False),
)
BY_COLUMN = {quantity.column: quantity for quantity in GRADIENTS}
WORST, ONE = "worst seed", "shown seed"
DEAD = "dead."
# file of diagnostics/: (kind of record, number, title)
STORED: Mapping[str, tuple[tuple[str, ...], str, str]] = {
    "gradients.jsonl": (("parameter",), "norm", "gradient norm"),
    "activations.jsonl": ((), "std", "std of the activation"),
}


def show(chosen: Chosen, found: Sequence[Block]) -> None:
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    with left:
        which = choose.one("Dead units of", (WORST, ONE), "dead", WORST)
    with right:
        columns = choose.several(
            "Gradients",
            list(BY_COLUMN),
            "gradient",
            ("gradient_norm_median", "gradient_ratio"),
        )
    for block in fenced(found):
        st.markdown("**Dead units by layer and epoch**")
        for line in (line for line in lines_of(block) if is_network(line.arm)):
            dead_units(line, chosen, which == WORST, block)
        shown = [quantity for quantity in GRADIENTS if quantity.column in columns]
        if shown:
            st.markdown("**Gradients**")
            draw_curves(block, shown, "gradients")
        stored(chosen, block)


# --- dead units -------------------------------------------------------------------------------


def dead_units(line: Curves, chosen: Chosen, worst: bool, block: Block) -> None:
    table = dead_table(line, None if worst else chosen.seed_of(line.arm))
    if table is None:
        st.caption(f"{escape.markdown(line.arm)}: no dead units were logged.")
        return
    largest = float(np.nanmax(table.to_numpy(float), initial=0.0))
    if largest == 0:
        st.caption(
            f"{escape.markdown(line.arm)}: no dead unit in any of {len(table)} layers, in "
            f"{'any seed' if worst else f's{chosen.seed_of(line.arm):d}'} and epoch."
        )
        return
    name = f"{line.arm}, {'largest over the seeds' if worst else f's{chosen.seed_of(line.arm)}'}"
    figure = heat(table, name, "share", (0.0, 1.0))
    alt = f"Share of dead units of {line.arm} by layer and epoch, at most {largest:.2f}"
    plot_style.show(figure, f"dead_{line.arm}", alt)
    export.popover(
        f"export_dead_{line.arm}",
        export.Facts.of(f"dead_{line.arm.replace('/', '_')}", (line.arm,), (), alt),
        table=lambda: table.reset_index(names="layer").assign(arm=line.arm),
    )


def dead_table(line: Curves, seed: int | None) -> pandas.DataFrame | None:
    """Layers by epochs: the share of dead units of one seed; for None, the largest of all seeds."""
    history = line.history
    if history.empty:
        return None
    history = history if seed is None else history[history["seed"] == seed]
    layers = [str(name) for name in history if str(name).startswith(DEAD)]
    if history.empty or not layers:
        return None
    found = pandas.DataFrame(
        {int(str(e)): rows[layers].max() for e, rows in history.groupby("epoch")}
    )
    return found.rename(index=lambda name: str(name).removeprefix(DEAD)).dropna(how="all")


def heat(
    table: pandas.DataFrame, name: str, unit: str, bounds: tuple[float, float] | None = None
) -> go.Figure:
    """A heat map with layers as rows in the order of the network, and epochs as columns."""
    low, high = bounds or (None, None)
    made = go.Figure(
        go.Heatmap(
            z=table.to_numpy(np.float32), x=list(table.columns), y=plot_style.labels(table.index),
            zmin=low,
            zmax=high, colorscale="cividis", zsmooth=False, xgap=1, ygap=1,
            colorbar={"title": {"text": plot_style.label(unit)}, "thickness": 10},
            hovertemplate="%{y}, epoch %{x}: %{z:.4g} "
            f"{plot_style.label(unit)}<extra></extra>",
        )
    )  # fmt: skip
    made.update_yaxes(autorange="reversed", automargin=True, tickfont={"size": 10}, dtick=1)
    made.update_xaxes(title_text="epoch")
    plot_style.shape(
        made, 96 + 15 * len(table), title={"text": plot_style.label(name), "font": {"size": 13}}
    )
    return made


# --- what --diagnose stored -------------------------------------------------------------------


def stored(chosen: Chosen, block: Block) -> None:
    """Content of diagnostics/ for the shown seed of each arm, if the run has it."""
    with_none = []
    for arm in filter(is_network, block.arms):
        tables = {name: stored_table(arm, chosen.seed_of(arm), name) for name in STORED}
        found = {name: table for name, table in tables.items() if table is not None}
        if not found:
            with_none.append(arm)
            continue
        st.markdown(f"**Stored statistics of {escape.markdown(arm)} s{chosen.seed_of(arm):d}**")
        for name, table in found.items():
            title = STORED[name][2]
            figure = heat(logarithm(table), f"{arm}, {title}", "log10")
            alt = f"{title} of {arm} by layer and epoch, logarithmic"
            plot_style.show(figure, f"{name}_{arm}", alt)
    if with_none:
        st.caption(
            f"No stored activation or gradient statistics of "
            f"{escape.markdown(join_words(with_none))}: not requested "
            "(`study train --arm ARM --diagnose`), or not pulled."
        )


def logarithm(table: pandas.DataFrame) -> pandas.DataFrame:
    """log10, with a gap for values that are zero or not finite."""
    values = table.to_numpy(float)
    values = np.log10(values, where=values > 0, out=np.full_like(values, np.nan))
    return pandas.DataFrame(values, table.index, table.columns)


def stored_table(arm: str, seed: int, name: str) -> pandas.DataFrame | None:
    """Layers by epochs of the number in `STORED`; other lines are left out."""
    file = load.run_folder(arm, seed) / "diagnostics" / name
    kinds, number, _ = STORED[name]
    records = [record for line in read_lines(file) if (record := parsed(line)) is not None]
    kept = [
        (r["layer"], r["epoch"], r.get(number))
        for r in records
        if r["source"] == "training" and (not kinds or r["kind"] in kinds)
    ]
    if not kept:
        return None
    table = pandas.DataFrame(kept, columns=["layer", "epoch", "value"])
    table["value"] = pandas.to_numeric(table["value"], errors="coerce")
    wide = table.pivot_table("value", "layer", "epoch", sort=False, dropna=False)
    return wide.dropna(how="all")


def parsed(line: str) -> dict[str, Any] | None:
    """A record, or None for any other line."""
    try:
        record = parse_json(line, "a line")
    except UserError:
        return None
    texts = ("layer", "source", "kind")
    known = isinstance(record, dict) and all(isinstance(record.get(key), str) for key in texts)
    return record if known and isinstance(record.get("epoch"), int) else None

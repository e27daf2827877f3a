"""Resolution: Fourier ring correlation with the truth up to Nyquist, and where it crosses 0.5."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas
import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from app import escape, export, load, numbers
from app.compare import plot_style
from app.compare.chosen import Block, Chosen, fenced
from app.compare.images import pixel_m, tell_absent, tell_seeds
from app.compare.rows import lost_seeds
from app.compare.scenes import CHANNELS, Scene, blanked, find
from study.evidence.cells import cell
from study.evidence.evaluable import NOT_EVALUABLE
from study.evidence.format import fmt, join_words
from study.evidence.metric_catalog import KNOWN
from study.evidence.summary import summarise
from study.report.figures.scenes import ring_curve

PRINT = "app.compare.print_figures"

THRESHOLD = 0.5
HEAD = ("arm", "channel", "unit")
BRIEF = "n/e"  # for "not evaluable" in a cell


def show(chosen: Chosen, found: Sequence[Block]) -> None:
    for block in fenced(found):
        draw(chosen, block)


def draw(chosen: Chosen, block: Block) -> None:
    scenes, absent = find(chosen, block.arms)
    tell_absent(absent)
    scenes = [one for one in scenes if one.truth is not None]
    if scenes:
        tell_seeds(chosen, scenes)
        alt = f"Fourier ring correlation with the truth of {join_words(one.arm for one in scenes)}"
        with plot_style.wide(block.key("frc")):
            plot_style.show(figure(scenes, block.place), block.key("frc"), alt)
        st.caption(
            "Mean removed, Hann window. Gray line: 0.5; a mark where a curve first falls "
            "below it. A degenerate channel has no curve."
        )
    st.markdown("**Crossing of 0.5, every seed** (as scored). Choose a cell to see its id.")
    rows = crossings(chosen, block, unit_of(scenes))
    event = st.dataframe(
        [{name: brief(text) for name, text in row.items()} for row in rows],
        hide_index=True,
        key=block.key("crossings"),
        on_select="rerun",
        selection_mode="single-cell",
        alt="FRC crossings by seed",
    )
    if reasons := sorted({text for row in rows for text in row.values() if brief(text) != text}):
        st.caption(escape.markdown(f"{BRIEF}: {'; '.join(reasons)}."))
    with st.container(horizontal=True):
        if picked := picked_id(event, rows, chosen):
            numbers.show(picked)
        if scenes:
            exports(chosen, block, scenes)


def brief(text: str) -> str:
    """A cell of the table, which has no room for the reason."""
    return BRIEF if text.startswith(NOT_EVALUABLE) else text


def picked_id(event: Any, rows: Sequence[Mapping[str, str]], chosen: Chosen) -> str | None:
    """The id of the number selected in the table of crossings."""
    cells = list(event["selection"]["cells"]) if event else []
    if not cells or cells[0][0] >= len(rows) or cells[0][1] in HEAD:
        return None
    row, seed = rows[cells[0][0]], cells[0][1]
    return f"{row['arm']}/{seed}/{chosen.checkpoint}.standard.{row['channel']}.frc50"


def exports(chosen: Chosen, block: Block, scenes: Sequence[Scene]) -> None:
    ids = tuple(
        f"{one.arm}/s{one.seed}/{one.checkpoint}.standard.{channel}.frc50"
        for one in scenes
        for channel in CHANNELS
    )
    export.popover(
        block.key("export_frc"),
        export.Facts.of(f"frc_{chosen.checkpoint}", block.arms, ids, "FRC with the truth"),
        table=lambda: table(scenes),
        draw=lambda: export.late(PRINT).resolution(scenes),
    )


def unit_of(scenes: Sequence[Scene]) -> tuple[float, str]:
    """Factor for a frequency in 1/px, and its unit: 1/nm if the pixel size is known."""
    size = pixel_m(scenes[0]) if scenes else None
    return (1.0, "1/px") if size is None else (1 / (size * 1e9), "1/nm")


def figure(scenes: Sequence[Scene], place: Mapping[str, int]) -> go.Figure:
    made = make_subplots(
        rows=1, cols=2, subplot_titles=CHANNELS, shared_yaxes=True, horizontal_spacing=0.04
    )
    factor, unit = unit_of(scenes)
    for j, channel in enumerate(CHANNELS, start=1):
        for one in scenes:
            if channel not in one.blank:
                for trace in traces(one, channel, place[one.arm], factor, unit, j == 1):
                    made.add_trace(trace, row=1, col=j)
        made.add_hline(THRESHOLD, line={"color": plot_style.GRAY, "dash": "dot"}, row=1, col=j)  # type: ignore[arg-type]
    for one in scenes:
        if one.blank:
            made.add_trace(words_only(one, place[one.arm]), row=1, col=1)
    made.update_xaxes(
        title_text=plot_style.label(f"spatial frequency ({unit})"), range=[0, 0.5 * factor]
    )
    made.update_yaxes(range=[0, 1.03])
    made.update_yaxes(title_text="FRC with the truth", row=1, col=1)
    plot_style.shape(made, 400, hovermode="x unified", hoversubplots="axis")
    made.update_layout(margin={"t": 60}, legend={"y": 1.08})
    return made


def traces(
    one: Scene, channel: str, k: int, factor: float, unit: str, legend: bool
) -> list[go.Scatter]:
    pair = one.pair(channel)
    assert pair is not None, "scenes without a truth have no FRC"
    frequency, found = ring_curve(pair)
    name = plot_style.label(one.arm)
    curve = go.Scatter(
        x=frequency * factor, y=found, mode="lines", name=name, legendgroup=one.arm,
        showlegend=legend or "amplitude" in one.blank, hovertemplate="%{y:.3f}",
        line=plot_style.line(k),
    )  # fmt: skip
    at = crossing(one, channel)
    if at is None:
        return [curve]
    mark = go.Scatter(
        x=[at * factor], y=[THRESHOLD], mode="markers", legendgroup=one.arm, showlegend=False,
        marker={"color": plot_style.colour(k), "size": 9, "symbol": "diamond"},
        hovertemplate=f"crosses 0.5 at %{{x:.4g}} {plot_style.label(unit)}<extra>{name}</extra>",
    )  # fmt: skip
    return [curve, mark]


def words_only(one: Scene, k: int) -> go.Scatter:
    """A legend entry for a curve that does not exist."""
    name = plot_style.label(f"{one.arm} ({'; '.join(one.blank.values())})")
    return go.Scatter(x=[None], y=[None], mode="lines", name=name, line=plot_style.line(k))


def crossing(one: Scene, channel: str) -> float | None:
    """The scored crossing in 1/px; None if there is no crossing or it is not evaluable."""
    path = f"{one.checkpoint}.standard.{channel}.frc50"
    found = load.results()[one.arm].numbers[one.seed].get(path)
    return None if found == KNOWN[path].limit else found


def crossings(chosen: Chosen, block: Block, unit: tuple[float, str]) -> list[dict[str, str]]:
    """A row per arm and channel, a cell per seed; an FRC that never falls below 0.5 has a bound."""
    rows = []
    for arm in block.arms:
        results = load.results()[arm]
        for channel in CHANNELS:
            path = f"{chosen.checkpoint}.standard.{channel}.frc50"
            found = cell(summarise(arm, None, results, [path]), path)
            reasons = {
                seed: f"{'≥ ' if value == found.column.limit else ''}{fmt(value * unit[0], 3)}"
                for seed, value in found.values.items()
            }
            reasons |= lost_seeds(results, found)
            for seed, content in results.seeds.items():  # the floor has scores, and no resolution
                reasons[f"s{seed}"] = blanked(content, chosen.checkpoint).get(
                    channel, reasons[f"s{seed}"]
                )
            rows.append({"arm": arm, "channel": channel, "unit": unit[1], **reasons})
    seeds = sorted({name for row in rows for name in row if name not in HEAD}, key=seed_number)
    return [{name: row.get(name, "") for name in (*HEAD, *seeds)} for row in rows]


def seed_number(name: str) -> int:
    return int(name.removeprefix("s"))


def table(scenes: Sequence[Scene]) -> pandas.DataFrame:
    parts = [pandas.DataFrame()]
    for one in scenes:
        for channel in CHANNELS:
            pair = one.pair(channel)
            if pair is None or channel in one.blank:
                continue
            frequency, found = ring_curve(pair)
            facts = {"arm": one.arm, "seed": one.seed, "channel": channel}
            curve = {"frequency_per_px": frequency, "correlation": found}
            frame = pandas.DataFrame({**facts, **curve})
            parts.append(frame.assign(file=one.file, sha256=one.digest))
    return pandas.concat(parts)

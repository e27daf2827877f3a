"""Residuals: the misfit of each pattern on the scan, and one pattern in detail."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas
import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from app import choose, escape, export, numbers
from app.compare import plot_style
from app.compare.chosen import Block, Chosen, fenced
from app.compare.images import tell_absent, tell_seeds
from app.compare.panels import HEAD_PX
from app.compare.scenes import Scene, find
from study.evidence.format import join_words
from study.formats.reconstruction import amplitudes

PRINT = "app.compare.print_figures"

DECADES = 3.0  # of the measured amplitude, down from its largest value
VIEWS = ("measured", "predicted", "predicted − measured")


def show(chosen: Chosen, found: Sequence[Block]) -> None:
    for block in fenced(found):
        draw(chosen, block)


def draw(chosen: Chosen, block: Block) -> None:
    scenes, absent = find(chosen, block.arms)
    tell_absent(absent)
    scenes = with_r_factor(scenes)
    if not scenes:
        return
    tell_seeds(chosen, scenes)
    pattern = choose_pattern(scenes, block)
    names = join_words(one.arm for one in scenes)
    alt = f"R-factor of every test pattern at its place in the scan, one map an arm: {names}"
    with plot_style.wide(block.key("scan_map")):
        st.plotly_chart(
            maps(scenes, pattern),
            key=block.key("scan_map"),
            config=plot_style.CONFIG,
            alt=alt,
            on_select=lambda: picked(block),
            selection_mode="points",
        )
    st.caption(
        "One mark a pattern, one colour scale for all arms (0 to the 98th percentile). Choose a "
        "mark, or type its number above. Patterns whose window leaves the scored region have none."
    )
    patterns(scenes, pattern, block)
    ids = tuple(f"{one.arm}/s{one.seed}/{one.checkpoint}.r_factor.sum" for one in scenes)
    drawable = any(one.truth is not None and pattern in one.result.shown for one in scenes)
    with st.container(horizontal=True):
        for number in ids:
            if st.button(
                escape.markdown(number), icon=":material/tag:", key=block.key(f"id_{number}")
            ):
                numbers.ask(number)
        export.popover(
            block.key("export_residuals"),
            export.Facts.of(f"residuals_{chosen.checkpoint}", block.arms, ids, alt),
            table=lambda: table(scenes),
            draw=(lambda: export.late(PRINT).residuals(scenes, pattern)) if drawable else None,
        )


def with_r_factor(scenes: Sequence[Scene]) -> list[Scene]:
    """The scenes with a map; the others are reported in a sentence."""
    found = []
    for one in scenes:
        if np.isfinite(one.result.r_factor).any():
            found.append(one)
        else:
            st.info(
                f"{escape.markdown(one.arm)} s{one.seed:d} has no R-factor: the window of "
                "every test pattern leaves the scored region."
            )
    return found


def picked(block: Block) -> None:
    """Copy the pattern of a selected mark to the number field and the URL. Values from the chart
    are checked by the limits of the widget.
    """
    points = st.session_state[block.key("scan_map")]["selection"]["points"]
    if points and points[0].get("customdata"):
        st.session_state[block.key("pattern")] = int(points[0]["customdata"][0])


def choose_pattern(scenes: Sequence[Scene], block: Block) -> int:
    last = len(scenes[0].result.r_factor) - 1
    wrong = choose.tell_outside("Pattern", range(last + 1), block.key("pattern"))
    stored = common_stored(scenes)
    return int(
        st.number_input(
            f"Pattern (0 to {last}; {len(stored)} have a stored prediction)",
            0,
            last,
            usual(scenes, stored),
            key=block.key("pattern"),
            # Bound to the address, a value such as 1e999 would stop the page.
            bind=None if wrong else "query-params",
            width=360,
        )
    )


def common_stored(scenes: Sequence[Scene]) -> list[int]:
    """Patterns whose prediction is stored by all runs."""
    return sorted(set.intersection(*(set(one.result.shown.tolist()) for one in scenes)))


def usual(scenes: Sequence[Scene], stored: Sequence[int]) -> int:
    """The stored pattern whose R-factor is nearest to the median of the first arm."""
    ratio = scenes[0].result.r_factor
    inside = [index for index in stored if np.isfinite(ratio[index])]
    middle = float(np.nanmedian(ratio))
    return min(inside, key=lambda i: abs(float(ratio[i]) - middle)) if inside else 0


# --- the scan ---------------------------------------------------------------------------------


def maps(scenes: Sequence[Scene], pattern: int) -> go.Figure:
    titles = [f"{plot_style.label(one.arm)} s{one.seed:d}" for one in scenes]
    columns = min(4, len(scenes))
    rows = -(-len(scenes) // columns)
    made = make_subplots(
        rows=rows, cols=columns, subplot_titles=titles, horizontal_spacing=0.04,
        vertical_spacing=0.25 / rows,
    )  # fmt: skip
    top = float(np.nanpercentile(np.concatenate([one.result.r_factor for one in scenes]), 98))
    for i, one in enumerate(scenes):
        row, column = i // columns + 1, i % columns + 1
        for trace in scan(one, pattern):
            made.add_trace(trace, row=row, col=column)
    made.update_layout(
        coloraxis={
            "colorscale": "viridis", "cmin": 0, "cmax": top,
            "colorbar": {"title": {"text": "R-factor"}, "thickness": 10, "len": 0.9},
        }
    )  # fmt: skip
    made.update_xaxes(matches="x", showgrid=False, zeroline=False, title_text="x (px)")
    made.update_yaxes(
        matches="y", scaleanchor="x", autorange="reversed", showgrid=False, zeroline=False,
        constrain="domain",
    )  # fmt: skip
    made.update_yaxes(title_text="y (px)", col=1)
    made.update_xaxes(constrain="domain")
    plot_style.shape(made, 60 + 290 * rows, showlegend=False, dragmode="pan")
    return made


def places(one: Scene) -> np.ndarray:
    """Corner of every pattern's window in object px, (J, 2) as (y, x)."""
    return one.dataset.splits["test"].positions_px[:, 0]


def scan(one: Scene, pattern: int) -> list[go.Scatter]:
    """A square mark a pattern; the stored ones can be opened, the chosen one is framed."""
    ratio = one.result.r_factor
    inside = np.flatnonzero(np.isfinite(ratio))
    y, x = places(one)[inside].T
    stored = np.isin(inside, one.result.shown)
    labels = np.where(stored, "prediction stored", "prediction not stored")
    marks = go.Scatter(
        x=x, y=y, mode="markers",
        customdata=[
            (int(i), plot_style.label(words)) for i, words in zip(inside, labels, strict=True)
        ],
        marker={
            "color": ratio[inside], "coloraxis": "coloraxis", "symbol": "square",
            "size": side_px(one), "line": {"width": 0},
        },
        selected={"marker": {"opacity": 1}}, unselected={"marker": {"opacity": 1}},
        hovertemplate=f"{plot_style.label(one.arm)}: pattern %{{customdata[0]}} at x %{{x:.0f}}, "
        "y %{y:.0f} px<br>R = %{marker.color:.4g}, %{customdata[1]}<extra></extra>",
    )  # fmt: skip
    at = places(one)[pattern]
    frame = go.Scatter(
        x=[at[1]], y=[at[0]], mode="markers", hoverinfo="skip",
        marker={
            "symbol": "square-open", "size": side_px(one) + 6, "color": "#D55E00",
            "line": {"width": 3},
        },
    )  # fmt: skip
    return [marks, frame]


def side_px(one: Scene) -> float:
    """Side of a mark on the screen at which neighbours of a raster nearly touch."""
    y, x = places(one)[np.isfinite(one.result.r_factor)].T
    steps = max(len(np.unique(y.round())), len(np.unique(x.round())))
    return float(np.clip(190 / steps, 5, 18))


# --- one pattern ------------------------------------------------------------------------------


def patterns(scenes: Sequence[Scene], pattern: int, block: Block) -> None:
    shown = [one for one in scenes if pattern in one.result.shown]
    for one in scenes:
        if one not in shown:
            st.info(
                f"{escape.markdown(one.arm)} s{one.seed:d} has no stored prediction of pattern "
                f"{pattern:d}: a run keeps "
                f"{len(one.result.shown)} of {len(one.result.r_factor)}. Its R-factor is "
                f"{escape.markdown(r_words(one, pattern))}; nearby stored ones: "
                f"{escape.markdown(join_words(nearest(one, pattern)))}."
            )
    if not shown:
        return
    message = ", ".join(f"{one.arm} R = {r_words(one, pattern)}" for one in shown)
    st.markdown(f"**Pattern {pattern:d}**: {escape.markdown(message)}")
    alt = (
        f"Pattern {pattern}: measured, predicted, difference for {join_words(o.arm for o in shown)}"
    )
    with plot_style.wide(block.key("patterns")):
        plot_style.show(pattern_figure(shown, pattern), block.key("patterns"), alt)
    st.caption(
        "Amplitude = sqrt(counts) / photon scale, without unit; measured and predicted on one "
        f"logarithmic scale of {DECADES:g} decades, zero frequency in the centre; the difference "
        "is linear and symmetric, one range for all arms."
    )


def r_words(one: Scene, pattern: int) -> str:
    value = float(one.result.r_factor[pattern])
    return f"{value:.4g}" if np.isfinite(value) else "undefined (its window leaves the region)"


def nearest(one: Scene, pattern: int, count: int = 3) -> list[int]:
    """Stored patterns, ordered by their distance in the scan."""
    at = places(one)
    stored = [int(i) for i in one.result.shown if np.isfinite(one.result.r_factor[i])]
    return sorted(stored, key=lambda i: float(np.hypot(*(at[i] - at[pattern]))))[:count]


def pattern_figure(shown: Sequence[Scene], pattern: int) -> go.Figure:
    made = make_subplots(
        rows=len(shown), cols=3, subplot_titles=VIEWS, horizontal_spacing=0.02,
        vertical_spacing=0.06 / len(shown),
    )  # fmt: skip
    pairs = [amplitudes(one.dataset, one.result, pattern) for one in shown]
    top = float(np.log10(max(np.nanmax(pairs[0][0]), 1e-12)))
    limit = max(float(np.nanmax(np.abs(np.subtract(*pair)))) for pair in pairs) or 1.0
    for row, (one, (measured, predicted)) in enumerate(zip(shown, pairs, strict=True), start=1):
        name = plot_style.label(one.arm)
        for column, view in enumerate((measured, predicted, predicted - measured), start=1):
            made.add_trace(heat(view, column, name, top), row=row, col=column)
        made.update_yaxes(title_text=f"{name} s{one.seed:d}", row=row, col=1)
    ticks = np.arange(np.ceil(top - DECADES), np.floor(top) + 1)
    made.update_layout(
        coloraxis={
            "colorscale": plot_style.MAGMA, "cmin": top - DECADES, "cmax": top,
            "colorbar": {
                "tickvals": ticks, "ticktext": [f"10<sup>{int(t)}</sup>" for t in ticks],
                "thickness": 10, "len": 0.46, "y": 0.77, "title": {"text": "amplitude"},
            },
        },
        coloraxis2={
            "colorscale": "PuOr_r", "cmin": -limit, "cmax": limit,
            "colorbar": {"thickness": 10, "len": 0.46, "y": 0.23, "title": {"text": "difference"}},
        },
    )  # fmt: skip
    hidden = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": ""}
    made.update_xaxes(matches="x", constrain="domain", **hidden)
    made.update_yaxes(
        matches="y", scaleanchor="x", autorange="reversed", constrain="domain", **hidden
    )
    plot_style.shape(made, HEAD_PX + 250 * len(shown), showlegend=False)
    made.update_layout(margin={"l": 34, "r": 8, "t": 34, "b": 8})
    return made


def heat(view: np.ndarray, column: int, name: plot_style.Label, top: float) -> go.Heatmap:
    """Amplitudes by their logarithm, with the amplitude itself under the cursor."""
    linear = column == 3
    z = view if linear else np.log10(np.maximum(view, 10 ** (top - DECADES)))
    return go.Heatmap(
        z=z.astype(np.float32), customdata=view.astype(np.float32), zsmooth=False,
        coloraxis="coloraxis2" if linear else "coloraxis",
        hovertemplate=f"{name}, {VIEWS[column - 1]} %{{customdata:.4g}}"
        "<br>x %{x}, y %{y}<extra></extra>",
    )  # fmt: skip


def table(scenes: Sequence[Scene]) -> pandas.DataFrame:
    parts = []
    for one in scenes:
        y, x = places(one).T
        facts = {"arm": one.arm, "seed": one.seed, "pattern": np.arange(len(x))}
        found = pandas.DataFrame({**facts, "y_px": y, "x_px": x, "r_factor": one.result.r_factor})
        parts.append(found.assign(file=one.file, sha256=one.digest))
    return pandas.concat(parts)

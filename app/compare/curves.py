"""Curves over epochs: a thin line per seed, a thick median, and a mark at the best epoch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas
import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from app import choose, escape, export, load
from app.compare import plot_style
from app.compare.chosen import Block, Chosen, fenced
from study.evidence.format import counted, join_words
from study.evidence.summary import summarise
from study.report.series import Curves

PRINT = "app.compare.print_figures"


@dataclass(frozen=True)
class Quantity:
    """A column of history.csv. `log`: whether its axis is logarithmic."""

    column: str
    title: str
    unit: str = ""
    log: bool = True

    @property
    def axis(self) -> str:
        return f"{self.title} ({self.unit})" if self.unit else self.title


QUANTITIES = (
    Quantity("val_loss", "validation loss"),
    Quantity("train_loss", "training loss"),
    Quantity("gradient_norm_median", "gradient norm, median"),
    Quantity("gradient_norm_max", "gradient norm, largest"),
    Quantity("clipped_fraction", "clipped fraction", log=False),
    Quantity("learning_rate", "learning rate"),
    Quantity("amplitude_std", "std of the amplitude", "object units", log=False),
)
BY_COLUMN = {quantity.column: quantity for quantity in QUANTITIES}
PANEL_PX = 300


def show(chosen: Chosen, found: Sequence[Block]) -> None:
    titles = [escape.markdown(quantity.title) for quantity in QUANTITIES]
    asked = choose.asked("quantity")
    if any(name in BY_COLUMN for name in asked):  # name in the table and in earlier addresses
        named = [BY_COLUMN[name].title if name in BY_COLUMN else name for name in asked]
        choose.correct("quantity", named)
    choose.tell_unknown("Quantity", titles, "quantity")
    chosen_titles = st.pills(
        "Quantities",
        titles,
        selection_mode="multi",
        default=titles[:1],
        key="quantity",
        bind="query-params",
    )
    shown = [quantity for quantity in QUANTITIES if quantity.title in chosen_titles]
    if not shown:
        st.info("Choose at least one quantity.")
        return
    for block in fenced(found):
        draw(block, shown)


def draw(block: Block, shown: Sequence[Quantity], name: str = "curves") -> None:
    lines = lines_of(block)
    with_any = [line for line in lines if any(has(line, quantity) for quantity in shown)]
    tell_without([line.arm for line in lines if line not in with_any])
    if not with_any:
        return
    names = ", ".join(quantity.title for quantity in shown)
    arms = join_words(line.arm for line in with_any)
    alt = f"{names} over epochs of {arms}; seeds thin, median bold"
    plot_style.show(figure(with_any, shown), block.key(name), alt)
    for quantity in shown:
        lacking = [n.arm for n in with_any if not has(n, quantity) and is_network(n.arm)]
        if lacking:
            st.caption(escape.markdown(f"{quantity.title}: not logged by {join_words(lacking)}."))
    st.caption(escape.markdown(" · ".join(words(line) for line in with_any)))
    stem = f"{name}_{'_'.join(quantity.column for quantity in shown)}"
    facts = export.Facts.of(stem, block.arms, ids=(), note=alt)
    export.popover(
        block.key(f"export_{name}"),
        facts,
        table=lambda: table(with_any, shown),
        draw=lambda: export.late(PRINT).curves(with_any, shown),
    )


def tell_without(arms: Sequence[str]) -> None:
    """Report arms without a history: references are not networks, others are not pulled."""
    networks = [arm for arm in arms if is_network(arm)]
    others = [arm for arm in arms if arm not in networks]
    if others:
        st.caption(f"No curves of {escape.markdown(join_words(others))}: not a network.")
    for arm in networks:
        name = escape.markdown(arm)
        st.info(f"{name} has no history here: study pull {name}")


def is_network(arm: str) -> bool:
    return load.results()[arm].label == "arm"


def lines_of(block: Block) -> list[Curves]:
    found = []
    for arm in block.arms:
        seeds = load.results()[arm].seeds
        outcomes = {seed: content["outcome"] for seed, content in seeds.items()}
        history = load.history(arm)
        usable = {"seed", "epoch"} <= set(history)
        found.append(
            Curves(arm, block.place[arm], history if usable else pandas.DataFrame(), outcomes)
        )
    return found


def has(line: Curves, quantity: Quantity) -> bool:
    return line.has(quantity.column)


def words(line: Curves) -> str:
    """`control: 5 of 6 seeds ended ok (s3 collapsed)`."""
    ok = [seed for seed, outcome in line.outcomes.items() if outcome == "ok"]
    others = [f"s{s} {outcome}" for s, outcome in line.outcomes.items() if outcome != "ok"]
    others_text = f" ({join_words(others)})" if others else ""
    seeds = summarise(line.arm, load.rows().get(line.arm), load.results()[line.arm], ()).seeds
    return f"{line.arm}: {len(ok)} of {counted(seeds.known, 'seed')} ended ok{others_text}"


def table(lines: Sequence[Curves], shown: Sequence[Quantity]) -> pandas.DataFrame:
    """The drawn values, with the file that contains them."""
    parts = [
        line.history.filter(items=["seed", "epoch", *(q.column for q in shown)]).assign(
            arm=line.arm, file=load.history_file(line.arm).as_posix()
        )
        for line in lines
    ]
    return pandas.concat(parts)


# --- the figure -------------------------------------------------------------------------------


def figure(lines: Sequence[Curves], shown: Sequence[Quantity]) -> go.Figure:
    """One panel per quantity, stacked, with a common epoch axis and hover."""
    made = make_subplots(
        rows=len(shown), cols=1, shared_xaxes=True, vertical_spacing=0.12 / len(shown)
    )
    for row, quantity in enumerate(shown, start=1):
        for line in lines:
            if has(line, quantity):
                for trace in traces(line, quantity, first=row == 1):
                    made.add_trace(trace, row=row, col=1)
        made.update_yaxes(title_text=plot_style.label(quantity.axis), row=row, col=1)
        if quantity.log:
            ticks = log_ticks(lines, quantity)
            texts = [f"{tick:.3g}" for tick in ticks]
            made.update_yaxes(type="log", tickvals=ticks, ticktext=texts, row=row, col=1)
    made.update_xaxes(title_text="epoch", row=len(shown), col=1)
    height = (
        90 + (PANEL_PX if len(shown) == 1 else 230) * len(shown) + (60 if len(shown) == 1 else 0)
    )
    plot_style.shape(made, height, hovermode="x unified", hoversubplots="axis")
    return made


def log_ticks(lines: Sequence[Curves], quantity: Quantity) -> list[float]:
    """Round values on a logarithmic axis, closer together if the range is narrow."""
    values = np.concatenate(
        [line.history[quantity.column].to_numpy(float) for line in lines if has(line, quantity)]
    )
    values = values[np.isfinite(values) & (values > 0)]
    if not values.size:
        return []
    low, high = float(values.min()), float(values.max())
    span = high / low
    steps = (1, 1.5, 2, 3, 4, 6, 8) if span < 8 else (1, 2, 5) if span < 100 else (1,)
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    ticks = [step * 10.0**power for power in powers for step in steps]
    return [tick for tick in ticks if low / 1.3 <= tick <= high * 1.3]


def traces(line: Curves, quantity: Quantity, first: bool) -> list[go.Scatter]:
    return [
        seeds_trace(line, quantity),
        median_trace(line, quantity, first),
        *marks(line, quantity),
    ]


def seeds_trace(line: Curves, quantity: Quantity) -> go.Scatter:
    """All seeds as one trace, with a gap after each."""
    x: list[float] = []
    y: list[float] = []
    for _, rows in line.history.groupby("seed"):
        x += [*rows["epoch"], np.nan]
        y += [*rows[quantity.column], np.nan]
    return go.Scatter(
        x=x, y=y, mode="lines", hoverinfo="skip", showlegend=False, legendgroup=line.arm,
        line={"color": plot_style.faint(line.place, 0.4), "width": 1}, connectgaps=False,
    )  # fmt: skip


def median_trace(line: Curves, quantity: Quantity, first: bool) -> go.Scatter:
    facts, k = line.middle(quantity.column), line.place
    name = plot_style.label(line.arm)
    return go.Scatter(
        x=facts.index, y=facts["median"], customdata=np.asarray(facts[["min", "max", "count"]]),
        mode="lines", name=name, legendgroup=line.arm, showlegend=first,
        line=plot_style.line(k, 3),
        hovertemplate="%{y:.4g} [%{customdata[0]:.4g}, %{customdata[1]:.4g}], "
        f"n = %{{customdata[2]}}<extra>{name}</extra>",
    )  # fmt: skip


def marks(line: Curves, quantity: Quantity) -> list[go.Scatter]:
    """A dot at the best epoch of each seed; a cross or a triangle where a run collapsed or
    failed."""
    best = [point for points in line.best(quantity.column).values() for point in points]
    ends = line.ends(quantity.column)
    return [
        dots(line, best, "circle", 6),
        *(dots(line, points, plot_style.MARKS[outcome], 10) for outcome, points in ends.items()),
    ]


def dots(line: Curves, points: Sequence[tuple[float, float]], symbol: str, size: int) -> go.Scatter:
    x, y = zip(*points, strict=True) if points else ((), ())
    return go.Scatter(
        x=x, y=y, mode="markers", hoverinfo="skip", showlegend=False, legendgroup=line.arm,
        marker={"color": plot_style.colour(line.place), "symbol": symbol, "size": size},
    )  # fmt: skip

"""Loss per epoch, for one run and as small multiples of all active runs."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from app import load
from app.compare import plot_style
from app.runs.words import run_id
from study.jobs import RunRow
from study.reading import UserError, read_text

LINES = (
    ("train_loss", "training loss", "#0072B2"),
    ("val_loss", "validation loss", "#D55E00"),
)
MOST_PANELS = 12
ACROSS = 4
Curve = tuple[list[float], list[float]]  # epochs, losses


def losses(folder: Path) -> dict[str, Curve]:
    """Loss curves of a run folder by column; epochs without a finite value are omitted."""
    file = folder / "history.csv"
    return _losses(str(file), load.stamp(file)) if file.is_file() else {}


@st.cache_data(show_spinner=False, max_entries=64)
def _losses(file: str, key: load.Stamp) -> dict[str, Curve]:
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(Path(file)))))
    except (OSError, csv.Error, UserError):
        return {}
    found: dict[str, Curve] = {}
    for column, _, _ in LINES:
        points = [(_number(row.get("epoch")), _number(row.get(column))) for row in rows]
        kept = [(epoch, loss) for epoch, loss in points if epoch is not None and loss is not None]
        if kept:
            found[column] = ([epoch for epoch, _ in kept], [loss for _, loss in kept])
    return found


def _number(text: Any) -> float | None:
    try:
        value = float(text or "")
    except (TypeError, ValueError):
        return None
    return value if abs(value) < float("inf") else None


def one(row: RunRow) -> None:
    """Draw the training and validation loss of one run on a log scale."""
    curves = losses(row.folder) if row.folder is not None else {}
    if not curves:
        st.caption("No epoch is finished yet.")
        return
    figure = go.Figure()
    for column, title, colour in LINES:
        if column in curves:
            epochs, values = curves[column]
            figure.add_scatter(
                x=epochs, y=values, name=plot_style.label(title), mode="lines+markers",
                line={"color": colour}, marker={"size": 4},
            )  # fmt: skip
    figure.update_yaxes(type="log", title="loss", dtick=1 if _wide(curves) else None)
    figure.update_xaxes(title="epoch", range=[0.5, max(row.epochs, row.epoch, 2) + 0.5])
    figure.update_layout(
        height=300, margin={"l": 8, "r": 8, "t": 28, "b": 8}, uirevision=run_id(row),
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
    )  # fmt: skip
    last = ", ".join(f"{t} {curves[c][1][-1]:.4g}" for c, t, _ in LINES if c in curves)
    st.plotly_chart(
        figure, key="run-curve", config={"displayModeBar": False},
        alt=f"Loss of {run_id(row)} by epoch, log scale; last epoch: {last}",
    )  # fmt: skip


def _wide(curves: dict[str, Curve]) -> bool:
    values = [value for _, losses in curves.values() for value in losses if value > 0]
    return bool(values) and max(values) > 100 * min(values)


def multiples(rows: Sequence[RunRow]) -> None:
    """Draw the validation loss of each active run in a small panel, on shared axes."""
    shown = [(row, losses(row.folder)) for row in rows[:MOST_PANELS] if row.folder is not None]
    shown = [(row, found) for row, found in shown if "val_loss" in found]
    if not shown:
        return
    lines = -(-len(shown) // ACROSS)
    figure = make_subplots(
        rows=lines, cols=ACROSS, shared_yaxes=True, horizontal_spacing=0.02,
        vertical_spacing=0.32 / lines,
        subplot_titles=plot_style.labels(run_id(row) for row, _ in shown),
    )  # fmt: skip
    for i, (row, found) in enumerate(shown):
        epochs, values = found["val_loss"]
        figure.add_scatter(
            x=epochs, y=values, mode="lines+markers", marker={"size": 3}, showlegend=False,
            line={"color": LINES[1][2]}, row=i // ACROSS + 1, col=i % ACROSS + 1,
        )  # fmt: skip
        figure.update_xaxes(range=[0.5, row.epochs + 0.5], row=i // ACROSS + 1, col=i % ACROSS + 1)
    figure.update_yaxes(type="log", matches="y", nticks=4)
    figure.update_annotations(font={"size": 12})
    figure.update_layout(
        height=40 + 130 * lines, margin={"l": 8, "r": 8, "t": 24, "b": 8}, uirevision="multiples"
    )
    st.markdown("Validation loss of active runs")
    st.plotly_chart(
        figure, key="multiples", config={"displayModeBar": False, "staticPlot": True},
        alt="Validation loss by epoch of " + ", ".join(run_id(row) for row, _ in shown),
    )  # fmt: skip
    if len(rows) > MOST_PANELS:
        st.caption(f"{MOST_PANELS} of {len(rows)} active runs")

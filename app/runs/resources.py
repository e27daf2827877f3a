"""Resources of a run (device, time, memory), from its provenance or live from its folder."""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import streamlit as st
from plotly.subplots import make_subplots

from app import load
from app.compare import plot_style
from app.runs.words import lasting, run_id
from study.jobs import RunRow
from study.reading import UserError, read_text
from study.runs import RunFolder, process_alive, provenance, read_json


def facts(row: RunRow) -> dict[str, str]:
    """Known resources of a run as rows for its table: name -> text."""
    found = _stored(row) or _live(row)
    return {name: text for name, text in found.items() if text}


def _stored(row: RunRow) -> dict[str, str]:
    """Resources of a collected run; empty if it has no provenance."""
    if row.state in ("running", "unknown", "queued"):
        return {}
    try:
        known = provenance.read_provenance(provenance.seed_file(load.ROOT, row.arm, row.seed))
    except (UserError, OSError):
        return {}
    if known is None:
        return {}
    return {
        "computed on": _machine(known.environment.model_dump()),
        "took": _time(known.seconds, row.epoch),
        "peak memory": _memory(known.peak_memory_mib),
        "resumed": f"{known.resumed} times" if known.resumed else "",
    }


def _live(row: RunRow) -> dict[str, str]:
    """Resources of a run whose folder is still in work/, including its current usage."""
    if row.folder is None:
        return {}
    environment = read_json(row.folder / "environment.json")
    seconds, peaks = _timing(row.folder / "timing.csv")
    status = RunFolder(row.folder).status()
    return {
        "computed on": _machine(environment if isinstance(environment, dict) else {}),
        "took": _time(sum(seconds), len(seconds)) if seconds else "",
        "peak memory": _memory(max(peaks, default=None)),
        "now": _process(status) if row.state in ("running", "unknown") else "",
    }


def _machine(environment: Mapping[str, Any]) -> str:
    device, cores = environment.get("device"), environment.get("cores")
    name = environment.get("gpu") or environment.get("processor")
    parts = [str(device or ""), f"{cores} cores" if cores else "", str(name or "")]
    return ", ".join(part for part in parts if part)


def _time(seconds: float | None, epochs: int) -> str:
    if seconds is None:
        return ""
    per = f", {seconds / epochs:.3g} s per epoch" if epochs else ""
    return f"{lasting(seconds)}{per}"


def _memory(mib: float | None) -> str:
    return "" if mib is None else f"{mib:,.0f} MiB"


def by_epoch(row: RunRow) -> None:
    """Plot the time of each epoch (s) and the peak memory so far, for a run with a folder in work/.

    The provenance of a collected run contains only the total time and the maximum.
    """
    seconds, peaks = ([], []) if row.folder is None else _timing(row.folder / "timing.csv")
    if len(seconds) < 2:
        return
    made = make_subplots(rows=1, cols=2, horizontal_spacing=0.12)
    panels = (("s per epoch", seconds), ("peak memory (MiB)", peaks))
    for place, (title, values) in enumerate(panels, start=1):
        if len(values) == len(seconds):
            made.add_scatter(
                x=list(range(1, len(values) + 1)), y=values, mode="lines+markers",
                marker={"size": 4}, line=plot_style.line(0), row=1, col=place,
                hovertemplate="epoch %{x}: %{y:.4g}<extra></extra>",
            )  # fmt: skip
        made.update_yaxes(title_text=plot_style.label(title), rangemode="tozero", row=1, col=place)
    made.update_xaxes(title_text="epoch")
    plot_style.shape(made, 190, showlegend=False)
    alt = f"Seconds and peak memory of {run_id(row)} by epoch; last: {seconds[-1]:.3g} s"
    alt += f", {_memory(peaks[-1])}" if peaks else ""
    st.plotly_chart(made, key="run-resources", config={"displayModeBar": False}, alt=alt)


def _timing(file: Path) -> tuple[list[float], list[float]]:
    """Seconds per epoch, and peak memory in MiB after each epoch that recorded it."""
    try:
        lines = list(csv.DictReader(io.StringIO(read_text(file))))
        seconds = [float(line["seconds"]) for line in lines]
        peaks = [float(line["peak_memory_mib"]) for line in lines if line["peak_memory_mib"]]
    except (OSError, UserError, csv.Error, KeyError, ValueError, TypeError):
        return [], []
    finite = all(math.isfinite(value) for value in (*seconds, *peaks))
    return (seconds, peaks) if finite else ([], [])


def _process(status: Mapping[str, Any]) -> str:
    """Average CPU use since the start of the training process, and its current memory."""
    pid = status.get("pid")
    if not process_alive(pid, status.get("pid_started")):
        return ""  # it has ended, or the pid now belongs to another process
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            times, resident = process.cpu_times(), process.memory_info().rss
            lived = max(1.0, time.time() - process.create_time())
        share = (times.user + times.system) / lived
        return f"{100 * share:.0f} % of a core on average, {_memory(resident / 2**20)}"
    except (psutil.Error, ValueError):
        return ""

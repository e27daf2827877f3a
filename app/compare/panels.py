"""Truth and arms as one linked figure: one zoom, one pan and one colour range for all panels.

Ranges are taken from the truth (0.5 to 99.5 %), never from the panel, so that a collapsed phase
looks collapsed. Pixels are square and not smoothed, axes are in object px.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from app.compare import plot_style
from app.compare.scenes import UNITS, Scene, Window

WRAPPED_RAD = 2.5  # above this, a phase cannot be distinguished from one that is wrapped once
BUDGET = 2_800_000  # bytes that one figure may send
BYTES = 4 * 4 / 3  # a pixel: float32 in base64
WIDTH_PX = 1200  # of the figure in a window of 1280 px; a wider one is a little emptier
TALLEST_PX = 300
HEAD_PX, SIDE_PX = 30, 96  # over the images, and beside them for the colour bars
Zoom = tuple[float, float, float, float]  # x0, x1, and y from bottom to top, object px


@dataclass(frozen=True)
class Look:
    """Colour map and range of one column; `key` describes them in words."""

    title: str
    unit: str
    colours: str
    low: float
    high: float
    key: str


@dataclass(frozen=True)
class View:
    """The part of the window that is sent: every `step` px (mean over step x step), from (y0, x0)
    on."""

    window: Window
    step: int

    def of(self, one: Scene, image: np.ndarray) -> np.ndarray:
        part = self.window.of(one, image).astype(np.float32)
        h, w = (extent // self.step * self.step for extent in part.shape)
        steps = (h // self.step, self.step, w // self.step, self.step)
        return part[:h, :w].reshape(steps).mean(axis=(1, 3)) if self.step > 1 else part


@dataclass(frozen=True)
class Profile:
    """A line through all images: along the row or the column `at` (object px)."""

    along: str
    at: int


def fitting(window: Window, panels: int, whole: bool) -> View:
    """The whole window, coarser if it is too large to send; or its middle, pixel by pixel."""
    h, w = window.shape
    most = BUDGET / BYTES / max(1, panels)
    step = max(1, int(np.ceil(np.sqrt(h * w / most))))
    if whole or step == 1:
        return View(window, step)
    y, x = (extent - extent // step for extent in (h, w))
    middle = Window(window.y0 + y // 2, window.x0 + x // 2, 0, 0)
    return View(Window(middle.y0, middle.x0, middle.y0 + h // step, middle.x0 + w // step), 1)


def zoom_of(text: str, window: Window) -> Zoom | None:
    """The part `x0,x1,y1,y0` of an address, inside the window; None for any other text."""
    try:
        x0, x1, y1, y0 = (float(part) for part in text[:100].split(","))
    except ValueError:
        return None
    inside = window.x0 - 1 <= x0 < x1 <= window.x1 and window.y0 - 1 <= y0 < y1 <= window.y1
    return (x0, x1, y1, y0) if inside else None


# --- ranges -----------------------------------------------------------------------------------


def looks_of(scenes: Sequence[Scene], window: Window, phase_map: str) -> dict[str, Look]:
    """Ranges of amplitude, phase and their differences, from the first truth, or from the first
    object without a truth.
    """
    first = scenes[0]
    source = first.truth or first.images
    amplitude, phase = (window.of(first, source[c]) for c in ("amplitude", "phase"))
    low, high = (float(v) for v in np.percentile(amplitude, (0.5, 99.5)))
    if high <= low:
        low, high = low - 0.5, high + 0.5
    limit = float(np.percentile(np.abs(phase), 99.5)) or np.pi
    wrapped = phase_map == "cyclic" or (phase_map == "auto" and limit > WRAPPED_RAD)
    of = "truth" if first.truth else "first object"
    half = (high - low) / 2
    unit = UNITS["amplitude"]
    phase_look = (
        Look("phase", "rad", "twilight", -np.pi, np.pi, "cyclic, −π to π")
        if wrapped
        else Look("phase", "rad", "RdBu_r", -limit, limit, f"diverging about 0, range of the {of}")
    )
    bound = min(np.pi, limit)
    return {
        "amplitude": Look("amplitude", unit, "gray", low, high, f"range of the {of}"),
        "phase": phase_look,
        "amplitude difference": Look(
            "amplitude difference", unit, "PuOr_r", -half, half, "half of the truth's range"
        ),
        "phase difference": Look(
            "phase difference", "rad", "PuOr_r", -bound, bound, "angle(arm · conj truth)"
        ),
    }


# --- the figure -------------------------------------------------------------------------------


def figure(
    scenes: Sequence[Scene],
    view: View,
    kinds: Sequence[str],
    ranges: Mapping[str, Look],
    profile: Profile,
    bar: tuple[float, str],
    zoom: Zoom | None = None,
) -> go.Figure:
    """One column for the truth and for every arm, one row per kind of image: amplitudes are side by
    side. `bar`: length of the scale bar in px, and its label; `zoom`: the visible part, None for
    all of it."""
    truth = scenes[0] if scenes[0].truth is not None else None
    entries: list[tuple[str, Scene, bool]] = [("truth", truth, True)] if truth else []
    entries += [(one.arm, one, False) for one in scenes]
    made = make_subplots(
        rows=len(kinds), cols=len(entries), horizontal_spacing=0.006, vertical_spacing=0.012
    )
    for i, kind in enumerate(kinds, start=1):
        for j, (name, one, true) in enumerate(entries, start=1):
            panel(made, (i, j), one, true, kind, view, ranges[kind], name)
        made.update_layout({axis_of(i): colour_axis(i, len(kinds), ranges[kind])})
    named(made, [name for name, _, _ in entries], scenes)
    axes(made, view, zoom)
    marked(made, profile, bar, view)
    height = row_px(len(entries), view) * len(kinds)
    plot_style.shape(made, HEAD_PX + height + 8, dragmode="zoom", hovermode="closest")
    margin = {"l": 4, "r": SIDE_PX, "t": HEAD_PX, "b": 8}
    made.update_layout(margin=margin, uirevision="images")
    return made


def panel(
    made: go.Figure, at: tuple[int, int], one: Scene, true: bool, column: str, view: View,
    look: Look, name: str,
) -> None:  # fmt: skip
    """One image, or a text in place of the difference of the truth to itself."""
    channel = column.partition(" ")[0]
    image = image_of(one, true, column)
    if image is None:
        return
    sent = view.of(one, image)
    half = (view.step - 1) / 2
    made.add_trace(
        go.Heatmap(
            z=sent, x0=view.window.x0 + half, dx=view.step, y0=view.window.y0 + half, dy=view.step,
            coloraxis=axis_of(at[0]), zsmooth=False,
            hovertemplate=f"{plot_style.label(name)}, {plot_style.label(column)} %{{z:.4g}} "
            f"{plot_style.label(look.unit)}"
            "<br>x %{x:.0f} px, y %{y:.0f} px<extra></extra>",
        ),
        row=at[0], col=at[1],
    )  # fmt: skip
    if not true and channel in one.blank:
        written(made, at, plot_style.label(one.blank[channel]).replace(": ", ":<br>"))


def image_of(one: Scene, true: bool, column: str) -> np.ndarray | None:
    channel, _, difference = column.partition(" ")
    if true:
        return None if difference or one.truth is None else one.truth[channel]
    if difference:
        return one.difference(channel)
    image = one.images[channel]
    return np.angle(np.exp(1j * image)) if channel == "phase" else image


def written(made: go.Figure, at: tuple[int, int], words: plot_style.Label) -> None:
    made.add_annotation(
        text=f"<b>{words}</b>", x=0.5, y=0.5, xref="x domain", yref="y domain", showarrow=False,
        bgcolor="rgba(20,23,27,0.85)", font={"color": "white", "size": 13}, borderpad=5,
        row=at[0], col=at[1],
    )  # fmt: skip


def row_px(columns: int, view: View) -> int:
    """Height of a row of images that are as wide as their column."""
    h, w = view.window.shape
    return round(min(TALLEST_PX, (WIDTH_PX - SIDE_PX) / columns * h / w))


def axis_of(row: int) -> str:
    return f"coloraxis{row if row > 1 else ''}"


def colour_axis(row: int, rows: int, look: Look) -> dict[str, Any]:
    """Colours of one row, with a thin bar and its title on the right."""
    bar = {
        "x": 1.004,
        "xanchor": "left",
        "y": 1 - (row - 0.5) / rows,
        "yanchor": "middle",
        "len": 0.86 / rows,
        "thickness": 8,
        "xpad": 0,
        "nticks": 5,
        "tickfont": {"size": 10},
        "title": {
            "text": plot_style.label(f"{look.title} ({look.unit})"),
            "side": "right",
            "font": {"size": 11},
        },
    }
    return {"colorscale": look.colours, "cmin": look.low, "cmax": look.high, "colorbar": bar}


def named(made: go.Figure, names: Sequence[str], scenes: Sequence[Scene]) -> None:
    """Names of the columns, over them."""
    seeds = {one.arm: one for one in scenes}
    longest = max(8, 130 // len(names))  # characters that fit over a column
    for i, name in enumerate(names):
        one = seeds.get(name)
        shown = name if len(name) <= longest else f"{name[: longest - 1]}…"
        label = f"<b>{plot_style.label(shown)}</b>" + (f" s{one.seed:d}" if one else "")
        made.add_annotation(
            text=label, hovertext=plot_style.label(name), x=0.5, y=1.0, yanchor="bottom",
            xref=f"x{i + 1 if i else ''} domain", yref="paper", showarrow=False,
            font={"size": 12 if len(names) < 7 else 10},
        )  # fmt: skip


def axes(made: go.Figure, view: View, zoom: Zoom | None) -> None:
    """All panels move together: every axis matches the first of its kind, pixels are square.

    `meta.whole`: the range at which app/browser.js removes the zoom from the address.
    """
    w = view.window
    whole = (w.x0 - 0.5, w.x1 - 0.5, w.y1 - 0.5, w.y0 - 0.5)
    x0, x1, y1, y0 = zoom or whole
    made.update_layout(meta={"whole": whole})
    hidden = {"showticklabels": False, "showgrid": False, "zeroline": False, "ticks": ""}
    made.update_xaxes(matches="x", range=[x0, x1], constrain="domain", **hidden)
    made.update_yaxes(
        matches="y", range=[y1, y0], constrain="domain", scaleanchor="x",
        scaleratio=1, **hidden,
    )  # fmt: skip


def marked(made: go.Figure, profile: Profile, bar: tuple[float, str], view: View) -> None:
    """The profile's line on every image, and the scale bar on the first."""
    w = view.window
    line = {"color": "#D55E00", "width": 1.5, "dash": "dot"}
    for trace in [trace for trace in made.data if isinstance(trace, go.Heatmap)]:
        refs = {"xref": trace.xaxis, "yref": trace.yaxis}
        ends = (
            {"x0": w.x0 - 0.5, "x1": w.x1 - 0.5, "y0": profile.at, "y1": profile.at}
            if profile.along == "row"
            else {"x0": profile.at, "x1": profile.at, "y0": w.y0 - 0.5, "y1": w.y1 - 0.5}
        )
        made.add_shape(type="line", line=line, **refs, **ends)
    length, words = bar
    x, y = w.x0 + 0.05 * w.shape[1], w.y0 + 0.94 * w.shape[0]
    for colour, width in (("black", 7), ("white", 4)):
        made.add_shape(
            type="line", x0=x, x1=x + length, y0=y, y1=y, xref="x", yref="y",
            line={"color": colour, "width": width},
        )  # fmt: skip
    made.add_annotation(
        text=plot_style.label(words), x=x + length / 2, y=y, yshift=12, xref="x", yref="y",
        showarrow=False,
        font={"color": "white", "size": 11}, bgcolor="rgba(0,0,0,0.6)", borderpad=1,
    )  # fmt: skip


def scale_bar(pixel_m: float | None, width_px: int) -> tuple[float, str]:
    """A round length near a quarter of the width: in nm if the pixel size is known, else in px."""
    size, unit = (1.0, "px") if pixel_m is None else (pixel_m * 1e9, "nm")
    wanted = width_px * size / 4
    power = 10.0 ** np.floor(np.log10(wanted))
    length = max(step * power for step in (1, 2, 5) if step * power <= wanted)
    return length / size, f"{length:g} {unit}"


# --- the profile ------------------------------------------------------------------------------


def cut(one: Scene, window: Window, image: np.ndarray, profile: Profile) -> np.ndarray:
    """One row or column of an image, at full resolution."""
    part = window.of(one, image)
    if profile.along == "row":
        return part[profile.at - window.y0]
    return part[:, profile.at - window.x0]


def profiles(
    scenes: Sequence[Scene], window: Window, profile: Profile, place: Mapping[str, int]
) -> go.Figure:
    """Amplitude and phase along the line: the truth and every arm that is evaluable."""
    made = make_subplots(rows=1, cols=2, horizontal_spacing=0.07)
    start = window.x0 if profile.along == "row" else window.y0
    x = start + np.arange(window.shape[1] if profile.along == "row" else window.shape[0])
    for j, channel in enumerate(("amplitude", "phase"), start=1):
        first = scenes[0]
        if first.truth is not None:
            y = cut(first, window, first.truth[channel], profile)
            truth = {"color": plot_style.GRAY, "dash": "solid", "width": 4}
            made.add_trace(profile_line(x, y, "truth", truth, j == 1), row=1, col=j)
        for one in scenes:
            y = cut(one, window, one.images[channel], profile)
            label = " (not evaluable)" if channel in one.blank else ""
            name = f"{plot_style.label(one.arm)}{label}"
            trace = profile_line(x, y, name, plot_style.line(place[one.arm], 1.6), j == 1)
            made.add_trace(trace.update(legendgroup=one.arm), row=1, col=j)
        made.update_yaxes(
            title_text=plot_style.label(f"{channel} ({UNITS[channel]})"), row=1, col=j
        )
        across = "x" if profile.along == "row" else "y"
        made.update_xaxes(title_text=plot_style.label(f"{across} (px)"), matches="x", row=1, col=j)
    return plot_style.shape(made, 280, hovermode="x unified", hoversubplots="axis")


def profile_line(
    x: np.ndarray, y: np.ndarray, name: plot_style.Label, line: Mapping[str, Any], legend: bool
) -> Any:
    return go.Scatter(
        x=x, y=y, mode="lines", name=name, legendgroup=name, showlegend=legend,
        line=dict(line),
        hovertemplate="%{y:.4g}",
    )  # fmt: skip

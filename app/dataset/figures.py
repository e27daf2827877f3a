"""Figures of a data set, with square pixels, no smoothing and common colour maps.

Amplitude is linear gray. Phase below pi/2 in magnitude has a symmetric diverging map, larger phase
a cyclic one (twilight); the label of the colour bar says which.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from app.compare.plot_style import Label, label
from app.dataset.reading import Photons

LARGEST_PX = 400  # longest side of a displayed image; larger ones are subsampled
WEAK_RAD = np.pi / 2
CHOSEN = "#D55E00"
OTHERS = "#0072B2"
BAR_STEPS = (1, 2, 5)
HEIGHT = 330


@dataclass(frozen=True)
class Pixel:
    """Side of an object pixel in nm, or None if it is unknown (lengths are then in pixels)."""

    side_nm: float | None

    @property
    def unit(self) -> str:
        return "px" if self.side_nm is None else "nm"

    @property
    def scale(self) -> float:
        return self.side_nm or 1.0


@dataclass(frozen=True)
class Shades:
    """Colour map, range and colour-bar label of an image."""

    scale: str
    low: float
    high: float
    key: str


def amplitude_shades(values: np.ndarray, key: str) -> Shades:
    """Linear gray from 0 to the largest value. `key`: label of the colour bar."""
    return Shades("gray", 0.0, float(np.nanmax(values, initial=0)) or 1.0, key)


def phase_shades(phase: np.ndarray) -> Shades:
    """Diverging for phase below pi/2 in magnitude, otherwise cyclic on [-pi, pi]. `phase`: rad."""
    largest = float(np.nanmax(np.abs(phase), initial=0))
    if largest < WEAK_RAD:
        return Shades("RdBu_r", -(largest or 1.0), largest or 1.0, "rad, diverging about 0")
    return Shades("twilight", -np.pi, np.pi, "rad, cyclic")


def thinned(values: np.ndarray, most: int = LARGEST_PX) -> tuple[np.ndarray, int]:
    """Every k-th pixel of an (h, w) array, and k, so that no side exceeds `most`."""
    step = max(1, -(-max(values.shape) // most))
    return values[::step, ::step], step


def picture(values: np.ndarray, shades: Shades, pixel: Pixel, bar: bool = True) -> go.Figure:
    """An (h, w) array as an image; NaN is blank. `bar`: draw a scale bar if lengths are known."""
    shown, step = thinned(values)
    side = pixel.scale * step
    figure = go.Figure(
        go.Heatmap(
            z=shown.astype(np.float32),
            x0=0,
            y0=0,
            dx=side,
            dy=side,
            colorscale=shades.scale,
            zmin=shades.low,
            zmax=shades.high,
            colorbar=_bar(shades.key),
            hovertemplate=f"y %{{y:.4g}} {label(pixel.unit)}, x %{{x:.4g}} {label(pixel.unit)}"
            "<br>%{z:.4g}<extra></extra>",
        )
    )
    _square(figure, pixel)
    if bar and pixel.side_nm:
        _scale_bar(figure, values.shape, pixel.side_nm)
    return figure


def _bar(key: str) -> dict[str, object]:
    """The colour bar below the image."""
    title = {"text": label(key), "side": "bottom", "font": {"size": 12}}
    place = {"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.17, "yanchor": "top"}
    return {"thickness": 9, "len": 0.9, "title": title, "ypad": 0, "tickangle": 0, **place}


def _square(figure: go.Figure, pixel: Pixel) -> None:
    quiet = {"showgrid": False, "zeroline": False, "ticks": "outside", "ticklen": 3}
    figure.update_xaxes(constrain="domain", ticksuffix=f" {label(pixel.unit)}", nticks=4, **quiet)
    figure.update_yaxes(
        autorange="reversed", scaleanchor="x", constrain="domain", nticks=5, **quiet
    )
    figure.update_layout(
        height=HEIGHT, margin={"l": 8, "r": 8, "t": 8, "b": 8}, dragmode="pan", showlegend=False
    )


def bar_length_nm(width_nm: float) -> float:
    """Length of the scale bar: 1, 2 or 5 times a power of ten, at most a fifth of the width."""
    goal = width_nm / 5
    power = 10.0 ** np.floor(np.log10(goal))
    return float(max(k * power for k in BAR_STEPS if k * power <= goal))


def length_text(nm: float) -> str:
    return f"{nm / 1000:g} µm" if nm >= 1000 else f"{nm:g} nm"


def _scale_bar(figure: go.Figure, shape: tuple[int, ...], side_nm: float) -> None:
    height, width = (length * side_nm for length in shape)
    length = bar_length_nm(width)
    x, y = 0.05 * width, 0.95 * height
    for colour, thick in (("black", 6), ("white", 3)):
        figure.add_shape(
            type="line", x0=x, x1=x + length, y0=y, y1=y, line={"color": colour, "width": thick}
        )
    figure.add_annotation(
        x=x, y=y, xanchor="left", yanchor="bottom", showarrow=False,
        text=label(length_text(length)), font={"color": "white", "size": 12},
        bgcolor="rgba(0,0,0,0.6)",
    )  # fmt: skip


# --- the scan ---------------------------------------------------------------------------------


def scan_map(
    ground: np.ndarray,
    centres_px: np.ndarray,
    names: np.ndarray,
    chosen: int | None,
    n: int,
    pixel: Pixel,
) -> go.Figure:
    """Window centres over a gray image; the window of the chosen pattern is outlined.

    `ground`: (h, w); `centres_px`: (J, 2) as (y, x) in object px; `names`: (J,) pattern numbers;
    `chosen`: a pattern number or None; `n`: side of the window in px.
    """
    shown, step = thinned(ground)
    side = pixel.scale * step
    figure = go.Figure(go.Image(source=_png(shown), x0=0, y0=0, dx=side, dy=side, hoverinfo="skip"))
    figure.add_trace(
        go.Scatter(
            x=centres_px[:, 1] * pixel.scale,
            y=centres_px[:, 0] * pixel.scale,
            customdata=names.astype(int),
            mode="markers",
            marker={"size": 5 if len(names) < 400 else 3, "color": OTHERS, "opacity": 0.9},
            hovertemplate="pattern %{customdata}<extra></extra>",
        )
    )
    place = np.flatnonzero(names == chosen) if chosen is not None else []
    if len(place):
        _ring(figure, centres_px[place[0]], n, pixel)
    _square(figure, pixel)
    if pixel.side_nm:
        _scale_bar(figure, ground.shape, pixel.side_nm)
    return figure


def shifts(positions_px: np.ndarray, shift_px: np.ndarray) -> go.Figure:
    """Given positions, with lines to the refined ones; both (J, 2) as (y, x) in object px."""
    there = positions_px + shift_px
    gap = np.full(len(there), np.nan)
    lines = {
        axis: np.stack([positions_px[:, i], there[:, i], gap], axis=1).ravel()
        for i, axis in enumerate("yx")
    }
    figure = go.Figure(
        [
            go.Scatter(**lines, mode="lines", line={"color": CHOSEN, "width": 1}, hoverinfo="skip"),
            go.Scatter(
                x=there[:, 1], y=there[:, 0], mode="markers",
                marker={"size": 4, "color": CHOSEN}, customdata=np.hypot(*shift_px.T),
                hovertemplate="shift %{customdata:.3g} px<extra></extra>",
            ),
            go.Scatter(
                x=positions_px[:, 1], y=positions_px[:, 0], mode="markers",
                marker={"size": 3, "color": OTHERS}, hoverinfo="skip",
            ),
        ]
    )  # fmt: skip
    _square(figure, Pixel(None))
    return figure


def _ring(figure: go.Figure, centre: np.ndarray, n: int, pixel: Pixel) -> None:
    y, x = centre * pixel.scale
    half = n / 2 * pixel.scale
    figure.add_shape(
        type="rect", x0=x - half, x1=x + half, y0=y - half, y1=y + half,
        line={"color": CHOSEN, "width": 2},
    )  # fmt: skip
    figure.add_trace(
        go.Scatter(
            x=[x],
            y=[y],
            mode="markers",
            marker={"size": 11, "symbol": "circle-open", "color": CHOSEN, "line": {"width": 3}},
            hoverinfo="skip",
        )
    )


def _png(values: np.ndarray) -> str:
    top = float(np.nanmax(values, initial=0)) or 1.0
    gray = np.clip(255 * np.nan_to_num(values) / top, 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(gray).convert("RGB").save(stream, "PNG")
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


# --- patterns and photons ---------------------------------------------------------------------


def pattern(counts: np.ndarray, brightest: float) -> go.Figure:
    """One pattern, (n, n) photons, as log(1 + counts) with ticks in photons.

    `brightest`: photons at the upper end of the range, the same for all patterns of a split.
    """
    top = np.log10(1 + max(brightest, 1.0))
    ticks = np.arange(0, int(np.floor(top)) + 1)
    shades = Shades("viridis", 0.0, float(top), "photons, log(1 + counts)")
    figure = picture(np.log10(1 + counts.astype(np.float64)), shades, Pixel(None))
    values = [0.0, *(float(np.log10(1 + 10.0**t)) for t in ticks)]
    names = ["0", *(f"1e{t:d}" if t > 2 else f"{10**t:d}" for t in ticks)]
    figure.update_traces(
        colorbar={"tickvals": values, "ticktext": names},
        customdata=thinned(counts)[0].astype(float),
        hovertemplate="y %{y}, x %{x}<br>%{customdata:.6g} photons<extra></extra>",
    )
    return figure


def sum_histogram(photons: Photons, chosen: float | None) -> go.Figure:
    """Histogram of photons per pattern; a line marks `chosen`, the photons of one pattern."""
    figure = go.Figure(
        go.Histogram(
            x=photons.sums, nbinsx=40, marker_color=OTHERS,
            hovertemplate="%{x} photons: %{y} patterns<extra></extra>",
        )
    )  # fmt: skip
    if chosen is not None:
        figure.add_vline(x=chosen, line_color=CHOSEN, line_width=2)
    _plain(figure, "photons per pattern", "patterns")
    return figure


def pixel_histogram(photons: Photons) -> go.Figure:
    """Histogram of photons per nonzero pixel, with logarithmic bins and axes."""
    edges = photons.edges
    figure = go.Figure(
        go.Bar(
            x=np.sqrt(edges[:-1] * edges[1:]),
            y=photons.pixels,
            width=np.diff(edges),
            marker_color=OTHERS,
            hovertemplate="about %{x:.3g} photons: %{y} pixels<extra></extra>",
        )
    )
    _plain(figure, "photons per pixel (nonzero)", "pixels")
    figure.update_xaxes(type="log", dtick=1 if photons.brightest < 1e6 else 2)
    figure.update_yaxes(type="log", dtick=1)
    return figure


def _plain(figure: go.Figure, x: Label, y: Label) -> None:
    figure.update_layout(
        height=250, margin={"l": 8, "r": 8, "t": 8, "b": 8}, bargap=0.03, showlegend=False
    )
    figure.update_xaxes(title=x, exponentformat="e")
    figure.update_yaxes(title=y, exponentformat="e")

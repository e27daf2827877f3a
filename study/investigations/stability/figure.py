"""Deaths against the learning rate: one panel per curve, and below them all LD50.

One figure for page, report and README. A mark per run would hide three equal ones, so the panels
show the dead share per rate; a ring marks rates at which runs diverged.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

from study.investigations.stability.dose import Ld50, probability
from study.investigations.stability.facts import Curve, Stable, bounded, named
from study.metrics.skill import LOST
from study.reading import quoted
from study.report.figures.style import (
    BLACK,
    BLUE,
    GRAY,
    RED,
    Drawing,
    canvas,
    grid,
    room_mm,
    save,
    styled,
)
from study.runs import write_text, write_whole
from study.settings import UserError

COLUMNS = 3
PANEL_MM, GAP_MM = 21.0, 9.0
ROW_MM, BETWEEN_MM = 4.6, 15.0  # of a curve among all LD50; from the panels to those
LEFT, RIGHT, BOTTOM, TOP = 11.0, 3.0, 10.0, 6.0  # edges in mm
WIDTH_MM = 180.0


def draw_stability(found: Stable) -> Drawing | str:
    """The figure of the stored curves, or why there is none."""
    if not found.curves:
        return "Deaths against the learning rate: no curve is stored here; `study stability`."
    rows = math.ceil(len(found.curves) / COLUMNS)
    above = TOP + rows * PANEL_MM + (rows - 1) * GAP_MM + BETWEEN_MM
    below = BOTTOM + ROW_MM * (len(found.curves) + 1)
    figure = canvas(above + below, WIDTH_MM)
    panels = grid(figure, rows, COLUMNS, (LEFT, RIGHT, below + BETWEEN_MM, TOP), (4, GAP_MM))
    control = next((c for c in found.curves if c.curve == found.versus), None)
    ends = _ends(found)
    for place, axis in enumerate(panels.flat):
        if place >= len(found.curves):
            axis.set_visible(False)
            continue
        _panel(axis, found.curves[place], control)
        _rate_axis(axis, ends)
        axis.tick_params(labelleft=place % COLUMNS == 0)
        lowest = place + COLUMNS >= len(found.curves)
        axis.tick_params(labelbottom=lowest)
        if lowest:
            axis.set_xlabel("learning rate")
    for axis in panels[:, 0]:
        axis.set_ylabel("share of runs dead")
    ratios = room_mm([_versus(found), *map(bounded, found.ratios.values())], 5)
    edges = (room_mm(curve.label for curve in found.curves), ratios, BOTTOM, above)
    _forest(grid(figure, 1, 1, edges, (0, 0))[0, 0], found, ends)
    return Drawing("stability", figure, table(found), caption(found))


def write_figure(found: Stable, file: Path) -> None:
    """Write the figure as `file`, .svg or .png (200 dpi). Raises UserError for another suffix, and
    where no curve is stored."""
    if file.suffix not in (".svg", ".png"):
        raise UserError(f"--figure is {quoted(file.name)}; accepted: a name with .svg or .png")
    with styled():
        drawn = draw_stability(found)
        if isinstance(drawn, str):
            raise UserError(drawn)
        if file.suffix == ".svg":
            write_text(file, save(drawn).svg)
        else:
            write_whole(file, lambda stream: drawn.figure.savefig(stream, format="png", dpi=200))


def _ends(found: Stable) -> tuple[float, float]:
    """The lowest and the highest learning rate, with half a step of room."""
    rates = [rate for curve in found.curves for rate in curve.deaths.rates]
    room = (max(rates) / min(rates)) ** 0.07
    return min(rates) / room, max(rates) * room


def _rate_axis(axis: Axes, ends: tuple[float, float]) -> None:
    axis.set_xscale("log")
    axis.set_xlim(*ends)
    decades = range(math.ceil(math.log10(ends[0])), math.floor(math.log10(ends[1])) + 1)
    axis.set_xticks([10.0**d for d in decades], [f"1e{d}" for d in decades])
    axis.xaxis.set_minor_formatter(NullFormatter())


def _panel(axis: Axes, curve: Curve, control: Curve | None) -> None:
    """Dead share per rate, the fitted curve, LD50 with its interval at one half."""
    deaths = curve.deaths
    rates, share = np.array(deaths.rates), np.array(deaths.dead) / np.array(deaths.runs)
    fine = np.geomspace(*_ends_of(curve), 200)
    if control is not None and control is not curve:
        _fitted(axis, fine, control.ld50, GRAY, 0.8)
    _fitted(axis, fine, curve.ld50, BLUE, 1.1)
    _interval(axis, curve.ld50, 0.5, BLUE)
    axis.plot(rates, share, "o", ms=3.2, color=BLACK, clip_on=False, zorder=3)
    diverged = sorted({run.lr for run in curve.runs if run.diverged})
    at = np.isin(rates, diverged)
    axis.plot(rates[at], share[at], "o", ms=6, mfc="none", mec=RED, mew=0.9, clip_on=False)
    axis.set_ylim(-0.05, 1.05)
    axis.set_yticks([0, 0.5, 1], ["0", "½", "1"])
    axis.set_title(curve.label, pad=4, loc="left")


def _ends_of(curve: Curve) -> tuple[float, float]:
    rates = curve.deaths.rates
    return rates[0], rates[-1]


def _fitted(axis: Axes, rates: np.ndarray, ld50: Ld50, colour: str, width: float) -> None:
    if ld50.estimate is not None:
        axis.plot(rates, probability(rates, ld50), color=colour, lw=width)


def _interval(axis: Axes, ld50: Ld50, y: float, colour: str) -> None:
    """A line over the interval, an arrow head where it leaves the axis, a mark at the estimate."""
    left, right = axis.get_xlim()
    low = left if ld50.low is None or ld50.low < left else ld50.low
    high = right if ld50.high is None or ld50.high > right else ld50.high
    axis.plot([low, high], [y, y], color=colour, lw=1.6, solid_capstyle="butt")
    for end, edge, mark in ((low, left, "<"), (high, right, ">")):
        if end == edge:
            axis.plot([end], [y], mark, ms=3.4, color=colour, mew=0, clip_on=False)
    if ld50.estimate is not None:
        axis.plot([ld50.estimate], [y], "D", ms=3.4, color=colour, mec="white", mew=0.5)


def _forest(axis: Axes, found: Stable, ends: tuple[float, float]) -> None:
    """LD50 of every curve with its interval; beside it the ratio."""
    _rate_axis(axis, ends)
    beside = {"transform": axis.get_yaxis_transform(), "va": "center"}
    axis.text(1.02, -1, _versus(found), **beside)
    for place, curve in enumerate(found.curves):
        is_control = curve.curve == found.versus
        _interval(axis, curve.ld50, place, BLACK if is_control else BLUE)
        if is_control and curve.ld50.estimate is not None:
            axis.axvline(curve.ld50.estimate, color=GRAY, lw=0.7, zorder=0)
        if (ratio := found.ratios.get(curve.curve)) is not None:
            axis.text(1.02, place, bounded(ratio), **beside)
    axis.set_ylim(len(found.curves) - 0.5, -1.5)
    axis.set_yticks(range(len(found.curves)), [curve.label for curve in found.curves])
    axis.yaxis.set_minor_locator(NullLocator())
    axis.tick_params(axis="y", left=False)
    axis.spines["left"].set_visible(False)
    axis.set_xlabel("LD50 of the learning rate")


def _versus(found: Stable) -> str:
    return f"times {named(found.versus)}"


def table(found: Stable) -> pandas.DataFrame:
    """What the figure shows: a row per curve and learning rate."""
    rows = []
    for curve in found.curves:
        deaths = curve.deaths
        ratio = found.ratios.get(curve.curve)
        for rate, runs, dead in zip(deaths.rates, deaths.runs, deaths.dead, strict=True):
            at = [run for run in curve.runs if run.lr == rate]
            rows.append(
                {
                    "curve": curve.curve,
                    "learning_rate": rate,
                    "runs": runs,
                    "dead": dead,
                    "diverged": sum(run.diverged for run in at),
                    "ld50": curve.ld50.estimate,
                    "ld50_low": curve.ld50.low,
                    "ld50_high": curve.ld50.high,
                    "slope": curve.ld50.slope,
                    "ratio": None if ratio is None else ratio.estimate,
                    "ratio_low": None if ratio is None else ratio.low,
                    "ratio_high": None if ratio is None else ratio.high,
                }
            )
    return pandas.DataFrame(rows)


def caption(found: Stable) -> str:
    """How to read the figure."""
    first = found.curves[0]
    deaths = first.deaths
    each = sorted(set(deaths.runs))
    level = f"{100 * first.ld50.level:g} %"
    control = named(found.versus)
    epochs, data = (_common(found, key) for key in ("epochs", "data"))
    return (
        f"Share of {'–'.join(map(str, each))} runs per learning rate that died (dots; ringed where "
        f"a loss was not finite): not finite, or a skill below {LOST} at the end. Blue: fitted "
        f"curve and LD50 with its exact {level} interval (an arrow: it leaves the axis or is "
        f"open); grey: curve of {control}. Below: all LD50, and their ratio to that of {control} "
        f"with its {level} interval, each by itself (not corrected for their number). Epochs: "
        f"{epochs}; data set: {data}. Every rate has its own seeds, the same for all curves."
    )


def _common(found: Stable, key: str) -> str:
    """A setting of the first curve, and in brackets the curves where it differs."""
    usual = found.curves[0].settings[key]
    others = [
        f"{curve.label}: {curve.settings[key]}"
        for curve in found.curves
        if curve.settings[key] != usual
    ]
    return f"{usual} ({', '.join(others)})" if others else str(usual)

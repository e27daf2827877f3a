"""The page's figures for print: 180 mm wide, as those of the report, and mostly drawn by them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from app.compare.curves import Quantity
from app.compare.rows import RowOf
from app.compare.scenes import CHANNELS, Scene
from app.compare.strip import as_seeds
from study.report.figures.curves import curves_figure
from study.report.figures.reconstructions import scenes_figure
from study.report.figures.residuals import residuals_figure
from study.report.figures.resolution import rings_figure
from study.report.figures.scenes import Shown
from study.report.figures.seeds import seeds_figure
from study.report.series import Curves


def as_shown(scenes: Sequence[Scene]) -> list[Shown]:
    """Scenes in the form of the report's figures; scenes without a truth are left out."""
    found = []
    for one in scenes:
        pairs = {channel: pair for channel in CHANNELS if (pair := one.pair(channel)) is not None}
        if len(pairs) == len(CHANNELS):
            blank = {k: v.removeprefix("not evaluable: ") for k, v in one.blank.items()}
            found.append(Shown(one.arm, one.seed, pairs, blank, one.result, one.dataset))
    return found


def images(scenes: Sequence[Scene]) -> Figure:
    return scenes_figure(as_shown(scenes))


def residuals(scenes: Sequence[Scene], pattern: int) -> Figure:
    """Scan map and pattern of every scene that has stored the pattern."""
    return residuals_figure([s for s in as_shown(scenes) if pattern in s.result.shown], pattern)


def resolution(scenes: Sequence[Scene]) -> Figure:
    return rings_figure(as_shown(scenes))[0]


def curves(lines: Sequence[Curves], shown: Sequence[Quantity]) -> Figure:
    return curves_figure(lines, [(one.column, one.axis, one.log) for one in shown])


def seeds(rows: Sequence[RowOf], label: str, place: Mapping[str, int]) -> Figure:
    return seeds_figure({label: [as_seeds(row, place[row.arm]) for row in rows]})

"""Chart data for the app, the report and exported figures, independent of matplotlib."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Literal

import numpy as np
import pandas

Points = list[tuple[float, float]]
Axis = tuple[float, float, Literal["linear", "log"]]  # low and high, as log10 if the axis is "log"

WIDE = 30.0  # ratio of the largest to the smallest value above which an axis is logarithmic
OUTLIER = 3.0  # interquartile ranges beyond which a seed does not extend an axis
ENOUGH = 8  # number of values from which outliers are detected
PADDING = 0.05  # margin on both sides, relative to the range


@dataclass(frozen=True)
class Curves:
    """The history of one arm.

    `history`: columns seed, epoch, ...; `outcomes`: seed -> outcome; `place`: index of the arm in
    the comparison, which determines colour and dash.
    """

    arm: str
    place: int
    history: pandas.DataFrame
    outcomes: Mapping[int, str]

    def has(self, column: str) -> bool:
        return column in self.history and bool(self.history[column].notna().any())

    def best(self, column: str) -> dict[str, Points]:
        """Outcome -> (epoch, value) of each seed at its best epoch, if the value is finite."""
        return self._points(column, best_epoch)

    def ends(self, column: str) -> dict[str, Points]:
        """Outcome -> (epoch, last finite value) of each seed that did not end ok."""
        found = self._points(column, lambda rows: int(finite(rows, column)[0][-1]))
        return {outcome: points for outcome, points in found.items() if outcome != "ok"}

    def _points(
        self, column: str, epoch_of: Callable[[pandas.DataFrame], int | None]
    ) -> dict[str, Points]:
        found: dict[str, Points] = {}
        for seed, rows in self.history.groupby("seed"):
            epochs, values = finite(rows, column)
            at = np.flatnonzero(epochs == epoch_of(rows)) if len(epochs) else ()
            outcome = self.outcomes.get(int(str(seed)), "ok")
            for i in at[:1]:
                found.setdefault(outcome, []).append((float(epochs[i]), float(values[i])))
        return found

    def middle(self, column: str) -> pandas.DataFrame:
        """Median, minimum, maximum and count over the seeds, per epoch."""
        by_epoch = self.history.groupby("epoch")[column]
        facts = {"median": by_epoch.median(), "min": by_epoch.min(), "max": by_epoch.max()}
        return pandas.DataFrame({**facts, "count": by_epoch.count()}).dropna()


def finite(rows: pandas.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and values of one seed where the value is finite."""
    values = rows[column].to_numpy(float)
    kept = np.isfinite(values)
    return rows["epoch"].to_numpy()[kept], values[kept]


def best_epoch(rows: pandas.DataFrame) -> int | None:
    """The earliest epoch with the lowest finite validation loss of a seed, as used for the scores;
    None without one."""
    if "val_loss" not in rows:
        return None
    epochs, losses = finite(rows, "val_loss")
    return int(epochs[losses.argmin()]) if len(losses) else None


@dataclass(frozen=True)
class Seeds:
    """One arm's row in a chart of seeds.

    `values`: seed -> value. `mean`: estimate and interval, whose bounds may be None. `note`: why
    seeds are missing. `data`: hash of the data set; equal seeds are connected only between arms on
    equal data. `trained`: false for a reference, which has one run and no seeds. `place`: index of
    the arm, which determines its colour; None for the default colours.
    """

    name: str
    values: Mapping[str, float]
    mean: tuple[float, float | None, float | None] | None = None
    note: str = ""
    outcomes: Mapping[str, str] = field(default_factory=dict)
    data: str | None = None
    trained: bool = True
    place: int | None = None

    def marks(self) -> list[tuple[str, float, float, str]]:
        """(seed, value, offset from the arm's row, outcome) of each marker.

        The offsets separate the seeds, so that equal values do not hide each other.
        """
        step = 0.3 / max(1, len(self.values) - 1)
        first = -0.32 if len(self.values) > 1 else -0.16
        return [
            (seed, value, first + step * i, self.outcomes.get(seed, "ok"))
            for i, (seed, value) in enumerate(self.values.items())
        ]

    def drawn(self, axis: Axis | None) -> list[tuple[str, float, float, str, str]]:
        """`marks` on an axis: (seed, position, offset, outcome, side). `side` is "left" or "right"
        if the value is beyond the axis and an arrow is drawn at its end, otherwise ""."""
        low, high = (-math.inf, math.inf) if axis is None else limits(axis)
        return [
            (seed, min(high, max(low, value)), offset, outcome,
             "left" if value < low else "right" if value > high else "")
            for seed, value, offset, outcome in self.marks()
        ]  # fmt: skip


# --- axes -------------------------------------------------------------------------------------


def axis_of(values: Sequence[float]) -> Axis | None:
    """The axis for these values, which is not extended by a few extreme outliers; None without
    values."""
    if not values:
        return None
    if min(values) > 0 and max(values) / min(values) > WIDE:
        return *_range([math.log10(value) for value in values]), "log"
    return *_range(values), "linear"


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    if len(values) < ENOUGH:
        return low, high
    first, _, third = quantiles(values, n=4)
    reach = OUTLIER * (third - first)
    if reach == 0:
        return low, high
    return max(low, first - reach), min(high, third + reach)


def limits(axis: Axis) -> tuple[float, float]:
    """The ends of an axis with a margin, as values."""
    low, high, kind = axis
    pad = PADDING * (high - low) or PADDING * abs(high) or 1.0
    ends = low - pad, high + pad
    return (10 ** ends[0], 10 ** ends[1]) if kind == "log" else ends

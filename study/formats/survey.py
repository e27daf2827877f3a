"""One pass over all patterns of a scan: what says which pixels and frames measure nothing.

Which values are flags, which pixels are bad in most frames and which frames are usable depend on
each other in this order. A survey takes them as assumed and counts; where the counts say otherwise,
the scan is surveyed again (`study.formats.bad_pixels`). A scan without faults takes one pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float64, Int64

from study.formats.frames import Frames, block_length
from study.settings import UserError

FLAGS = (2**16 - 1, 2**31 - 1, 2**32 - 1)
# Of a module's own reading, not of a flag: 255 photons are common.
SMALLEST_FLAG = 2**16 - 1
NOT_FINITE = "NaN or infinite"
SEEN = 0.5  # of the frames: a pixel that sees light in so many is alive
MOST_NEGATIVE = 3  # different negative values that may be flags
TOP = 3  # highest values of a pixel that are kept

Progress = Callable[[str, int, int], None]
Number = int | float


@dataclass(frozen=True)
class Assumed:
    """`flags`: values that mark bad pixels; `always`: pixels bad in most frames; `kept`: frames."""

    flags: tuple[Number, ...]
    always: Bool[np.ndarray, "n n"]
    kept: Bool[np.ndarray, " J"]


def possible_flags(dtype: np.dtype[Any]) -> tuple[Number, ...]:
    """Values of a type that may mark a pixel, the largest first."""
    whole = dtype.kind in "iu"
    # As whole numbers: the largest of 64 bits is not a float.
    top = int(np.iinfo(dtype).max) if whole else float(np.finfo(dtype).max)
    flags = {flag for flag in FLAGS if flag <= top} | ({top} if whole else set())
    return tuple(sorted((flag for flag in flags if flag >= SMALLEST_FLAG), reverse=True))


@dataclass
class Survey:
    """Counts over all patterns, and over those kept; arrays of one number per pixel or per frame.

    All patterns: `invalid`, how often a pixel is bad; `single`, share of each frame's pixels that
    are bad there but not always; `light`, of the other pixels; `largest` value that is not a flag;
    `found`: flags seen; `negative`: the lowest values below zero, in how many frames, the first.
    Patterns kept: `hidden`, pixels bad in any; `given`, the same as stated; `seen`, how often above
    zero; `least` value above zero; `lowest`; the `highest` three with the frames of each (`where`).
    """

    assumed: Assumed
    dtype: np.dtype[Any]
    invalid: Int64[np.ndarray, "n n"] = field(init=False)
    single: Float64[np.ndarray, " J"] = field(init=False)
    light: Float64[np.ndarray, " J"] = field(init=False)
    not_finite: bool = False
    largest: Number = 0
    found: set[Number] = field(default_factory=set)
    negative: list[float] = field(default_factory=list)
    negative_frames: int = 0
    first_negative: int = -1

    def __post_init__(self) -> None:
        shape, count = self.assumed.always.shape, len(self.assumed.kept)
        self.invalid = np.zeros(shape, np.int64)
        self.single, self.light = np.zeros(count), np.zeros(count)
        self.hidden, self.given = np.zeros(shape, bool), np.zeros(shape, bool)
        self.seen = np.zeros(shape, np.int64)
        self.least = np.full(shape, np.inf)
        self.lowest: np.ndarray | None = None
        # Valid values are not negative, so that zeros are passed by any three of them.
        self.highest = np.zeros((TOP, *shape), self.dtype)
        self.where = np.zeros((TOP, *shape), np.int64)

    def add(self, start: int, block: np.ndarray, given: np.ndarray | None) -> None:
        """Count the patterns `block`, the first of them number `start`."""
        bad = self._invalid(start, block)
        if given is not None:
            bad = np.broadcast_to(given, block.shape) if bad is None else bad | given
        span = slice(start, start + len(block))
        always = self.assumed.always
        if bad is None:
            self.light[span] = _sums(block, always if always.any() else None)
        else:
            self.invalid += np.count_nonzero(bad, axis=0)
            self.single[span] = (bad & ~always).mean(axis=(1, 2))
            self.light[span] = _sums(block, bad | always)
        kept = self.assumed.kept[span]
        if not kept.all():
            block, bad = block[kept], None if bad is None else bad[kept]
            given = given[kept] if given is not None and given.ndim == 3 else given
        if len(block):
            self._keep(np.flatnonzero(kept) + start, block, bad, given)

    def _keep(
        self,
        numbers: Int64[np.ndarray, " k"],
        block: np.ndarray,
        bad: np.ndarray | None,
        given: np.ndarray | None,
    ) -> None:
        if bad is not None:
            self.hidden |= bad.any(axis=0)
        if given is not None:
            self.given |= given if given.ndim == 2 else given.any(axis=0)
        above = block > 0
        self.seen += np.count_nonzero(above, axis=0)
        top = self.dtype.type(np.iinfo(self.dtype).max if self.dtype.kind in "iu" else np.inf)
        np.minimum(self.least, block.min(axis=0, where=above, initial=top), out=self.least)
        low = block.min(axis=0)
        self.lowest = low if self.lowest is None else np.minimum(self.lowest, low)
        for number, frame in zip(numbers.tolist(), block, strict=True):
            at = frame > self.highest[-1]
            if at.any():
                values = np.concatenate([frame[at][None], self.highest[:, at]])
                places = np.concatenate([np.full((1, values.shape[1]), number), self.where[:, at]])
                order = np.argsort(values, axis=0, kind="stable")[:0:-1]
                self.highest[:, at] = np.take_along_axis(values, order, axis=0)
                self.where[:, at] = np.take_along_axis(places, order, axis=0)

    def _invalid(self, start: int, block: np.ndarray) -> Bool[np.ndarray, "b n n"] | None:
        """Values that no detector reads; None where there are none."""
        low, high = block.min(), block.max()  # NaN where any value is NaN
        flags = self.assumed.flags
        whole = self.dtype.kind in "iu"
        ordinary = low >= 0 and (not flags or high < flags[-1])
        if ordinary:
            self.largest = max(self.largest, high.item())
            return None
        bad = np.zeros(block.shape, bool) if whole else ~np.isfinite(block)
        self.not_finite = self.not_finite or bool(bad.any())
        for flag in flags:
            chosen = block == self.dtype.type(flag)
            if chosen.any():
                self.found.add(flag)
                bad |= chosen
        below = block < 0
        if below.any():
            values = np.unique(block[below]).astype(np.float64).tolist()
            # The lowest few are enough to refuse them, or to list them.
            self.negative = sorted({*self.negative, *values})[: MOST_NEGATIVE + 1]
            frames = below.any(axis=(1, 2))
            if self.first_negative < 0:
                self.first_negative = start + int(frames.argmax())
            self.negative_frames += int(frames.sum())
            bad |= below
        plain = block.max(where=~bad, initial=0)
        self.largest = max(self.largest, plain.item())
        return bad

    @property
    def flags(self) -> tuple[Number, ...]:
        """Flags seen that mark bad pixels.

        Below the type's largest number a flag is a count like others where brighter pixels are
        valid.
        """
        accepted, brightest = [], self.largest
        top = np.iinfo(self.dtype).max if self.dtype.kind in "iu" else np.inf
        for flag in sorted(self.found, reverse=True):
            if flag < top and brightest > self.dtype.type(flag).item():
                brightest = max(brightest, flag)
            else:
                accepted.append(flag)
        return tuple(accepted)

    def kinds(self, where: Path) -> list[str]:
        """The kinds of invalid values. Raises UserError for negative ones that are not flags."""
        values = self.negative
        if len(values) > MOST_NEGATIVE or not np.array_equal(values, np.round(values)):
            raise UserError(
                f"{self.negative_frames} of {len(self.light)} patterns in {where} "
                f"hold negative pixels (first: pattern {self.first_negative}, lowest "
                f"{values[0]:g}); counts are never negative and few whole numbers mark bad pixels: "
                "add back the background that was subtracted, or mask these pixels"
            )
        shown = [NOT_FINITE] if self.not_finite else []
        shown += [f"{flag:.0f}" for flag in self.flags]
        return [*shown, ", ".join(f"{value:g}" for value in values)] if values else shown


def _sums(block: np.ndarray, without: np.ndarray | None) -> Float64[np.ndarray, " b"]:
    """Light of each pattern but for some pixels."""
    kept = block if without is None else np.where(without, block.dtype.type(0), block)
    return kept.sum(axis=(1, 2), dtype=np.float64)


def survey(
    patterns: Frames, given: Frames | None, assumed: Assumed, progress: Progress | None = None
) -> Survey:
    """Go through all patterns once; `given`: bad pixels as stated, (n, n) or (J, n, n)."""
    found = Survey(assumed, patterns.dtype)
    step, count = block_length(patterns.shape[1:]), len(patterns)
    each = given is not None and len(given.shape) == 3
    for start in range(0, count, step):
        span = slice(start, min(start + step, count))
        stated = given[span] if given is not None and each else given
        found.add(start, patterns[span], None if stated is None else np.asarray(stated))
        if progress is not None:
            progress("reading", span.stop, count)
    return found


def first_guess(patterns: Frames, given: Frames | None) -> Assumed:
    """All possible flags are flags, all frames are kept, and a few of them say what is always bad.

    A good guess saves a pass; the survey corrects a bad one.
    """
    flags, count = possible_flags(patterns.dtype), len(patterns)
    kept = np.ones(count, bool)
    few = min(64, block_length(patterns.shape[1:]))
    some = np.arange(0, count, max(1, count // few))
    assumed = Assumed(flags, np.zeros(patterns.shape[1:], bool), kept[some])
    stated = given[some] if given is not None and len(given.shape) == 3 else given
    sample = survey(patterns[some], stated, assumed)
    return replace(assumed, always=bad_in_most(sample), kept=kept)


def bad_in_most(found: Survey) -> Bool[np.ndarray, "n n"]:
    """Pixels that are bad in at least half of the frames."""
    return np.asarray(found.invalid / len(found.light) >= SEEN)

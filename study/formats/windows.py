"""Which part of the detector is read: a square around the beam.

Frames that are square stay whole, unless a side or the place of the beam is known. Others are read
as the largest square around the beam, or as the probe's side where there is a probe: the pixel of
the object depends on the side. The beam is where the file says, or where the light gathers in the
mean of a few frames (extreme pixels cut off).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import scipy.ndimage

from study.formats.entries import Entries
from study.formats.measured import is_real
from study.settings import UserError

SMALLEST_PX = 4
SAMPLED_FRAMES = 32


@dataclass(frozen=True)
class Window:
    """A square of side `n` from pixel (top, left) of frames of `shape`."""

    shape: tuple[int, int]
    top: int
    left: int
    n: int

    @property
    def whole(self) -> bool:
        return (self.n, self.n) == self.shape

    @property
    def index(self) -> tuple[slice, slice]:
        return slice(self.top, self.top + self.n), slice(self.left, self.left + self.n)

    def of(self, array: np.ndarray) -> np.ndarray:
        """The same square of an array (..., h, w)."""
        return array[(..., *self.index)]

    def notes(self, how: str) -> tuple[str, ...]:
        if self.whole:
            return ()
        centre = (self.top + self.n // 2, self.left + self.n // 2)
        return (
            f"frames: {self.n} x {self.n} of {self.shape[0]} x {self.shape[1]} px read, around the "
            f"beam at {centre} ({how})",
        )


def check_frames(entries: Entries, name: str) -> tuple[int, int]:
    """Raise UserError unless `name` is real frames (..., h, w); else (h, w)."""
    shape, dtype = entries.shape(name), entries.dtype(name)
    if len(shape) < 3 or prod(shape[:-2]) < 1 or min(shape[-2:]) < SMALLEST_PX:
        raise UserError(
            f"patterns in {entries.path} ({name}) have shape {shape}; accepted: (patterns, h, w) "
            f"or (rows, columns, h, w), with sides of at least {SMALLEST_PX} px"
        )
    if not is_real(dtype):
        raise UserError(f"patterns in {entries.path} are {dtype}; accepted: counts or amplitudes")
    return shape[-2], shape[-1]


def choose_window(
    entries: Entries,
    name: str,
    side: int | None = None,
    beam: tuple[float, float] | None = None,
) -> tuple[Window, tuple[str, ...]]:
    """The square to read of the frames `name`, and the sentence about it.

    `side`: that of the probe or as the user asks. `beam`: (row, column) of the direct beam where
    the file states it. Raises UserError for a square that leaves the frames.
    """
    height, width = check_frames(entries, name)
    if height == width and side in (None, height) and beam is None:
        return Window((height, width), 0, 0, height), ()
    how = "as the file states"
    if beam is None:
        beam, how = _find_beam(entries, name), "found from the data"
    row, column = round(beam[0]), round(beam[1])
    room = 2 * min(row, height - row, column, width - column)
    if height == width and side is None and room >= height - 2:
        return Window((height, width), 0, 0, height), ()
    n = side or room
    if n > room or n < SMALLEST_PX:
        raise UserError(
            f"frames in {entries.path} have {height} x {width} px with the beam at ({row}, "
            f"{column}), so that a square of {max(room, 0)} px fits around it but {n} are asked "
            "for; give a smaller --crop, or a probe of that side"
        )
    window = Window((height, width), row - n // 2, column - n // 2, n)
    return window, window.notes(how)


def _find_beam(entries: Entries, name: str) -> tuple[float, float]:
    """Where light gathers in the mean of some frames, extreme pixels of each cut off."""
    count = prod(entries.shape(name)[:-2])
    total = np.zeros(entries.shape(name)[-2:])
    for at in range(0, count, max(1, count // SAMPLED_FRAMES)):
        frame = read_frames(entries, name, at, at + 1)[0].astype(np.float64)
        frame[~np.isfinite(frame) | (frame < 0)] = 0
        total += np.minimum(frame, np.quantile(frame, 0.999))
    smooth = scipy.ndimage.gaussian_filter(total, min(2.0, min(total.shape) / 32))
    smooth[smooth < smooth.max() / 2] = 0
    if not smooth.any():
        raise UserError(f"frames in {entries.path} are dark; give a scan with light")
    rows, columns = np.indices(total.shape)
    return float((rows * smooth).sum() / smooth.sum()), float(
        (columns * smooth).sum() / smooth.sum()
    )


def read_frames(entries: Entries, name: str, start: int, stop: int) -> np.ndarray:
    """Frames start to stop of (..., h, w), leading axes flattened in raster order."""
    shape = entries.shape(name)
    square = (slice(None), slice(None))
    if len(shape) == 3:
        return entries.part(name, (slice(start, stop), *square))
    inner = prod(shape[1:-2])
    rows = slice(start // inner, -(-stop // inner))
    between = (slice(None),) * (len(shape) - 3)
    block = entries.part(name, (rows, *between, *square))
    block = block.reshape(-1, *block.shape[-2:])
    return block[start - rows.start * inner : stop - rows.start * inner]

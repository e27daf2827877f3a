"""Patterns of one split: an array in memory, or left in their HDF5 file and read as asked.

Design choices
- `Frames` is all that others ask of them: shape, type, and `frames[index]` with an array of places
  or a slice, which gives an array. A numpy array has it by nature; `frames[:]` is the whole.
- HDF5 keeps an array without chunks as one run of bytes. It is read there by position, straight
  into the array that is handed out, without the interpreter lock: no mapped page counts as this
  process's memory, and no file position is shared with a forked process or another thread. Chunked
  or compressed arrays are read by HDF5 itself: right, but slower.
- The file is opened for each read and must be the one that was found (size, time of change): a
  file that vanished, shrank or was replaced raises an error and is never mixed in.
- Places are read in the order asked. All of them are announced to the system first: a disk orders
  and overlaps the reads as it likes (2.5 times as fast from an NVMe disk as one by one, which
  sorting would not change), and the system does not guess what else to read.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import h5py
import numpy as np
from jaxtyping import Integer, Shaped

from study.formats.hdf5 import DAMAGED
from study.settings import UserError

BLOCK_BYTES = 2**26  # read at once by whoever goes through all patterns


@runtime_checkable
class Frames(Protocol):
    """Patterns along the first axis, wherever they are; see the module."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def nbytes(self) -> int: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> np.ndarray: ...

    def reshape(self, *shape: int) -> Frames: ...


def blocks(frames: Frames, block_bytes: int = BLOCK_BYTES) -> Iterator[np.ndarray]:
    """All patterns in order, in arrays of at most `block_bytes` (one pattern at least)."""
    count = max(1, block_bytes * len(frames) // max(1, frames.nbytes))
    for start in range(0, len(frames), count):
        yield frames[start : start + count]


@dataclass(frozen=True)
class FramesOnDisk:
    """The array `name` of an HDF5 file, left there.

    `offset`: place of its first byte in the file; None for one stored in chunks. `stamp`: size and
    time of change (ns) of the file when it was found.
    """

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    offset: int | None
    stamp: tuple[int, int]

    @classmethod
    def of(cls, path: Path, stored: h5py.Dataset) -> FramesOnDisk:
        """An array of the open file `path`. Raises UserError when the file ends before it does."""
        facts = path.stat()
        offset = stored.id.get_offset()
        frames = cls(
            path=path,
            name=str(stored.name),
            shape=tuple(stored.shape),
            dtype=stored.dtype,
            offset=offset,
            stamp=(facts.st_size, facts.st_mtime_ns),
        )
        if offset is not None and offset + frames.nbytes > facts.st_size:
            raise UserError(_torn(path, f"{offset + frames.nbytes} bytes", f"{facts.st_size}"))
        return frames

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def reshape(self, *shape: int) -> FramesOnDisk:
        """The same bytes grouped otherwise; one length may be -1. Raises ValueError: no such."""
        known = prod(length for length in shape if length != -1)
        whole = tuple(prod(self.shape) // known if s == -1 else s for s in shape)
        if prod(whole) != prod(self.shape):
            raise ValueError(f"{self.shape} has no shape {shape}")
        return replace(self, shape=whole)

    def __getitem__(
        self, index: slice | Integer[np.ndarray, " b"], /
    ) -> Shaped[np.ndarray, "b ..."]:
        """The patterns at `index`, in its order, in an array of their own.

        Raises IndexError for a place that is none, and UserError when the file is not there, cannot
        be read, or is not the one that was found.
        """
        index = self._places(index)
        try:
            return self._by_hdf5(index) if self.offset is None else self._by_position(index)
        except FileNotFoundError:
            raise UserError(
                f"{self.path} is gone while it was in use; bring it back (`dvc checkout`, or "
                "simulate or import again) and start again"
            ) from None
        except DAMAGED as error:
            raise UserError(
                f"{self.path} cannot be read ({error}); simulate or import the data set again"
            ) from None

    def _places(self, index: slice | np.ndarray) -> Integer[np.ndarray, " b"]:
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)))
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"places {index.min()} to {index.max()} of {len(self)} patterns")
        return index

    def _by_position(self, index: np.ndarray) -> np.ndarray:
        """Every run of neighbours in one read."""
        assert self.offset is not None, "chunked arrays have no place in the file"
        patterns = np.empty((len(index), *self.shape[1:]), self.dtype)
        content = patterns.reshape(-1).view(np.uint8).data
        size = self.dtype.itemsize * prod(self.shape[1:])
        reads = [
            (content[start * size : stop * size], self.offset + first * size)
            for start, stop, first in _runs(index)
        ]
        with _opened(self.path) as file:
            self._check(os.fstat(file))
            for part, place in reads:
                _announce(file, place, len(part))
            for part, place in reads:
                _fill(self.path, file, part, place)
        return patterns

    def _by_hdf5(self, index: np.ndarray) -> np.ndarray:
        """Sorted, each pattern once, then in the order asked: what HDF5 can do."""
        places, order = np.unique(index, return_inverse=True)
        patterns = np.empty((len(places), *self.shape[1:]), self.dtype)
        with h5py.File(self.path, "r") as file:
            self._check(self.path.stat())
            stored = cast(h5py.Dataset, file[self.name])
            group = len(stored) // len(self)  # stored patterns of one of ours
            for start, stop, first in _runs(places):
                rows = stored[first * group : (first + stop - start) * group]
                patterns[start:stop] = rows.reshape(-1, *self.shape[1:])
        return patterns[order]

    def _check(self, now: os.stat_result) -> None:
        size, changed = self.stamp
        if now.st_size < size:
            raise UserError(_torn(self.path, f"{size} bytes", f"{now.st_size}"))
        if (now.st_size, now.st_mtime_ns) != (size, changed):
            raise UserError(
                f"{self.path} was replaced while it was in use; start again with the new data"
            )


def _torn(path: Path, expected: str, found: str) -> str:
    return f"{path} is torn: {expected} are expected, {found} found; simulate or import again"


def _runs(index: np.ndarray) -> list[tuple[int, int, int]]:
    """(start, stop, first): index[start:stop] counts up by one from `first`."""
    edges = [0, *(np.flatnonzero(np.diff(index) != 1) + 1).tolist(), len(index)]
    firsts = index[edges[:-1]].tolist() if len(index) else []
    return list(zip(edges[:-1], edges[1:], firsts, strict=False))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_RDONLY)
    try:
        yield file
    finally:
        os.close(file)


def _announce(file: int, place: int, length: int) -> None:
    """Start the read without waiting for it, where the system knows how."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(file, place, length, os.POSIX_FADV_WILLNEED)


def _fill(path: Path, file: int, part: memoryview, place: int) -> None:
    while len(part):
        got = os.preadv(file, [part], place)
        if not got:
            raise UserError(_torn(path, f"{len(part)} bytes at {place}", "the end of the file"))
        part, place = part[got:], place + got

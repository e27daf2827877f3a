"""Patterns of a scan or a split: an array in memory, or left in their file and read as asked.

Design choices
- `Frames` is all that others ask of them: shape, type, and `frames[index]` with an array of places
  or a slice, which gives an array. A numpy array has it by nature; `frames[:]` is the whole.
- Whoever goes through all patterns takes `blocks` of them, so that a scan larger than the memory
  passes through. `Derived` computes on the way: bad pixels set to zero, counts turned and binned.
- HDF5 keeps an array without chunks as one run of bytes. It is read there by position, straight
  into the array that is handed out, without the interpreter lock: no mapped page counts as this
  process's memory, and no file position is shared with a forked process or another thread. Chunked
  or compressed arrays are read by HDF5 itself, which is slower; where a chunk holds many patterns,
  the last ones unpacked are kept (`study.formats.scan_frames`).
- The file is opened for each read and must be the one that was found (size, time of change): a
  file that vanished, shrank or was replaced raises an error and is never mixed in.
- Places are read in the order asked. All of them are announced to the system first: a disk orders
  and overlaps the reads as it likes (2.5 times as fast from an NVMe disk as one by one, which
  sorting would not change), and the system does not guess what else to read.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import h5py
import numpy as np
from jaxtyping import Integer, Shaped

from study.formats.hdf5 import DAMAGED, open_plain
from study.reading import open_regular
from study.settings import UserError

BLOCK_BYTES = 2**25  # read at once by whoever goes through all patterns
BLOCK_PIXELS = 2**22  # the same for what is computed on the way, whose type may be wider


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


def blocks(frames: Frames, block_bytes: int | None = None) -> Iterator[np.ndarray]:
    """All patterns in order, in arrays of at most `block_bytes` (one pattern at least)."""
    size = BLOCK_BYTES if block_bytes is None else block_bytes
    count = max(1, size * len(frames) // max(1, frames.nbytes))
    for start in range(0, len(frames), count):
        yield frames[start : start + count]


def block_length(*shapes: tuple[int, ...]) -> int:
    """Patterns of these shapes that are worked on at once."""
    return max(1, BLOCK_PIXELS // max(1, *map(prod, shapes)))


@dataclass(frozen=True)
class Derived:
    """What `make` computes from the patterns of `source` at `places`, whenever they are asked for.

    `make` takes (b, h, w), gives (b, n, n) and treats every pattern by itself, so that neither the
    size nor the order of blocks changes a result. `frame`: shape of one pattern as handed out, with
    leading axes of length 1 or without. `places`: indices in `source`; None for all patterns.
    """

    source: Frames
    make: Callable[[np.ndarray], np.ndarray]
    frame: tuple[int, ...]
    dtype: np.dtype[Any]
    places: Integer[np.ndarray, " J"] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self), *self.frame)

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * prod(self.shape)

    def __len__(self) -> int:
        return len(self.source) if self.places is None else len(self.places)

    def reshape(self, *shape: int) -> Derived:
        """The same patterns with other axes of length 1. Raises ValueError for other shapes."""
        whole = (len(self) if shape[0] == -1 else shape[0], *shape[1:])
        if whole[0] != len(self) or prod(whole) != prod(self.shape):
            raise ValueError(f"{self.shape} has no shape {shape}")
        return replace(self, frame=whole[1:])

    def chosen(self, index: Integer[np.ndarray, " b"]) -> Derived:
        """Only the patterns at `index`, still left where they are."""
        return replace(self, places=index if self.places is None else self.places[index])

    def __getitem__(
        self, index: slice | Integer[np.ndarray, " b"], /
    ) -> Shaped[np.ndarray, "b ..."]:
        """The patterns at `index`, in its order. Raises as `source` does."""
        if isinstance(index, slice):
            index = np.arange(*index.indices(len(self)))
        index = index if self.places is None else self.places[index]
        result = np.empty((len(index), *self.frame), self.dtype)
        step = block_length(self.source.shape[1:], self.frame)
        for start in range(0, len(index), step):
            made = self.make(self.source[index[start : start + step]])
            result[start : start + step] = made.reshape(-1, *self.frame)
        return result


def derived(
    source: Frames,
    make: Callable[[np.ndarray], np.ndarray] = np.asarray,
    n: int | None = None,
    dtype: Any = None,
) -> Derived:
    """Patterns of side `n` and type `dtype` (None: as in `source`) computed from `source`."""
    frame = source.shape[1:] if n is None else (n, n)
    return Derived(source, make, frame, np.dtype(dtype or source.dtype))


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
        """An array (..., h, w) of the open file `path`, leading axes flattened in raster order.

        Raises UserError when the file ends before the array does.
        """
        facts = path.stat()
        # Offsets count a user block in some versions of HDF5 only.
        offset = None if stored.file.userblock_size else stored.id.get_offset()
        frames = cls(
            path=path,
            name=str(stored.name),
            shape=(prod(stored.shape[:-2]), *stored.shape[-2:]),
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
                f"{self.path} is gone while it was in use; bring it back (`dvc checkout` for a "
                "data set) and start again"
            ) from None
        except DAMAGED as error:
            raise UserError(
                f"{self.path} cannot be read ({error}); fetch it or make it again"
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
        with open_plain(self.path) as file:
            self._check(self.path.stat())
            stored = cast(h5py.Dataset, file[self.name])
            group = prod(stored.shape[:-2]) // len(self)  # stored patterns of one of ours
            for start, stop, first in _runs(places):
                block = _raster(stored, first * group, (first + stop - start) * group)
                patterns[start:stop] = block.reshape(-1, *self.shape[1:])
        return patterns[order]

    def _check(self, now: os.stat_result) -> None:
        size, changed = self.stamp
        if now.st_size < size:
            raise UserError(_torn(self.path, f"{size} bytes", f"{now.st_size}"))
        if (now.st_size, now.st_mtime_ns) != (size, changed):
            raise UserError(
                f"{self.path} was replaced while it was in use; start again with the new data"
            )


def _raster(stored: h5py.Dataset, low: int, high: int) -> np.ndarray:
    """Patterns low to high of an array (..., h, w), leading axes flattened in raster order."""
    row = prod(stored.shape[1:-2])
    if stored.ndim != 4:
        block = stored[low // row : -(-high // row)].reshape(-1, *stored.shape[-2:])
        return block[low % row : low % row + high - low]
    # Row by row: the rows of a raster of large frames may not fit into the memory.
    edges = [low, *range((low // row + 1) * row, high, row), high]
    parts = [
        stored[start // row, start % row : start % row + stop - start]
        for start, stop in itertools.pairwise(edges)
    ]
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _torn(path: Path, expected: str, found: str) -> str:
    return f"{path} is torn: {expected} are expected, {found} found; simulate or import again"


def _runs(index: np.ndarray) -> list[tuple[int, int, int]]:
    """(start, stop, first): index[start:stop] counts up by one from `first`."""
    edges = [0, *(np.flatnonzero(np.diff(index) != 1) + 1).tolist(), len(index)]
    firsts = index[edges[:-1]].tolist() if len(index) else []
    return list(zip(edges[:-1], edges[1:], firsts, strict=False))


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    with open_regular(path) as stream:
        yield stream.fileno()


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

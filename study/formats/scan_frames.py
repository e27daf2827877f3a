"""Frames of a scan file as its readers hand them over: left in the file, read block by block.

An HDF5 array is read through `FramesOnDisk`, once its size and packing are checked. Arrays in
MATLAB and Zarr files are read through their `Entries`; those of MATLAB 5 are in memory anyway.
"""

from __future__ import annotations

import itertools
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Integer

from study.formats.entries import Entries, Hdf5Entries
from study.formats.frames import Derived, Frames, FramesOnDisk, block_length, derived
from study.formats.hdf5 import check_readable, dataset_at
from study.formats.windows import Window, read_frames

KEPT_BYTES = 2**28  # of unpacked chunks


class _Listed:
    """What several kinds of frames share: places given as a slice or an array, shape, size."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    @property
    def nbytes(self) -> int:
        return self.dtype.itemsize * prod(self.shape)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | Integer[np.ndarray, " b"], /) -> np.ndarray:
        places = np.arange(*index.indices(len(self))) if isinstance(index, slice) else index
        return self._at(np.asarray(places))

    def _at(self, places: Integer[np.ndarray, " b"]) -> np.ndarray:
        raise NotImplementedError

    def reshape(self, *shape: int) -> Derived:
        """The same patterns with other axes of length 1. Raises ValueError for other shapes."""
        return derived(self).reshape(*shape)


class ByChunk(_Listed):
    """Frames whose chunks hold `rows` patterns each: the last chunks unpacked are kept.

    Without it, a block that ends inside a chunk would unpack the chunk once more, and the patterns
    of a split, which are spread over the scan, would do so again and again.
    """

    def __init__(self, source: Frames, rows: int) -> None:
        self.source, self.rows = source, rows
        self.shape, self.dtype = source.shape, source.dtype
        self._kept: tuple[int, np.ndarray] = (-1, np.empty(0))

    def _at(self, places: Integer[np.ndarray, " b"]) -> np.ndarray:
        result = np.empty((len(places), *self.shape[1:]), self.dtype)
        chunks = places // self.rows
        for chunk in np.unique(chunks).tolist():
            here = chunks == chunk
            result[here] = self._chunk(chunk)[places[here] - chunk * self.rows]
        return result

    def _chunk(self, number: int) -> np.ndarray:
        kept, content = self._kept  # one tuple: threads may share the frames
        if kept != number:
            content = self.source[number * self.rows : (number + 1) * self.rows]
            self._kept = number, content
        return content


class ThroughEntries(_Listed):
    """Frames of a Zarr or MATLAB array, leading axes flattened in raster order."""

    def __init__(self, entries: Entries, name: str) -> None:
        stored = entries.shape(name)
        self.entries, self.name = entries, name
        self.shape = (prod(stored[:-2]), *stored[-2:])
        self.dtype = entries.dtype(name)

    def _at(self, places: Integer[np.ndarray, " b"]) -> np.ndarray:
        result = np.empty((len(places), *self.shape[1:]), self.dtype)
        edges = [0, *(np.flatnonzero(np.diff(places) != 1) + 1).tolist(), len(places)]
        for start, stop in itertools.pairwise(edges):
            if stop > start:
                first = int(places[start])
                part = read_frames(self.entries, self.name, first, first + stop - start)
                result[start:stop] = part
        return result


class _Joined(_Listed):
    def __init__(self, parts: tuple[Frames, ...]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])
        self.shape = (int(self.ends[-1]), *parts[0].shape[1:])
        self.dtype = np.result_type(*(part.dtype for part in parts))

    def _at(self, places: Integer[np.ndarray, " b"]) -> np.ndarray:
        result = np.empty((len(places), *self.shape[1:]), self.dtype)
        which = np.searchsorted(self.ends, places, side="right")
        for number in np.unique(which).tolist():
            here = which == number
            first = int(self.ends[number - 1]) if number else 0
            result[here] = self.parts[number][places[here] - first]
        return result


def joined(parts: list[Frames]) -> Frames:
    """Frames of several arrays, one after the other."""
    return parts[0] if len(parts) == 1 else _Joined(tuple(parts))


def stored_frames(entries: Entries, name: str) -> Frames:
    """The array `name` (..., h, w) as frames (J, h, w), left in its file.

    Raises UserError where a block of it takes more memory than is free, where its packing is not
    accepted, and where fewer bytes are stored than it could have been packed into.
    """
    if not isinstance(entries, Hdf5Entries):
        through = ThroughEntries(entries, name)
        through[:1]  # compares what is declared with what is stored
        return through
    stored = dataset_at(entries.file, name)
    frame = stored.shape[-2:]
    check_readable(stored, (min(block_length(frame), prod(stored.shape[:-2])), *frame))
    found = FramesOnDisk.of(Path(stored.file.filename), stored)
    rows = _rows(stored)
    small = rows * prod(frame) * stored.dtype.itemsize <= KEPT_BYTES
    return ByChunk(found, rows) if rows > 1 and small else found


def _rows(stored: h5py.Dataset) -> int:
    """Patterns in a row that reading a single one unpacks."""
    if stored.chunks is None:
        return 1
    rows, inner = stored.chunks[0], prod(stored.shape[1:-2])
    return stored.chunks[1] if stored.ndim == 4 and rows == 1 else rows * inner


def window_frames(entries: Entries, name: str, window: Window) -> Frames:
    """All frames (J, n, n) of `name` inside `window`, left in their file."""
    frames = stored_frames(entries, name)
    return frames if window.whole else derived(frames, window.of, window.n)

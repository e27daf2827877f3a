"""MATLAB files of version 5: arrays and fields of structs, with their axes reversed as in HDF5.

Compressed variables are unpacked once, block by block and unkept, before scipy may read them: their
size is compared with the bytes that are stored and with the free memory.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.io

from study.formats.limits import EXPANSION, SMALL_BYTES, check_expansion, check_memory
from study.reading import open_regular

HEADER_BYTES = 128
COMPRESSED = 15
BLOCK_BYTES = 2**20
COPIES = 4  # as stored, as read, in another order, in single precision
DEEPEST = 4


def is_mat5(head: bytes) -> bool:
    return head.startswith(b"MATLAB 5.0 MAT-file")


class Mat5Entries:
    """All arrays of the file, read at once after a look at their sizes.

    Raises UserError for arrays that are too large, and for a torn file what readers call `TORN`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        unpacked = _unpacked_bytes(path)
        check_expansion(unpacked, size, f"{path}, unpacked,")
        check_memory(COPIES * unpacked, f"{path}")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            try:
                content = scipy.io.loadmat(path, squeeze_me=False, struct_as_record=True)
            except scipy.io.matlab.MatReadError as error:  # not a ValueError
                raise ValueError(str(error)) from None
        self._arrays = dict(_arrays(content, "", 0))
        self.names = frozenset(self._arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._arrays[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        return self._arrays[name].dtype

    def read(self, name: str) -> np.ndarray:
        return self._arrays[name]

    def part(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
        return self._arrays[name][index]

    def attribute(self, name: str, key: str) -> Any:
        return None

    def text(self, name: str) -> str | None:
        return None


def _arrays(content: Any, prefix: str, depth: int) -> Iterator[tuple[str, np.ndarray]]:
    for name in content if isinstance(content, dict) else content.dtype.names or ():
        value = content[name]
        if isinstance(content, np.ndarray):
            value = value.flat[0] if value.size else None
        if not isinstance(value, np.ndarray) or depth > DEEPEST:
            continue
        if value.dtype.names and value.size:
            yield from _arrays(value, f"{prefix}{name}/", depth + 1)
        elif value.dtype.kind in "biufc":
            yield f"{prefix}{name}", value.T


def _unpacked_bytes(path: Path) -> int:
    """Bytes of all variables, compressed ones unpacked. Raises ValueError for a torn file."""
    total = 0
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        order = "<" if stream.read(HEADER_BYTES)[126:128] == b"IM" else ">"
        while len(tag := stream.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            end = stream.tell() + length
            if end > size:
                raise ValueError(f"a variable of {length} bytes goes beyond the end of the file")
            limit = max(SMALL_BYTES, EXPANSION * size) - total
            total += _inflated(stream, length, limit) if kind == COMPRESSED else length
            stream.seek(end)
    return total


def _inflated(stream: BinaryIO, length: int, limit: int) -> int:
    """Size of a zlib stream of `length` bytes, counted up to `limit`."""
    unpacker, total = zlib.decompressobj(), 0
    while length > 0 and total <= limit:
        packed = stream.read(min(length, BLOCK_BYTES))
        length -= len(packed)
        while packed and total <= limit:
            total += len(unpacker.decompress(packed, BLOCK_BYTES))
            packed = unpacker.unconsumed_tail
        if unpacker.eof:
            break
    return total

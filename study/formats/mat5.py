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
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import scipy.io

from study.formats.limits import EXPANSION, SMALL_BYTES, check_expansion, check_memory
from study.reading import open_regular

HEADER_BYTES = 128
COMPRESSED, MATRIX, INTEGERS = 15, 14, (5, 6)
PLAIN = (1, 2, 3, 4, 5, 6, 7, 9, 12, 13, 16, 17, 18)  # types of numbers and texts
CELL, STRUCT, OBJECT, SPARSE, FUNCTION, OPAQUE = 1, 2, 3, 5, 16, 17
NESTED = 64
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
        for content, order in _variables(path):
            _check_elements(content, order)
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


def _variables(path: Path) -> Iterator[tuple[bytes, str]]:
    """Every variable unpacked, with the order of its bytes; sizes were checked before."""
    with open_regular(path) as stream:
        order = "<" if stream.read(HEADER_BYTES)[126:128] == b"IM" else ">"
        while len(tag := stream.read(8)) == 8:
            kind, length = struct.unpack(f"{order}II", tag)
            body = stream.read(length)
            yield zlib.decompress(body) if kind == COMPRESSED else tag + body, order


def _check_elements(content: bytes, order: str) -> None:
    """Raise ValueError where matrices declare more elements than the variable has bytes for, and
    for types that the format lacks: scipy takes them as places in a table of pointers.

    scipy makes cells, structs and texts of the declared size before it reads their elements. Each
    takes at least 8 bytes in cells and structs, and one elsewhere. Matrices are taken one after the
    other, as scipy does: the lengths of those that hold others are not needed.
    """
    at, needed, open_cells = 0, 0, list[int]()
    while at + 8 <= len(content):
        kind, length = struct.unpack_from(f"{order}II", content, at)
        if kind != MATRIX:
            if (kind & 0xFFFF if kind >> 16 else kind) not in PLAIN:
                raise ValueError(f"an element of type {kind} is not one that the format has")
            at += 8 if kind >> 16 else 8 + length + -length % 8
            continue
        while open_cells and open_cells[-1] == 0:
            open_cells.pop()
        if open_cells:
            open_cells[-1] -= 1
        at += 8
        if length:
            count, children = _declared(content, at, order)
            needed += 8 * children + count
            open_cells.append(children)
            at += 16
        if needed > len(content) or len(open_cells) > NESTED:
            raise ValueError("its arrays declare more elements, or are nested deeper, than is read")


def _declared(content: bytes, at: int, order: str) -> tuple[int, int]:
    """Elements and matrices inside, of the matrix whose flags start at `at`."""
    kind = struct.unpack_from(f"{order}I", content, at + 8)[0] & 0xFF
    if kind in (SPARSE, FUNCTION, OPAQUE):
        return 0, int(kind != SPARSE)
    coding, dims, at = _element(content, at + 16, order)
    if coding not in INTEGERS:
        raise ValueError("the shape of an array is missing")
    count = prod(struct.unpack(f"{order}{len(dims) // 4}I", dims[: len(dims) // 4 * 4]))
    if kind not in (CELL, STRUCT, OBJECT):
        return count, 0
    if kind == CELL:
        return 0, count
    for _ in range(1 if kind == STRUCT else 2):  # names of the array and of its class
        _, _, at = _element(content, at, order)
    _, width, at = _element(content, at, order)
    _, names, _ = _element(content, at, order)
    children = count * (len(names) // max(1, *struct.unpack(f"{order}I", width[:4])))
    return (0 if children else count), children


def _element(content: bytes, at: int, order: str) -> tuple[int, bytes, int]:
    """Type, bytes and end of a plain element; struct.error where there is none."""
    kind, length = struct.unpack_from(f"{order}II", content, at)
    if kind >> 16:
        return kind & 0xFFFF, content[at + 4 : at + 4 + (kind >> 16)], at + 8
    return kind, content[at + 8 : at + 8 + length], at + 8 + length + -length % 8

"""Plain arrays from npz files, also within bz2: never pickled, every fault a sentence.

The header of every wanted array is read first, so that its declared size can be compared with the
size of its member and with the free memory before any array is made.
"""

from __future__ import annotations

import bz2
import contextlib
import io
import lzma
import os
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

from study.formats.limits import (
    EXPANSION,
    SMALL_BYTES,
    check_expansion,
    check_memory,
    working_bytes,
)
from study.reading import brief, open_regular
from study.settings import UserError

# What numpy and zipfile raise on torn bytes, wherever they are torn. Numpy warns of old headers.
TORN = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    IndexError,
    OverflowError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    Warning,
    struct.error,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
)
BLOCK_BYTES = 2**20


def read_arrays(path: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays called `names` that the file holds (all of them for None).

    Entries that nobody asks for are left unread, pickled ones included. Raises UserError when the
    file is absent, torn, pickled where it matters, or declares more than the memory can hold.
    """
    try:
        with _unpacked(path) as stream, zipfile.ZipFile(stream) as archive:
            members = {each.filename.removesuffix(".npy"): each for each in archive.infolist()}
            wanted = {k: each for k, each in members.items() if names is None or k in names}
            _check_headers(path, archive, wanted)
            return {name: _read(archive, member) for name, member in wanted.items()}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the path of an existing file") from None
    except TORN as error:
        raise UserError(
            f"{path} is not a complete npz file ({brief(error)}); give an npz file, or fetch it "
            "again"
        ) from None


def misfit(arrays: Mapping[str, np.ndarray], kinds: Mapping[str, tuple[str, int]]) -> str | None:
    """What is absent or of another kind than `kinds` say, as the end of a sentence, or None.

    `kinds`: numpy's letters for the type and the number of axes of every array, as ("fc", 2).
    """
    for name, (kind, axes) in kinds.items():
        if name not in arrays:
            return f"has no key {name}"
        array = arrays[name]
        if array.dtype.kind not in kind or array.ndim != axes:
            return f"holds {name} as {array.dtype} of shape {array.shape}"
    return None


def read_npy(path: Path) -> np.ndarray:
    """The array of an npy file. Raises as `open_regular` does, `TORN`, and UserError: too large."""
    with open_regular(path) as stream:
        shape, dtype = _declared(stream, path.name)
        start = stream.tell()
        _check_bytes(path.name, shape, dtype, os.fstat(stream.fileno()).st_size - start)
        check_memory(working_bytes(shape, dtype), f"{path}")
        stream.seek(0)
        return npy.read_array(stream, allow_pickle=False)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(member) as stream:
        return npy.read_array(stream, allow_pickle=False)


def _check_headers(
    path: Path, archive: zipfile.ZipFile, wanted: dict[str, zipfile.ZipInfo]
) -> None:
    """Raise UserError for arrays that are pickled, or too large together for file or memory."""
    needed = 0
    for name, member in wanted.items():
        with archive.open(member) as stream:
            shape, dtype = _declared(stream, member.filename)
            start = stream.tell()
        if dtype.hasobject:
            raise UserError(
                f"{path} holds pickled Python objects under {name!r}, which can run code; store "
                "plain numeric arrays with numpy.savez"
            )
        what = f"{name!r} of {path}, declared as {shape} {dtype},"
        declared = _check_bytes(name, shape, dtype, member.file_size - start)
        check_expansion(declared, member.compress_size, what)
        needed += working_bytes(shape, dtype)
    check_memory(needed, f"{path}")


def _declared(stream: Any, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type in the header of an npy stream. ValueError: not an array."""
    version = npy.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"{name!r} is in version {version} of the npy format")
    # Version 3 differs from 2 only in how names of fields are encoded.
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    try:
        shape, _, dtype = read(stream)
    except MemoryError:  # raised by Python's parser for deep nesting
        raise ValueError(f"the header of {name!r} is nested too deeply") from None
    if any(length < 0 for length in shape):
        raise ValueError(f"{name!r} declares the shape {shape}")
    return shape, dtype


def _check_bytes(name: str, shape: tuple[int, ...], dtype: np.dtype[Any], follow: int) -> int:
    """Bytes that an array of plain values declares. Raises ValueError unless as many follow."""
    declared = prod(shape) * dtype.itemsize
    if declared != follow and not dtype.hasobject:
        raise ValueError(f"{name!r} is {dtype} {shape}: {declared} bytes, but {follow} follow")
    return declared


@contextlib.contextmanager
def _unpacked(path: Path) -> Iterator[BinaryIO]:
    with open_regular(path) as stream:
        packed = stream.read(3) == b"BZh"
        stream.seek(0)
        yield _unpack_bz2(path, stream) if packed else stream


def _unpack_bz2(path: Path, stream: BinaryIO) -> io.BytesIO:
    """The content in memory, unpacked block by block: nothing states its size beforehand."""
    size = os.fstat(stream.fileno()).st_size
    content = io.BytesIO()
    with bz2.open(stream) as packed:
        while block := packed.read(BLOCK_BYTES):
            content.write(block)
            if content.tell() > max(SMALL_BYTES, EXPANSION * size):
                check_expansion(content.tell(), size, f"{path}, unpacked,")
            # The buffer may grow once more, and the arrays are read beside it.
            check_memory(content.tell(), f"{path}, unpacked,")
    return content

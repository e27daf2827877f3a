"""Zarr arrays on disk, format 2 or 3, as folders of chunks.

Read here, not by the zarr package: what a chunk may unpack to has to be bounded, and the codecs
that run have to be few and known. Chunks may be plain or packed with Blosc, LZ4, Zstd, zlib or
gzip. No link in the folder is followed, and chunks never leave it.
"""

from __future__ import annotations

import os
import stat
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np

from study.formats.entries import words
from study.formats.limits import check_expansion, check_memory, working_bytes
from study.reading import brief, parse_json, read_bytes
from study.settings import UserError

MOST_FILES = 2_000_000
KINDS = (stat.S_IFREG, stat.S_IFDIR)
METADATA_BYTES = 2**20
LARGEST_ARRAY_BYTES = 2**60
ARRAY_2, GROUP_2, ATTRIBUTES_2, NODE_3 = ".zarray", ".zgroup", ".zattrs", "zarr.json"


def is_zarr(path: Path) -> bool:
    return any((path / name).is_file() for name in (ARRAY_2, GROUP_2, NODE_3))


def store_files(path: Path) -> list[Path]:
    """Every file of the store in order. Raises UserError for links, pipes and too many files."""
    found: list[Path] = []
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            if stat.S_IFMT((Path(folder) / name).lstat().st_mode) not in KINDS:
                raise UserError(
                    f"{Path(folder) / name} is neither a file nor a folder; copy the store without "
                    "links, pipes and devices"
                )
        found += [Path(folder) / name for name in files]
        if len(found) > MOST_FILES:
            raise UserError(f"{path} holds more than {MOST_FILES} files; store larger chunks")
    return sorted(found)


# --- chunks -----------------------------------------------------------------------------------


def _zlib(content: bytes, size: int) -> bytes:
    """At most one byte more than the chunk has."""
    return zlib.decompressobj(wbits=zlib.MAX_WBITS | 32).decompress(content, size + 1)


def _numcodecs(name: str) -> Callable[[bytes, int], bytes]:
    """A codec that unpacks into a buffer of the chunk's size, and fails for larger ones."""

    def unpack(content: bytes, size: int) -> bytes:
        out = bytearray(size)
        numcodecs.get_codec({"id": name}).decode(content, out=out)
        return bytes(out)

    return unpack


UNPACK: Mapping[str, Callable[[bytes, int], bytes]] = {
    "zlib": _zlib,
    "gzip": _zlib,
    "blosc": _numcodecs("blosc"),
    "lz4": _numcodecs("lz4"),
    "zstd": _numcodecs("zstd"),
}


@dataclass(frozen=True)
class _Array:
    """What the metadata of one array says. `codec`: None for plain chunks."""

    folder: Path
    shape: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    fill: Any
    order: str
    codec: str | None
    prefix: str
    separator: str
    attributes: Mapping[str, Any]

    def chunk(self, at: Sequence[int]) -> np.ndarray:
        """One chunk, whole. Raises UserError where it does not unpack to its size."""
        place = self.separator.join(map(str, at)) if at else "0"
        file = self.folder / f"{self.prefix}{place}"
        if not file.is_file():
            # Not written: all of it has the fill value. Links were refused with the store's files.
            return np.full(self.chunks, self.fill, self.dtype)
        size = prod(self.chunks) * self.dtype.itemsize
        content = read_bytes(file, 2 * size + 4096)
        try:
            plain = content if self.codec is None else UNPACK[self.codec](content, size)
        except (RuntimeError, ValueError, zlib.error) as error:
            raise UserError(f"{file} cannot be unpacked ({brief(error)}); fetch it again") from None
        if len(plain) != size:
            raise UserError(f"{file} unpacks to other than {size} bytes; fetch it again")
        order = "F" if self.order == "F" else "C"
        return np.frombuffer(plain, self.dtype).reshape(self.chunks, order=order)


class ZarrEntries:
    """Arrays of a Zarr folder by their path in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        files = store_files(path)
        self._stored = sum(file.stat().st_size for file in files)
        self._arrays: dict[str, _Array] = {}
        for file in files:
            name = file.parent.relative_to(path).as_posix()
            if file.name == ARRAY_2:
                self._arrays["" if name == "." else name] = _version_2(file)
            elif file.name == NODE_3 and (found := _version_3(file)) is not None:
                self._arrays["" if name == "." else name] = found
        if "" in self._arrays:  # the store is one array
            self._arrays["data"] = self._arrays.pop("")
        self.names = frozenset(self._arrays)

    def shape(self, name: str) -> tuple[int, ...]:
        return self._arrays[name].shape

    def dtype(self, name: str) -> np.dtype[Any]:
        return self._arrays[name].dtype

    def read(self, name: str) -> np.ndarray:
        return self.part(name, (slice(None),) * len(self.shape(name)))

    def part(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
        array = self._arrays[name]
        ranges = [range(*each.indices(n)) for each, n in zip(index, array.shape, strict=True)]
        shape = tuple(map(len, ranges))
        what = f"{name!r} of {self.path}, declared as {array.shape} {array.dtype},"
        chunk = prod(array.chunks) * array.dtype.itemsize
        check_expansion(max(chunk, prod(array.shape) * array.dtype.itemsize), self._stored, what)
        check_memory(max(working_bytes(shape, array.dtype), 2 * chunk), what)
        out = np.empty(shape, array.dtype)
        if not prod(shape):
            return out
        spans = [
            range(each.start // length, (each.stop - 1) // length + 1)
            for each, length in zip(ranges, array.chunks, strict=True)
        ]
        for at in product(*spans):
            target, source = [], []
            for number, length, wanted in zip(at, array.chunks, ranges, strict=True):
                low = max(number * length, wanted.start)
                high = min((number + 1) * length, wanted.stop)
                target.append(slice(low - wanted.start, high - wanted.start))
                source.append(slice(low - number * length, high - number * length))
            out[tuple(target)] = array.chunk(at)[tuple(source)]
        return out

    def attribute(self, name: str, key: str) -> Any:
        return self._arrays[name].attributes.get(key) if name in self._arrays else None

    def text(self, name: str) -> str | None:
        return words(self._arrays[name].attributes.get("value"))


# --- metadata ---------------------------------------------------------------------------------


def _json(file: Path) -> Any:
    return parse_json(read_bytes(file, METADATA_BYTES), file)


def _version_2(file: Path) -> _Array:
    """Raises UserError for what this reader does not know."""
    given = _json(file)
    attributes = file.with_name(ATTRIBUTES_2)
    try:
        compressor = given["compressor"]
        codec = None if compressor is None else str(compressor["id"])
        if given.get("filters"):
            raise ValueError(f"filters {given['filters']!r}")
        separator = given.get("dimension_separator", ".")
        shape, chunks = _lengths(given["shape"]), _lengths(given["chunks"])
        dtype, fill, order = _numeric(given["dtype"]), given["fill_value"], given["order"]
        return _checked(
            _Array(
                file.parent,
                shape,
                chunks,
                dtype,
                fill or 0,
                order,
                codec,
                "",
                separator,
                _json(attributes) if attributes.is_file() else {},
            )
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError) as error:
        raise _refused(file, error) from None


def _version_3(file: Path) -> _Array | None:
    """None for a group. Raises UserError for what this reader does not know."""
    given = _json(file)
    try:
        if given["node_type"] != "array":
            return None
        grid, keys = given["chunk_grid"], given["chunk_key_encoding"]
        if grid["name"] != "regular" or keys["name"] not in ("default", "v2"):
            raise ValueError(f"{grid['name']} chunks named by {keys['name']}")
        codecs = [(each["name"], each.get("configuration", {})) for each in given["codecs"]]
        stored, packers = codecs[0], [name for name, _ in codecs[1:] if name != "crc32c"]
        if stored[0] != "bytes" or len(packers) > 1 or len(codecs) - len(packers) > 1:
            raise ValueError(f"codecs {[name for name, _ in codecs]}")
        dtype = np.dtype(str(given["data_type"]))
        dtype = _numeric(dtype.newbyteorder(">" if stored[1].get("endian") == "big" else "<"))
        default = "/" if keys["name"] == "default" else "."
        separator = keys.get("configuration", {}).get("separator", default)
        return _checked(
            _Array(
                file.parent,
                _lengths(given["shape"]),
                _lengths(grid["configuration"]["chunk_shape"]),
                dtype,
                given["fill_value"] or 0,
                "C",
                packers[0] if packers else None,
                f"c{separator}" if keys["name"] == "default" else "",
                separator,
                given.get("attributes", {}),
            )
        )
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, IndexError) as error:
        raise _refused(file, error) from None


def _refused(file: Path, error: Exception) -> UserError:
    return UserError(
        f"{file} describes an array that is not read here ({brief(error)}); accepted: numbers "
        f"in regular chunks, plain or packed with {', '.join(UNPACK)}, without filters or shards"
    )


def _lengths(given: Sequence[Any]) -> tuple[int, ...]:
    lengths = tuple(int(each) for each in given)
    if any(each < 0 for each in lengths) or lengths != tuple(given):
        raise ValueError(f"lengths {given}")
    return lengths


def _numeric(given: Any) -> np.dtype[Any]:
    dtype = np.dtype(given)
    if dtype.kind not in "biufc":
        raise ValueError(f"type {given}")
    return dtype


def _checked(array: _Array) -> _Array:
    if len(array.shape) != len(array.chunks) or not all(array.chunks):
        raise ValueError(f"shape {array.shape} in chunks of {array.chunks}")
    if max(prod(array.shape), prod(array.chunks)) * array.dtype.itemsize > LARGEST_ARRAY_BYTES:
        raise ValueError("its size, more than any file system holds")
    if array.codec is not None and array.codec not in UNPACK:
        raise ValueError(f"codec {array.codec}")
    if array.separator not in (".", "/") or not isinstance(array.attributes, Mapping):
        raise ValueError("separator or attributes")
    np.full((), array.fill, array.dtype)
    return array

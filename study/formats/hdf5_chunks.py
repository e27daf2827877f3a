"""Packed chunks of an HDF5 array: which packings are accepted, and what a chunk may unpack to.

A chunk unpacks to its end whatever size the array declares: a megabyte can become a gigabyte. Most
packings state the unpacked size in the first bytes of a chunk, which are compared with the declared
one; deflate states none, so a chunk that could be too large is unpacked here first, up to the
declared size. Packings of detectors (bitshuffle, LZ4, Zstd, Blosc) come from `hdf5plugin`.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import h5py
import hdf5plugin  # noqa: F401  registers the packings below

from study.formats.limits import SMALL_BYTES, check_memory
from study.reading import open_regular
from study.settings import UserError

# Numbers under which the HDF Group has registered the packings.
BLOSC, LZ4, BITSHUFFLE, ZSTD = 32001, 32004, 32008, 32015
DEFLATE, LZF = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_LZF
# The most that a stored byte can unpack to (zlib's technical notes; the LZF format).
MOST_PER_BYTE = {DEFLATE: 1032, LZF: 88}
HEAD_BYTES = 24


def _big_endian(head: bytes) -> int:
    return int.from_bytes(head[:8], "big")


def _blosc(head: bytes) -> int:
    return int.from_bytes(head[4:8], "little")


def _zstd(head: bytes) -> int:
    """Content size of a Zstandard frame (RFC 8878, 3.1.1.1). Raises ValueError: not stated."""
    flags = head[4]
    single = bool(flags & 0x20)
    width = (1 if single else 0, 2, 4, 8)[flags >> 6]
    if head[:4] != b"\x28\xb5\x2f\xfd" or not width:
        raise ValueError("a Zstd chunk does not state its size")
    start = 5 + (not single) + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(head[start : start + width], "little") + (256 if width == 2 else 0)


STATED: dict[int, Callable[[bytes], int]] = {
    BLOSC: _blosc,
    BITSHUFFLE: _big_endian,
    LZ4: _big_endian,
    ZSTD: _zstd,
}
# Shuffle, checksum, szip, n-bit and scale-offset unpack to what the array declares.
PLAIN = (2, 3, 4, 5, 6)
ACCEPTED = (*PLAIN, *MOST_PER_BYTE, *STATED)


def check_chunks(stored: h5py.Dataset, what: str) -> None:
    """Raise UserError for a packing that is not accepted, or a chunk that unpacks to too much.

    `what`: the subject of the sentence.
    """
    filters = _filters(stored, what)
    packers = [number for number in filters if number not in PLAIN]
    if len(packers) > 1:
        raise UserError(f"{what} is packed {len(packers)} times; write it with one compression")
    chunk = stored.dtype.itemsize * prod(stored.chunks or ())
    if packers and packers[0] in STATED:
        _check_stated(stored, packers[0], filters, chunk, what)
    elif packers:
        _check_unstated(stored, packers[0], chunk, what)


def _filters(stored: h5py.Dataset, what: str) -> list[int]:
    packing = stored.id.get_create_plist()
    filters = [packing.get_filter(index) for index in range(packing.get_nfilters())]
    for number, _, options, name in filters:
        if number not in ACCEPTED or not h5py.h5z.filter_avail(number):
            raise UserError(
                f"{what} is packed with HDF5 filter {number} ({name.decode(errors='replace')!r}), "
                "which is not accepted; repack it with `h5repack -f GZIP=4` where it was written"
            )
        # Bitshuffle has a compression only when its fifth option says so.
        if number == BITSHUFFLE and not (len(options) > 4 and options[4]):
            filters = [each for each in filters if each[0] != number]
    return [number for number, *_ in filters]


def _places(stored: h5py.Dataset) -> list[Any]:
    places: list[Any] = []
    stored.id.chunk_iter(places.append)
    return places


def _check_stated(
    stored: h5py.Dataset, packer: int, filters: Sequence[int], chunk: int, what: str
) -> None:
    """The size stated in the first bytes of every chunk; read past HDF5, which would unpack it."""
    skipped = 1 << list(filters).index(packer)
    with open_regular(stored.file.filename) as stream:
        for place in _places(stored):
            if place.filter_mask & skipped:
                continue
            if stored.file.userblock_size:  # offsets do not count it in every HDF5 version
                head = stored.id.read_direct_chunk(place.chunk_offset)[1][:HEAD_BYTES]
            else:
                head = os.pread(stream.fileno(), min(HEAD_BYTES, place.size), place.byte_offset)
            if STATED[packer](head.ljust(HEAD_BYTES, b"\0")) > chunk:
                raise _too_large(what, chunk, place)


def _check_unstated(stored: h5py.Dataset, packer: int, chunk: int, what: str) -> None:
    for place in _places(stored):
        unpacked = place.size * MOST_PER_BYTE[packer]
        if unpacked <= SMALL_BYTES:
            continue
        if packer == DEFLATE and not place.filter_mask:
            _, content = stored.id.read_direct_chunk(place.chunk_offset)
            if len(zlib.decompressobj().decompress(content, chunk + 1)) > chunk:
                raise _too_large(what, chunk, place)
        else:
            check_memory(unpacked, f"{what} with a chunk of {place.size} packed bytes,")


def _too_large(what: str, chunk: int, place: Any) -> UserError:
    return UserError(
        f"{what} has chunks of {chunk} bytes, but the one at {place.chunk_offset} unpacks to more; "
        "make the file again"
    )

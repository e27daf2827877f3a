"""The table of readers: which layout a scan file has, and who reads it.

A reader is one file, mostly in `layouts`, and one line of `READERS` (NumPy archives have their own,
`npz`). It declares the entries by which its layout is known, and returns a `RawScan` with what the
layout states: units, probe modes, mask. What it leaves open (counts or amplitudes, zero frequency,
orientation) is found from the data later.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from study.formats.arrays import TORN
from study.formats.cxi_measured import PROBES, is_cxi, read_measured_cxi
from study.formats.entries import Entries, Hdf5Entries, has
from study.formats.hdf5 import (
    DAMAGED,
    attribute_at,
    check_readable,
    linked_files,
    objects,
    open_hdf5,
)
from study.formats.layouts import dectris, hdf5_pair, nsls2, ptychoshelves, ptypy, stem4d
from study.formats.mat5 import Mat5Entries, is_mat5
from study.formats.measured import PROPAGATION_KEYS, RawScan, refuse_near_field
from study.formats.npz import read_npz
from study.formats.positions import Beside
from study.formats.probe import read_probe
from study.formats.zarr_store import ZarrEntries, is_zarr, store_files
from study.reading import brief, hash_of_file, open_regular
from study.settings import UserError

PTYPY_PROBE = re.compile(r"content/probe/[^/]+/data")


@dataclass(frozen=True)
class Reader:
    """One layout: its name, the entries it is known by, whether a file has them, and the reader."""

    name: str
    marks: str
    fits: Callable[[Entries], bool]
    read: Callable[[Entries, Beside], RawScan]


READERS = (
    Reader("CXI", "entry_1/instrument_1/detector_1", is_cxi, read_measured_cxi),
    Reader("Dectris master", "entry/data/data_000001", dectris.fits, dectris.read),
    Reader("NSLS-II", "diffamp, points", nsls2.fits, nsls2.read),
    Reader("ptypy", "chunks/0/data (.ptyd)", ptypy.fits, ptypy.read),
    Reader("dp and para pair", "dp in *_dp.hdf5", hdf5_pair.fits, hdf5_pair.read),
    Reader("PtychoShelves", "dp, probe, outputs", ptychoshelves.fits, ptychoshelves.read),
    Reader("4D-STEM", "an array of four axes", stem4d.fits, stem4d.read),
)


def read_raw(path: Path, beside: Beside | None = None) -> RawScan:
    """The scan in `path`, read by the first reader of the table whose layout it has.

    `beside`: what the user gives with the file. Raises UserError for every fault of the file, also
    when no reader knows it.
    """
    path, beside = Path(path), beside or Beside()
    if path.is_dir():
        return _known(ZarrEntries(path), beside) if is_zarr(path) else _unknown(path)
    head = _head(path)
    try:
        if _is_hdf5(head):
            with open_hdf5(path, folder_links=True) as file:
                _refuse_near_field(file, path)
                return _known(Hdf5Entries(file, path), beside)
        if is_mat5(head):
            return _known(Mat5Entries(path), beside)
    except KeyError as error:
        raise UserError(
            f"{path} lacks an entry of its layout ({error.args[0]}); export the scan again with it"
        ) from None
    except (*DAMAGED, *TORN) as error:
        raise UserError(
            f"{path} is truncated or damaged ({brief(error)}); fetch it again"
        ) from None
    if head.startswith((b"PK", b"BZh")):
        return read_npz(path)
    return _unknown(path)


def _refuse_near_field(file: h5py.File, path: Path) -> None:
    """Raise UserError when any small entry or attribute speaks of near field."""
    for name, node in [("", file), *objects(file, path)]:
        # Only what is asked for is read: others may be of any size and type.
        for key in node.attrs:
            if key.lower() in PROPAGATION_KEYS:
                refuse_near_field(f"{name}/{key}".lstrip("/"), attribute_at(node, key), path)
        word = name.rsplit("/", 1)[-1].lower() in PROPAGATION_KEYS
        if word and isinstance(node, h5py.Dataset) and node.size == 1:
            check_readable(node, node.shape)
            refuse_near_field(name, node[()], path)


def _known(entries: Entries, beside: Beside) -> RawScan:
    for reader in READERS:
        if reader.fits(entries):
            return reader.read(entries, beside)
    names = sorted(entries.names)
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    known = "; ".join(f"{reader.name} ({reader.marks})" for reader in READERS)
    raise UserError(f"{entries.path} holds {shown or 'no array'}; accepted layouts: {known}")


def _unknown(path: Path) -> RawScan:
    raise UserError(
        f"{path} is neither HDF5, MATLAB (.mat), Zarr (v2 or v3 folder) nor npz, plain or in bz2; "
        "convert it to CXI or npz"
    )


def _head(path: Path) -> bytes:
    try:
        with open_regular(path) as stream:
            return stream.read(520)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give an existing scan file") from None


def read_probe_of(path: Path) -> np.ndarray:
    """The probe (..., m, m) that a file of any known kind holds, as stored.

    Raises UserError where the file is absent, damaged or holds no probe.
    """
    head = _head(path)
    try:
        if _is_hdf5(head):
            with open_hdf5(path, folder_links=True) as file:
                return _probe(Hdf5Entries(file, path))
        if is_mat5(head):
            return _probe(Mat5Entries(path))
    except (*DAMAGED, *TORN) as error:
        raise UserError(
            f"{path} is truncated or damaged ({brief(error)}); fetch it again"
        ) from None
    return read_probe(path)


def _probe(entries: Entries) -> np.ndarray:
    ptypys = sorted(name for name in entries.names if PTYPY_PROBE.fullmatch(name))
    for name in (*PROBES, *ptypys, "prb", "probe"):
        if has(entries, name) and entries.dtype(name).kind == "c":
            probe = entries.read(name)
            return np.swapaxes(probe, -1, -2) if has(entries, "outputs/probe_positions") else probe
    raise UserError(
        f"{entries.path} holds no probe; accepted: {', '.join(PROBES)}, content/probe/NAME/data, "
        "prb or probe, complex"
    )


def _is_hdf5(head: bytes) -> bool:
    """MATLAB puts 512 bytes of its own before the file."""
    return b"\x89HDF" in (head[:4], head[512:516])


def files_of(path: Path) -> list[Path]:
    """Every file that belongs to a scan: itself, those it links to, its other half, its chunks."""
    if path.is_dir():
        return store_files(path)
    if not _is_hdf5(_head(path)):
        return [path]
    try:
        other = hdf5_pair.half_beside(path)
        return [*linked_files(path), *([] if other is None else [other])]
    except DAMAGED as error:
        raise UserError(
            f"{path} is truncated or damaged ({brief(error)}); fetch it again"
        ) from None


def hash_of(path: Path) -> str:
    """sha256 of the content of all files of a scan; of a single file its own.

    Raises UserError for files that cannot be read.
    """
    digests = [hash_of_file(file) for file in files_of(path)]
    if len(digests) == 1:
        return digests[0]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()

"""Small files that declare large arrays, and faults that libraries report in ways of their own."""

from __future__ import annotations

import json
import struct
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import pytest
import scipy.io

from study.artifacts.listings import UnsafeListing, read_listing
from study.formats.mask_file import read_mask
from study.formats.mat5 import Mat5Entries
from study.formats.positions import Beside, read_positions
from study.formats.readers import read_raw
from study.reading import LONGEST_QUOTE, UserError, hash_of_file

ARRAY = {
    "shape": [4, 6, 8, 8],
    "chunks": [4, 6, 8, 8],
    "dtype": "<f4",
    "compressor": None,
    "fill_value": 0,
    "order": "C",
}
STEP = Beside(step_px=(2.0, 2.0))


def refused_within(peak_bytes: float, call: Callable[[], object]) -> str:
    """The sentence of the refusal, which took less memory than `peak_bytes`."""
    tracemalloc.start()
    try:
        with pytest.raises(UserError) as refused:
            call()
        assert tracemalloc.get_traced_memory()[1] < peak_bytes
    finally:
        tracemalloc.stop()
    assert len(str(refused.value)) < 1000
    return str(refused.value)


def zarr(folder: Path, **changed: object) -> Path:
    folder.mkdir()
    (folder / ".zarray").write_text(json.dumps({**ARRAY, **changed}))
    return folder


def test_a_raster_that_is_only_declared_is_refused_unread(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file.create_dataset("d/data", (3000, 3000, 8, 8), "u1")
    refused_within(2e7, lambda: read_raw(tmp_path / "scan.h5", STEP))


@pytest.mark.parametrize(
    "changed",
    [
        {"shape": [float("inf")] * 4},
        {"chunks": [float("inf")] * 4},
        {"shape": [10**30] * 4},
        {"shape": [2**31] * 4},
        {"shape": [2**14, 2**14, 8, 8]},
        {"chunks": [10**18] * 4},
        {"dtype": "?" * 60_000},
    ],
)
def test_a_zarr_array_that_is_only_declared_is_refused(
    tmp_path: Path, changed: dict[str, object]
) -> None:
    store = zarr(tmp_path / "scan.zarr", **changed)
    refused_within(2e7, lambda: read_raw(store, STEP))


# --- MATLAB 5 ---------------------------------------------------------------------------------


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + b"\0" * (-len(content) % 8)


def matrix(kind: int, dims: tuple[int, int], *parts: bytes) -> bytes:
    flags = element(6, struct.pack("<II", kind, 0))
    head = flags + element(5, struct.pack("<ii", *dims)) + element(1, b"a")
    return element(14, head + b"".join(parts))


def mat_file(folder: Path, variable: bytes, packed: bool) -> Path:
    scipy.io.savemat(folder / "m.mat", {"a": 1.0})
    header = (folder / "m.mat").read_bytes()[:128]
    if packed:
        content = zlib.compress(variable)
        variable = struct.pack("<II", 15, len(content)) + content
    (folder / "m.mat").write_bytes(header + variable)
    return folder / "m.mat"


FIELDS = element(5, struct.pack("<i", 2)), element(1, b"f\0g\0")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(
    "variable",
    [
        matrix(1, (2**22, 1)),
        matrix(2, (2**22, 1), *FIELDS),
        matrix(4, (2**22, 1), element(16, b"")),
        matrix(2, (1, 1), *FIELDS, matrix(1, (2**22, 1)), matrix(6, (0, 0))),
        matrix(1, (2**22, 2**22)),
    ],
    ids=["cell", "struct", "text", "cell in struct", "overflow"],
)
def test_matlab_arrays_that_are_only_declared_are_refused(
    tmp_path: Path, variable: bytes, packed: bool
) -> None:
    path = mat_file(tmp_path, variable, packed)
    refused_within(1e7, lambda: read_mask(path, 8))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [0, 8, 10, 11, 19, 20, 0xFFFF, 2**32 - 1])
def test_matlab_types_that_the_format_lacks_are_refused(
    tmp_path: Path, kind: int, packed: bool
) -> None:
    """scipy takes the type as a place in a table of pointers: reading one ends the process."""
    path = mat_file(tmp_path, matrix(6, (1, 1), element(kind, b"\0" * 8)), packed)
    with pytest.raises(UserError, match="type"):
        read_mask(path, 8)


@pytest.mark.parametrize("do_compression", [False, True])
def test_matlab_structs_cells_and_texts_are_read(tmp_path: Path, do_compression: bool) -> None:
    numbers = np.arange(12.0).reshape(3, 4)
    cell = np.array([1, "text", np.zeros((0, 0)), [2, 3]], object)
    record = {"a": numbers, "b": {"c": numbers + 1j, "d": cell}, "long_name": "words"}
    content = {"n": numbers, "s": record, "c": cell, "e": np.zeros((2, 0)), "t": "", "i": np.eye(2)}
    scipy.io.savemat(tmp_path / "m.mat", content, do_compression=do_compression)
    entries = Mat5Entries(tmp_path / "m.mat")
    assert np.array_equal(entries.read("n").T, numbers)
    assert np.array_equal(entries.read("s/b/c").T, numbers + 1j)


# --- positions, masks, names ------------------------------------------------------------------


def test_a_long_field_of_positions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_text('y,x\n"' + "1" * 200_000 + '",2\n')
    with pytest.raises(UserError, match=r"p\.csv"):
        read_positions(Beside(positions=str(tmp_path / "p.csv"), units="px"))


@pytest.mark.parametrize("line", ["\n", "\r\n", "\r"])
def test_positions_are_read_with_any_line_end(tmp_path: Path, line: str) -> None:
    (tmp_path / "p.csv").write_bytes(line.join(["y_nm,x_nm", "1,2", "3,4"]).encode("utf-8-sig"))
    table = read_positions(Beside(positions=str(tmp_path / "p.csv"))).table
    assert table.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("name", ["m.npy", "m.png", "t.png", "t.tif"])
def test_a_mask_that_libraries_refuse_is_refused_in_a_sentence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "m.npy":
        header = b"{'descr':" + b"[" * 4000 + b"]" * 4000 + b",'fortran_order':False,'shape':()}"
        path.write_bytes(b"\x93NUMPY\x02\x00" + struct.pack("<I", len(header)) + header)
    else:
        PIL.Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
        content = bytearray(path.read_bytes())
        if name == "m.png":
            content[16:24] = struct.pack(">II", 2**31 - 1, 2**31 - 1)
            content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
        path.write_bytes(content if name == "m.png" else content[:45])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sentence = refused_within(1e7, lambda: read_mask(path, 8))
    assert "None" not in sentence and len(sentence) < len(str(path)) + 2 * LONGEST_QUOTE


def test_a_path_with_a_null_byte_is_refused() -> None:
    with pytest.raises(UserError):
        hash_of_file("probe\0.npz")


def test_a_listing_beyond_any_output_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "l.dir").open("wb") as stream:
        stream.truncate(2**27)
    with pytest.raises(UnsafeListing, match="bytes"):
        read_listing(tmp_path / "l.dir")

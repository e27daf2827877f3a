"""Scan files with one fault each, drawn by number: what a user, or an attacker, may bring.

    python -m formats.hostile FIRST LAST    imports these numbers in one process; JSON at the end

Every number is a file of one of three containers (npz, npz in bz2, CXI) with one fault. The process
bounds its memory, so that a declared size that is believed ends it.
"""

from __future__ import annotations

import bz2
import io
import json
import resource
import sys
import tempfile
import time
import traceback
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

DETECTOR = "entry_1/instrument_1/detector_1"
SOURCE = "entry_1/instrument_1/source_1"
TRANSLATION = "entry_1/sample_1/geometry_1/translation"
PATTERNS, N = 24, 8
# Its patterns are drawn from no object, so that no convention explains them.
KNOWN = {
    "values": "counts",
    "zero_frequency": "centre",
    "frame_orientation": "as_stored",
    "position_order": "yx",
    "position_flip": "none",
}
MEMORY_BYTES = 4 * 2**30
LONGEST_S = 30  # of processor time for one file; most take milliseconds
Arrays = dict[str, Any]
Draw = np.random.Generator


def good_arrays(container: str) -> Arrays:
    """The arrays of a scan that is accepted, under the names of their container."""
    draw = np.random.default_rng(0)
    y, x = (axis.ravel() for axis in np.mgrid[0:4, 0:6] * 2.0)
    steps = np.hypot(*np.mgrid[-4:4, -4:4])
    counts = draw.poisson(200 * np.exp(-steps), (PATTERNS, N, N)).astype(np.float32)
    probe = np.exp(-((steps / 3) ** 2) + 0.1j * steps).astype(np.complex64)
    if container != "cxi":
        return {
            "diffraction": np.sqrt(counts),
            "probeGuess": probe,
            "xcoords": x + N // 2,
            "ycoords": y + N // 2,
        }
    pixel_m = 1.9864458571489286e-25 / 1.28e-15 * 2.0 / (N * 75e-6)
    return {
        f"{DETECTOR}/data": counts,
        f"{DETECTOR}/mask": np.zeros((N, N), np.uint32),
        f"{DETECTOR}/distance": np.float64(2.0),
        f"{DETECTOR}/x_pixel_size": np.float64(75e-6),
        f"{DETECTOR}/y_pixel_size": np.float64(75e-6),
        f"{SOURCE}/energy": np.float64(1.28e-15),
        f"{SOURCE}/illumination": probe,
        TRANSLATION: np.stack([x, y, 0 * x], axis=1) * pixel_m,
    }


def known(path: Path) -> dict[str, str]:
    """The conventions of the good scan, which its patterns do not tell."""
    return {**KNOWN, "values": "counts" if path.suffix == ".cxi" else "amplitudes"}


# --- faults of one array ----------------------------------------------------------------------


def _dtype(draw: Draw, array: np.ndarray) -> np.ndarray:
    kinds = ["c8", "?", "f2", "g", "u8", "i1", "S3", "U5", "M8[s]", "m8[s]", "V4", "O", "f4,i2"]
    kind = np.dtype(kinds[draw.integers(len(kinds))])
    with np.errstate(all="ignore"):
        if kind.kind == "V" or kind.names:
            return np.zeros(array.shape, kind)
        if kind.kind in "Mm":
            return np.abs(array).astype(np.int64).astype(kind)
        return np.abs(array).astype(kind)


def _shape(draw: Draw, array: np.ndarray) -> np.ndarray:
    array = np.atleast_1d(array)
    changes: list[Callable[[], np.ndarray]] = [
        lambda: array[:0],
        lambda: array[:1],
        lambda: array[..., :1],
        lambda: array[..., :-1],
        lambda: array[None, None],
        lambda: array.T,
        lambda: array.ravel(),
        lambda: array.reshape(-1, 1, 1, 1, 1),
        lambda: np.repeat(array, 3, axis=0),
        lambda: array.flat[0],
        lambda: np.zeros((0, 8, 8), array.dtype),
    ]
    return np.asarray(changes[draw.integers(len(changes))]())


def _values(draw: Draw, array: np.ndarray) -> np.ndarray:
    bad = [np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-45, 1e-20, 1e20, 1e38, 2.0**32 - 1]
    value = bad[draw.integers(len(bad))]
    kind = array.dtype if array.dtype.kind in "fc" else np.dtype(float)
    changed = np.array(array, kind, copy=True)
    with np.errstate(all="ignore"):
        if draw.random() < 0.5 and changed.size > 1:
            changed.flat[draw.integers(changed.size)] = value
        elif np.isfinite(value) and draw.random() < 0.5:
            changed = changed * changed.dtype.type(value)
        else:
            changed = np.full_like(changed, value)
    return changed


def _far(draw: Draw, array: np.ndarray) -> np.ndarray:
    scale = 10.0 ** draw.integers(-12, 19)
    return array * scale if np.asarray(array).dtype.kind == "f" else array


ARRAY_FAULTS = (_dtype, _shape, _values, _far)


# --- containers -------------------------------------------------------------------------------


def write_npz(arrays: Arrays) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, allow_pickle=True, **arrays)
    return stream.getvalue()


def npz_with(member: str, content: bytes, arrays: Arrays) -> bytes:
    """The npz of `arrays` with one member replaced by any bytes."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            if name != member:
                plain = io.BytesIO()
                np.save(plain, array)
                archive.writestr(f"{name}.npy", plain.getvalue())
        archive.writestr(f"{member}.npy", content)
    return stream.getvalue()


def header_of(shape: object, descr: object = "<f4") -> bytes:
    """The header of an npy file that declares anything, with nothing behind it."""
    text = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


HEADERS: tuple[bytes, ...] = (
    header_of((10**6, 1000, 1000)),
    header_of((10**30, 10**30)),
    header_of((-2, -3, 8)),
    header_of((24, 8, 8), "|S1000000000"),
    header_of((24, 8, 8), [("a", "<f4"), ("b", "|O")]),
    header_of((24, 8, 8.5)),
    header_of("(" * 5000),
    b"\x93NUMPY\x09\x09",
    b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 9000,
    b"hello",
    b"",
)


def _npz(draw: Draw) -> bytes:
    arrays = good_arrays("npz")
    name = sorted(arrays)[draw.integers(len(arrays))]
    fault = draw.integers(len(ARRAY_FAULTS) + 3)
    if fault < len(ARRAY_FAULTS):
        return write_npz({**arrays, name: ARRAY_FAULTS[fault](draw, arrays[name])})
    if fault == len(ARRAY_FAULTS):
        return npz_with(name, HEADERS[draw.integers(len(HEADERS))], arrays)
    if fault == len(ARRAY_FAULTS) + 1:
        return write_npz({key: value for key, value in arrays.items() if key != name})
    return torn(draw, write_npz(arrays))


def torn(draw: Draw, content: bytes) -> bytes:
    """Cut short, or with some bytes flipped, also close to the end, where directories are."""
    if draw.random() < 0.3:
        return content[: draw.integers(len(content))]
    changed = bytearray(content)
    low = max(0, len(changed) - 400) if draw.random() < 0.3 else 0
    for at in draw.integers(low, len(changed), draw.integers(1, 40)):
        changed[at] ^= int(draw.integers(1, 256))
    return bytes(changed)


def write_cxi(path: Path, arrays: Arrays) -> None:
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            array = np.asarray(value)
            if array.dtype.kind in "UO":
                array = array.astype("S20")
            if array.dtype.kind in "Mm":
                array = array.astype(np.int64)
            file[name] = array


def point_elsewhere(file: h5py.File, name: str, other: Path, how: str) -> None:
    """Let `name` take its content from `other`, a file beside it."""
    shape, dtype = file[name].shape, file[name].dtype  # pyright: ignore
    del file[name]
    if how == "external link":
        file[name] = h5py.ExternalLink(str(other), name)
    elif how == "soft link to an external link":
        file["elsewhere"] = h5py.ExternalLink(str(other), "/")
        file[name] = h5py.SoftLink(f"/elsewhere/{name}")
    elif how == "external storage":
        size = int(np.prod(shape)) * dtype.itemsize
        file.create_dataset(name, shape, dtype, external=[(str(other), 0, size)])
    elif how == "virtual":
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource(str(other), name, shape)
        file.create_virtual_dataset(name, layout)
    elif how == "soft link to itself":
        file[name] = h5py.SoftLink(f"/{name}")
    elif how == "dangling soft link":
        file[name] = h5py.SoftLink("/nothing")


OUTSIDE = ("external link", "soft link to an external link", "external storage", "virtual")
LINKS = (*OUTSIDE, "soft link to itself", "dangling soft link")


def _huge(draw: Draw, file: h5py.File, name: str) -> None:
    """Declared, never written; or in a chunk that unpacks to more than the array."""
    del file[name]
    shape = [(10**6, 1000, 1000), (10**5, 10**5), (10**12,), (24, 8, 8)][draw.integers(4)]
    chunks = tuple(min(length, 1000) for length in shape)
    if shape == (24, 8, 8):
        file.create_dataset(
            name, shape, "f4", chunks=(8000, 300, 300), maxshape=(None,) * 3, compression="gzip"
        )
    else:
        file.create_dataset(name, shape, "f4", chunks=chunks)


def _cxi(draw: Draw, path: Path) -> None:
    arrays = good_arrays("cxi")
    name = sorted(arrays)[draw.integers(len(arrays))]
    fault = draw.integers(len(ARRAY_FAULTS) + 4)
    if fault < len(ARRAY_FAULTS):
        write_cxi(path, {**arrays, name: ARRAY_FAULTS[fault](draw, np.asarray(arrays[name]))})
    elif fault == len(ARRAY_FAULTS):
        write_cxi(path, {key: value for key, value in arrays.items() if key != name})
    else:
        write_cxi(path, arrays)
        if fault == len(ARRAY_FAULTS) + 1:
            write_cxi(path.with_name("other.cxi"), arrays)
            with h5py.File(path, "r+") as file:
                point_elsewhere(
                    file, name, path.with_name("other.cxi"), LINKS[draw.integers(len(LINKS))]
                )
        elif fault == len(ARRAY_FAULTS) + 2:
            with h5py.File(path, "r+") as file:
                _huge(draw, file, name)
        else:
            path.write_bytes(torn(draw, path.read_bytes()))


def write_case(number: int, folder: Path) -> Path:
    """The file of one number; the same number gives the same file."""
    draw = np.random.default_rng([15, number])
    container = ("npz", "npz.bz2", "cxi")[number % 3]
    path = folder / f"scan.{container}"
    if container == "cxi":
        _cxi(draw, path)
    elif container == "npz":
        path.write_bytes(_npz(draw))
    else:
        packed = bz2.compress(_npz(draw))
        path.write_bytes(torn(draw, packed) if draw.random() < 0.3 else packed)
    return path


# --- the campaign -----------------------------------------------------------------------------


def outcome(number: int, folder: Path) -> str:
    """`accepted`, `refused`, or what went wrong with the import of one number."""
    from study.settings import UserError
    from study.stages.importing import import_file

    path = write_case(number, folder)
    before = sorted(folder.rglob("*"))
    began = time.process_time()
    try:
        import_file(folder, path, "scan", None, known(path), track=False)
        ended = "accepted"
    except UserError:
        ended = "refused"
        if sorted(folder.rglob("*")) != before:
            return f"{path.name}: something was written"
    except Exception:
        return f"{path.name}: {traceback.format_exc()}"
    took = time.process_time() - began
    return f"{path.name}: took {took:.0f} s" if took > LONGEST_S else ended


def main(first: int, last: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    found: dict[str, list[int]] = {}
    for number in range(first, last):
        print(number, file=sys.stderr, flush=True)  # the last one, should the process die
        with tempfile.TemporaryDirectory() as folder:
            found.setdefault(outcome(number, Path(folder)), []).append(number)
    # Of this program alone: ru_maxrss keeps what the process was before it became this program.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
    print(json.dumps({"found": found, "peak_bytes": peak}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

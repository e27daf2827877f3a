"""CXI files (HDF5, NXcxi_ptycho layout): what other ptychography tools open.

    entry_1/instrument_1/detector_1/{data, distance, x_pixel_size, y_pixel_size}
    entry_1/instrument_1/detector_1/mask         where pixels were not measured: 1 at those, else 0
    entry_1/instrument_1/source_1/{energy, illumination}
    entry_1/sample_1/geometry_1/translation      metres
    entry_1/data_1/{data, translation}           links
    entry_1/probe_1/data                         P_sim, dimensionless
    entry_1/truth_1/data                         true object, where there is one
    entry_1/armature_1/...                       what the standard has no place for

CXI's translation is that of the sample, the negative of the beam's shift (Maia, Nature Methods 9,
854, 2012, and the CXI format), while rows of a detector without basis vectors run along -y and its
columns along -x. The two signs cancel: x = column * pixel, y = row * pixel. Lengths are in metres,
energies in joules. The bytes depend on the content alone: no time stamps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import h5py
import numpy as np
from jaxtyping import Bool, Complex64, Float32

from study.formats.frames import Frames, FramesOnDisk, blocks
from study.formats.geometry import Geometry
from study.formats.hdf5 import DAMAGED, array_at, check_readable, dataset_at, open_hdf5
from study.settings import UserError

DETECTOR = "entry_1/instrument_1/detector_1"
SOURCE = "entry_1/instrument_1/source_1"
MASK = f"{DETECTOR}/mask"
INVALID = 1  # CXI_PIXEL_INVALID
TRANSLATION = "entry_1/sample_1/geometry_1/translation"
PROBE = "entry_1/probe_1/data"
TRUTH = "entry_1/truth_1/data"
OURS = "entry_1/armature_1"
CLASSES = {
    "entry_1": "NXentry",
    "entry_1/instrument_1": "NXinstrument",
    DETECTOR: "NXdetector",
    SOURCE: "NXsource",
    "entry_1/sample_1": "NXsample",
    "entry_1/sample_1/geometry_1": "NXgeometry",
    "entry_1/data_1": "NXdata",
    "entry_1/probe_1": "NXcollection",
    OURS: "NXcollection",
}


@dataclass(frozen=True)
class CxiScan:
    """Content of one file: N frames in scan order, their corners in object px, probe, truth.

    `frames`: (N, n, n), in memory or left in the file. `mask`: True for measured pixels, None where
    all are. `extra`: small arrays and numbers kept in
    entry_1/armature_1.
    """

    frames: Frames
    positions_px: Float32[np.ndarray, "N 2"]
    probe: Complex64[np.ndarray, "n n"]
    truth: Complex64[np.ndarray, "I h w"] | None
    geometry: Geometry
    nominal: bool
    mask: Bool[np.ndarray, "n n"] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def write_cxi(
    path: Path, scan: CxiScan, written: Callable[[int], None] = lambda frames: None
) -> None:
    """Write one scan; `written` is called with the number of frames of every block.

    Not atomic by itself: callers write into a folder that is renamed whole.
    """
    with h5py.File(path, "w") as file:
        file["cxi_version"] = 160
        for group, kind in CLASSES.items():
            file.create_group(group).attrs["NX_class"] = kind
        file["entry_1/definition"] = "NXcxi_ptycho"
        _write_detector(file, scan, written)
        _write_positions(file, scan)
        _store(file, PROBE, scan.probe, units="dimensionless")
        file[f"{SOURCE}/illumination"] = h5py.SoftLink(f"/{PROBE}")
        if scan.truth is not None:
            _store(file, TRUTH, scan.truth, units="dimensionless")
        for name, value in scan.extra.items():
            _store(file, f"{OURS}/{name}", value)


def _store(file: h5py.File, path: str, value: Any, **attributes: Any) -> None:
    stored = file.create_dataset(path, data=value)
    for name, attribute in attributes.items():
        stored.attrs[name] = attribute


def _store_frames(
    file: h5py.File, path: str, frames: Frames, written: Callable[[int], None]
) -> h5py.Dataset:
    """Block by block: more frames may be written than memory holds."""
    stored = file.create_dataset(path, frames.shape, frames.dtype)
    start = 0
    for block in blocks(frames):
        stored[start : start + len(block)] = block
        start += len(block)
        written(len(block))
    return stored


def _write_detector(file: h5py.File, scan: CxiScan, written: Callable[[int], None]) -> None:
    geometry, nominal = scan.geometry, scan.nominal
    stored = _store_frames(file, f"{DETECTOR}/data", scan.frames, written)
    stored.attrs.update(axes="translation:y:x", units="photons")
    if scan.mask is not None:
        _store(file, MASK, np.where(scan.mask, 0, INVALID).astype(np.uint32))
    _store(file, f"{DETECTOR}/distance", geometry.distance_m, units="m", nominal=nominal)
    _store(file, f"{DETECTOR}/x_pixel_size", geometry.pixel_m, units="m", nominal=nominal)
    _store(file, f"{DETECTOR}/y_pixel_size", geometry.pixel_m, units="m", nominal=nominal)
    _store(file, f"{SOURCE}/energy", geometry.energy_j, units="J", nominal=nominal)


def _write_positions(file: h5py.File, scan: CxiScan) -> None:
    pixel_m = scan.geometry.object_pixel_m(scan.frames.shape[-1])
    metres = scan.positions_px[:, ::-1].astype(np.float64) * pixel_m
    _store(file, TRANSLATION, np.pad(metres, ((0, 0), (0, 1))), units="m")
    file[f"{DETECTOR}/translation"] = h5py.SoftLink(f"/{TRANSLATION}")
    file["entry_1/data_1/data"] = h5py.SoftLink(f"/{DETECTOR}/data")
    file["entry_1/data_1/translation"] = h5py.SoftLink(f"/{TRANSLATION}")
    file["entry_1/data_1"].attrs["signal"] = "data"


def read_cxi(path: Path) -> CxiScan:
    """A file that `write_cxi` wrote, its frames left there: `scan.frames[:]` has them in memory.

    Raises UserError: absent, torn, of another kind, too large, or referring to another file.
    """
    try:
        with open_hdf5(path) as file:
            return _read(path, file)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; simulate or import the data set again") from None
    except DAMAGED as error:
        raise UserError(
            f"{path} is torn or not a CXI file of a data set ({error}); simulate or import again"
        ) from None


def _read(path: Path, file: h5py.File) -> CxiScan:
    geometry = Geometry(
        energy_j=float(array_at(file, f"{SOURCE}/energy")),
        distance_m=float(array_at(file, f"{DETECTOR}/distance")),
        pixel_m=float(array_at(file, f"{DETECTOR}/x_pixel_size")),
    )
    stored = dataset_at(file, f"{DETECTOR}/data")
    check_readable(stored, stored.shape[1:])
    frames = FramesOnDisk.of(path, stored)
    metres = array_at(file, TRANSLATION)[:, 1::-1]
    names = list(cast(h5py.Group, file[OURS]))
    scan = CxiScan(
        frames=frames,
        positions_px=(metres / geometry.object_pixel_m(frames.shape[-1])).astype(np.float32),
        probe=array_at(file, PROBE),
        truth=array_at(file, TRUTH) if TRUTH in file else None,
        geometry=geometry,
        nominal=bool(file[f"{DETECTOR}/distance"].attrs["nominal"]),
        mask=array_at(file, MASK) == 0 if MASK in file else None,
        extra={name: array_at(file, f"{OURS}/{name}") for name in names},
    )
    _check(scan)
    return scan


def _check(scan: CxiScan) -> None:
    """Raise ValueError where an array is not of the type or the rank that a data set has."""
    for name, array, kinds, axes in (
        ("frames", scan.frames, "iuf", 3),
        ("positions", scan.positions_px, "f", 2),
        ("probe", scan.probe, "c", 2),
        ("truth", scan.truth, "c", 3),
        ("mask", scan.mask, "b", 2),
        ("image_index", scan.extra["image_index"], "iu", 1),
        ("object_shape", scan.extra["object_shape"], "iu", 1),
        ("probe_modes", scan.extra.get("probe_modes"), "c", 3),
    ):
        if array is not None and (array.dtype.kind not in kinds or len(array.shape) != axes):
            raise ValueError(f"{name}: {array.dtype} of shape {array.shape}")
    if scan.extra["object_shape"].shape != (2,) or not np.isfinite(scan.positions_px).all():
        raise ValueError("object_shape of other than two lengths, or positions that are not finite")

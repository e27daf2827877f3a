"""CXI files that others wrote: the same groups as ours, with the freedoms that are in use.

Translations stand as (J, 3) or (3, J), energies in joules or electron volts, the probe under
source_1/illumination or source_1/probe, bad pixels under detector_1/mask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from study.formats.cxi import DETECTOR, SOURCE, TRANSLATION, array_at
from study.formats.geometry import ELECTRON_VOLT_J, Geometry
from study.formats.measured import (
    RawScan,
    as_float,
    check_shape,
    refuse_near_field,
    squeeze_to,
)
from study.params import UserError

PROBES = (f"{SOURCE}/illumination", f"{SOURCE}/probe", f"{DETECTOR}/illumination")


def read_measured_cxi(path: Path) -> RawScan:
    """Read a far-field scan. Raises UserError: torn, near field, or groups missing."""
    try:
        with h5py.File(path, "r") as file:
            _refuse(file, path)
            return _read(file, path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the path of a CXI or npz file") from None
    except (OSError, RuntimeError) as error:
        raise UserError(f"{path} is truncated or no HDF5 file ({error}); fetch it again") from None
    except KeyError as error:
        raise UserError(
            f"{path} lacks what a CXI ptychography file holds ({error.args[0]}); accepted: "
            f"{DETECTOR}/data, distance, x_pixel_size, {SOURCE}/energy and {TRANSLATION}"
        ) from None


def _refuse(file: h5py.File, path: Path) -> None:
    """Raise UserError when any small entry or attribute speaks of near field."""

    def visit(name: str, node: Any) -> None:
        for key, value in node.attrs.items():
            refuse_near_field(f"{name}/{key}", value, path)
        if isinstance(node, h5py.Dataset) and node.size == 1:
            refuse_near_field(name, node[()], path)

    for key, value in file.attrs.items():
        refuse_near_field(key, value, path)
    file.visititems(visit)


def _read(file: h5py.File, path: Path) -> RawScan:
    patterns, said = _patterns(file, path)
    geometry = _geometry(file, path)
    metres = _translation(array_at(file, TRANSLATION), len(patterns), path)
    pixel_m = geometry.object_pixel_m(patterns.shape[-1])
    probe = next((found for name in PROBES if (found := _complex(file, name)) is not None), None)
    return RawScan(
        patterns=patterns,
        positions_px=metres[:, 1::-1] / pixel_m,
        probe=probe,
        object_shape=None,
        geometry=geometry,
        values="counts",
        zero_frequency="centre",
        said=("layout: CXI; positions are sample translations in metres", *said),
    )


def _patterns(file: h5py.File, path: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Detector frames, masked pixels set to zero, and the sentence about them."""
    patterns = array_at(file, f"{DETECTOR}/data")
    if patterns.ndim == 4 and patterns.shape[1] == 1:
        patterns = patterns[:, 0]
    patterns = squeeze_to(patterns, 3)
    check_shape(patterns, path)
    if f"{DETECTOR}/mask" not in file:
        return patterns, ()
    bad = squeeze_to(array_at(file, f"{DETECTOR}/mask"), 2) != 0
    if bad.shape != patterns.shape[-2:] or not bad.any():
        return patterns, ()
    said = f"mask: {int(bad.sum())} bad pixels a pattern set to zero counts"
    return np.where(bad, patterns.dtype.type(0), patterns), (said,)


def _geometry(file: h5py.File, path: Path) -> Geometry:
    """Energy, distance and pixel. Raises UserError for oblong pixels and for no numbers."""
    names = {
        "energy": f"{SOURCE}/energy",
        "distance": f"{DETECTOR}/distance",
        "x_pixel_size": f"{DETECTOR}/x_pixel_size",
        "y_pixel_size": f"{DETECTOR}/y_pixel_size",
    }
    found = {key: _number(array_at(file, name)) for key, name in names.items()}
    if not all(0 < value < np.inf for value in found.values()):
        raise UserError(f"{path} gives {found}; accepted: positive numbers, metres and joules")
    if not np.isclose(found["x_pixel_size"], found["y_pixel_size"], rtol=1e-3):
        raise UserError(
            f"{path} has detector pixels of {found['x_pixel_size']:g} x "
            f"{found['y_pixel_size']:g} m; accepted: square pixels; rebin the detector"
        )
    # A photon of a microjoule does not exist: larger numbers are electron volts.
    unit = 1.0 if found["energy"] < 1e-6 else ELECTRON_VOLT_J
    return Geometry(
        energy_j=found["energy"] * unit,
        distance_m=found["distance"],
        pixel_m=found["x_pixel_size"],
    )


def _number(stored: np.ndarray) -> float:
    """The first number stored, NaN where there is none."""
    usable = stored.size > 0 and np.issubdtype(stored.dtype, np.number)
    return float(stored.ravel()[0].real) if usable else float("nan")


def _translation(stored: np.ndarray, count: int, path: Path) -> np.ndarray:
    """(J, 2) x, y of translations stored as (J, 3), (J, 2) or transposed."""
    table = squeeze_to(as_float(stored, path), 2)
    if table.ndim == 2 and table.shape[0] != count and table.shape[1] == count:
        table = table.T
    if table.ndim != 2 or len(table) != count or table.shape[1] < 2:
        raise UserError(
            f"{path} holds {count} patterns but translations of shape {stored.shape}; accepted: "
            f"({count}, 3), in metres"
        )
    return table[:, :2]


def _complex(file: h5py.File, name: str) -> np.ndarray | None:
    """The array at `name` when it is a complex field (source_1/probe may be the word `x-ray`)."""
    found = array_at(file, name) if name in file else None
    return found if found is not None and np.iscomplexobj(found) else None

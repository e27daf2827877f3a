"""npz files of two families: PtychoPINN's and tike's, plain or wrapped in bz2; never pickled.

PtychoPINN   diffraction or diff3d (J, n, n) amplitudes, also (n, n, J); probeGuess;
             objectGuess; xcoords, ycoords: centres of the windows, object px
tike         data (1, J, n, n) counts, zero frequency in the corner; probe, one or more modes;
             scan (1, J, 2) window corners (y, x), object px
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from study.formats.arrays import read_arrays
from study.formats.dataset import Dataset
from study.formats.measured import (
    PROPAGATION_KEYS,
    RawScan,
    as_float,
    check_shape,
    refuse_near_field,
    squeeze_to,
)
from study.runs import write_npz
from study.settings import UserError

KEYS = {
    *("diffraction", "diff3d", "probeGuess", "objectGuess", "xcoords", "ycoords"),
    *("data", "probe", "scan"),
}


def read_npz(path: Path) -> RawScan:
    """Read a scan of either family. Raises UserError: absent, torn, pickled, or keys missing."""
    arrays = read_arrays(path, KEYS.union(PROPAGATION_KEYS))
    for name, value in arrays.items():
        refuse_near_field(name, value, path)
    if "xcoords" in arrays:
        return _ptychopinn(arrays, path)
    if "scan" in arrays:
        return _tike(arrays, path)
    raise UserError(
        f"{path} holds {', '.join(sorted(arrays)) or 'no known key'}; accepted: diffraction (or "
        "diff3d), xcoords, ycoords, probeGuess; or data, scan, probe"
    )


def _key(arrays: Mapping[str, np.ndarray], path: Path, *names: str) -> np.ndarray:
    for name in names:
        if name in arrays:
            return arrays[name]
    raise UserError(f"{path} has no key {' or '.join(names)}; it holds {', '.join(sorted(arrays))}")


def _ptychopinn(arrays: Mapping[str, np.ndarray], path: Path) -> RawScan:
    patterns = _key(arrays, path, "diffraction", "diff3d")
    y, x = (as_float(_key(arrays, path, name), path).ravel() for name in ("ycoords", "xcoords"))
    if len(y) != len(x):
        raise UserError(
            f"{path} holds {len(x)} xcoords and {len(y)} ycoords; one of each a pattern"
        )
    notes = ["layout: PtychoPINN npz; xcoords and ycoords taken as window centres"]
    if patterns.ndim == 3 and patterns.shape[0] != len(y) and patterns.shape[2] == len(y):
        patterns = np.moveaxis(patterns, 2, 0)
        notes.append("patterns: stored with the pattern on the last axis")
    check_shape(patterns.shape, patterns.dtype, path)
    obj = arrays.get("objectGuess")
    if obj is not None:
        notes.append("objectGuess: its frame is checked; it is not taken as truth")
    return RawScan(
        patterns=patterns,
        positions_px=np.stack([y, x], axis=1) - patterns.shape[-1] // 2,
        probe=arrays.get("probeGuess"),
        object_shape=None if obj is None or obj.ndim < 2 else (obj.shape[-2], obj.shape[-1]),
        geometry=None,
        values="amplitudes",
        zero_frequency="centre",
        notes=tuple(notes),
    )


def _tike(arrays: Mapping[str, np.ndarray], path: Path) -> RawScan:
    patterns = squeeze_to(_key(arrays, path, "data", "diffraction"), 3)
    check_shape(patterns.shape, patterns.dtype, path)
    return RawScan(
        patterns=patterns,
        positions_px=squeeze_to(as_float(arrays["scan"], path), 2),
        probe=arrays.get("probe"),
        object_shape=None,
        geometry=None,
        values="counts",
        zero_frequency="corner",
        notes=("layout: tike npz",),
    )


def export_npz(dataset: Dataset, split: str, path: Path) -> None:
    """Write one split in PtychoPINN's layout: amplitudes in sqrt(photons), centres of windows.

    `objectGuess` is the true object of the first image where there is one, else ones. Raises
    UserError for a set with several images: the layout has one object.
    """
    chosen = dataset.splits[split]
    n = dataset.manifest.n
    if chosen.image_index.any():
        raise UserError(
            f"{dataset.manifest.name} has {int(chosen.image_index.max()) + 1} images per split but "
            "a PtychoPINN file holds one object; export a set with one image"
        )
    obj = np.ones(chosen.object_shape, np.complex64) if chosen.obj is None else chosen.obj[0]
    centres = chosen.positions_px.reshape(-1, 2).astype(np.float64) + n // 2
    write_npz(
        path,
        diffraction=np.sqrt(chosen.all_counts().reshape(-1, n, n)).astype(np.float32),
        probeGuess=dataset.probe,
        objectGuess=obj,
        xcoords=centres[:, 1],
        ycoords=centres[:, 0],
    )

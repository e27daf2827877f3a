"""4D-STEM: one array of four axes (rows, columns, h, w) of a raster, in HDF5 (.emd, .h5) or Zarr.

EMD and py4DSTEM keep a vector per axis beside the array (dim0 to dim3, or dim1 to dim4) with its
units; the first two give the raster's step, the last two the pixel in reciprocal space. The pixel
of the object is 1 / (n times the pixel in reciprocal space). Without such a calibration the step
comes from the user, in object pixels. These files hold no probe.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from study.formats.entries import METRES, Entries, first, has, number, words
from study.formats.limits import check_memory
from study.formats.measured import RawScan, is_real
from study.formats.positions import Beside
from study.formats.scan_frames import window_frames
from study.formats.windows import choose_window
from study.settings import UserError

# Units of reciprocal lengths, in 1/m.
PER_METRE = {"A^-1": 1e10, "1/A": 1e10, "\u00c5^-1": 1e10, "1/\u00c5": 1e10, "[1/A]": 1e10}
PER_METRE |= {"1/nm": 1e9, "nm^-1": 1e9, "[n_m^-1]": 1e9, "1/m": 1.0, "m^-1": 1.0}
POSITION_BYTES = 64  # row, column, both stacked, and scaled
CALIBRATION = ("metadatabundle/calibration", "calibration", "_calibration")


def _cubes(entries: Entries) -> list[str]:
    return sorted(
        name
        for name in entries.names
        if has(entries, name)
        and len(entries.shape(name)) == 4
        and min(entries.shape(name)) > 0
        and is_real(entries.dtype(name))
    )


def fits(entries: Entries) -> bool:
    return bool(_cubes(entries))


def read(entries: Entries, beside: Beside) -> RawScan:
    """Raises UserError: several arrays of four axes, no step, shapes out of bounds."""
    cubes = _cubes(entries)
    if len(cubes) > 1:
        raise UserError(
            f"{entries.path} holds several arrays of four axes ({', '.join(cubes[:5])}); store the "
            "one that is the scan in a file of its own"
        )
    name = cubes[0]
    window, notes = choose_window(entries, name, beside.crop_px)
    pixel_m, step_px, how = _step(entries, name, beside, window.n)
    rows, columns = entries.shape(name)[:2]
    # Both refuse sizes that are only declared, before the grid takes any memory.
    patterns = window_frames(entries, name, window)
    check_memory(POSITION_BYTES * rows * columns, f"{entries.path}, {rows} x {columns} positions,")
    grid = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1)
    return RawScan(
        patterns=patterns,
        positions_px=grid.reshape(-1, 2) * np.array(step_px),
        probe=None,
        object_shape=None,
        geometry=None,
        values="counts",
        zero_frequency="centre",
        notes=(f"layout: 4D-STEM, {rows} x {columns} positions; {how}", *notes),
        object_pixel_m=pixel_m,
    )


def _step(
    entries: Entries, name: str, beside: Beside, n: int
) -> tuple[float | None, tuple[float, float], str]:
    """Object pixel in m where it is known, step (y, x) in object px, and where it is from."""
    folder = name.rpartition("/")[0]
    axes = [_axis(entries, folder, index) for index in range(4)]
    if beside.step_px is not None:
        y, x = beside.step_px
        return None, (y, x), f"step {y:g} x {x:g} px as given"
    lengths = [_scaled(axis, METRES) for axis in axes[:2]]
    frequency = _scaled(axes[2], PER_METRE)
    sizes = _calibration(entries, name)
    if sizes is not None and None in (*lengths, frequency):
        lengths, frequency = [sizes[0], sizes[0]], sizes[1]
    if None in lengths or not frequency:
        stated = ", ".join(f"{step:g} {units}" for step, units in axes if step)
        raise UserError(
            f"{entries.path}: {name} has no calibration in units of length and of reciprocal "
            f"length (found: {stated or 'none'}); give the step: --step-px Y X in object pixels"
        )
    pixel_m = 1 / (n * frequency)
    y, x = (float(length or 0) / pixel_m for length in lengths)
    return pixel_m, (y, x), f"step {y:.6g} x {x:.6g} px, object pixel {pixel_m:.6g} m as calibrated"


def _axis(entries: Entries, folder: str, index: int) -> tuple[float, str]:
    """Step of one axis and its units; 0 where there is no vector."""
    start = 0 if has(entries, f"{folder}/dim0".lstrip("/")) else 1
    name = f"{folder}/dim{index + start}".lstrip("/")
    vector: Float64[np.ndarray, " k"] | None = first(entries, name)
    if vector is None or vector.dtype.kind not in "iuf" or vector.size < 2:
        return 0.0, ""
    step = float(vector.flat[1]) - float(vector.flat[0])
    return (abs(step) if np.isfinite(step) else 0.0), words(entries.attribute(name, "units")) or ""


def _scaled(axis: tuple[float, str], table: dict[str, float]) -> float | None:
    step, units = axis
    return step * table[units] if step > 0 and units in table else None


def _calibration(entries: Entries, name: str) -> tuple[float, float] | None:
    """(raster step in m, pixel in 1/m) of py4DSTEM's calibration group; None where it has none."""
    root = name.split("/")[0]
    for group in CALIBRATION:
        for base in (f"{root}/{group}", group):
            sizes = [number(entries, f"{base}/{key}_pixel_size") for key in "RQ"]
            units = [_word(entries, f"{base}/{key}_pixel_units") for key in "RQ"]
            if all(sizes) and units[0] in METRES and units[1] in PER_METRE:
                return float(sizes[0] or 0) * METRES[units[0]], float(sizes[1] or 0) * PER_METRE[
                    units[1]
                ]
    return None


def _word(entries: Entries, name: str) -> str:
    return (entries.text(name) or "") if has(entries, name) else ""

"""PtychoShelves and fold_slice: .mat files (v5 or v7.3) and their HDF5 twins.

dp (n, n, J) counts, probe (n, n, ..., modes), and positions: outputs.probe_positions (J, 2) as x,
y, or ppX, ppY, in the units of their attributes `units`, else in object px and in metres. MATLAB
keeps the first axis fastest, so arrays come here with their axes reversed; the two axes of a frame
are put back, the patterns stay in front.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float64

from study.formats.entries import METRES, PIXELS, Entries, first, has, needed, number, units_of
from study.formats.frames import derived
from study.formats.geometry import Geometry
from study.formats.measured import RawScan, as_float, squeeze_to
from study.formats.positions import Beside, read_positions
from study.formats.scan_frames import window_frames
from study.formats.windows import choose_window
from study.settings import UserError

FRAMES = ("dp", "data", "cbed")
IN_PX = ("outputs/probe_positions", "probe_positions", "p/positions")
IN_METRES = (("ppY", "ppX"),)
PIXELS_M = ("p/dx_spec", "dx_spec", "dx", "outputs/dx_spec")


def fits(entries: Entries) -> bool:
    return any(has(entries, name) and len(entries.shape(name)) == 3 for name in FRAMES) or (
        has(entries, "outputs/probe_positions")
    )


def read(entries: Entries, beside: Beside) -> RawScan:
    """Raises UserError: a reconstruction without patterns, no positions, no pixel where needed."""
    name = next((each for each in FRAMES if has(entries, each)), None)
    if name is None:
        raise UserError(
            f"{entries.path} is a PtychoShelves reconstruction without patterns ({FRAMES[0]}); "
            "import the file of the patterns and give this one: --probe FILE.mat"
        )
    probe = first(entries, "probe")
    probe = None if probe is None else np.swapaxes(probe, -1, -2)
    side = probe.shape[-1] if probe is not None else None
    window, notes = choose_window(entries, name, beside.crop_px or side)
    stored = window_frames(entries, name, window)
    pixel_m = number(entries, *PIXELS_M)
    geometry = _geometry(entries, window.n)
    if geometry is not None:
        pixel_m = geometry.object_pixel_m(window.n)
    positions, how = _positions(entries, beside, pixel_m)
    return RawScan(
        patterns=derived(stored, lambda frames: np.swapaxes(frames, -1, -2)),
        positions_px=positions,
        probe=probe,
        object_shape=None,
        geometry=geometry,
        values="counts",
        zero_frequency="centre",
        notes=("layout: PtychoShelves", how, *notes),
        object_pixel_m=pixel_m,
    )


def _geometry(entries: Entries, n: int) -> Geometry | None:
    wavelength = number(entries, "lambda", "p/lambda")
    distance = number(entries, "p/z", "z")
    pixel = number(entries, "p/ds", "ds")
    if wavelength and distance and pixel and min(wavelength, distance, pixel) > 0:
        return Geometry.of_wavelength(wavelength, distance, pixel)
    return None


def _positions(
    entries: Entries, beside: Beside, pixel_m: float | None
) -> tuple[Float64[np.ndarray, "J 2"], str]:
    if beside.positions is not None:
        given = read_positions(beside)
        return given.in_px(pixel_m, entries.path), given.notes
    for name in IN_PX:
        if has(entries, name):
            stored = squeeze_to(as_float(entries.read(name), entries.path), 2)
            table = stored.T if stored.ndim == 2 and stored.shape[0] == 2 else stored
            unit = units_of(entries, name, (*PIXELS, *METRES)) or "px"
            where = f"positions: {name}, x and y in {'object px' if unit in PIXELS else unit}"
            return table[:, ::-1] * _px_per(unit, pixel_m, entries), where
    for pair in IN_METRES:
        if all(has(entries, name) for name in pair):
            y_unit, x_unit = (units_of(entries, name, METRES) or "m" for name in pair)
            y_px, x_px = (_px_per(unit, pixel_m, entries) for unit in (y_unit, x_unit))
            y, x = (as_float(needed(entries, name), entries.path).ravel() for name in pair)
            if len(y) != len(x):
                raise UserError(f"{entries.path} holds {len(x)} {pair[1]} and {len(y)} {pair[0]}")
            units = " and ".join(dict.fromkeys((x_unit, y_unit)))
            where = f"positions: {pair[1]}, {pair[0]} in {units}"
            return np.stack([y * y_px, x * x_px], axis=1), where
    raise UserError(
        f"{entries.path} holds no positions; accepted: {', '.join(IN_PX)}, ppX and ppY, or "
        "--positions FILE"
    )


def _px_per(unit: str, pixel_m: float | None, entries: Entries) -> float:
    """Object pixels per `unit` of the positions. Raises UserError where the pixel is not known."""
    if unit in PIXELS:
        return 1.0
    if not pixel_m:
        raise UserError(
            f"{entries.path} has positions in {unit} but neither dx_spec nor lambda, z and ds, "
            "which give the object's pixel; add one of them"
        )
    return METRES[unit] / pixel_m

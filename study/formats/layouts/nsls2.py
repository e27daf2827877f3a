"""HDF5 files of NSLS-II beamlines: `diffamp`, `points`, `prb`.

diffamp (J, n, n) amplitudes, zero frequency in the corner; points (2, J) as x, y in the unit
of their attribute `units`, else in micrometres; z_m, lambda_nm, ccd_pixel_um; prb, when it was
kept, the probe, its zero frequency in the centre.
"""

from __future__ import annotations

import numpy as np

from study.formats.entries import METRES, Entries, first, has, needed, number, units_of
from study.formats.geometry import Geometry
from study.formats.measured import RawScan, as_float, squeeze_to
from study.formats.positions import Beside
from study.formats.scan_frames import window_frames
from study.formats.windows import choose_window
from study.settings import UserError


def fits(entries: Entries) -> bool:
    return has(entries, "diffamp")


def read(entries: Entries, beside: Beside) -> RawScan:
    """Raises UserError: no points, no geometry, shapes that do not agree."""
    probe = first(entries, "prb", "probe")
    side = beside.crop_px or (probe.shape[-1] if probe is not None and probe.ndim >= 2 else None)
    window, notes = choose_window(entries, "diffamp", side)
    wavelength, distance, pixel = (
        number(entries, name) for name in ("lambda_nm", "z_m", "ccd_pixel_um")
    )
    if not (wavelength and distance and pixel):
        raise UserError(
            f"{entries.path} lacks lambda_nm, z_m or ccd_pixel_um; accepted: positive numbers"
        )
    geometry = Geometry.of_wavelength(wavelength * 1e-9, distance, pixel * 1e-6)
    points = squeeze_to(as_float(needed(entries, "points"), entries.path), 2)
    table = points.T if points.ndim == 2 and points.shape[0] == 2 else points
    unit = units_of(entries, "points", METRES) or "um"
    if table.ndim == 2:
        table = table[:, ::-1] * (METRES[unit] / geometry.object_pixel_m(window.n))
    return RawScan(
        patterns=window_frames(entries, "diffamp", window),
        positions_px=np.ascontiguousarray(table),
        probe=probe,
        object_shape=None,
        geometry=geometry,
        values="amplitudes",
        zero_frequency="corner",
        notes=(f"layout: NSLS-II; points are x, y in {unit}", *notes),
    )

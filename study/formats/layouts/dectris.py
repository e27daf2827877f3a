"""Master files of Dectris detectors: frames in files beside them, positions in a file of their own.

entry/data/data_000001, ... (J, h, w) through links in the folder; entry/instrument/detector/
{detector_distance, x_pixel_size, y_pixel_size, beam_center_x, beam_center_y,
detectorSpecific/pixel_mask}; entry/instrument/beam/incident_wavelength in angstroms. The largest
value of an unsigned type marks pixels without a measurement.
"""

from __future__ import annotations

import re

import numpy as np

from study.formats.entries import METRES, Entries, first, has, number, units_of
from study.formats.geometry import Geometry
from study.formats.measured import RawScan
from study.formats.positions import Beside, read_positions
from study.formats.scan_frames import joined, window_frames
from study.formats.windows import Window, choose_window
from study.settings import UserError

DATA = re.compile(r"entry/data/data_(\d+)")
DETECTOR = "entry/instrument/detector"
WAVELENGTHS = ("entry/instrument/beam/incident_wavelength", "entry/sample/beam/incident_wavelength")
LENGTHS = (f"{DETECTOR}/detector_distance", f"{DETECTOR}/x_pixel_size", f"{DETECTOR}/y_pixel_size")


def fits(entries: Entries) -> bool:
    return any(DATA.fullmatch(name) for name in entries.names)


def read(entries: Entries, beside: Beside) -> RawScan:
    """Raises UserError: no positions, no geometry, parts of different shapes."""
    names = sorted(name for name in entries.names if DATA.fullmatch(name))
    geometry = _geometry(entries)
    positions = read_positions(beside)
    shapes = {entries.shape(name)[-2:] for name in names}
    if len(shapes) > 1:
        raise UserError(f"{entries.path} has parts of {sorted(shapes)} px; accepted: one shape")
    window, notes = choose_window(entries, names[0], beside.crop_px, _beam(entries))
    return RawScan(
        patterns=joined([window_frames(entries, name, window) for name in names]),
        positions_px=positions.in_px(geometry.object_pixel_m(window.n), entries.path),
        probe=None,
        object_shape=None,
        geometry=geometry,
        values="counts",
        zero_frequency="centre",
        notes=(f"layout: Dectris master, {len(names)} parts", positions.notes, *notes),
        mask=_mask(entries, window),
    )


def _length(entries: Entries, name: str, units: float) -> float:
    """In metres. Raises UserError where it is absent or not positive."""
    found = number(entries, name)
    if not found or found <= 0:
        raise UserError(f"{entries.path} lacks {name}; accepted: a positive number")
    stated = units_of(entries, name, METRES)
    return found * (METRES[stated] if stated else units)


def _geometry(entries: Entries) -> Geometry:
    wavelength = next((name for name in WAVELENGTHS if has(entries, name)), WAVELENGTHS[0])
    distance, x, y = (_length(entries, name, 1.0) for name in LENGTHS)
    if not np.isclose(x, y, rtol=1e-3):
        raise UserError(f"{entries.path} has pixels of {x:g} x {y:g} m; accepted: square pixels")
    return Geometry.of_wavelength(_length(entries, wavelength, 1e-10), distance, x)


def _beam(entries: Entries) -> tuple[float, float] | None:
    row, column = (number(entries, f"{DETECTOR}/beam_center_{axis}") for axis in "yx")
    return (row, column) if row and column else None


def _mask(entries: Entries, window: Window) -> np.ndarray | None:
    stored = first(entries, f"{DETECTOR}/pixel_mask", f"{DETECTOR}/detectorSpecific/pixel_mask")
    if stored is None:
        return None
    if stored.shape[-2:] != window.shape or stored.size != window.shape[0] * window.shape[1]:
        raise UserError(
            f"{entries.path} has a pixel_mask of shape {stored.shape} for frames of {window.shape}"
        )
    return window.of(stored.reshape(window.shape)) != 0

"""CXI files that others wrote: the same groups as ours, with the freedoms that are in use.

Frames are (J, n, n) or (rows, columns, n, n), translations (J, 3) or (3, J), the probe is under
source_1/illumination or source_1/probe, bad pixels are under detector_1/mask.

Units are those of the `units` attributes. Without one, lengths are in metres, and an energy is in
joules when a photon may have so many, else in electron volts. The photon energy is beam_1's;
source_1's is often that of the storage ring and counts only where it could be a photon's.
"""

from __future__ import annotations

from collections.abc import Collection
from math import prod
from pathlib import Path

import h5py
import numpy as np

from study.formats.cxi import DETECTOR, SOURCE, TRANSLATION
from study.formats.entries import JOULES, METRES, PIXELS, Entries, Hdf5Entries, has
from study.formats.frames import Frames, derived
from study.formats.geometry import ELECTRON_VOLT_J, Geometry
from study.formats.hdf5 import NUMERIC, array_at, attribute_at, dataset_at
from study.formats.measured import RawScan, as_float, squeeze_to
from study.formats.positions import Beside
from study.formats.scan_frames import stored_frames, window_frames
from study.formats.windows import Window, choose_window
from study.settings import UserError

# Groups and names under which the photon energy is, in the order of trust.
ENERGIES = (
    *(
        f"{group}/beam_1/{name}"
        for group in ("entry_1/instrument_1", "entry_1/sample_1", "entry_1")
        for name in ("incident_beam_energy", "incident_energy", "energy")
    ),
    f"{SOURCE}/energy",
)
PHOTON_EV = (10.0, 1e6)
# Bits of the CXI mask that do not make a pixel unusable: corrected for an artifact (0x800), has
# signal (0x1000), belongs to a peak (0x2000), background corrected (0x4000).
USABLE_BITS = 0x7800
FRAMES = (f"{DETECTOR}/data", "entry_1/data_1/data")
TRANSLATIONS = (TRANSLATION, f"{DETECTOR}/translation", "entry_1/data_1/translation")
PROBES = (f"{SOURCE}/illumination", f"{SOURCE}/probe", f"{DETECTOR}/illumination")


def is_cxi(entries: Entries) -> bool:
    return any(has(entries, name) for name in FRAMES) and any(
        has(entries, f"{DETECTOR}/{name}") for name in ("distance", "x_pixel_size")
    )


def read_measured_cxi(entries: Entries, beside: Beside) -> RawScan:
    """Read a far-field scan.

    Raises UserError: groups missing, too large, of the wrong shape.
    """
    assert isinstance(entries, Hdf5Entries), "CXI is HDF5"
    try:
        return _read(entries, beside)
    except KeyError as error:
        raise UserError(
            f"{entries.path} lacks what a CXI ptychography file holds ({error.args[0]}); accepted: "
            f"{DETECTOR}/data, distance, x_pixel_size, {SOURCE}/energy and {TRANSLATION}"
        ) from None


def _read(entries: Hdf5Entries, beside: Beside) -> RawScan:
    file, path = entries.file, entries.path
    name = next(each for each in FRAMES if has(entries, each))
    probe = next((found for each in PROBES if (found := _complex(file, each)) is not None), None)
    side = beside.crop_px or (probe.shape[-1] if probe is not None and probe.ndim > 1 else None)
    window, cropped = choose_window(entries, name, side)
    patterns, bad, notes = _patterns(entries, name, window)
    geometry, energy_said = _geometry(file, path)
    places = next((each for each in TRANSLATIONS if has(entries, each)), TRANSLATION)
    table = _translation(array_at(file, places), len(patterns), path)
    units = _units(dataset_at(file, places), (*METRES, *PIXELS), path)
    pixel_m = geometry.object_pixel_m(window.n)
    if not 0 < pixel_m < np.inf:
        raise UserError(f"{path} gives {geometry}, for which a pixel of the object is {pixel_m} m")
    px_per_unit = 1.0 if units in PIXELS else METRES[units or "m"] / pixel_m
    where = f"in {units}" if units else "in metres (the file states no units)"
    return RawScan(
        patterns=patterns,
        positions_px=table[:, 1::-1] * px_per_unit,
        probe=probe,
        object_shape=None,
        geometry=geometry,
        values="counts",
        zero_frequency="centre",
        mask=bad,
        notes=(
            f"layout: CXI; positions are sample translations {where}; {energy_said}",
            *cropped,
            *notes,
        ),
    )


def _patterns(
    entries: Hdf5Entries, name: str, window: Window
) -> tuple[Frames, Frames | None, tuple[str, ...]]:
    """Detector frames (J, n, n), their bad pixels, and the sentences about them."""
    stored = entries.shape(name)
    # Before anything is read: a wrong shape may be a huge one.
    bad = _mask(entries, (prod(stored[:-2]), *window.shape), window)
    patterns = window_frames(entries, name, window)
    grid = [length for length in stored[:-2] if length > 1]
    notes = [f"frames: {' x '.join(map(str, grid))}, in raster order"] if len(grid) > 1 else []
    return patterns, bad, tuple(notes)


def _mask(entries: Hdf5Entries, shape: tuple[int, ...], window: Window) -> Frames | None:
    """Bad pixels in `window`, (n, n) or (J, n, n), for patterns of `shape`; None without a mask."""
    name = f"{DETECTOR}/mask"
    if name not in entries.file:
        return None
    stored = dataset_at(entries.file, name)
    if stored.shape[-2:] != shape[-2:] or prod(stored.shape) not in (prod(shape), prod(shape[-2:])):
        raise UserError(
            f"{entries.path} holds a mask of shape {stored.shape} for patterns of shape {shape}; "
            f"accepted: {shape[-2:]}, or {shape} for a mask per pattern"
        )
    if stored.dtype.kind not in NUMERIC:
        raise KeyError(f"{name} holds {stored.dtype}, not numbers")

    def bad(bits: np.ndarray) -> np.ndarray:
        if bits.dtype.kind in "iu" and bits.itemsize > 1:
            bits = bits & ~bits.dtype.type(USABLE_BITS)
        return window.of(bits != 0)

    if prod(stored.shape) == prod(shape[-2:]):
        return bad(array_at(entries.file, name).reshape(shape[-2:]))
    return derived(stored_frames(entries, name), bad, window.n, bool)


def _geometry(file: h5py.File, path: Path) -> tuple[Geometry, str]:
    """Photon energy, distance and pixel, and where the energy is from.

    Raises UserError for oblong pixels, for no numbers, and without the energy of a photon.
    """
    names = ("distance", "x_pixel_size", "y_pixel_size")
    lengths = {name: _length(file, f"{DETECTOR}/{name}", path) for name in names}
    if not all(0 < value < np.inf for value in lengths.values()):
        raise UserError(f"{path} gives {lengths}; accepted: positive numbers, in metres")
    if not np.isclose(lengths["x_pixel_size"], lengths["y_pixel_size"], rtol=1e-3):
        raise UserError(
            f"{path} has detector pixels of {lengths['x_pixel_size']:g} x "
            f"{lengths['y_pixel_size']:g} m; accepted: square pixels; rebin the detector"
        )
    energy_j, notes = _photon_energy(file, path)
    geometry = Geometry(
        energy_j=energy_j, distance_m=lengths["distance"], pixel_m=lengths["x_pixel_size"]
    )
    return geometry, notes


def _photon_energy(file: h5py.File, path: Path) -> tuple[float, str]:
    """Joules, and the sentence about them. Raises UserError where no entry may be a photon's."""
    found: dict[str, float] = {}
    for name in ENERGIES:
        if name not in file:
            continue
        units = _units(dataset_at(file, name), JOULES, path)
        number = _number(file, name)
        # A photon of a microjoule does not exist: larger numbers are electron volts.
        factor = JOULES[units or ("J" if number < 1e-6 else "eV")]
        found[name] = number * factor / ELECTRON_VOLT_J
        plausible = PHOTON_EV[0] <= found[name] <= PHOTON_EV[1]
        # The beam's energy is the photons' by definition; the source's may be the storage ring's.
        if plausible or (0 < found[name] < np.inf and name != f"{SOURCE}/energy"):
            stated = f"units: {units}" if units else "the file states no units"
            stated += "" if plausible else "; outside 10 eV to 1 MeV, check it"
            # Not by way of electron volts: joules stay as they are stored.
            return number * factor, f"photon energy {found[name] / 1e3:.6g} keV ({name}, {stated})"
    if not found:
        raise KeyError(f"{SOURCE}/energy")
    raise UserError(
        f"{path} states {', '.join(f'{name} = {ev:.6g} eV' for name, ev in found.items())}; "
        f"accepted: positive numbers, a photon energy of {PHOTON_EV[0]:g} eV to "
        f"{PHOTON_EV[1]:g} eV under beam_1 or source_1"
    )


def _length(file: h5py.File, name: str, path: Path) -> float:
    """The number `name` in metres."""
    return _number(file, name) * METRES[_units(dataset_at(file, name), METRES, path) or "m"]


def _units(stored: h5py.Dataset, accepted: Collection[str], path: Path) -> str | None:
    """The `units` attribute, None where there is none. Raises UserError for an unknown one."""
    if "units" not in stored.attrs:
        return None
    value = attribute_at(stored, "units")
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.flat[0]
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    if not text.strip():
        return None
    if text.strip() not in accepted:
        raise UserError(f"{path}: {stored.name!r} is in {text!r}; accepted: {', '.join(accepted)}")
    return text.strip()


def _number(file: h5py.File, name: str) -> float:
    """The first number stored, NaN where there is none. Raises KeyError where nothing is."""
    numeric = dataset_at(file, name).dtype.kind in "iuf"
    stored = array_at(file, name) if numeric else np.empty(0)
    return float(stored.flat[0]) if stored.size else float("nan")


def _translation(stored: np.ndarray, count: int, path: Path) -> np.ndarray:
    """(J, 2) x, y of translations stored as (J, 3), (J, 2) or transposed."""
    table = squeeze_to(as_float(stored, path), 2)
    if table.ndim > 2 and table.shape[-1] in (2, 3):
        table = table.reshape(-1, table.shape[-1])
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
    if name not in file or dataset_at(file, name).dtype.kind != "c":
        return None
    return array_at(file, name)

"""Units, masks, energies and raster frames of CXI files that others wrote."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from formats import hostile
from formats.hostile import DETECTOR, SOURCE, TRANSLATION, N

from study.formats.geometry import ELECTRON_VOLT_J
from study.formats.measured import RawScan
from study.formats.readers import read_raw
from study.settings import UserError

Stored = tuple[object, str | None]
BEAM = "entry_1/instrument_1/beam_1"


def changed(folder: Path, entries: dict[str, Stored] | None = None) -> RawScan:
    """The good scan with some entries replaced by (value, units), read."""
    path = folder / "scan.cxi"
    hostile.write_cxi(path, hostile.good_arrays("cxi"))
    with h5py.File(path, "r+") as file:
        for name, (value, units) in (entries or {}).items():
            if name in file:
                del file[name]
            file[name] = value
            if units is not None:
                file[name].attrs["units"] = units
    return read_raw(path)


def same(scan: RawScan, other: RawScan) -> None:
    assert np.allclose(scan.positions_px, other.positions_px, rtol=1e-9)
    assert scan.geometry is not None
    assert other.geometry is not None
    for name in ("energy_j", "distance_m", "pixel_m"):
        got, wanted = getattr(scan.geometry, name), getattr(other.geometry, name)
        assert got == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(
    ("units", "per_metre"),
    [("m", 1.0), ("mm", 1e3), ("um", 1e6), ("\u00b5m", 1e6), ("nm", 1e9), (b"nm", 1e9), ("", 1.0)],
)
@pytest.mark.parametrize("name", ["distance", "translation"])
def test_lengths_are_in_the_units_that_are_stated(
    tmp_path: Path, name: str, units: str, per_metre: float
) -> None:
    path = TRANSLATION if name == "translation" else f"{DETECTOR}/{name}"
    value = hostile.good_arrays("cxi")[path] * per_metre
    same(changed(tmp_path, {path: (value, units)}), changed(tmp_path))


def test_positions_may_be_pixels(tmp_path: Path) -> None:
    plain = changed(tmp_path)
    table = np.pad(plain.positions_px[:, ::-1], ((0, 0), (0, 1)))
    same(changed(tmp_path, {TRANSLATION: (table, "px")}), plain)


@pytest.mark.parametrize(
    ("units", "joules"),
    [
        ("J", 1.0),
        ("eV", ELECTRON_VOLT_J),
        ("keV", 1e3 * ELECTRON_VOLT_J),
        ("MeV", 1e6 * ELECTRON_VOLT_J),
    ],
)
@pytest.mark.parametrize(
    "name", [f"{SOURCE}/energy", f"{BEAM}/energy", f"{BEAM}/incident_beam_energy"]
)
def test_energies_are_in_the_units_that_are_stated(
    tmp_path: Path, name: str, units: str, joules: float
) -> None:
    plain = changed(tmp_path)
    entries: dict[str, Stored] = {name: (1.28e-15 / joules, units)}
    if name.startswith(BEAM):
        entries[f"{SOURCE}/energy"] = (3.0, "GeV")  # the storage ring
    same(changed(tmp_path, entries), plain)


def test_the_beams_energy_goes_before_the_sources(tmp_path: Path) -> None:
    scan = changed(tmp_path, {f"{BEAM}/energy": (6.2, "keV")})
    assert scan.geometry is not None
    assert scan.geometry.energy_j == pytest.approx(6200 * ELECTRON_VOLT_J)


@pytest.mark.parametrize(("value", "units"), [(3.0, "GeV"), (3e9, None), (1e-3, "eV"), (-1, "eV")])
def test_an_energy_that_no_photon_has_is_refused(
    tmp_path: Path, value: float, units: str | None
) -> None:
    with pytest.raises(UserError, match="energy"):
        changed(tmp_path, {f"{SOURCE}/energy": (value, units)})


@pytest.mark.parametrize(
    ("name", "units"),
    [(f"{SOURCE}/energy", "m"), (f"{DETECTOR}/distance", "keV"), (TRANSLATION, "furlong")],
)
def test_unknown_units_are_refused(tmp_path: Path, name: str, units: str) -> None:
    with pytest.raises(UserError, match=units):
        changed(tmp_path, {name: (hostile.good_arrays("cxi")[name], units)})


@pytest.mark.parametrize("bit", range(32))
def test_the_mask_is_read_bit_by_bit(tmp_path: Path, bit: int) -> None:
    mask = np.zeros((N, N), np.uint32)
    mask[4, 4] = 1 << bit
    bad = changed(tmp_path, {f"{DETECTOR}/mask": (mask, None)}).mask
    assert bad is not None
    assert bad.sum() == bad[4, 4] == (bit not in (11, 12, 13, 14))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.bool_, np.int16, np.int64, np.float32])
@pytest.mark.parametrize("per_pattern", [False, True])
def test_masks_of_any_type_mask_what_they_mark(
    tmp_path: Path, kind: type[np.generic], per_pattern: bool
) -> None:
    shape = (hostile.PATTERNS, N, N) if per_pattern else (N, N)
    mask = np.zeros(shape, kind)
    mask[..., 4, 4] = 1
    bad = changed(tmp_path, {f"{DETECTOR}/mask": (mask, None)}).mask
    assert bad is not None
    assert bad.dtype == bool
    assert np.array_equal(bad[:], mask.astype(bool))


@pytest.mark.parametrize("shape", [(N - 1, N), (3, N, N), (N * N,), (N, N, 1)])
def test_a_mask_of_another_shape_is_refused(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="mask of shape"):
        changed(tmp_path, {f"{DETECTOR}/mask": (np.zeros(shape, np.uint8), None)})


@pytest.mark.parametrize("grid", [(4, 6), (6, 4), (24, 1), (1, 24), (2, 3, 4)])
def test_raster_frames_are_read_in_row_order(tmp_path: Path, grid: tuple[int, ...]) -> None:
    plain = changed(tmp_path)
    expected = plain.patterns[:]
    frames = hostile.good_arrays("cxi")[f"{DETECTOR}/data"].reshape(*grid, N, N)
    table = hostile.good_arrays("cxi")[TRANSLATION].reshape(*grid, 3)
    raster = changed(tmp_path, {f"{DETECTOR}/data": (frames, None)})
    both = changed(tmp_path, {f"{DETECTOR}/data": (frames, None), TRANSLATION: (table, None)})
    same(raster, plain)
    same(both, plain)
    assert np.array_equal(both.patterns[:], expected)


def test_an_unknown_filter_is_named(tmp_path: Path) -> None:
    changed(tmp_path)
    packing = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    packing.set_chunk((1, N, N))
    packing.set_filter(32099, h5py.h5z.FLAG_OPTIONAL, ())
    with h5py.File(tmp_path / "scan.cxi", "r+") as file:
        del file[f"{DETECTOR}/data"]
        space = h5py.h5s.create_simple((hostile.PATTERNS, N, N))
        name = f"{DETECTOR}/data".encode()
        h5py.h5d.create(file.id, name, h5py.h5t.NATIVE_FLOAT, space, packing)
    with pytest.raises(UserError, match="filter 32099"):
        read_raw(tmp_path / "scan.cxi")

"""Every layout of the table: files written by its documentation give the scan they were made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numcodecs
import numpy as np
import pytest
import scipy.io
from formats import hostile

from study.formats.geometry import ELECTRON_VOLT_J, Geometry
from study.formats.measured import RawScan
from study.formats.positions import Beside
from study.formats.readers import files_of, hash_of, read_probe_of, read_raw
from study.settings import UserError

J, N, PX_M, PIXEL_M, DISTANCE_M = hostile.PATTERNS, hostile.N, 50e-9, 75e-6, 2.0
GEOMETRY = Geometry(
    energy_j=6.62607015e-34 * 299792458.0 * DISTANCE_M / (PX_M * N * PIXEL_M),
    distance_m=DISTANCE_M,
    pixel_m=PIXEL_M,
)
ARRAYS = hostile.good_arrays("npz")
COUNTS = np.round(ARRAYS["diffraction"] ** 2).astype(np.uint16)
COUNTS = COUNTS + np.arange(N, dtype=np.uint16)  # not symmetric
PROBE = (ARRAYS["probeGuess"] * np.exp(0.3j * np.arange(N))).astype(np.complex64)
Y, X = ARRAYS["ycoords"] - N // 2, ARRAYS["xcoords"] - N // 2
Writer = Callable[[Path], Path]


def write_h5(path: Path, arrays: dict[str, Any], units: dict[str, Any] | None = None) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name] = value
        for name, value in (units or {}).items():
            file[name].attrs["units"] = value
    return path


def cxi(folder: Path) -> Path:
    """As NXcxi_ptycho: photon energy under beam_1, frames under data_1 only."""
    detector = "entry_1/instrument_1/detector_1"
    arrays = {
        "entry_1/data_1/data": COUNTS,
        "entry_1/data_1/translation": np.stack([X, Y, 0 * X], axis=1) * PX_M * 1e6,
        "entry_1/instrument_1/beam_1/incident_beam_energy": GEOMETRY.energy_j / ELECTRON_VOLT_J,
        "entry_1/instrument_1/source_1/energy": 3.0,
        "entry_1/instrument_1/source_1/illumination": PROBE,
        f"{detector}/distance": DISTANCE_M * 1e3,
        f"{detector}/x_pixel_size": PIXEL_M * 1e6,
        f"{detector}/y_pixel_size": PIXEL_M * 1e6,
    }
    units = {
        "entry_1/data_1/translation": "um",
        "entry_1/instrument_1/beam_1/incident_beam_energy": "eV",
        "entry_1/instrument_1/source_1/energy": "GeV",
        f"{detector}/distance": "mm",
        f"{detector}/x_pixel_size": "um",
        f"{detector}/y_pixel_size": "um",
    }
    return write_h5(folder / "scan.cxi", arrays, units)


def pair(folder: Path) -> Path:
    write_h5(
        folder / "a_para.hdf5",
        {
            "object": np.ones((1, 20, 20), np.complex64),
            "probe": PROBE[None, None],
            "probe_position_x_m": X * PX_M,
            "probe_position_y_m": Y * PX_M,
        },
    )
    with h5py.File(folder / "a_para.hdf5", "r+") as file:
        for key in ("pixel_height_m", "pixel_width_m"):
            file["object"].attrs[key] = PX_M
    return write_h5(folder / "a_dp.hdf5", {"dp": COUNTS})


def ptyd(folder: Path) -> Path:
    arrays: dict[str, Any] = {
        "meta/energy": GEOMETRY.energy_j / ELECTRON_VOLT_J / 1e3,
        "meta/distance": DISTANCE_M,
        "meta/psize": [PIXEL_M, PIXEL_M],
        "info/propagation": "farfield",
    }
    # Ten chunks and more: their order is by number, not by name.
    for index in range(12):
        rows = slice(2 * index, 2 * index + 2)
        arrays[f"chunks/{index}/data"] = COUNTS[rows]
        arrays[f"chunks/{index}/positions"] = np.stack([Y, X], axis=1)[rows] * PX_M
        arrays[f"chunks/{index}/weights"] = np.ones((2, N, N), bool)
    return write_h5(folder / "scan.ptyd", arrays)


def nsls2(folder: Path) -> Path:
    arrays = {
        "diffamp": np.fft.fftshift(np.sqrt(COUNTS), axes=(-2, -1)),
        "points": np.stack([X, Y]) * PX_M * 1e6,
        "z_m": DISTANCE_M,
        "lambda_nm": GEOMETRY.wavelength_m * 1e9,
        "ccd_pixel_um": PIXEL_M * 1e6,
        "prb": PROBE,
    }
    return write_h5(folder / "scan_7.h5", arrays)


def shelves_5(folder: Path) -> Path:
    content = {
        "dp": np.moveaxis(COUNTS, 0, 2),
        "probe": PROBE[:, :, None, None],
        "outputs": {"probe_positions": np.stack([X, Y], axis=1)},
        "p": {"dx_spec": np.array([[PX_M, PX_M]])},
    }
    scipy.io.savemat(folder / "scan.mat", content, do_compression=True)
    return folder / "scan.mat"


def shelves_73(folder: Path) -> Path:
    """MATLAB's HDF5: axes reversed, complex numbers as pairs, 512 bytes before the file."""
    probe = np.zeros((1, 1, N, N), [("real", "f4"), ("imag", "f4")])
    probe["real"], probe["imag"] = PROBE.T.real, PROBE.T.imag
    with h5py.File(folder / "scan.mat", "w", userblock_size=512) as file:
        file["dp"] = np.swapaxes(COUNTS, -1, -2)
        file["probe"] = probe
        file["outputs/probe_positions"] = np.stack([X, Y])
        file["p/dx_spec"] = [[PX_M], [PX_M]]
    return folder / "scan.mat"


def dectris(folder: Path) -> Path:
    detector = "entry/instrument/detector"
    for index, part in enumerate(np.array_split(COUNTS.astype(np.uint32), 3), 1):
        write_h5(folder / f"s_data_{index:06d}.h5", {"entry/data/data": part})
    arrays = {
        f"{detector}/detector_distance": DISTANCE_M,
        f"{detector}/x_pixel_size": PIXEL_M,
        f"{detector}/y_pixel_size": PIXEL_M,
        f"{detector}/beam_center_x": N / 2,
        f"{detector}/beam_center_y": N / 2,
        f"{detector}/detectorSpecific/pixel_mask": np.zeros((N, N), np.uint32),
        "entry/instrument/beam/incident_wavelength": GEOMETRY.wavelength_m * 1e10,
    }
    path = write_h5(folder / "s_master.h5", arrays)
    with h5py.File(path, "r+") as file:
        for index in (1, 2, 3):
            name = f"s_data_{index:06d}.h5"
            file[f"entry/data/data_{index:06d}"] = h5py.ExternalLink(name, "entry/data/data")
    return path


def emd(folder: Path) -> Path:
    group = "datacube_root/datacube"
    step = 2 * PX_M * 1e9
    arrays = {f"{group}/data": COUNTS.reshape(4, 6, N, N)}
    arrays |= {f"{group}/dim{axis}": np.arange(2) * step for axis in (0, 1)}
    arrays |= {f"{group}/dim{axis}": np.arange(2) / (N * PX_M * 1e10) for axis in (2, 3)}
    units = {f"{group}/dim{axis}": "nm" if axis < 2 else "A^-1" for axis in range(4)}
    return write_h5(folder / "scan.emd", arrays, units)


def py4dstem(folder: Path) -> Path:
    calibration = "datacube_root/metadatabundle/calibration"
    arrays = {
        "datacube_root/datacube/data": COUNTS.reshape(4, 6, N, N),
        f"{calibration}/R_pixel_size": 2 * PX_M * 1e9,
        f"{calibration}/R_pixel_units": "nm",
        f"{calibration}/Q_pixel_size": 1 / (N * PX_M * 1e10),
        f"{calibration}/Q_pixel_units": "A^-1",
    }
    return write_h5(folder / "scan.h5", arrays)


def zarr_2(folder: Path, compressor: dict[str, Any] | None = None) -> Path:
    """The simple layout: two files of JSON and one file per chunk, the last ones filled up."""
    path, chunks = folder / "scan.zarr", (3, 4, 5, 8)
    (path / "data").mkdir(parents=True)
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    meta = {"zarr_format": 2, "shape": [4, 6, N, N], "chunks": chunks, "dtype": "<u2", "order": "C"}
    meta |= {"compressor": compressor, "fill_value": 0, "filters": None}
    (path / "data" / ".zarray").write_text(json.dumps(meta))
    filled = np.zeros((6, 8, 10, 8), np.uint16)
    filled[:4, :6, :N, :N] = COUNTS.reshape(4, 6, N, N)
    codec = None if compressor is None else numcodecs.get_codec(compressor)
    for at in np.ndindex(2, 2, 2, 1):
        part = filled[tuple(slice(k * c, (k + 1) * c) for k, c in zip(at, chunks, strict=True))]
        content = np.ascontiguousarray(part).tobytes()
        content = content if codec is None else bytes(codec.encode(content))
        (path / "data" / ".".join(map(str, at))).write_bytes(content)
    return path


def zarr_3(folder: Path) -> Path:
    path = folder / "scan.zarr"
    meta = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [4, 6, N, N],
        "data_type": "uint16",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [4, 6, N, N]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "zstd"}],
        "attributes": {},
    }
    chunk = path / "data" / "c" / "0" / "0" / "0"
    chunk.mkdir(parents=True)
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group"}')
    (path / "data" / "zarr.json").write_text(json.dumps(meta))
    content = numcodecs.get_codec({"id": "zstd"}).encode(COUNTS.astype("<u2").tobytes())
    (chunk / "0").write_bytes(bytes(content))
    return path


STEP = Beside(step_px=(2.0, 2.0))
LAYOUTS: dict[str, tuple[Writer, Beside | None]] = {
    "CXI": (cxi, None),
    "dp and para": (pair, None),
    "ptypy": (ptyd, None),
    "NSLS-II": (nsls2, None),
    "PtychoShelves v5": (shelves_5, None),
    "PtychoShelves v7.3": (shelves_73, None),
    "EMD": (emd, None),
    "py4DSTEM": (py4dstem, None),
    "Zarr 2": (zarr_2, STEP),
    "Zarr 3": (zarr_3, STEP),
}


def counts_of(scan: RawScan) -> np.ndarray:
    counts = scan.patterns[:].astype(np.float64)
    counts = counts**2 if scan.values == "amplitudes" else counts
    corner = scan.zero_frequency == "corner"
    return np.fft.fftshift(counts, axes=(-2, -1)) if corner else counts


def agrees(scan: RawScan) -> None:
    """Counts, positions up to one shift, and the probe, where the layout has one."""
    assert np.allclose(counts_of(scan), COUNTS, rtol=1e-6)
    shift = scan.positions_px - np.stack([Y, X], axis=1)
    assert np.allclose(shift, shift[0], atol=1e-4)
    if scan.probe is not None:
        assert np.allclose(np.squeeze(scan.probe), PROBE)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_file_of_every_layout_gives_its_scan(tmp_path: Path, layout: str) -> None:
    write, beside = LAYOUTS[layout]
    scan = read_raw(write(tmp_path), beside)
    agrees(scan)
    pixel = scan.object_pixel_m if scan.geometry is None else scan.geometry.object_pixel_m(N)
    assert pixel == pytest.approx(PX_M, rel=1e-6) or beside is STEP


@pytest.mark.parametrize(
    ("write", "name", "per_m"),
    [
        (pair, "probe_position_x_m", 1.0),
        (nsls2, "points", 1e6),
        (shelves_73, "outputs/probe_positions", 1 / PX_M),
    ],
)
def test_a_units_attribute_of_positions_replaces_the_unit_of_the_layout(
    tmp_path: Path, write: Callable[[Path], Path], name: str, per_m: float
) -> None:
    path = write(tmp_path)
    with h5py.File(tmp_path / "a_para.hdf5" if write is pair else path, "r+") as file:
        file[name][...] = file[name][()] / per_m * 1e9
        file[name].attrs["units"] = "nm"
    agrees(read_raw(path))
    with h5py.File(tmp_path / "a_para.hdf5" if write is pair else path, "r+") as file:
        file[name].attrs["units"] = "furlong"
    with pytest.raises(UserError, match="furlong"):
        read_raw(path)


@pytest.mark.parametrize("units", ["um", "px"])
@pytest.mark.parametrize("kind", ["csv with a header", "csv", "npy", "HDF5"])
def test_a_dectris_master_takes_positions_from_a_file(
    tmp_path: Path, kind: str, units: str
) -> None:
    path, table = dectris(tmp_path), np.stack([Y, X], axis=1)
    table = table * PX_M * 1e6 if units == "um" else table
    place, stated = tmp_path / "positions.csv", None
    if kind == "csv with a header":
        rows = [f"x_{units},y_{units}", *(f"{x},{y}" for y, x in table)]
        place.write_text("\n".join(rows))
        stated = units
    elif kind == "csv":
        np.savetxt(place, table, delimiter=",")
    elif kind == "npy":
        place = tmp_path / "positions.npy"
        np.save(place, table)
    else:
        write_h5(tmp_path / "p.h5", {"entry/p": table})
        place = Path(f"{tmp_path / 'p.h5'}:/entry/p")
    agrees(read_raw(path, Beside(str(place), None if stated else units)))
    if stated is None:
        with pytest.raises(UserError, match="units"):
            read_raw(path, Beside(str(place)))
    with pytest.raises(UserError, match="positions"):
        read_raw(path)


def test_pixels_without_a_measurement_are_known(tmp_path: Path) -> None:
    path = dectris(tmp_path)
    np.save(tmp_path / "p.npy", np.stack([Y, X], axis=1))
    with h5py.File(path, "r+") as file:
        file["entry/instrument/detector/detectorSpecific/pixel_mask"][2, 3] = 1
    mask = read_raw(path, Beside(str(tmp_path / "p.npy"), "px")).mask
    assert mask is not None
    assert np.argwhere(mask).tolist() == [[2, 3]]
    path = ptyd(tmp_path)
    with h5py.File(path, "r+") as file:
        file["chunks/7/weights"][1, 2, 3] = False
    mask = read_raw(path).mask
    assert mask is not None
    assert np.argwhere(mask).tolist() == [[15, 2, 3]]


@pytest.mark.parametrize("name", ["a_dp.hdf5", "a_para.hdf5"])
def test_either_half_of_a_pair_stands_for_both(tmp_path: Path, name: str) -> None:
    pair(tmp_path)
    agrees(read_raw(tmp_path / name))
    assert {file.name for file in files_of(tmp_path / name)} == {"a_dp.hdf5", "a_para.hdf5"}
    (tmp_path / ("a_dp.hdf5" if "para" in name else "a_para.hdf5")).unlink()
    with pytest.raises(UserError, match="missing"):
        read_raw(tmp_path / name)


@pytest.mark.parametrize("codec", ["blosc", "zlib", "gzip", "zstd", "lz4", None])
def test_packings_of_zarr_are_read(tmp_path: Path, codec: str | None) -> None:
    agrees(read_raw(zarr_2(tmp_path, None if codec is None else {"id": codec}), STEP))


def test_a_codec_that_could_run_code_is_refused(tmp_path: Path) -> None:
    path = zarr_2(tmp_path)
    meta = json.loads((path / "data" / ".zarray").read_text())
    for change in ({"compressor": {"id": "pickle"}}, {"filters": [{"id": "pickle"}]}):
        (path / "data" / ".zarray").write_text(json.dumps(meta | change))
        with pytest.raises(UserError, match="pickle"):
            read_raw(path, STEP)
    (path / "data" / ".zarray").write_text(json.dumps(meta | {"dtype": "|O"}))
    with pytest.raises(UserError, match="O"):
        read_raw(path, STEP)


@pytest.mark.parametrize("codec", ["blosc", "zlib", "zstd", "lz4"])
def test_a_zarr_chunk_that_unpacks_to_more_is_refused(tmp_path: Path, codec: str) -> None:
    path = zarr_2(tmp_path, {"id": codec})
    bomb = numcodecs.get_codec({"id": codec}).encode(bytes(2**22))
    (path / "data" / "0.0.0.0").write_bytes(bytes(bomb)[: 2**20])
    with pytest.raises(UserError, match="unpack"):
        read_raw(path, STEP).patterns[:]


def test_a_zarr_store_with_a_link_is_refused(tmp_path: Path) -> None:
    path = zarr_2(tmp_path)
    (path / "data" / "0.0.0.0").unlink()
    (path / "data" / "0.0.0.0").symlink_to("/etc/hostname")
    with pytest.raises(UserError, match="link"):
        read_raw(path, STEP)


def test_the_hash_of_a_scan_covers_all_its_files(tmp_path: Path) -> None:
    master, store = dectris(tmp_path), zarr_2(tmp_path)
    before = hash_of(master), hash_of(store)
    with h5py.File(tmp_path / "s_data_000002.h5", "r+") as file:
        file["entry/data/data"][0, 0, 0] += 1
    (store / "data" / "1.1.1.0").write_bytes(bytes(2 * 3 * 4 * 5 * 8))
    assert hash_of(master) != before[0]
    assert hash_of(store) != before[1]


@pytest.mark.parametrize("write", [nsls2, pair, shelves_5, shelves_73, cxi])
def test_the_probe_of_every_layout_is_found(tmp_path: Path, write: Writer) -> None:
    path = write(tmp_path)
    path = tmp_path / "a_para.hdf5" if write is pair else path
    assert np.allclose(np.squeeze(read_probe_of(path)), PROBE)


def test_a_ptypy_reconstruction_gives_its_probe_and_positions(tmp_path: Path) -> None:
    content = {
        "content/probe/S00G00/data": PROBE[None],
        "content/obj/S00G00/data": PROBE[None],
        "content/positions/S00G00": np.stack([Y, X], axis=1) * PX_M,
    }
    path = write_h5(tmp_path / "scan.ptyr", content)
    assert np.allclose(read_probe_of(path)[0], PROBE)
    given = Beside(f"{path}:/content/positions/S00G00", "m")
    agrees(read_raw(dectris(tmp_path), given))
    with pytest.raises(UserError, match=r"\.ptyr"):
        read_raw(path)


@pytest.mark.parametrize("shape", [(12, 9), (9, 12), (11, 11), (20, 8)])
def test_frames_are_cropped_around_the_beam(tmp_path: Path, shape: tuple[int, int]) -> None:
    """A scan on a larger detector, its beam away from the middle, is the same scan."""
    top, left = (shape[0] - N) // 3, (shape[1] - N) // 3
    frames = np.zeros((J, *shape), np.uint16)
    frames[:, top : top + N, left : left + N] = COUNTS
    path = nsls2(tmp_path)
    with h5py.File(path, "r+") as file:
        del file["diffamp"]
        file["diffamp"] = np.sqrt(frames)
    scan = read_raw(path)
    assert scan.patterns.shape == (J, N, N)
    assert any("around the beam" in sentence for sentence in scan.notes)
    assert np.allclose(scan.patterns[:] ** 2, COUNTS)


@pytest.mark.parametrize("layout", [*LAYOUTS, "Dectris"])
def test_damaged_files_are_refused(tmp_path: Path, layout: str) -> None:
    """Cut short, or with bytes changed: read or refused in a sentence."""
    write, beside = LAYOUTS.get(layout, (dectris, Beside(str(tmp_path / "p.npy"), "px")))
    np.save(tmp_path / "p.npy", np.stack([Y, X], axis=1))
    good = tmp_path / "good"
    good.mkdir()
    path = write(good)
    victim = path if path.is_file() else next(path.rglob(".zarray"), path / "data" / "zarr.json")
    content = victim.read_bytes()
    for number in range(25):
        victim.write_bytes(hostile.torn(np.random.default_rng([3, number]), content))
        try:
            read_raw(path, beside)
        except UserError:
            continue

"""What is written for other programs: the documented entries, and the same scan read back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from study.formats.dataset import Dataset, with_mask
from study.formats.exporting import WRITERS, export_scan
from study.formats.importing import import_scan
from study.formats.measured import RawScan
from study.formats.readers import read_raw
from study.settings import UserError

ENDINGS = [".cxi", ".h5", ".hdf5", ".npz"]


def with_modes(dataset: Dataset) -> Dataset:
    ramp = np.exp(0.4j * np.arange(dataset.manifest.n)).astype(np.complex64)
    modes = np.stack([0.9 * dataset.probe, 0.3 * dataset.probe * ramp])
    return replace(dataset, modes=modes)


def frames_of(scan: RawScan) -> np.ndarray:
    frames = scan.patterns[:].astype(np.float64)
    return frames**2 if scan.values == "amplitudes" else frames


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_scan_comes_back(scanned: Dataset, tmp_path: Path, ending: str, split: str) -> None:
    files = export_scan(scanned, split, tmp_path / f"out{ending}")
    assert all(file.is_file() for file in files)
    assert sorted(tmp_path.iterdir()) == sorted(files), "nothing else is left"
    scan = read_raw(files[0])
    wanted = scanned.splits[split]
    assert np.allclose(frames_of(scan), wanted.counts[:, 0], rtol=1e-5)
    shift = scan.positions_px - wanted.positions_px[:, 0]
    assert np.allclose(shift, shift[0], atol=1e-3)
    assert scan.probe is not None
    probe = np.squeeze(scan.probe)
    ratio = probe[16, 16] / scanned.probe[16, 16]
    assert np.allclose(probe, ratio * scanned.probe, atol=1e-5 * abs(ratio))


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_export_is_imported_as_the_same_set(
    scanned: Dataset, tmp_path: Path, ending: str
) -> None:
    first = import_scan(export_scan(scanned, "train", tmp_path / f"one{ending}")[0], "again")
    again = import_scan(export_scan(first, "all", tmp_path / f"two{ending}")[0], "again")
    for name, split in first.splits.items():
        assert np.allclose(again.splits[name].counts, split.counts, rtol=1e-5)
        assert np.allclose(again.splits[name].positions_px, split.positions_px, atol=2e-3)
    assert np.allclose(again.probe, first.probe, atol=1e-5)
    if ending != ".npz":
        pixels = [each.manifest.geometry.object_pixel_m(32) for each in (first, again)]
        assert pixels[0] == pytest.approx(pixels[1], rel=1e-6)


@pytest.mark.parametrize("ending", [".cxi", ".hdf5"])
def test_modes_and_mask_are_kept(scanned: Dataset, tmp_path: Path, ending: str) -> None:
    mask = np.ones((32, 32), bool)
    mask[3:5, 7] = False
    given = with_modes(with_mask(scanned, mask))
    scan = read_raw(export_scan(given, "train", tmp_path / f"out{ending}")[0])
    assert scan.probe is not None
    assert np.allclose(
        scan.probe.reshape(-1, 32, 32), given.modes * given.manifest.photon_scale, rtol=1e-5
    )
    assert scan.mask is not None
    assert np.array_equal(scan.mask, ~mask)


def test_cxi_has_the_entries_of_nxcxi_ptycho(scanned: Dataset, tmp_path: Path) -> None:
    """The required fields of the NeXus definition, where cdtools, ptypy and ptychodus look."""
    (path,) = export_scan(scanned, "test", tmp_path / "out.cxi")
    count, geometry = scanned.manifest.patterns["test"], scanned.manifest.geometry
    with h5py.File(path) as file:
        assert file["entry_1/definition"][()] == b"NXptycho"
        for name in ("instrument_1/beam_1/energy", "instrument_1/source_1/energy"):
            assert file[f"entry_1/{name}"][()] == geometry.energy_j
            assert file[f"entry_1/{name}"].attrs["units"] == "J"
        detector = file["entry_1/instrument_1/detector_1"]
        assert detector["data"].shape == (count, 32, 32)
        assert detector["distance"][()] == geometry.distance_m
        assert detector["x_pixel_size"][()] == detector["y_pixel_size"][()] == geometry.pixel_m
        for name in ("sample_1/geometry_1", "data_1", "instrument_1/detector_1"):
            assert file[f"entry_1/{name}/translation"].shape == (count, 3)
        assert file["entry_1/data_1/data"] == detector["data"]
        classes = {"entry_1": "NXentry", "entry_1/instrument_1/beam_1": "NXbeam"}
        for name, kind in classes.items():
            assert file[name].attrs["NX_class"] == kind


def test_the_pair_has_its_entries(scanned: Dataset, tmp_path: Path) -> None:
    """Positions are window centres in metres from the middle of the object."""
    frames, parameters = export_scan(scanned, "test", tmp_path / "set_para.hdf5")
    assert (frames.name, parameters.name) == ("set_dp.hdf5", "set_para.hdf5")
    split, n = scanned.splits["test"], scanned.manifest.n
    pixel_m = scanned.manifest.geometry.object_pixel_m(n)
    with h5py.File(frames) as one, h5py.File(parameters) as two:
        assert np.array_equal(one["dp"][:], split.counts[:, 0])
        assert two["probe"].shape == (1, 1, n, n)
        assert two["object"].shape == (1, *split.object_shape)
        assert two["object"].attrs["pixel_width_m"] == pixel_m
        y = two["probe_position_y_m"][:] / pixel_m + split.object_shape[0] / 2 - n // 2
        assert np.allclose(y, split.positions_px[:, 0, 0], atol=1e-3)


def test_what_cannot_be_exported_is_refused(scanned: Dataset, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tiff"):
        export_scan(scanned, "test", tmp_path / "out.tiff")
    with pytest.raises(UserError, match="different objects"):
        export_scan(scanned, "all", tmp_path / "out.cxi")
    test = scanned.splits["test"]
    two = replace(scanned, splits={"test": replace(test, image_index=test.image_index + 1)})
    for ending in WRITERS:
        with pytest.raises(UserError, match="one object"):
            export_scan(two, "test", tmp_path / f"out{ending}")
    assert not list(tmp_path.iterdir())

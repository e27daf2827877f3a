"""CXI files as other tools see them."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from study.formats.dataset import Dataset, save_dataset
from study.formats.geometry import Geometry


@pytest.fixture
def train_file(tiny: Dataset, tmp_path: Path) -> Path:
    save_dataset(tiny, tmp_path / "tiny")
    return tmp_path / "tiny" / "train.cxi"


def test_the_groups_of_the_standard_are_there(train_file: Path, tiny: Dataset) -> None:
    counts = tiny.splits["train"].counts[:, 0]
    with h5py.File(train_file) as file:
        assert file["entry_1/definition"][()] == b"NXcxi_ptycho"
        assert file["entry_1"].attrs["NX_class"] == "NXentry"
        assert np.array_equal(file["entry_1/instrument_1/detector_1/data"][()], counts)
        assert np.array_equal(file["entry_1/data_1/data"][()], counts)
        translation = file["entry_1/sample_1/geometry_1/translation"]
        assert translation.shape == (169, 3)
        assert np.array_equal(file["entry_1/data_1/translation"][()], translation[()])
        for name in ("distance", "x_pixel_size", "y_pixel_size"):
            length = file[f"entry_1/instrument_1/detector_1/{name}"]
            assert length[()] > 0
            assert length.attrs["units"] == "m"
            assert length.attrs["nominal"]
        assert np.array_equal(file["entry_1/truth_1/data"][()], tiny.splits["train"].obj)
        assert np.array_equal(file["entry_1/instrument_1/source_1/illumination"][()], tiny.probe)


def test_translations_are_metres_x_before_y(train_file: Path, tiny: Dataset) -> None:
    planck, light = 6.62607015e-34, 299792458.0
    with h5py.File(train_file) as file:
        detector = file["entry_1/instrument_1/detector_1"]
        wavelength = planck * light / file["entry_1/instrument_1/source_1/energy"][()]
        pixel = wavelength * detector["distance"][()] / (16 * detector["x_pixel_size"][()])
        metres = file["entry_1/sample_1/geometry_1/translation"][()]
    assert pixel == pytest.approx(20e-9)
    positions = tiny.splits["train"].positions_px[:, 0]
    assert np.allclose(metres[:, 0] / pixel, positions[:, 1])
    assert np.allclose(metres[:, 1] / pixel, positions[:, 0])
    assert not metres[:, 2].any()


def test_nominal_geometry_gives_20_nm_for_any_window() -> None:
    for n in (16, 64, 100):
        geometry = Geometry.nominal(n)
        assert geometry.object_pixel_m(n) == pytest.approx(20e-9)
        assert geometry.wavelength_m == pytest.approx(1.23984e-10, rel=1e-5)

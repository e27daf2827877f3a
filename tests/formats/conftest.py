"""Small scans of the kinds that users bring."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from study.formats.dataset import Dataset
from study.settings import DataParams
from study.simulate import simulate


@pytest.fixture(scope="session")
def scanned(tiny_params: DataParams) -> Dataset:
    """A set whose train split decides every convention: wider probe, more overlap."""
    probe = {
        "kind": "focus",
        "aperture_px": 16,
        "central_stop_px": 3,
        "defocus_rad": 6.3,
        "smooth_sigma_px": 0,
    }
    scan = {"kind": "raster", "stride_px": {"train": 5, "validation": 10, "test": 10}}
    changes = {
        "n": 32,
        "object_px": 90,
        "canvas_px": 180,
        "lines": 90,
        "probe": probe,
        "scan": scan,
    }
    return simulate("scanned", DataParams.model_validate({**tiny_params.model_dump(), **changes}))


@pytest.fixture
def tike_file(tmp_path: Path, scanned: Dataset) -> Callable[..., Path]:
    """Writes the train scan as tike does, after changing some of its arrays."""

    def write(**changes: object) -> Path:
        train = scanned.splits["train"]
        arrays: dict[str, object] = {
            "data": np.fft.ifftshift(train.counts[:, 0], axes=(-2, -1))[None].astype(np.float32),
            "scan": train.positions_px[:, 0][None] - 30,
            "probe": scanned.probe[None, None, None, None],
        }
        arrays.update(changes)
        path = tmp_path / "scan.npz"
        np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
        return path

    return write

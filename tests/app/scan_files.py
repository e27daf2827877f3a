"""Small scan files as users bring them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from study.formats.dataset import Dataset
from study.settings import DataParams
from study.simulate import simulate

PROBE = {
    "kind": "focus",
    "aperture_px": 16,
    "central_stop_px": 3,
    "defocus_rad": 6.3,
    "smooth_sigma_px": 0,
}
STRIDES = {"train": 5, "validation": 10, "test": 10}


def clear_scan(tiny: DataParams) -> Dataset:
    """A set whose train split decides every convention: wide probe, much overlap."""
    changes = {
        "n": 32,
        "object_px": 90,
        "canvas_px": 180,
        "lines": 90,
        "probe": PROBE,
        "scan": {"kind": "raster", "stride_px": STRIDES},
    }
    return simulate("scanned", DataParams.model_validate({**tiny.model_dump(), **changes}))


def write_scan(path: Path, data: Dataset) -> Path:
    """The train scan as tike stores it."""
    train = data.splits["train"]
    np.savez(
        path,
        data=np.fft.ifftshift(train.counts[:, 0], axes=(-2, -1))[None].astype(np.float32),
        scan=train.positions_px[:, 0][None] - 30,
        probe=data.probe[None, None, None, None],
    )
    return path


def unclear_scan(path: Path) -> Path:
    """Patterns that come from no object: no convention explains them."""
    draw = np.random.default_rng(0)
    y, x = (axis.ravel() for axis in np.mgrid[0:4, 0:6] * 2.0)
    steps = np.hypot(*np.mgrid[-8:8, -8:8])
    counts = draw.poisson(200 * np.exp(-steps), (24, 16, 16)).astype(np.float32)
    probe = np.exp(-((steps / 3) ** 2) + 0.1j * steps).astype(np.complex64)
    np.savez(path, diffraction=np.sqrt(counts), probeGuess=probe, xcoords=x + 8, ycoords=y + 8)
    return path

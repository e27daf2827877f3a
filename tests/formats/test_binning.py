"""Detector pixels added in squares: what stays, what adds, and what is refused."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from formats.hostile import DETECTOR, SOURCE, TRANSLATION

from study.formats.binning import bin_counts, bin_known, bin_probe, check_bin
from study.formats.importing import import_scan
from study.settings import UserError

N, INNER = 32, 16


def fine_scan() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts (J, 32, 32), probe inside the middle 12 px, positions (J, 2) px."""
    draw = np.random.default_rng(2)
    steps = np.arange(N) - N // 2
    radius = np.hypot(steps[:, None], steps[None, :])
    probe = (radius < 5) * np.exp(0.15j * radius**2) * 300
    obj = np.exp(1j * draw.normal(size=(60, 60)).cumsum(axis=0).cumsum(axis=1) * 0.02)
    corners = np.stack(np.meshgrid(range(5), range(6), indexing="ij"), -1).reshape(-1, 2) * 2
    waves = np.stack([probe * obj[y : y + N, x : x + N] for y, x in corners])
    field = np.fft.fftshift(np.fft.fft2(waves, norm="ortho"), axes=(-2, -1))
    return draw.poisson(np.abs(field) ** 2).astype(np.uint32), probe, corners


@pytest.fixture
def path(tmp_path: Path) -> Path:
    counts, probe, corners = fine_scan()
    pixel_m = 1.9864458571489286e-25 / 1.28e-15 * 2.0 / (N * 75e-6)
    mask = np.zeros((N, N), np.uint32)
    mask[3, 5] = 1
    with h5py.File(tmp_path / "scan.cxi", "w") as file:
        file[f"{DETECTOR}/data"] = counts
        file[f"{DETECTOR}/mask"] = mask
        file[f"{DETECTOR}/distance"] = 2.0
        file[f"{DETECTOR}/x_pixel_size"] = file[f"{DETECTOR}/y_pixel_size"] = 75e-6
        file[f"{SOURCE}/energy"] = 1.28e-15
        file[f"{SOURCE}/illumination"] = probe
        file[TRANSLATION] = np.pad(corners[:, ::-1] * pixel_m, ((0, 0), (0, 1)))
    return tmp_path / "scan.cxi"


KNOWN = {
    "values": "counts",
    "zero_frequency": "centre",
    "frame_orientation": "as_stored",
    "position_order": "yx",
    "position_flip": "none",
}


def test_counts_add_masks_follow_and_the_object_keeps_its_pixel(path: Path) -> None:
    whole, binned = (import_scan(path, "scan", **KNOWN, **extra) for extra in ({}, {"bin": 2}))
    assert binned.manifest.n == INNER
    assert whole.mask is not None and binned.mask is not None
    assert np.array_equal(binned.mask, bin_known(whole.mask, 2))
    assert (~binned.mask).sum() == 1
    fine = whole.splits["train"].counts[:].reshape(-1, INNER, 2, INNER, 2).sum(axis=(2, 4))
    coarse = binned.splits["train"].counts[:][:, 0]
    assert np.allclose(fine[:, binned.mask], coarse[:, binned.mask])
    first, second = (each.splits["train"].positions_px for each in (whole, binned))
    assert np.array_equal(first - first[0], second - second[0])
    before, after = (each.manifest.geometry for each in (whole, binned))
    assert after.object_pixel_m(INNER) == pytest.approx(before.object_pixel_m(N))
    assert any(output.startswith("binning") for output in binned.manifest.statements)
    assert binned.manifest.request["bin"] == 2
    assert "bin" not in whole.manifest.request


@pytest.mark.parametrize("factor", [2, 4])
def test_the_binned_probe_predicts_the_binned_patterns(factor: int) -> None:
    """Without the ramp for the offset of the sums it would not."""
    n, m = 64, 64 // factor
    steps = np.arange(n) - n // 2
    radius = np.hypot(steps[:, None], steps[None, :])
    probe = (radius < 3) * np.exp(0.3j * steps[:, None] + 0.05j * radius**2)
    fine = np.abs(np.fft.fftshift(np.fft.fft2(probe, norm="ortho"))) ** 2
    wanted = np.sqrt(bin_counts(fine[None].astype(np.float32), factor)[0])

    def misfit(small: np.ndarray) -> float:
        found = np.abs(np.fft.fftshift(np.fft.fft2(small, norm="ortho")))
        return float(np.abs(found - wanted).sum() / wanted.sum())

    with_ramp = misfit(bin_probe(probe[None], factor)[0])
    without = misfit(probe[n // 2 - m // 2 :, n // 2 - m // 2 :][:m, :m])
    assert with_ramp < 0.1
    assert with_ramp < without / 2


def test_a_probe_that_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="outside"):
        bin_probe(np.ones((1, 16, 16), complex), 2)


@pytest.mark.parametrize(("n", "factor"), [(31, 2), (16, 3), (8, 4)])
def test_a_number_that_does_not_divide_is_refused(n: int, factor: int) -> None:
    with pytest.raises(UserError, match="--bin"):
        check_bin(n, factor)

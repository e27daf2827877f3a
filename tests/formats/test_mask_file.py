"""`--mask FILE`: every container, and that nothing is computed with a pixel that it names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
import pytest
import scipy.io
import torch
from formats import hostile
from formats.hostile import DETECTOR
from hypothesis import given, settings
from hypothesis import strategies as st

from study.formats.dataset import Dataset
from study.formats.importing import import_scan
from study.formats.mask_file import read_mask
from study.formats.positions import Beside
from study.iterative.apply import reconstruct_rpie
from study.settings import UserError
from study.training.data import COUNTS, TrainData
from study.training.floors import floors
from study.training.losses import LOSSES, Prediction

N = hostile.N
BAD = np.zeros((N, N), bool)
BAD[1, 2] = BAD[4, 4] = BAD[5, 3] = True


def _npy(path: Path, mask: np.ndarray) -> None:
    np.save(path, mask)


def _npz(path: Path, mask: np.ndarray) -> None:
    np.savez(path, mask=mask, other=np.zeros(3))


def _h5(path: Path, mask: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["entry/detector/mask"] = mask.astype(np.uint32)
        file["entry/detector/gain"] = np.ones(mask.shape)


def _mat(path: Path, mask: np.ndarray) -> None:
    # MATLAB's axes are reversed, as in its version 7.3.
    scipy.io.savemat(path, {"mask": mask.T.astype(np.uint8)})


def _tif(path: Path, mask: np.ndarray) -> None:
    PIL.Image.fromarray(mask.astype(np.uint8) * 255).save(path)


WRITERS: dict[str, Callable[[Path, np.ndarray], None]] = {
    "npy": _npy,
    "npz": _npz,
    "h5": _h5,
    "mat": _mat,
    "tif": _tif,
    "png": _tif,
}


def scan(folder: Path, **changes: np.ndarray) -> Path:
    path = folder / "scan.cxi"
    hostile.write_cxi(path, {**hostile.good_arrays("cxi"), **changes})
    return path


def imported(path: Path, mask: Path) -> Dataset:
    return import_scan(path, "scan", beside=Beside(mask=mask), **hostile.known(path))


@pytest.mark.parametrize("kind", WRITERS)
def test_a_mask_is_read_from_every_container(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"mask.{kind}"
    WRITERS[kind](path, BAD)
    assert np.array_equal(read_mask(path, N), BAD)


@pytest.mark.parametrize("kind", WRITERS)
def test_another_size_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"mask.{kind}"
    WRITERS[kind](path, BAD[:, :-1])
    with pytest.raises(UserError, match="shape"):
        read_mask(path, N)


@pytest.mark.parametrize("kind", WRITERS)
def test_a_torn_file_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"mask.{kind}"
    WRITERS[kind](path, BAD)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(UserError, match="mask"):
        read_mask(path, N)


def _packed_tif(path: Path, mask: np.ndarray) -> None:
    PIL.Image.fromarray(mask.astype(np.uint8)).save(path, compression="tiff_lzw")


def _packed_mat(path: Path, mask: np.ndarray) -> None:
    scipy.io.savemat(path, {"mask": mask.T.astype(np.uint8)}, do_compression=True)


@settings(deadline=None, max_examples=60)
@given(
    write=st.sampled_from([*WRITERS.values(), _packed_tif, _packed_mat]),
    side=st.integers(4, 40),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_a_file_cut_anywhere_is_refused(
    tmp_path_factory: pytest.TempPathFactory,
    write: Callable[[Path, np.ndarray], None],
    side: int,
    seed: int,
    data: st.DataObject,
) -> None:
    name = next((kind for kind, each in WRITERS.items() if each is write), write.__name__[-3:])
    path = tmp_path_factory.mktemp("torn") / f"mask.{name}"
    write(path, np.random.default_rng(seed).random((side, side)) < 0.3)
    content = path.read_bytes()
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    with pytest.raises(UserError, match="mask"):
        read_mask(path, side)


def test_a_mask_of_the_good_pixels_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", ~BAD)
    with pytest.raises(UserError, match="invert"):
        read_mask(tmp_path / "mask.npy", N)


def test_a_mask_in_another_file_is_refused(tmp_path: Path) -> None:
    _h5(tmp_path / "other.h5", BAD)
    with h5py.File(tmp_path / "mask.h5", "w") as file:
        file["mask"] = h5py.ExternalLink("other.h5", "entry/detector/mask")
    with pytest.raises(UserError, match="external link"):
        read_mask(tmp_path / "mask.h5", N)


def test_a_pickle_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(UserError, match="mask"):
        read_mask(tmp_path / "mask.npy", N)


def test_two_arrays_without_a_mask_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "mask.npz", a=BAD, b=BAD)
    with pytest.raises(UserError, match="mask"):
        read_mask(tmp_path / "mask.npz", N)


def test_a_mask_is_added_to_that_of_the_scan(tmp_path: Path) -> None:
    np.save(tmp_path / "mask.npy", BAD)
    own = np.zeros((N, N), np.uint32)
    own[6, 6] = 1
    data = imported(scan(tmp_path, **{f"{DETECTOR}/mask": own}), tmp_path / "mask.npy")
    assert data.mask is not None
    assert np.array_equal(data.mask, ~(BAD | (own > 0)))
    assert data.manifest.request["mask"] == "mask.npy"
    assert len(data.manifest.request["mask_sha256"]) == 64


@pytest.mark.slow
@pytest.mark.parametrize("value", [0, 60_000])
def test_nothing_depends_on_what_a_masked_pixel_holds(tmp_path: Path, value: int) -> None:
    """Counts, losses, gradients, floors, rPIE and R-factors are equal to the bit."""
    np.save(tmp_path / "mask.npy", BAD)
    counts = hostile.good_arrays("cxi")[f"{DETECTOR}/data"]
    spoiled = counts.copy()
    spoiled[:, BAD] = value
    found = []
    for each in (counts, spoiled):
        data = imported(scan(tmp_path, **{f"{DETECTOR}/data": each}), tmp_path / "mask.npy")
        applied = reconstruct_rpie(data, 3, 0.1)
        found.append((data.manifest.content_sha256, losses(data), floors(data, CPU), applied))
    (hash_a, losses_a, floors_a, rpie_a), (hash_b, losses_b, floors_b, rpie_b) = found
    assert hash_a == hash_b
    assert losses_a == losses_b
    assert floors_a == floors_b
    assert rpie_a.passes == rpie_b.passes
    assert rpie_a.r_factor_held_out == rpie_b.r_factor_held_out
    assert np.array_equal(rpie_a.reconstruction.object, rpie_b.reconstruction.object)


CPU = torch.device("cpu")


def losses(data: Dataset) -> list[float]:
    """Value of each loss, and the sum of its gradient by the patch."""
    split = TrainData(data, "train", CPU, frozenset({COUNTS}))
    batch = split.select(torch.arange(6))
    probe = torch.tensor(data.probe)
    found = []
    for name in ("mae", "poisson"):
        patch = torch.ones(6, 1, N, N, dtype=torch.complex64).requires_grad_()
        amplitude = torch.fft.fftshift(torch.fft.fft2(probe * patch, norm="ortho")).abs()
        value = LOSSES[name](Prediction(patch, amplitude, probe), batch, data.manifest.photon_scale)
        (gradient,) = torch.autograd.grad(value, patch)
        found += [float(value.detach()), float(gradient.abs().sum())]
    return found

"""Masked pixels: what fills them, and that nothing else is computed with the filling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from study.formats.dataset import Dataset, content_hash, load_dataset, save_dataset, with_mask
from study.formats.masks import fill_masked
from study.iterative.apply import reconstruct_rpie
from study.optics import back_project, own_constant
from study.optics.descent import group_steps
from study.settings import UserError
from study.training.data import COUNTS, TrainData
from study.training.floors import floors
from study.training.losses import LOSSES, Prediction
from study.training.validation import Totals

N = 16


def some_mask(n: int = N, seed: int = 3) -> np.ndarray:
    mask = np.random.default_rng(seed).random((n, n)) > 0.2
    mask[n // 2] = False
    return mask


def garbage(dataset: Dataset, value: int = 77777) -> Dataset:
    """The same set with nonsense in all masked pixels."""
    assert dataset.mask is not None
    hidden = ~dataset.mask
    splits = {}
    for name, split in dataset.splits.items():
        counts = split.counts[:].copy()
        counts[..., hidden] = value
        splits[name] = replace(split, counts=counts)
    return replace(dataset, splits=splits)


@pytest.fixture(scope="module")
def masked(tiny: Dataset) -> Dataset:
    return with_mask(tiny, some_mask(tiny.manifest.n))


def test_a_filling_is_the_radial_mean_of_the_pattern() -> None:
    n = 15
    steps = np.arange(n) - n // 2
    radius = np.round(np.hypot(steps[:, None], steps[None, :]))
    mask = some_mask(n)
    counts = np.stack([radius**2, 100 - radius]).astype(np.float32)
    filled = fill_masked(counts, mask)
    known = [np.any(mask & (radius == ring)) for ring in range(int(radius.max()) + 1)]
    message = np.array(known)[radius.astype(int)]
    assert np.allclose(filled[:, message], counts[:, message], rtol=1e-6)
    assert np.allclose(filled[1], counts[1], atol=1.1), "a slope is interpolated"
    assert np.array_equal(filled[:, mask], counts[:, mask])
    whole = fill_masked((counts * 1000).astype(np.uint32), mask)
    assert whole.dtype == np.uint32


def test_a_set_with_a_mask_comes_back_from_disk(masked: Dataset, tmp_path: Path) -> None:
    save_dataset(masked, tmp_path / "set")
    again = load_dataset(tmp_path / "set")
    assert again.mask is not None and masked.mask is not None
    assert np.array_equal(again.mask, masked.mask)
    assert content_hash(again.probe, again.splits) == masked.manifest.content_sha256


def test_a_mask_changes_the_hash_and_no_mask_does_not(tiny: Dataset, masked: Dataset) -> None:
    assert content_hash(tiny.probe, tiny.splits) == tiny.manifest.content_sha256
    assert masked.manifest.content_sha256 != tiny.manifest.content_sha256
    with pytest.raises(UserError, match="mask"):
        with_mask(tiny, np.ones((3, 3), bool))


@pytest.mark.parametrize("name", ["mae", "poisson"])
@pytest.mark.parametrize("weight", [0.0, 0.3])
def test_no_loss_reads_a_masked_pixel(masked: Dataset, name: str, weight: float) -> None:
    from study.training.losses import weighted

    loss = weighted(LOSSES[name], weight)
    patch = torch.ones(8, 1, N, N, dtype=torch.complex64).requires_grad_()
    found = []
    for dataset in (masked, garbage(masked)):
        data = TrainData(dataset, "train", torch.device("cpu"), loss.needs | {COUNTS})
        batch = data.select(torch.arange(8))
        probe = torch.tensor(dataset.probe)
        amplitude = torch.fft.fftshift(torch.fft.fft2(probe * patch, norm="ortho")).abs()
        prediction = Prediction(patch, amplitude, probe)
        value = loss(prediction, batch, dataset.manifest.photon_scale)
        (gradient,) = torch.autograd.grad(value, patch)
        totals = Totals(loss, dataset.manifest.photon_scale, torch.device("cpu"))
        totals.add(Prediction(patch.detach(), amplitude.detach(), probe), batch)
        found.append((value, gradient, totals.facts()))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]


@pytest.mark.parametrize("name", ["mae", "poisson"])
def test_a_loss_is_the_sum_over_the_known_pixels(masked: Dataset, name: str) -> None:
    data = TrainData(masked, "train", torch.device("cpu"), frozenset({COUNTS}))
    batch = data.select(torch.arange(6))
    scale, mask = masked.manifest.photon_scale, masked.mask
    predicted = torch.rand(6, 1, N, N, generator=torch.manual_seed(2)) + 0.1
    patch = torch.zeros(6, 1, N, N, dtype=torch.complex64)
    value = LOSSES[name](Prediction(patch, predicted, torch.tensor(masked.probe)), batch, scale)
    k = masked.splits["train"].counts[:6][..., mask].astype(np.float64)
    a = predicted.numpy().astype(np.float64)[..., mask]
    if name == "mae":
        expected = np.abs(a - np.sqrt(k) / scale).sum() / (np.sqrt(k) / scale).sum()
    else:
        rate = (a * scale) ** 2 + 1e-6
        log = np.where(k > 0, k * np.log(np.maximum(k, 1) / rate), 0)
        expected = (2 * (rate - k + log)).sum() / (2 * k.sum())
    assert float(value) == pytest.approx(expected, rel=1e-5)


def test_floors_read_no_masked_pixel(masked: Dataset) -> None:
    device = torch.device("cpu")
    assert floors(masked, device) == floors(garbage(masked), device)


@pytest.mark.parametrize("update_probe", [True, False])
def test_rpie_and_its_r_factors_read_no_masked_pixel(masked: Dataset, update_probe: bool) -> None:
    first, second = (
        reconstruct_rpie(each, 3, 0.1, update_probe) for each in (masked, garbage(masked))
    )
    assert np.array_equal(first.reconstruction.object, second.reconstruction.object)
    assert np.array_equal(first.reconstruction.probe, second.reconstruction.probe)
    assert first.passes == second.passes
    assert first.r_factor_held_out == second.r_factor_held_out
    ratio = first.reconstruction.r_factor
    assert np.array_equal(ratio, second.reconstruction.r_factor, equal_nan=True)


def test_a_mask_of_all_pixels_changes_nothing(tiny: Dataset) -> None:
    every = with_mask(tiny, np.ones((N, N), bool))
    first, second = (reconstruct_rpie(each, 3, 0.1) for each in (tiny, every))
    assert np.array_equal(first.reconstruction.object, second.reconstruction.object)
    assert first.passes == second.passes
    assert floors(every, torch.device("cpu")) == floors(tiny, torch.device("cpu"))


def test_single_patterns_and_groups_go_back_without_masked_pixels(masked: Dataset) -> None:
    probe, known = torch.tensor(masked.probe), torch.tensor(masked.mask)
    found = []
    for dataset in (masked, garbage(masked)):
        amplitude = torch.tensor(dataset.splits["test"].counts[:5].astype(np.float32)).sqrt()
        level = own_constant(amplitude, probe, known)
        found.append(
            (
                back_project(amplitude, probe, level, 2, known),
                group_steps(amplitude, probe, 3, "conjugate", 0.1, known=known),
            )
        )
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])

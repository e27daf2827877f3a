"""Reconstruction: true patches give the object back, and held-out patterns are really held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from checking import events_of
from study.formats.dataset import Dataset
from study.formats.reconstruction import load_reconstruction, save_reconstruction
from study.runs import RunFolder
from study.settings import Arm, DataParams, UserError
from study.simulate import simulate
from study.training.data import TruePatches
from study.training.reconstruct import (
    apply,
    load_generator,
    measured,
    reconstruct_held_out,
    reconstruct_split,
)

CPU = torch.device("cpu")


class Oracle(nn.Module):
    """Answers every measured amplitude with its true patch, found again by its values."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        self.known: dict[bytes, torch.Tensor] = {}
        for name, split in dataset.splits.items():
            norm = dataset.manifest.object_norm[name]
            patches = TruePatches(split, dataset.manifest.n, norm)[:]
            for x, patch in zip(measured(dataset, name, CPU).amplitude, patches, strict=True):
                self.known[x.numpy().tobytes()] = patch

    def forward(self, amplitude: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.known[x.numpy().tobytes()] for x in amplitude])


class Constant(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(0.5))

    def forward(self, amplitude: torch.Tensor) -> torch.Tensor:
        return torch.zeros_like(amplitude, dtype=torch.complex64) + self.value


@pytest.fixture(scope="module")
def oracle(tiny: Dataset) -> Oracle:
    return Oracle(tiny)


@pytest.fixture(scope="module")
def measurement(tiny: Dataset) -> Dataset:
    """The tiny set as an import would give it: one scan of one object, no truth, no norm."""
    train, norm = tiny.splits["train"], tiny.manifest.object_norm["train"]
    kind = {"kind": "imported", "object_norm": dict.fromkeys(tiny.splits, 1.0)}
    held, check = np.arange(169) % 8 == 0, np.arange(169) % 8 == 4
    assert train.obj is not None

    def part(chosen: np.ndarray):
        return replace(
            train,
            counts=train.counts[chosen],
            positions_px=train.positions_px[chosen],
            image_index=train.image_index[chosen],
            obj=(train.obj / norm).astype(np.complex64),
            stride_px=None,
        )

    splits = {"train": part(~held & ~check), "validation": part(check), "test": part(held)}
    return Dataset(tiny.manifest.model_copy(update=kind), tiny.probe, splits)


def test_stitched_truth_is_the_objects_crop(tiny: Dataset, oracle: Oracle) -> None:
    """Positions 0, 8 .. 48, windows of 16, border 4: rows and columns 4 to 60."""
    found = reconstruct_split(oracle, tiny)
    truth = tiny.splits["test"].obj
    assert truth is not None
    assert found.region.tolist() == [4, 4, 60, 60]
    np.testing.assert_allclose(found.object, truth[:, 4:60, 4:60], rtol=1e-5)
    assert found.distinct


def test_r_factor_of_the_truth_is_the_noise_alone(tiny: Dataset, oracle: Oracle) -> None:
    found = reconstruct_split(oracle, tiny)
    split, probe = tiny.splits["test"], tiny.probe
    assert split.obj is not None
    inside = []
    for j, (y, x) in enumerate(split.positions_px[:, 0].astype(int)):
        if not (4 <= y <= 44 and 4 <= x <= 44):
            assert np.isnan(found.r_factor[j])
            continue
        inside.append(j)
        window = split.obj[0, y : y + 16, x : x + 16] / tiny.manifest.object_norm["test"]
        field = np.abs(np.fft.fftshift(np.fft.fft2(window * probe, norm="ortho")))
        scale = tiny.manifest.photon_scale
        roots = np.sqrt(split.counts[j, 0].astype(np.float64))
        expected = np.abs(roots - field * scale).sum() / roots.sum()
        assert found.r_factor[j] == pytest.approx(expected, rel=1e-3)
    assert len(inside) == 25 and found.shown.tolist() == inside
    y, x = split.positions_px[inside[3], 0].astype(int)
    window = split.obj[0, y : y + 16, x : x + 16] / tiny.manifest.object_norm["test"]
    field = np.abs(np.fft.fftshift(np.fft.fft2(window * probe, norm="ortho")))
    np.testing.assert_allclose(found.predicted_amplitude[3], field, rtol=2e-3, atol=2e-3)


def test_a_constant_output_is_not_distinct(tiny: Dataset) -> None:
    found = reconstruct_split(Constant(), tiny)
    assert not found.distinct
    np.testing.assert_allclose(found.object, 0.5 * tiny.manifest.object_norm["test"], rtol=1e-6)


def test_every_image_is_stitched_from_its_own_patterns(tiny_params: DataParams) -> None:
    two = simulate("two", tiny_params.model_copy(update={"images_per_split": 2}))
    found = reconstruct_split(Oracle(two), two)
    truth = two.splits["test"].obj
    assert truth is not None and len(found.object) == 2
    np.testing.assert_allclose(found.object, truth[:, 4:60, 4:60], rtol=1e-5)


def test_groups_of_four_are_averaged_by_illumination(tiny_params: DataParams) -> None:
    grouped = simulate("grouped", tiny_params.model_copy(update={"group_size": 4}))
    found = reconstruct_split(Oracle(grouped), grouped)
    truth = grouped.splits["test"].obj
    assert truth is not None
    y0, x0, y1, x1 = found.region
    lit = found.object != 0
    assert lit.mean() > 0.95 and (y1 - y0) > 40
    np.testing.assert_allclose(found.object[lit], truth[:, y0:y1, x0:x1][lit], rtol=1e-4)
    assert np.isfinite(found.r_factor).any()


def test_a_measurement_is_stitched_without_its_test_patterns(measurement: Dataset) -> None:
    """With true patches, R on patterns that were never shown is the noise and no more."""
    oracle = Oracle(measurement)
    test = measured(measurement, "test", CPU).amplitude
    for x in test:
        del oracle.known[x.numpy().tobytes()]  # asked for one of them, the oracle breaks
    applied = reconstruct_held_out(oracle, measurement)
    assert applied.r_factor_fitted is not None and applied.r_factor_held_out is not None
    assert applied.r_factor_held_out == pytest.approx(applied.r_factor_fitted, rel=0.2)
    assert len(applied.reconstruction.r_factor) == len(test)
    # The full window is predicted, so the probe's dim rims on unknown pixels cost a little.
    assert applied.r_factor_fitted < 0.05


def test_held_out_patterns_of_a_simulation_are_never_shown(tiny: Dataset) -> None:
    oracle = Oracle(tiny)
    amplitude = measured(tiny, "test", CPU).amplitude
    for x in amplitude[8::16]:
        del oracle.known[x.numpy().tobytes()]
    applied = reconstruct_held_out(oracle, tiny)
    assert applied.r_factor_fitted is not None and applied.r_factor_fitted < 0.1


def test_a_run_is_applied_to_another_data_set(
    tiny: Dataset, tiny_params: DataParams, control: Arm, trained: Callable[..., RunFolder]
) -> None:
    folder = trained(control.model_copy(update={"batch_size": 64}))
    before = {file.name for file in folder.path.iterdir()}
    other = simulate("other", tiny_params.model_copy(update={"photons_per_pattern": 1e4}))
    applied = apply(folder, other, "last")
    assert applied.reconstruction.checkpoint == "last"
    assert np.isfinite(applied.reconstruction.object).all()
    assert {file.name for file in folder.path.iterdir()} == before
    larger = tiny_params.model_copy(update={"group_size": 4})
    with pytest.raises(UserError, match=r"group size 4, but the network of .* group size 1"):
        apply(folder, simulate("larger", larger))


def test_a_measured_set_is_trained_and_reconstructed(
    measurement: Dataset,
    vary: Callable[..., Arm],
    trained: Callable[..., RunFolder],
    tmp_path: Path,
) -> None:
    blind = {k: replace(split, obj=None) for k, split in measurement.splits.items()}
    folder = trained(vary(epochs=1, batch_size=64), dataset=replace(measurement, splits=blind))
    assert folder.status()["floors"]["noise"] is None
    found = load_reconstruction(folder.object_file("best"))
    assert len(found.r_factor) == len(blind["test"].counts)
    event = next(event for event in events_of(folder) if event["kind"] == "reconstructed")
    assert event["r_factor_held_out"] > 0
    save_reconstruction(tmp_path / "again.npz", found)


def test_an_unknown_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="checkpoint is 'newest'; accepted: best, last"):
        load_generator(RunFolder(tmp_path), "newest")

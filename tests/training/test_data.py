"""The training data: units, order, completeness, and the true patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.formats.dataset import Dataset
from study.params import UserError
from study.training.data import COUNTS, PATCH_TRUTH, TrainData, epoch_order

CPU = torch.device("cpu")


@settings(deadline=None, max_examples=25)
@given(size=st.integers(1, 60), seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 99))
def test_an_epoch_sees_every_pattern_once(tiny: Dataset, size: int, seed: int, epoch: int) -> None:
    data = TrainData(tiny, "validation", CPU)
    batches = list(data.shuffled(size, seed, epoch))
    seen = torch.cat([batch.index for batch in batches])
    assert sorted(seen.tolist()) == list(range(len(data)))
    assert [len(batch.index) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert len(batches[-1].index) == len(data) - size * (len(batches) - 1)  # a partial one is kept


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    assert epoch_order(50, 3, 7).equal(epoch_order(50, 3, 7))
    assert not epoch_order(50, 3, 7).equal(epoch_order(50, 3, 8))
    assert not epoch_order(50, 3, 7).equal(epoch_order(50, 4, 7))


def test_what_is_left_of_an_epoch_are_its_last_batches(tiny: Dataset) -> None:
    batches = TrainData(tiny, "validation", CPU).shuffled(8, 1, 0)
    rest = batches.after(2)
    assert len(rest) == len(batches) - 2
    for left, whole in zip(rest, list(batches)[2:], strict=True):
        assert left.index.equal(whole.index)


def test_amplitude_is_the_root_of_the_counts_over_the_scale(tiny: Dataset) -> None:
    data = TrainData(tiny, "train", CPU, frozenset({COUNTS}))
    batch = data.select(torch.tensor([5, 2]))
    counts = tiny.splits["train"].counts[[5, 2]]
    expected = np.sqrt(counts.astype(np.float64)) / tiny.manifest.photon_scale
    np.testing.assert_allclose(batch.amplitude.numpy(), expected, rtol=1e-6)
    assert batch.counts is not None
    np.testing.assert_array_equal(batch.counts.numpy(), counts)
    assert batch.patch_truth is None


def test_true_patches_are_windows_of_the_object_in_network_units(tiny: Dataset) -> None:
    data = TrainData(tiny, "test", CPU, frozenset({PATCH_TRUTH}))
    split, n = tiny.splits["test"], tiny.manifest.n
    truth = data.select(torch.arange(len(data))).patch_truth
    assert truth is not None and split.obj is not None
    for j in (0, 10, 48):
        y, x = split.positions_px[j, 0].astype(int)
        window = split.obj[0, y : y + n, x : x + n] / tiny.manifest.object_norm["test"]
        np.testing.assert_allclose(truth[j, 0].numpy(), window, rtol=1e-6)


def test_a_measurement_has_no_true_patches(tiny: Dataset) -> None:
    splits = {name: replace(split, obj=None) for name, split in tiny.splits.items()}
    with pytest.raises(UserError, match="true patches: choose the loss mae or poisson"):
        TrainData(replace(tiny, splits=splits), "train", CPU, frozenset({PATCH_TRUTH}))

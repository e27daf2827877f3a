"""The training data: units, order, completeness, and the true patches."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.formats.dataset import Dataset, Split
from study.settings import UserError
from study.training.data import (
    COUNTS,
    PATCH_TRUTH,
    TrainData,
    corners_of,
    epoch_order,
    neighbour_order,
)

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


# --- batches of neighbours --------------------------------------------------------------------


def scan_of(positions_px: np.ndarray, images: np.ndarray, side: int) -> Split:
    """One position (y, x) a pattern; nothing else is looked at."""
    return Split(
        counts=np.zeros((len(images), 1, 1, 1), np.uint32),
        positions_px=positions_px[:, None].astype(np.float32),
        image_index=images,
        obj=None,
        object_shape=(side, side),
        stride_px=None,
    )


def raster(rows: int, columns: int, step: float = 4.0) -> np.ndarray:
    places = np.indices((rows, columns)).reshape(2, -1).T
    return (step * places).astype(np.float32)


@st.composite
def any_corners(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Up to three images of random positions, on a line, in one place or anywhere."""
    count, side = draw(st.integers(1, 60)), draw(st.integers(1, 200))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    spread = np.array(draw(st.sampled_from([(1, 1), (0, 1), (1, 0), (0, 0)])))
    positions_px = random.uniform(0, side, (count, 2)) * spread
    if draw(st.booleans()):
        positions_px = positions_px.round()
    return positions_px, random.integers(0, draw(st.integers(1, 3)), count), side


@settings(deadline=None, max_examples=25)
@given(scan=any_corners(), size=st.integers(1, 70), seed=st.integers(0, 2**32 - 1))
def test_batches_of_neighbours_hold_every_pattern_once(
    scan: tuple[np.ndarray, np.ndarray, int], size: int, seed: int
) -> None:
    corners = corners_of(scan_of(*scan)).numpy()[:, 0]
    order = neighbour_order(corners, size, seed, 3)
    assert sorted(order.tolist()) == list(range(len(corners)))
    assert neighbour_order(corners, size, seed, 3).equal(order)


def test_the_order_of_neighbours_depends_on_seed_and_epoch() -> None:
    order = neighbour_order(raster(8, 8), 16, 3, 7)
    assert order.equal(neighbour_order(raster(8, 8), 16, 3, 7))
    assert not order.equal(neighbour_order(raster(8, 8), 16, 3, 8))
    assert not order.equal(neighbour_order(raster(8, 8), 16, 4, 7))


def consecutive(values: np.ndarray, size: int) -> bool:
    """Four neighbours on a circle of `size`, each as often as the others."""
    found, times = np.unique(values, return_counts=True)
    steps = np.diff(found, append=found[0] + size)
    return sorted(steps) == [1, 1, 1, size - 3] and set(times) == {4}


@pytest.mark.parametrize("step", [1.0, 2.5, 10.0])
@pytest.mark.parametrize("sides", [(4, 4), (8, 8), (12, 12), (32, 32), (8, 16), (20, 12)])
def test_on_a_raster_every_batch_is_one_cell_of_the_torus(
    sides: tuple[int, int], step: float
) -> None:
    rows, columns = sides
    corners = raster(rows, columns, step)
    for epoch in range(4):
        order = neighbour_order(corners, 16, 1, epoch).numpy().reshape(-1, 16)
        for batch in order:
            assert consecutive(batch // columns, rows)
            assert consecutive(batch % columns, columns)


def test_the_cells_of_another_epoch_are_others() -> None:
    """The torus is shifted at random: who is in a batch changes, not only when it comes."""
    cells = [
        {frozenset(b) for b in neighbour_order(raster(16, 16), 16, 1, e).view(-1, 16).tolist()}
        for e in range(8)
    ]
    assert all(len(epoch) == 16 for epoch in cells)
    assert len(set().union(*cells)) > 64


def distance_within(order: torch.Tensor, corners: np.ndarray, size: int) -> float:
    """Median distance in px of two patterns of one batch."""
    pairs = [corners[batch][:, None] - corners[batch][None] for batch in order.split(size)]
    return float(np.median(np.concatenate([np.hypot(*p.reshape(-1, 2).T) for p in pairs])))


@pytest.mark.parametrize("kind", ["raster", "random", "two images"])
def test_neighbours_are_near(kind: str) -> None:
    corners = raster(16, 16)
    if kind == "random":
        corners = np.random.default_rng(1).uniform(0, 64, (256, 2)).astype(np.float32)
    if kind == "two images":
        images = np.repeat([0, 1], 256)
        corners = corners_of(scan_of(np.tile(corners, (2, 1)), images, 100)).numpy()[:, 0]
    near = distance_within(neighbour_order(corners, 16, 1, 0), corners, 16)
    assert near < 0.4 * distance_within(epoch_order(len(corners), 1, 0), corners, 16)


def test_the_batches_of_a_split_are_in_the_order_that_was_asked_for(grouped: Dataset) -> None:
    """The first window of a group stands for it; both images are on one canvas."""
    data, split = TrainData(grouped, "train", CPU), grouped.splits["train"]
    found = torch.cat([batch.index for batch in data.shuffled(16, 5, 2, "neighbours")])
    assert found.equal(neighbour_order(corners_of(split).numpy()[:, 0], 16, 5, 2))
    plain = torch.cat([batch.index for batch in data.shuffled(16, 5, 2, "shuffled")])
    assert plain.equal(epoch_order(len(data), 5, 2))


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

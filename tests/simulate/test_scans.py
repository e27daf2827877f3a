"""Scans: how many windows there are and where they lie."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.settings import Jittered, Raster, SplitStrides
from study.simulate.scans import raster, scan_positions

STRIDES = SplitStrides(train=4, validation=10, test=10)
RASTER = Raster(kind="raster", stride_px=STRIDES)
FULL = {"object_px": 392, "images": 1}


@pytest.mark.parametrize(
    ("n", "group_size", "train", "test"),
    [(64, 1, 6889, 1089), (128, 1, 4489, 729), (64, 4, 6724, 1089)],
)
def test_full_scans_have_the_published_pattern_counts(
    n: int, group_size: int, train: int, test: int
) -> None:
    for split, count in (("train", train), ("test", test), ("validation", test)):
        positions = scan_positions(RASTER, split, n=n, group_size=group_size, **FULL)
        assert positions.shape == (count, group_size, 2)


@settings(deadline=None, max_examples=25)
@given(st.integers(4, 20), st.integers(0, 30), st.integers(1, 9))
def test_raster_holds_all_valid_windows_and_no_other(n: int, spare: int, stride: int) -> None:
    size = n + spare
    positions = raster(n, size, stride)
    expected = [
        (y, x)
        for y in range(size)
        for x in range(size)
        if y % stride == x % stride == 0 and max(y, x) + n <= size
    ]
    assert positions.tolist() == [list(pair) for pair in expected]


def test_groups_are_two_by_two_patches_4_px_apart_in_row_major_order() -> None:
    positions = scan_positions(RASTER, "train", n=16, object_px=40, group_size=4, images=1)
    offsets = positions - positions[:, :1]
    assert np.array_equal(offsets[0], [[0, 0], [0, 4], [4, 0], [4, 4]])
    assert (offsets == offsets[0]).all()
    assert positions.max() + 16 <= 40


def test_images_follow_each_other() -> None:
    one = scan_positions(RASTER, "test", n=16, object_px=40, group_size=1, images=1)
    two = scan_positions(RASTER, "test", n=16, object_px=40, group_size=1, images=2)
    assert np.array_equal(two, np.concatenate([one, one]))


@pytest.mark.parametrize("group_size", [1, 4])
def test_jitter_stays_inside_the_object_and_below_its_size(group_size: int) -> None:
    scan = Jittered(kind="jittered", stride_px=STRIDES, jitter_px=1.5, seed=3)
    kept = {"n": 16, "object_px": 40, "group_size": group_size, "images": 2}
    positions = scan_positions(scan, "train", **kept)
    regular = scan_positions(RASTER, "train", **kept)
    assert positions.min() >= 0
    assert positions.max() + 16 <= 40
    assert 1.0 < np.abs(positions - regular).max() <= 1.5
    half = len(positions) // 2
    assert not np.allclose(positions[:half], positions[half:])
    assert np.array_equal(positions, scan_positions(scan, "train", **kept))
    offsets = positions - positions[:, :1]
    assert np.allclose(offsets, offsets[0], atol=1e-5)


def test_jitter_differs_between_splits_and_seeds() -> None:
    strides = SplitStrides(train=4, validation=4, test=4)
    kept = {"n": 16, "object_px": 40, "group_size": 1, "images": 1}
    seen = [
        scan_positions(
            Jittered(kind="jittered", stride_px=strides, jitter_px=1.5, seed=seed), split, **kept
        )
        for seed, split in ((3, "train"), (3, "test"), (4, "train"))
    ]
    assert not np.allclose(seen[0], seen[1])
    assert not np.allclose(seen[0], seen[2])

"""The test object measured again: the stored light, at any scan step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from study.formats.dataset import Dataset
from study.settings import DataParams, UserError
from study.simulate.rescan import rescan


def spread(a: np.ndarray, b: np.ndarray) -> float:
    """Standard deviation of (a - b) / sqrt(a + b): 1 for two Poisson draws of one mean."""
    a, b = a.astype(float), b.astype(float)
    bright = a + b > 50
    return float(np.std((a - b)[bright] / np.sqrt((a + b)[bright])))


def test_at_its_own_step_and_seed_a_scan_repeats_bit_by_bit(
    tiny: Dataset, tiny_params: DataParams
) -> None:
    stored, again = tiny.splits["test"], rescan(tiny, tiny_params, 8)
    assert np.array_equal(stored.all_counts(), again.all_counts())
    assert np.array_equal(stored.positions_px, again.positions_px)
    assert np.array_equal(stored.image_index, again.image_index)
    assert stored.stride_px == again.stride_px


def test_with_another_noise_seed_only_the_draw_differs(
    tiny: Dataset, tiny_params: DataParams
) -> None:
    other = rescan(tiny, tiny_params.model_copy(update={"noise_seed": 99}), 8)
    stored = tiny.splits["test"].all_counts()
    assert not np.array_equal(stored, other.all_counts())
    assert spread(stored, other.all_counts()) == pytest.approx(1, abs=0.03)


def test_windows_that_two_steps_share_see_the_same_light(
    tiny: Dataset, tiny_params: DataParams
) -> None:
    fine, coarse = rescan(tiny, tiny_params, 4), tiny.splits["test"]
    assert len(fine.positions_px) == 13**2
    shared = (fine.positions_px[:, 0] % 8 == 0).all(axis=1)
    assert np.array_equal(fine.positions_px[shared], coarse.positions_px)
    assert spread(fine.all_counts()[shared], coarse.all_counts()) == pytest.approx(1, abs=0.03)


def test_the_told_probe_does_not_change_the_light(tiny: Dataset, tiny_params: DataParams) -> None:
    misled = replace(tiny, probe=2j * tiny.probe)
    same = rescan(misled, tiny_params, 8).all_counts()
    assert np.array_equal(same, tiny.splits["test"].all_counts())


def test_another_object_is_refused(tiny: Dataset, tiny_params: DataParams) -> None:
    with pytest.raises(UserError, match="test object of data set tiny"):
        rescan(tiny, tiny_params.model_copy(update={"lines": 30}), 8)

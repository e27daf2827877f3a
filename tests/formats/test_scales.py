"""The scale of the positions, found by fitting."""

from __future__ import annotations

import numpy as np
import pytest
from formats.scenes import scene

from study.formats.scales import Scale, find_scale, overlap
from study.formats.trial import Convention, Prepared, TrialScan

COUNTS = Convention("counts", (0, 0))


def found(scale: float, photons: float = 1e5, mask: bool = False, seed: int = 0) -> Scale:
    given = scene(photons=photons, seed=seed)
    known = np.ones((32, 32), bool)
    if mask:
        known[15:17] = False
    counts = given.counts * known
    result = find_scale(TrialScan(counts, known, given.probe, given.corners * scale), COUNTS)
    assert result is not None
    return result


@pytest.mark.slow
@pytest.mark.parametrize("photons", [1e3, 1e4, 1e6])
@pytest.mark.parametrize("seed", [0, 1])
def test_right_positions_raise_no_alarm(photons: float, seed: int) -> None:
    scale = found(1.0, photons, seed=seed)
    assert not scale.wrong
    assert not scale.doubtful
    assert scale.factor == pytest.approx(1, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("mask", [False, True])
def test_a_wrong_scale_is_found(mask: bool) -> None:
    scale = found(1.2, mask=mask)
    assert scale.wrong
    assert scale.factor == pytest.approx(1 / 1.2, rel=0.03)


@pytest.mark.slow
def test_a_scale_off_by_two_per_cent_is_doubtful_not_wrong() -> None:
    scale = found(0.975)
    assert scale.doubtful
    assert not scale.wrong


def test_patterns_without_light_have_no_scale() -> None:
    given = scene()
    scan = TrialScan(
        np.zeros_like(given.counts), np.ones((32, 32), bool), given.probe, given.corners
    )
    assert find_scale(scan, COUNTS) is None


def test_overlap_is_one_without_and_the_number_of_windows_at_one_place() -> None:
    probe = np.ones((8, 8), complex)
    apart = np.array([[0.0, 0.0], [0.0, 8.0], [8.0, 0.0]])
    prepared = Prepared(np.ones((3, 8, 8), np.float32), np.ones((8, 8), bool), probe, apart)
    assert overlap(prepared, 1.0) == pytest.approx(1)
    assert overlap(prepared, 0.0) == pytest.approx(3)

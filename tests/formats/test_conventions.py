"""Conventions found from the data."""

import numpy as np
import pytest

from study.formats.conventions import (
    FLIPS,
    ORDERS,
    all_orders,
    arrange,
    choose_order,
    compare_orders,
    detect_values,
    detect_zero_frequency,
)
from study.formats.dataset import Dataset


def test_whole_numbers_are_counts_and_their_roots_amplitudes() -> None:
    drawn = np.random.default_rng(0).poisson(40, (5, 8, 8))
    assert detect_values(drawn) == "counts"
    assert detect_values(drawn.astype(np.float32)) == "counts"
    assert detect_values(np.sqrt(drawn).astype(np.float32)) == "amplitudes"
    assert detect_values(drawn / 7.3) is None


@pytest.mark.parametrize("n", [15, 16])
def test_zero_frequency_lies_where_the_light_gathers(n: int) -> None:
    steps = np.arange(n) - n // 2
    spot = np.exp(-(steps[:, None] ** 2 + steps[None, :] ** 2) / 8)[None].repeat(3, 0)
    assert detect_zero_frequency(spot) == "centre"
    assert detect_zero_frequency(np.fft.ifftshift(spot, axes=(-2, -1))) == "corner"
    assert detect_zero_frequency(np.ones((2, n, n))) is None
    ring = spot - 0.9 * spot**2
    assert detect_zero_frequency(ring) == "centre"


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("flip", FLIPS)
def test_arranging_twice_gives_the_stored_positions(order: str, flip: str) -> None:
    stored = np.array([[1.0, 2.0], [3.0, 5.0]])
    there = arrange(stored, order, flip)
    assert sorted(np.abs(there[0])) == [1.0, 2.0]
    if order == "yx" or flip in ("none", "both"):
        assert np.array_equal(arrange(there, order, flip), stored)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("flip", FLIPS)
@pytest.mark.slow
def test_order_and_signs_of_positions_are_found(scanned: Dataset, order: str, flip: str) -> None:
    train = scanned.splits["train"]
    true = train.positions_px[:, 0].astype(np.float64)
    signs = np.array({"none": (1, 1), "y": (-1, 1), "x": (1, -1), "both": (-1, -1)}[flip])
    stored = (true * signs)[:, ::-1] if order == "xy" else true * signs
    assert np.array_equal(arrange(stored, order, flip), true)
    counts = train.counts[:, 0].astype(np.float32)
    misfits = compare_orders(counts, scanned.probe, stored, all_orders(None, None))
    chosen, reason = choose_order(misfits)
    assert chosen == (order, flip)
    assert reason.startswith("found from the data")


def test_an_undecided_comparison_keeps_the_custom_and_says_so() -> None:
    misfits = {("yx", "none"): 0.200, ("xy", "none"): 0.199, ("yx", "y"): 0.3}
    chosen, reason = choose_order(misfits)
    assert chosen == ("yx", "none")
    assert reason.startswith("by custom; the data do not decide (misfit 0.200")


def test_patterns_that_do_not_overlap_decide_nothing(scanned: Dataset) -> None:
    train = scanned.splits["train"]
    far = train.positions_px[:, 0].astype(np.float64) * 50
    counts = train.counts[:, 0].astype(np.float32)
    misfits = compare_orders(counts, scanned.probe, far, all_orders(None, None))
    assert choose_order(misfits)[0] == ("yx", "none")

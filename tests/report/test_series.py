"""What charts of runs show, against independent computations."""

from __future__ import annotations

import math

import numpy as np
import pandas
from hypothesis import given, settings
from hypothesis import strategies as st

from study.report.series import Curves, Seeds, best_epoch

LOSSES = st.lists(
    st.one_of(st.floats(1e-3, 10), st.just(math.nan), st.just(math.inf)), min_size=1, max_size=8
)
OUTCOMES = st.sampled_from(["ok", "collapsed", "failed"])


def made(losses: dict[int, list[float]], outcomes: dict[int, str]) -> Curves:
    rows = [
        {"seed": seed, "epoch": epoch, "val_loss": loss}
        for seed, values in losses.items()
        for epoch, loss in enumerate(values, start=1)
    ]
    return Curves("arm", 0, pandas.DataFrame(rows), outcomes)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.integers(1, 5), st.tuples(LOSSES, OUTCOMES), min_size=1))
def test_best_and_last_points_are_those_of_the_finite_losses(runs):
    losses = {seed: run[0] for seed, run in runs.items()}
    curves = made(losses, {seed: run[1] for seed, run in runs.items()})
    best, ends = [], []
    for seed, (values, outcome) in sorted(runs.items()):
        known = [(loss, epoch) for epoch, loss in enumerate(values, 1) if math.isfinite(loss)]
        assert best_epoch(curves.history[curves.history["seed"] == seed]) == (
            min(known)[1] if known else None
        )
        if known:
            best.append((outcome, (float(min(known)[1]), min(known)[0])))
            ends.append((outcome, (float(known[-1][1]), known[-1][0])))
    flat = {(name, point) for name, points in curves.best("val_loss").items() for point in points}
    assert flat == set(best)
    last = {(name, point) for name, points in curves.ends("val_loss").items() for point in points}
    assert last == {(name, point) for name, point in ends if name != "ok"}


def test_the_middle_of_an_epoch_is_the_median_of_its_seeds():
    curves = made({1: [3.0, 1.0], 2: [1.0, 5.0], 3: [2.0]}, {})
    middle = curves.middle("val_loss")
    assert middle["median"].to_list() == [2.0, 3.0]
    assert middle["count"].to_list() == [3, 2]
    assert not curves.has("train_loss")


@given(st.lists(st.just(0.5), min_size=1, max_size=30))
def test_equal_values_do_not_hide_each_other(values):
    row = Seeds("arm", {f"s{i}": value for i, value in enumerate(values)})
    offsets = np.array([offset for _, _, offset, _ in row.marks()])
    # Above the mean, which is drawn below the line, and within the row.
    assert offsets.min() > -0.5 and offsets.max() < 0.2
    assert len(values) == 1 or np.diff(offsets).min() > 0

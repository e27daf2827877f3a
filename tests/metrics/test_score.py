"""Laws that hold for every metric set of the table."""

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.metrics import METRIC_SETS, score
from study.settings import UserError

CHANNELS = ("amplitude", "phase")
KEYS = {"mae", "mse", "psnr", "ssim", "ms_ssim", "frc50"}
HIGHER_IS_BETTER = {"psnr", "ssim", "ms_ssim", "frc50"}


def complex_noise(shape, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape) + 1j * rng.normal(size=shape)


every_set = pytest.mark.parametrize("metrics", METRIC_SETS)


@every_set
def test_truth_scores_best(truth, metrics):
    scores = score(truth, truth, metrics)
    for channel in CHANNELS:
        assert scores[channel]["mae"] == pytest.approx(0, abs=1e-12)
        assert scores[channel]["mse"] == pytest.approx(0, abs=1e-12)
        assert scores[channel]["ssim"] == pytest.approx(1)
        assert scores[channel]["ms_ssim"] == pytest.approx(1, abs=1e-3)
    assert scores["extra"]["amplitude_scale"] == pytest.approx(1)


@every_set
@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 2**32 - 1), sigma=st.floats(0.05, 0.3), factor=st.floats(1.5, 3))
def test_more_noise_scores_worse(truth, metrics, seed, sigma, factor):
    noise = complex_noise(truth.shape, seed)
    little = score(truth + sigma * noise, truth, metrics)
    much = score(truth + factor * sigma * noise, truth, metrics)
    for channel in CHANNELS:
        for key in KEYS:
            low, high = little[channel][key], much[channel][key]
            if key == "frc50" and None in (low, high):
                continue
            assert (low >= high) if key in HIGHER_IS_BETTER else (low < high), (channel, key)


@every_set
@pytest.mark.parametrize("case", ["truth", "noisy", "zero", "flat", "flat_truth", "small"])
def test_every_null_has_a_reason_and_json_takes_it(truth, metrics, case):
    noisy = truth + complex_noise(truth.shape, 1)
    prediction, reference = {
        "truth": (truth, truth),
        "noisy": (noisy, truth),
        "zero": (np.zeros_like(truth), truth),
        "flat": (np.full_like(truth, 2 + 1j), truth),
        "flat_truth": (noisy, np.ones_like(truth)),
        "small": (noisy[:11, :14], truth[:11, :14]),
    }[case]
    scores = score(prediction.astype(np.complex64), reference.astype(np.complex64), metrics)
    parts = {"extra": scores["extra"]} | {channel: scores[channel] for channel in CHANNELS}
    assert all(scores[channel].keys() == KEYS for channel in CHANNELS)
    for part, values in parts.items():
        for key, value in values.items():
            assert (value is None) == (f"{part}.{key}" in scores["reasons"]), (part, key)
            assert value is None or (type(value) is float and math.isfinite(value))
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


@every_set
@settings(deadline=None, max_examples=10)
@given(
    level=st.floats(1e-3, 1e3),
    turn=st.floats(-3, 3),
    wobble=st.floats(0, 0.005),
    seed=st.integers(0, 9),
)
def test_gate_comes_before_the_score(truth, metrics, level, turn, wobble, seed):
    """Any near constant is degenerate; then `standard` has no number at all."""
    flat = level * np.exp(1j * turn) * (1 + wobble * complex_noise(truth.shape, seed))
    scores = score(flat, truth, metrics)
    for channel in CHANNELS:
        assert scores["gate"][channel]["reason"] == f"constant {channel}"
        values = set(scores[channel].values())
        if METRIC_SETS[metrics].gate_blanks:
            assert values == {None}
            assert scores["reasons"][f"{channel}.ssim"] == f"not evaluable: constant {channel}"
        else:
            assert None not in values


@every_set
def test_new_metric_is_one_line_of_the_table(truth, metrics, monkeypatch):
    """And one that gives NaN is a null with a reason."""
    chosen = METRIC_SETS[metrics]
    table = {
        "worst": lambda pair: abs(pair.prediction - pair.truth).max(),
        "broken": lambda _: math.nan,
    }
    larger = dataclasses.replace(chosen, metrics={**chosen.metrics, **table})
    monkeypatch.setattr("study.metrics.METRIC_SETS", {metrics: larger})
    noisy = truth + 0.1 * complex_noise(truth.shape, 6)
    scores = score(noisy, truth, metrics)
    assert scores["phase"]["worst"] >= scores["phase"]["mae"]
    assert scores["phase"]["broken"] is None
    assert "the value is nan" in scores["reasons"]["phase.broken"]


def test_one_degenerate_channel_leaves_the_other(truth):
    scores = score(np.abs(truth) + 0j, truth, "standard")
    assert scores["amplitude"]["ssim"] == pytest.approx(1)
    assert scores["phase"]["ssim"] is None


@every_set
@pytest.mark.parametrize("stored", [np.complex64, np.complex128])
def test_precision_of_storage_hardly_matters(truth, metrics, stored):
    noisy = truth + 0.3 * complex_noise(truth.shape, 2)
    double = score(noisy, truth, metrics)["amplitude"]
    assert score(noisy.astype(stored), truth.astype(stored), metrics)["amplitude"] == pytest.approx(
        double, rel=1e-4
    )


@every_set
def test_inputs_are_left_as_they_were(truth, metrics):
    noisy = truth + complex_noise(truth.shape, 4)
    before = noisy.copy(), truth.copy()
    score(noisy, truth, metrics)
    assert (noisy == before[0]).all()
    assert (truth == before[1]).all()


@every_set
@pytest.mark.parametrize("bad", [np.nan, np.inf, complex(0, np.nan), complex(0, -np.inf)])
def test_non_finite_is_bad_input_not_a_score(truth, metrics, bad):
    broken = truth.copy()
    broken[3, 4] = bad
    with pytest.raises(UserError, match="the prediction has 1 non-finite"):
        score(broken, truth, metrics)
    with pytest.raises(UserError, match="the truth has 1 non-finite"):
        score(truth, broken, metrics)


def test_bad_inputs_are_named(truth):
    with pytest.raises(UserError, match="no metric set 'standart'; did you mean 'standard'"):
        score(truth, truth, "standart")
    with pytest.raises(UserError, match=r"shape \(119, 120\) but the truth has \(120, 120\)"):
        score(truth[1:], truth, "standard")
    with pytest.raises(UserError, match="the prediction is float64"):
        score(np.abs(truth), truth, "standard")
    with pytest.raises(UserError, match=r"the truth has shape \(1, 120, 120\)"):
        score(truth, truth[None], "standard")
    with pytest.raises(UserError, match="at least 11 x 11"):
        score(truth[:10], truth[:10], "published")
    with pytest.raises(UserError, match="the mask is float64"):
        score(truth, truth, "standard", mask=np.ones(truth.shape))
    with pytest.raises(UserError, match="selects no pixel"):
        score(truth, truth, "standard", mask=np.zeros(truth.shape, dtype=bool))

"""Losses against numpy and against what they must do to a zero, a true and a doubled batch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.optics import diffract
from study.training.data import COUNTS, PATCH_TRUTH, Batch, TrainData
from study.training.losses import LOSSES, Prediction, poisson_deviance

S = 30.0
PROBE = torch.ones(5, 5, dtype=torch.complex64)
CPU = torch.device("cpu")


def made(seed: int, b: int = 3, dose: float = 50.0) -> tuple[Prediction, Batch]:
    """A random prediction beside random counts; some pixels are dark."""
    random = np.random.default_rng(seed)
    counts = random.poisson(random.exponential(dose, (b, 1, 5, 5))).astype(np.float32)
    patch = random.normal(size=(b, 1, 5, 5)) + 1j * random.normal(size=(b, 1, 5, 5))
    photons = torch.from_numpy(counts)
    true = torch.from_numpy((patch[::-1].copy()).astype(np.complex64))
    batch = Batch(photons.sqrt() / S, photons, true, torch.arange(b))
    predicted = torch.from_numpy(patch.astype(np.complex64))
    return Prediction(predicted, diffract(PROBE, predicted), PROBE), batch


def zero(prediction: Prediction) -> Prediction:
    nothing = torch.zeros_like(prediction.patch)
    return Prediction(nothing, torch.zeros_like(prediction.amplitude), PROBE)


def doubled(prediction: Prediction, batch: Batch) -> tuple[Prediction, Batch]:
    def twice(values: torch.Tensor | None) -> torch.Tensor:
        assert values is not None
        return torch.cat([values, values])

    return (
        Prediction(twice(prediction.patch), twice(prediction.amplitude), PROBE),
        Batch(
            twice(batch.amplitude),
            twice(batch.counts),
            twice(batch.patch_truth),
            twice(batch.index),
        ),
    )


@pytest.mark.parametrize("name", ["mae", "supervised"])
def test_a_zero_output_has_loss_exactly_one(name: str) -> None:
    prediction, batch = made(1)
    assert float(LOSSES[name](zero(prediction), batch, S)) == 1.0


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_batch_doubled_with_itself_has_the_same_loss(name: str) -> None:
    prediction, batch = made(2)
    once = float(LOSSES[name](prediction, batch, S))
    assert float(LOSSES[name](*doubled(prediction, batch), S)) == pytest.approx(once, rel=1e-6)


def test_mae_is_the_mean_error_over_the_mean_amplitude() -> None:
    prediction, batch = made(3)
    a, x = prediction.amplitude.double().numpy(), batch.amplitude.double().numpy()
    expected = np.abs(a - x).mean() / x.mean()
    assert float(LOSSES["mae"](prediction, batch, S)) == pytest.approx(expected, rel=1e-6)


def test_supervised_is_the_mean_error_to_the_true_patches() -> None:
    prediction, batch = made(3)
    assert batch.patch_truth is not None
    true = batch.patch_truth.numpy()
    expected = np.abs(prediction.patch.numpy() - true).mean() / np.abs(true).mean()
    assert float(LOSSES["supervised"](prediction, batch, S)) == pytest.approx(expected, rel=1e-5)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 10**7), st.floats(1e-6, 1e7)), min_size=1, max_size=20),
)
def test_deviance_is_twice_the_log_likelihood_ratio(pixels: list[tuple[int, float]]) -> None:
    counts, rate = (np.array(column, dtype=np.float64) for column in zip(*pixels, strict=True))
    saturated = np.where(counts > 0, scipy.stats.poisson.logpmf(counts, np.maximum(counts, 1)), 0)
    expected = 2 * (saturated - scipy.stats.poisson.logpmf(counts, rate))
    found = poisson_deviance(torch.from_numpy(rate), torch.from_numpy(counts)).numpy()
    # logpmf itself cancels terms of size k ln k.
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-5)


def test_a_dark_pixel_contributes_twice_its_rate_and_a_hit_nothing() -> None:
    rate, counts = torch.tensor([3.0, 7.0, 2e7]), torch.tensor([0.0, 7.0, 2e7])
    assert poisson_deviance(rate, counts).tolist() == [6.0, 0.0, 0.0]


def test_deviance_of_poisson_counts_is_one_per_pixel() -> None:
    """Wilks: the deviance of the true rate is chi-squared with one degree of freedom."""
    random = np.random.default_rng(5)
    rate = random.uniform(1e4, 1e7, 20_000)
    counts = random.poisson(rate)
    found = poisson_deviance(torch.from_numpy(rate).float(), torch.from_numpy(counts).float())
    # float32 input: at 1e7 photons its rounding (0.5) is far below the noise (3e3).
    assert float(found.mean()) == pytest.approx(1.0, abs=4 * math.sqrt(2 / len(rate)))


def test_poisson_is_the_deviance_over_twice_the_counts() -> None:
    prediction, batch = made(4)
    assert batch.counts is not None
    k = batch.counts.double().numpy()
    rate = (prediction.amplitude.double().numpy() * S) ** 2 + 1e-6
    log = np.log(np.where(k > 0, k, 1) / rate)
    expected = 2 * (rate - k + k * log).sum() / (2 * k.sum())
    assert float(LOSSES["poisson"](prediction, batch, S)) == pytest.approx(expected, rel=1e-6)


def test_the_gradient_of_poisson_is_that_of_its_closed_form() -> None:
    """d/dA of (I - k ln I) / sum k with I = (S A)^2: 2 S^2 A (1 - k / I) / sum k."""
    prediction, batch = made(6)
    assert batch.counts is not None
    amplitude = prediction.amplitude.clone().requires_grad_()
    LOSSES["poisson"](Prediction(prediction.patch, amplitude, PROBE), batch, S).backward()
    a, k = amplitude.detach().double(), batch.counts.double()
    expected = 2 * S**2 * a * (1 - k / ((S * a) ** 2 + 1e-6)) / k.sum()
    assert amplitude.grad is not None
    torch.testing.assert_close(amplitude.grad.double(), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_true_patches_leave_the_noise_alone(name: str, tiny) -> None:
    """The oracle's loss lies far below that of the best constant, and is what numpy gives."""
    data = TrainData(tiny, "train", CPU, frozenset({COUNTS, PATCH_TRUTH}))
    batch = data.select(torch.arange(40))
    assert batch.patch_truth is not None
    probe = torch.tensor(tiny.probe)
    amplitude = diffract(probe, batch.patch_truth)
    prediction = Prediction(batch.patch_truth, amplitude, probe)
    oracle = float(LOSSES[name](prediction, batch, data_scale(tiny)))
    expected = {
        "mae": expected_noise(amplitude.numpy(), batch.amplitude.numpy()),
        "supervised": 0.0,
        # About one unit of deviance a pixel that sees light at all.
        "poisson": amplitude.numel() / (2 * float(tiny.splits["train"].counts[:40].sum())),
    }[name]
    assert oracle == pytest.approx(expected, rel=0.35, abs=1e-7)


def data_scale(dataset) -> float:
    return dataset.manifest.photon_scale


def expected_noise(amplitude: np.ndarray, measured: np.ndarray) -> float:
    return float(np.abs(amplitude - measured).sum() / measured.sum())

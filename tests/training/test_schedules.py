"""Schedules against their closed forms, written out a second time with numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from study.runs import RunFolder
from study.settings import Arm
from study.training.schedules import LearningRate, Progress, learning_rates, observe

LR, EPOCHS = 1e-3, 7


def warmup_cosine(e: np.ndarray) -> np.ndarray:
    cosine = 0.2 + 0.8 * (1 + np.cos(np.pi * (e - 3) / 4)) / 2
    return LR * np.where(e < 3, 0.1 + 0.3 * e, cosine)


CLOSED_FORMS: list[tuple[dict, Callable[[np.ndarray], np.ndarray]]] = [
    ({"name": "constant"}, lambda e: LR + 0 * e),
    ({"name": "exponential", "gamma": 0.7}, lambda e: LR * 0.7**e),
    ({"name": "warmup_cosine", "warmup_epochs": 3, "final_ratio": 0.2}, warmup_cosine),
    ({"name": "plateau", "factor": 0.5, "patience": 0}, lambda e: LR + 0 * e),
]


@pytest.mark.parametrize(("schedule", "closed"), CLOSED_FORMS)
def test_the_curve_is_its_closed_form(
    schedule: dict, closed: Callable, vary: Callable[..., Arm]
) -> None:
    found = learning_rates(vary(schedule=schedule, epochs=EPOCHS))
    assert found == pytest.approx(closed(np.arange(EPOCHS)).tolist(), rel=1e-12)


@pytest.mark.parametrize("schedule", [schedule for schedule, _ in CLOSED_FORMS[:3]])
@pytest.mark.slow
def test_the_logged_rate_is_the_closed_form_through_the_optimizer(
    schedule: dict, vary: Callable[..., Arm], trained: Callable[..., RunFolder]
) -> None:
    arm = vary(schedule=schedule, epochs=4 if "warmup" in schedule["name"] else 3, batch_size=64)
    logged = trained(arm).history()["learning_rate"].tolist()
    assert logged == pytest.approx(learning_rates(arm), rel=1e-12)


def test_plateau_waits_its_patience_then_reduces(vary: Callable[..., Arm]) -> None:
    schedule = LearningRate(vary(schedule={"name": "plateau", "factor": 0.5, "patience": 2}))
    rates = []
    for epoch, loss in enumerate([1.0, 0.9, 0.95, 0.9, 0.91, 0.92, 0.93, 0.94, 0.5]):
        rates.append(schedule.rate(epoch))
        schedule.observe(loss)
    # Best at epoch 1; 2, 3, 4 are three without a better one, and so are 5, 6, 7.
    assert rates == pytest.approx([LR] * 5 + [LR / 2] * 3 + [LR / 4])


def test_plateau_goes_on_from_its_stored_state(vary: Callable[..., Arm]) -> None:
    arm = vary(schedule={"name": "plateau", "factor": 0.5, "patience": 1})
    whole, resumed = LearningRate(arm), LearningRate(arm)
    losses = [1.0, 1.1, 1.2, 1.3, 1.4]
    for loss in losses[:3]:
        whole.observe(loss)
    resumed.load_state_dict(whole.state_dict())
    for loss in losses[3:]:
        whole.observe(loss)
        resumed.observe(loss)
    assert resumed.rate(5) == whole.rate(5) == LR / 4


def test_an_equal_loss_is_no_better_one() -> None:
    state = observe(observe(Progress(), 1.0, patience=0), 1.0, patience=0)
    assert state.reductions == 1


def test_plateau_in_a_run_reduces_the_logged_rate(
    vary: Callable[..., Arm], trained: Callable[..., RunFolder]
) -> None:
    """A step so large that the loss rises: the rate falls in the epochs after."""
    arm = vary(
        schedule={"name": "plateau", "factor": 0.1, "patience": 0},
        optimizer={"name": "adam", "lr": 0.5},
        epochs=6,
        batch_size=64,
    )
    history = trained(arm).history()
    best = history["val_loss"].cummin()
    improved = history["val_loss"] < best.shift(fill_value=np.inf)
    expected = 0.5 * 0.1 ** np.concatenate([[0], np.cumsum(~improved)[:-1]])
    assert not improved.all()
    assert history["learning_rate"].tolist() == pytest.approx(expected.tolist())

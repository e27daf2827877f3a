"""The batch-coupled probe: a full batch is right, a partial one too dark, and training alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from test_fit import assert_same_run

from study.formats.dataset import Dataset
from study.runs import RunFolder
from study.settings import Arm
from study.training.legacy import couple
from study.training.losses import LOSSES, Prediction
from study.training.setup import build_run
from study.training.step import TrainStep
from study.training.validation import evaluate

CPU = torch.device("cpu")
COUPLED = {"batch_coupled_probe": True}


def step_of(arm: Arm, dataset: Dataset) -> TrainStep:
    return build_run(arm, dataset, 0, CPU).module.step


@pytest.mark.parametrize("patterns", [1, 3, 8])
def test_the_amplitude_is_multiplied_by_the_share_of_a_full_batch(patterns: int) -> None:
    random = torch.Generator().manual_seed(0)
    patch = torch.randn(patterns, 1, 4, 4, dtype=torch.complex64, generator=random)
    prediction = Prediction(patch, patch.abs(), torch.ones(4, 4, dtype=torch.complex64))
    coupled = couple(prediction, 8)
    assert coupled.amplitude.equal(patterns / 8 * patch.abs())
    assert coupled.patch is patch and coupled.probe is prediction.probe


@pytest.mark.parametrize("patterns", [16, 9, 1])
def test_a_step_sees_the_coupled_amplitude(
    patterns: int, tiny: Dataset, vary: Callable[..., Arm]
) -> None:
    right, coupled = step_of(vary(), tiny), step_of(vary(legacy=COUPLED), tiny)
    batch = build_run(vary(), tiny, 0, CPU).module.train_data.select(torch.arange(patterns))
    with torch.no_grad():
        prediction = right.forward(batch)
    dark = replace(prediction, amplitude=patterns / 16 * prediction.amplitude)
    loss, amplitude_std = coupled.backward(batch)
    assert float(loss) == pytest.approx(float(LOSSES["mae"](dark, batch, 1.0)), rel=1e-6)
    assert float(amplitude_std) == pytest.approx(float(dark.amplitude.std()), rel=1e-5)
    right.backward(batch)
    pairs = zip(right.generator.parameters(), coupled.generator.parameters(), strict=True)
    same = [a.grad.equal(b.grad) for a, b in pairs if a.grad is not None and b.grad is not None]
    assert all(same) if patterns == 16 else not any(same)


def test_the_forward_model_and_validation_are_untouched(
    tiny: Dataset, vary: Callable[..., Arm]
) -> None:
    found = []
    for legacy in (vary().legacy, COUPLED):
        module = build_run(vary(legacy=legacy), tiny, 0, CPU).module
        step, data = module.step, module.validation_data
        amplitude = step.forward(data.select(torch.arange(5))).amplitude.detach()
        facts = evaluate(step.generator, step.probe, step.photon_scale, data, step.loss)
        found.append((amplitude, facts))
    assert found[0][0].equal(found[1][0])
    assert found[0][1] == found[1][1]


def test_where_every_batch_is_full_the_whole_run_is_the_same(
    vary: Callable[..., Arm], trained: Callable[..., RunFolder]
) -> None:
    """169 patterns: 13 batches of 13. Weights, history and reconstruction, to the bit."""
    plain, coupled = (
        trained(vary(batch_size=13, epochs=1, legacy=legacy), name=name)
        for name, legacy in (("plain", vary().legacy), ("coupled", COUPLED))
    )
    assert_same_run(coupled, plain)


def test_one_partial_batch_an_epoch_changes_what_is_learnt(
    vary: Callable[..., Arm], trained: Callable[..., RunFolder]
) -> None:
    plain, coupled = (
        trained(vary(batch_size=64, epochs=1, legacy=legacy), name=name).history().iloc[0]
        for name, legacy in (("plain", vary().legacy), ("coupled", COUPLED))
    )
    assert coupled["train_loss"] != plain["train_loss"]
    assert coupled["val_loss"] != plain["val_loss"]

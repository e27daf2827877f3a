"""The training step: the same alone and under Lightning, and blind to what else is in a batch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from study.formats.dataset import Dataset
from study.runs import RunFolder
from study.settings import Arm
from study.training.clipping import CLIP_RULES
from study.training.data import TrainData
from study.training.fit import fit
from study.training.floors import floors
from study.training.reconstructor import Reconstructor
from study.training.scaled_step import scaled_step
from study.training.setup import build_run
from study.training.step import RECORD, predict
from study.training.validation import evaluate

CPU = torch.device("cpu")
STEPS = 20


def same_weights(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    pairs = zip(a.state_dict().values(), b.state_dict().values(), strict=True)
    return all(x.equal(y) for x, y in pairs)


def test_the_step_alone_equals_the_lightning_path_for_20_steps(
    tiny: Dataset, vary: Callable[..., Arm], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two epochs of ten batches, the last of each a partial one, with a falling learning rate."""
    arm = vary(batch_size=17, epochs=2, schedule={"name": "exponential", "gamma": 0.5})
    seen: list[torch.Tensor] = []
    training_step = Reconstructor.training_step

    def spy(module: Reconstructor, batch, batch_index) -> None:
        training_step(module, batch, batch_index)
        seen.append(module.records[-1])

    monkeypatch.setattr(Reconstructor, "training_step", spy)
    by_lightning = RunFolder(tmp_path)
    trained: list[Reconstructor] = []
    monkeypatch.setattr(Reconstructor, "on_train_end", lambda module: trained.append(module))
    fit(arm, tiny, 3, by_lightning)

    step = build_run(arm, tiny, 3, CPU).module.step
    alone = []
    for epoch in range(2):
        for group in step.optimizer.param_groups:
            group["lr"] = 1e-3 * 0.5**epoch
        batches = TrainData(tiny, "train", CPU).shuffled(17, order_seed=3, epoch=epoch)
        alone += [step(batch) for batch in batches]
    assert len(alone) == len(seen) == STEPS
    assert torch.stack(alone).equal(torch.stack(seen))
    assert same_weights(step.generator, trained[0].generator)


def test_what_a_pattern_predicts_does_not_depend_on_its_batch(tiny: Dataset, control: Arm) -> None:
    step = build_run(control, tiny, 0, CPU).module.step
    data = TrainData(tiny, "validation", CPU)
    with torch.no_grad():
        whole = step.forward(data.select(torch.arange(49))).amplitude
        alone = torch.cat(
            [step.forward(data.select(torch.tensor([j]))).amplitude for j in range(49)]
        )
        turned = step.forward(data.select(torch.arange(48, -1, -1))).amplitude.flip(0)
    torch.testing.assert_close(alone, whole, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(turned, whole, rtol=1e-5, atol=1e-6)


def test_the_gradient_is_that_of_the_loss_by_finite_differences(
    tiny: Dataset, vary: Callable[..., Arm]
) -> None:
    """The head's bias is what every pixel of the patch adds: a direct path through the physics."""
    arm = vary(
        clip={"gradient_clip_algorithm": "none", "gradient_clip_val": None, "exclude_head": False}
    )
    step = build_run(arm, tiny, 0, CPU).module.step
    batch = TrainData(tiny, "train", CPU).select(torch.arange(8))
    bias = step.generator.head.bias
    assert isinstance(bias, torch.nn.Parameter)
    step.backward(batch)
    assert bias.grad is not None
    slope, h = bias.grad.clone(), 1e-3
    for axis in range(2):
        sides = []
        for sign in (1, -1):
            with torch.no_grad():
                bias[axis] += sign * h
                sides.append(float(step.loss(step.forward(batch), batch, step.photon_scale)))
                bias[axis] -= sign * h
        assert float(slope[axis]) == pytest.approx((sides[0] - sides[1]) / (2 * h), rel=2e-2)


def test_a_step_records_what_it_did(tiny: Dataset, vary: Callable[..., Arm]) -> None:
    arm = vary(
        clip={"gradient_clip_algorithm": "norm", "gradient_clip_val": 0.01, "exclude_head": False}
    )
    step = build_run(arm, tiny, 0, CPU).module.step
    batch = TrainData(tiny, "train", CPU).select(torch.arange(16))
    with torch.no_grad():
        before = step.forward(batch)
    loss = float(step.loss(before, batch, step.photon_scale))
    facts = dict(zip(RECORD, step(batch).tolist(), strict=True))
    assert facts["loss"] == pytest.approx(loss, rel=1e-6)
    assert facts["gradient_norm"] > facts["gradient_norm_clipped"] == pytest.approx(0.01, rel=1e-4)
    assert facts["clipped_fraction"] == 1.0
    assert facts["amplitude_std"] == pytest.approx(float(before.amplitude.std()), rel=1e-5)


READS = ("item", "tolist", "numpy", "cpu", "__bool__", "__float__", "__int__", "__index__")


@pytest.mark.parametrize("rule", sorted(CLIP_RULES))
def test_nothing_is_read_from_the_device_inside_a_step(
    rule: str, tiny: Dataset, vary: Callable[..., Arm], monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = None if rule == "none" else 0.01
    clip = {"gradient_clip_algorithm": rule, "gradient_clip_val": limit, "exclude_head": False}
    step = build_run(vary(clip=clip), tiny, 0, CPU).module.step
    batch = TrainData(tiny, "train", CPU).select(torch.arange(4))

    def refuse(*_: object) -> None:
        raise AssertionError("a tensor was read on the host inside the step")

    with monkeypatch.context() as patch:
        for name in READS:
            patch.setattr(torch.Tensor, name, refuse)
        with pytest.raises(AssertionError):
            bool(batch.amplitude.sum())  # the net holds
        record = step(batch)
    assert bool(record.isfinite().all())


def test_validation_is_one_ratio_over_the_split_whatever_the_batches(
    tiny: Dataset, control: Arm
) -> None:
    run = build_run(control, tiny, 0, CPU)
    step, data = run.module.step, run.module.validation_data
    facts = evaluate(step.generator, step.probe, step.photon_scale, data, step.loss)
    with torch.no_grad():
        measured = data.select(torch.arange(len(data))).amplitude
        amplitude = predict(step.generator, step.probe, measured).amplitude.double()
    x = measured.double()
    expected = float((amplitude - x).abs().sum() / x.sum())
    assert facts["val_loss"] == pytest.approx(expected, rel=1e-6)
    assert facts["val_own_loss"] == facts["val_loss"]
    assert step.generator.training


@pytest.mark.parametrize("name", ["mae", "poisson", "supervised"])
def test_validation_reports_mae_and_the_own_loss(
    name: str, tiny: Dataset, vary: Callable[..., Arm]
) -> None:
    run = build_run(vary(loss=name), tiny, 0, CPU)
    step, data = run.module.step, run.module.validation_data
    facts = evaluate(step.generator, step.probe, step.photon_scale, data, step.loss)
    batch = data.select(torch.arange(len(data)))
    with torch.no_grad():
        own = float(step.loss(step.forward(batch), batch, step.photon_scale))
    assert facts["val_own_loss"] == pytest.approx(own, rel=1e-5)
    assert (facts["val_own_loss"] == facts["val_loss"]) == (name == "mae")
    assert ("val_deviance" in facts) == (name == "poisson")
    if name == "poisson":
        mean_counts = float(tiny.splits["validation"].counts.mean())
        assert facts["val_deviance"] == pytest.approx(2 * own * mean_counts, rel=1e-5)


def test_a_scaled_step_shows_the_clip(tiny: Dataset, vary: Callable[..., Arm]) -> None:
    clip = {"gradient_clip_algorithm": "norm", "gradient_clip_val": 0.5, "exclude_head": False}
    plain = scaled_step(vary(clip=clip), tiny, seed=1, factor=1.0)
    large = scaled_step(vary(clip=clip), tiny, seed=1, factor=1e3)
    assert large["clip"][0] == pytest.approx(1e3 * plain["clip"][0], rel=1e-4)
    assert large["clip"][1] == pytest.approx(0.5, rel=1e-4)
    assert all(value > 0 for value in large["changes"])


def test_floors_bracket_every_loss(tiny: Dataset) -> None:
    found = floors(tiny, CPU)
    assert found["noise"] is not None and found["best_constant"] is not None
    assert 0 < found["noise"] < found["best_constant"] < found["zero"] == 1.0


def test_no_constant_beats_the_best_constant(tiny: Dataset) -> None:
    probe = torch.tensor(tiny.probe)
    data = TrainData(tiny, "validation", CPU)
    x = data.select(torch.arange(len(data))).amplitude.double()
    shape = torch.fft.fftshift(torch.fft.fft2(probe, norm="ortho")).abs().double()
    best = floors(tiny, CPU)["best_constant"]
    losses = [float((a * shape - x).abs().sum() / x.sum()) for a in torch.linspace(0.2, 1.2, 201)]
    assert best is not None
    assert best <= min(losses) + 1e-7 and best == pytest.approx(min(losses), rel=1e-2)

"""The overlap's disagreement: against a double loop, and what it must not see."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.formats.dataset import Dataset
from study.optics import extract
from study.params import Arm, MaeLoss, PoissonLoss, SupervisedLoss
from study.runs import RunFolder, read_lines, write_yaml
from study.training import watch
from study.training.checkpoints import save_weights
from study.training.data import CORNERS, Batch, TrainData, corners_of
from study.training.losses import LOSSES, Prediction, build_loss, overlap_terms
from study.training.setup import build_run, describe
from study.training.step import predict
from study.training.validation import evaluate

CPU = torch.device("cpu")
laws = settings(deadline=None, max_examples=25)


def batch_at(corners: torch.Tensor, n: int, canvas: tuple[int, int]) -> Batch:
    """Patterns without light at `corners` (b, c, 2)."""
    b, c, _ = corners.shape
    return Batch(torch.zeros(b, c, n, n), None, None, torch.arange(b), corners, canvas)


def seen(patch: torch.Tensor, light: torch.Tensor) -> Prediction:
    return Prediction(patch, patch.abs(), light)


def ratio(prediction: Prediction, batch: Batch) -> float:
    error, size = overlap_terms(prediction, batch)
    return float(error / size)


@st.composite
def scans(draw: st.DrawFn) -> tuple[Prediction, Batch]:
    """Random patches anywhere on whole pixels, in groups of one or two."""
    n, c = draw(st.integers(1, 4)), draw(st.integers(1, 2))
    canvas = (draw(st.integers(n, 8)), draw(st.integers(n, 8)))
    b = draw(st.integers(1, 4))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    last = np.array(canvas) - n
    corners = random.integers(0, last + 1, (b, c, 2)).astype(np.float32)
    patch = random.normal(size=(b, c, n, n)) + 1j * random.normal(size=(b, c, n, n))
    light = torch.from_numpy(random.uniform(0.1, 1.0, (n, n)).astype(np.float32))
    prediction = seen(torch.from_numpy(patch.astype(np.complex64)), light)
    return prediction, batch_at(torch.from_numpy(corners), n, canvas)


def by_hand(prediction: Prediction, batch: Batch) -> tuple[float, float]:
    """The two sums pixel by pixel and patch by patch."""
    assert batch.corners is not None
    patches = prediction.patch.flatten(0, 1).numpy().astype(np.complex128)
    places = batch.corners.flatten(0, 1).numpy().astype(int)
    light, n = prediction.light.double().numpy(), prediction.patch.shape[-1]
    stack: dict[tuple[int, int], list[tuple[float, complex]]] = {}
    for patch, (top, left) in zip(patches, places, strict=True):
        for y in range(n):
            for x in range(n):
                pixel = (light[y, x], patch[y, x])
                stack.setdefault((top + y, left + x), []).append(pixel)
    error = size = 0.0
    for pixels in stack.values():
        mean = sum(w * o for w, o in pixels) / sum(w for w, _ in pixels)
        error += sum(w * abs(o - mean) for w, o in pixels)
        size += sum(w * abs(mean) for w, _ in pixels)
    return error, size


@laws
@given(scans())
def test_the_sums_are_those_of_a_double_loop(scan: tuple[Prediction, Batch]) -> None:
    found = [float(value) for value in overlap_terms(*scan)]
    assert found == pytest.approx(by_hand(*scan), rel=1e-4, abs=1e-4)


@laws
@given(scans())
def test_patches_cut_from_one_object_agree(scan: tuple[Prediction, Batch]) -> None:
    prediction, batch = scan
    assert batch.corners is not None and batch.canvas is not None
    random = torch.Generator().manual_seed(1)
    obj = torch.randn(*batch.canvas, dtype=torch.complex64, generator=random)
    windows = extract(obj, batch.corners.flatten(0, 1), len(prediction.light))
    patch = windows.unflatten(0, batch.corners.shape[:2])
    assert ratio(seen(patch, prediction.light), batch) < 1e-5


@laws
@given(scans())
def test_a_batch_doubled_with_itself_disagrees_as_much(scan: tuple[Prediction, Batch]) -> None:
    prediction, batch = scan
    twice = seen(torch.cat([prediction.patch] * 2), prediction.light)
    assert batch.corners is not None and batch.canvas is not None
    again = batch_at(torch.cat([batch.corners] * 2), len(prediction.light), batch.canvas)
    assert ratio(twice, again) == pytest.approx(ratio(prediction, batch), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("angle_rad", [0.3, 1.0, 2.0])
def test_two_copies_a_global_phase_apart_disagree_by_the_tangent_of_its_half(
    angle_rad: float,
) -> None:
    """O and O exp(i a) in one place: |O - O_bar| = |O| sin(a/2), |O_bar| = |O| cos(a/2)."""
    random = torch.Generator().manual_seed(2)
    one = torch.randn(1, 1, 4, 4, dtype=torch.complex64, generator=random)
    turned = one * torch.polar(torch.ones(()), torch.tensor(angle_rad))
    light = torch.rand(4, 4, generator=random) + 0.1
    batch = batch_at(torch.ones(2, 1, 2), 4, (6, 6))
    found = ratio(seen(torch.cat([one, turned]), light), batch)
    assert found == pytest.approx(np.tan(angle_rad / 2), rel=1e-4)


def test_patches_that_touch_nobody_add_nothing_to_the_error() -> None:
    random = torch.Generator().manual_seed(3)
    patch = torch.randn(3, 1, 3, 3, dtype=torch.complex64, generator=random)
    light = torch.ones(3, 3)
    near = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]])
    far = torch.cat([near, torch.tensor([[[5.0, 5.0]]])])
    error = overlap_terms(seen(patch[:2], light), batch_at(near, 3, (8, 8)))[0]
    with_a_third = overlap_terms(seen(patch, light), batch_at(far, 3, (8, 8)))[0]
    assert float(error) > 1
    assert float(with_a_third) == pytest.approx(float(error), rel=1e-5)


def some_batch(dataset: Dataset, step: int) -> Batch:
    """Every `step`-th training pattern, with its corners."""
    data = TrainData(dataset, "train", CPU, frozenset({CORNERS}))
    return data.select(torch.arange(0, len(data), step))


def test_two_images_never_mix(grouped: Dataset) -> None:
    """The sums of a batch of both are those of each image by itself, in its own pixels."""
    split, batch = grouped.splits["train"], some_batch(grouped, 3)
    assert batch.corners is not None
    random = torch.Generator().manual_seed(4)
    patch = torch.randn(batch.amplitude.shape, dtype=torch.complex64, generator=random)
    light = torch.rand(patch.shape[-2:], generator=random)
    expected = torch.zeros(2)
    for image in (0, 1):
        mine = torch.tensor(split.image_index)[batch.index] == image
        corners = torch.tensor(split.positions_px)[batch.index[mine]]
        apart = batch_at(corners, patch.shape[-1], split.object_shape)
        expected += torch.stack(overlap_terms(seen(patch[mine], light), apart))
    assert mine.any() and not mine.all()
    torch.testing.assert_close(torch.stack(overlap_terms(seen(patch, light), batch)), expected)


def test_every_image_has_its_own_part_of_the_canvas(grouped: Dataset) -> None:
    split = grouped.splits["train"]
    top = corners_of(split)[..., 0].numpy() - split.positions_px[..., 0]
    assert np.array_equal(top, np.repeat(split.image_index[:, None], 4, axis=1) * 64)


def test_the_gradient_is_there_and_that_of_finite_differences() -> None:
    random = torch.Generator().manual_seed(5)
    patch = torch.randn(3, 1, 4, 4, dtype=torch.complex64, generator=random)
    direction = torch.randn(3, 1, 4, 4, dtype=torch.complex64, generator=random)
    batch = batch_at(torch.tensor([[[0.0, 0.0]], [[1.0, 2.0]], [[2.0, 1.0]]]), 4, (7, 7))
    light = torch.rand(4, 4, generator=random) + 0.2

    def error(step: float) -> torch.Tensor:
        return overlap_terms(seen(patch + step * direction, light), batch)[0]

    moved = patch.requires_grad_()
    overlap_terms(seen(moved, light), batch)[0].backward()
    assert moved.grad is not None
    slope = float((moved.grad.conj() * direction).real.sum())
    with torch.no_grad():
        expected = float(error(1e-3) - error(-1e-3)) / 2e-3
    assert abs(expected) > 0.1 and slope == pytest.approx(expected, rel=1e-2)


# --- within a loss ----------------------------------------------------------------------------


def test_the_weight_adds_the_ratio_to_the_loss(tiny: Dataset) -> None:
    batch = some_batch(tiny, 2)
    random = torch.Generator().manual_seed(6)
    patch = torch.randn(batch.amplitude.shape, dtype=torch.complex64, generator=random)
    prediction = seen(patch, torch.tensor(tiny.probe).abs().square())
    loss = build_loss(MaeLoss(name="mae", overlap_weight=0.5))
    expected = float(LOSSES["mae"](prediction, batch, 1.0)) + 0.5 * ratio(prediction, batch)
    assert float(loss(prediction, batch, 1.0)) == pytest.approx(expected, rel=1e-5)
    assert loss.needs == {CORNERS} and loss.overlap_weight == 0.5


def test_patches_that_are_zero_have_loss_one_and_a_finite_gradient(tiny: Dataset) -> None:
    batch = some_batch(tiny, 2)
    patch = torch.zeros(batch.amplitude.shape, dtype=torch.complex64, requires_grad=True)
    prediction = seen(patch, torch.tensor(tiny.probe).abs().square())
    loss = build_loss(MaeLoss(name="mae", overlap_weight=10.0))(prediction, batch, 1.0)
    loss.backward()
    assert float(loss.detach()) == 1.0
    assert patch.grad is not None and torch.view_as_real(patch.grad).isfinite().all()


def test_without_a_weight_the_loss_is_the_plain_one() -> None:
    assert build_loss(MaeLoss(name="mae", overlap_weight=0)) is LOSSES["mae"]
    assert build_loss(PoissonLoss(name="poisson", overlap_weight=0)) is LOSSES["poisson"]
    assert build_loss(SupervisedLoss(name="supervised")) is LOSSES["supervised"]


@pytest.mark.parametrize("name", ["mae", "poisson"])
def test_validation_adds_it_to_the_own_loss_alone(
    name: str, tiny: Dataset, vary: Callable[..., Arm]
) -> None:
    """The split fits into one batch, so its ratio is that of the batch."""
    facts, steps = [], []
    for weight in (0.0, 0.5):
        arm = vary(loss={"name": name, "overlap_weight": weight})
        module = build_run(arm, tiny, 0, CPU).module
        step, data = module.step, module.validation_data
        facts.append(evaluate(step.generator, step.probe, step.photon_scale, data, step.loss))
        steps.append((step, data))
    step, data = steps[1]
    batch = data.select(torch.arange(len(data)))
    with torch.no_grad():
        disagreement = ratio(predict(step.generator, step.probe, batch.amplitude), batch)
    assert facts[0]["val_loss"] == facts[1]["val_loss"]
    added = facts[1]["val_own_loss"] - facts[0]["val_own_loss"]
    assert added == pytest.approx(0.5 * disagreement, rel=1e-3)


def test_a_diagnosed_checkpoint_has_the_gradients_of_its_own_loss(
    tiny: Dataset, vary: Callable[..., Arm], tmp_path: Path
) -> None:
    norms = []
    for weight in (0.0, 5.0):
        arm = vary(loss={"name": "mae", "overlap_weight": weight})
        run, folder = build_run(arm, tiny, 0, CPU), RunFolder(tmp_path / str(weight))
        save_weights(folder.last, run.generator, run.network, 0)
        write_yaml(folder.path / "params.yaml", describe(run, tiny))
        watch.diagnose_run(folder, tiny)
        run.module.step.backward(next(iter(run.module.train_dataloader()))[0])
        records = map(json.loads, read_lines(folder.diagnostics / "gradients.jsonl"))
        found = {record["layer"]: record.get("norm") for record in records}
        for name, value in run.generator.named_parameters():
            assert value.grad is not None
            assert found[name] == pytest.approx(float(value.grad.norm()), rel=1e-4)
        norms.append(found["head.weight"])
    assert norms[0] != norms[1]

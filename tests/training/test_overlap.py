"""The error of the stitched object: against a double loop, and what it sees and must not see."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.formats.dataset import Dataset
from study.optics import diffract, extract
from study.runs import RunFolder, read_lines, write_yaml
from study.settings import Arm, MaeLoss, PoissonLoss, SupervisedLoss
from study.training import watch
from study.training.checkpoints import save_weights
from study.training.data import CORNERS, PATCH_TRUTH, Batch, TrainData, corners_of
from study.training.losses import LOSSES, Prediction, build_loss, overlap_terms
from study.training.setup import build_run, describe
from study.training.step import predict
from study.training.validation import evaluate

CPU = torch.device("cpu")
laws = settings(deadline=None, max_examples=25)
Scan = tuple[torch.Tensor, torch.Tensor, Batch]


def seen(patch: torch.Tensor, probe: torch.Tensor) -> Prediction:
    return Prediction(patch, diffract(probe, patch), probe)


def batch_at(corners: torch.Tensor, amplitude: torch.Tensor, canvas: tuple[int, int]) -> Batch:
    """Patterns X (b, c, n, n) at `corners` (b, c, 2)."""
    return Batch(amplitude, None, None, torch.arange(len(corners)), corners, canvas)


def ratio(prediction: Prediction, batch: Batch) -> float:
    error, size = overlap_terms(prediction, batch)
    return float(error / size)


def plain(prediction: Prediction, batch: Batch) -> float:
    return float(LOSSES["mae"](prediction, batch, 1.0))


def some_probe(random: np.random.Generator, n: int) -> torch.Tensor:
    """No pixel is dark, none is bright against the others."""
    phase = random.uniform(0, 2 * np.pi, (n, n))
    return torch.from_numpy((random.uniform(0.3, 1, (n, n)) * np.exp(1j * phase)).astype("c8"))


def normal(random: np.random.Generator, *shape: int) -> torch.Tensor:
    values = random.normal(size=shape) + 1j * random.normal(size=shape)
    return torch.from_numpy(values.astype(np.complex64))


@st.composite
def scans(draw: st.DrawFn) -> Scan:
    """Random patches, a probe, and random patterns anywhere on whole pixels, in ones or twos."""
    n, c, b = (draw(st.integers(1, top)) for top in (4, 2, 4))
    canvas = (draw(st.integers(n, 8)), draw(st.integers(n, 8)))
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    places = random.integers(0, np.array(canvas) - n + 1, (b, c, 2)).astype(np.float32)
    measured = random.uniform(0, 2, (b, c, n, n)).astype(np.float32)
    batch = batch_at(torch.from_numpy(places), torch.from_numpy(measured), canvas)
    return normal(random, b, c, n, n), some_probe(random, n), batch


def by_hand(prediction: Prediction, batch: Batch) -> tuple[float, float]:
    """The two sums pixel by pixel and patch by patch, the Fourier transform as two matrices."""
    assert batch.corners is not None
    patches = prediction.patch.flatten(0, 1).numpy().astype(np.complex128)
    places = batch.corners.flatten(0, 1).numpy().astype(int)
    probe, n = prediction.probe.numpy().astype(np.complex128), prediction.patch.shape[-1]
    stack: dict[tuple[int, int], list[tuple[float, complex]]] = {}
    for patch, (top, left) in zip(patches, places, strict=True):
        for y in range(n):
            for x in range(n):
                pixel = (abs(probe[y, x]) ** 2, patch[y, x])
                stack.setdefault((top + y, left + x), []).append(pixel)
    mean = {at: sum(w * o for w, o in them) / sum(w for w, _ in them) for at, them in stack.items()}
    steps = np.arange(n)
    fourier = np.exp(-2j * np.pi * np.outer(steps - n // 2, steps) / n) / np.sqrt(n)
    error = 0.0
    for measured, (top, left) in zip(batch.amplitude.flatten(0, 1).numpy(), places, strict=True):
        window = np.array([[mean[top + y, left + x] for x in range(n)] for y in range(n)])
        error += np.abs(np.abs(fourier @ (probe * window) @ fourier.T) - measured).sum()
    return error, float(batch.amplitude.double().sum())


@laws
@given(scans())
def test_the_sums_are_those_of_a_double_loop(scan: Scan) -> None:
    patch, probe, batch = scan
    found = [float(value) for value in overlap_terms(seen(patch, probe), batch)]
    assert found == pytest.approx(by_hand(seen(patch, probe), batch), rel=1e-4, abs=1e-4)


@laws
@given(scans())
def test_patches_cut_from_one_object_explain_their_patterns(scan: Scan) -> None:
    patch, probe, batch = scan
    assert batch.corners is not None and batch.canvas is not None
    obj = normal(np.random.default_rng(1), *batch.canvas)
    windows = extract(obj, batch.corners.flatten(0, 1), len(probe)).view_as(patch)
    true = seen(windows, probe)
    assert ratio(true, replace(batch, amplitude=true.amplitude)) < 1e-5


@laws
@given(scans())
def test_a_batch_doubled_with_itself_has_the_same_loss(scan: Scan) -> None:
    patch, probe, batch = scan
    once = ratio(seen(patch, probe), batch)
    twice = batch.map(lambda values: torch.cat([values, values]))
    assert ratio(seen(torch.cat([patch, patch]), probe), twice) == pytest.approx(once, rel=1e-4)


@laws
@given(scans(), st.floats(-np.pi, np.pi))
def test_the_phase_of_all_patches_together_is_free(scan: Scan, angle_rad: float) -> None:
    patch, probe, batch = scan
    turn = torch.polar(torch.ones(()), torch.tensor(angle_rad))
    expected = ratio(seen(patch, probe), batch)
    assert ratio(seen(patch * turn, probe), batch) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("angle_rad", [0.3, 1.0, 2.0])
def test_the_phase_of_one_patch_among_neighbours_counts_and_only_here(angle_rad: float) -> None:
    """Of its own pattern it is free: the plain error does not see it."""
    random = np.random.default_rng(2)
    corners = torch.tensor([[[0.0, 0.0]], [[1.0, 2.0]], [[2.0, 1.0]]])
    probe, obj = some_probe(random, 4), normal(random, 6, 6)
    patch = extract(obj, corners.flatten(0, 1), 4)[:, None]
    batch = batch_at(corners, diffract(probe, patch), (6, 6))
    turn = torch.ones(3, dtype=torch.complex64)
    turn[1] = torch.polar(torch.ones(()), torch.tensor(angle_rad))
    turned = seen(patch * turn[:, None, None, None], probe)
    assert plain(turned, batch) < 1e-5 and ratio(seen(patch, probe), batch) < 1e-5
    assert ratio(turned, batch) > 0.1 * angle_rad


@pytest.mark.parametrize("angle_rad", [0.3, 1.0, 2.0])
def test_two_copies_a_phase_apart_are_too_dark_by_the_cosine_of_its_half(angle_rad: float) -> None:
    """O and O exp(i a) in one place: |O_bar| = |O| cos(a/2), so the error is 1 - cos(a/2)."""
    random = np.random.default_rng(2)
    one, probe = normal(random, 1, 1, 4, 4), some_probe(random, 4)
    turned = one * torch.polar(torch.ones(()), torch.tensor(angle_rad))
    prediction = seen(torch.cat([one, turned]), probe)
    batch = batch_at(torch.ones(2, 1, 2), prediction.amplitude, (6, 6))
    assert ratio(prediction, batch) == pytest.approx(1 - np.cos(angle_rad / 2), rel=1e-4)


def test_patches_without_neighbours_have_the_plain_error() -> None:
    random = np.random.default_rng(3)
    corners = torch.tensor([[[0.0, 0.0]], [[3.0, 0.0]], [[1.0, 3.0]], [[5.0, 5.0]]])
    prediction = seen(normal(random, 4, 1, 3, 3), some_probe(random, 3))
    measured = torch.from_numpy(random.uniform(0, 2, (4, 1, 3, 3)).astype(np.float32))
    batch = batch_at(corners, measured, (8, 8))
    assert ratio(prediction, batch) == pytest.approx(plain(prediction, batch), rel=1e-5)
    closer = replace(batch, corners=corners.clamp(max=2))
    assert ratio(prediction, closer) != pytest.approx(plain(prediction, batch), rel=1e-2)


def test_a_constant_object_explains_its_patterns_between_pixels_too() -> None:
    """Windows between pixels are interpolated there and back: what varies is blurred by that."""
    random = np.random.default_rng(4)
    corners = torch.tensor([[[0.25, 0.5]], [[1.75, 0.0]], [[0.5, 1.25]]])
    prediction = seen(torch.full((3, 1, 4, 4), 0.5 + 0.5j), some_probe(random, 4))
    assert ratio(prediction, batch_at(corners, prediction.amplitude, (6, 6))) < 1e-5


def test_light_that_is_nowhere_leaves_no_nan() -> None:
    """Pixels under the floor of the illumination: the probe is zero on a rim."""
    random = np.random.default_rng(5)
    probe = some_probe(random, 4)
    probe[0] = probe[:, -1] = 0
    patch = normal(random, 2, 1, 4, 4).requires_grad_()
    corners = torch.tensor([[[0.0, 0.0]], [[1.0, 1.0]]])
    error, size = overlap_terms(
        seen(patch, probe), batch_at(corners, torch.ones(2, 1, 4, 4), (5, 5))
    )
    error.backward()
    assert bool(error.isfinite()) and float(size) == 32
    assert patch.grad is not None and torch.view_as_real(patch.grad).isfinite().all()
    assert not patch.grad[:, :, 0].any() and not patch.grad[..., -1].any()


def some_batch(dataset: Dataset, step: int, *needs: str) -> Batch:
    """Every `step`-th training pattern, with its corners."""
    data = TrainData(dataset, "train", CPU, frozenset({CORNERS, *needs}))
    return data.select(torch.arange(0, len(data), step))


def test_true_patches_leave_the_noise_alone(tiny: Dataset) -> None:
    """On simulated data the object's error is that of its patches, which is the noise."""
    batch = some_batch(tiny, 2, PATCH_TRUTH)
    assert batch.patch_truth is not None
    prediction = seen(batch.patch_truth, torch.tensor(tiny.probe))
    assert 0 < plain(prediction, batch) < 0.05
    assert ratio(prediction, batch) == pytest.approx(plain(prediction, batch), rel=1e-3)


def test_two_images_never_mix(grouped: Dataset) -> None:
    """The sums of a batch of both are those of each image by itself, in its own pixels."""
    split, batch = grouped.splits["train"], some_batch(grouped, 3)
    random = np.random.default_rng(4)
    patch, probe = normal(random, *batch.amplitude.shape), torch.tensor(grouped.probe)
    expected = torch.zeros(2)
    for image in (0, 1):
        mine = torch.tensor(split.image_index)[batch.index] == image
        assert mine.any() and not mine.all()
        corners = torch.tensor(split.positions_px)[batch.index[mine]]
        apart = batch_at(corners, batch.amplitude[mine], split.object_shape)
        expected += torch.stack(overlap_terms(seen(patch[mine], probe), apart))
    found = torch.stack(overlap_terms(seen(patch, probe), batch))
    torch.testing.assert_close(found, expected)
    mixed = replace(batch, corners=torch.tensor(split.positions_px)[batch.index])
    assert abs(float(overlap_terms(seen(patch, probe), mixed)[0] / expected[0]) - 1) > 1e-2


def test_every_image_has_its_own_part_of_the_canvas(grouped: Dataset) -> None:
    split = grouped.splits["train"]
    top = corners_of(split)[..., 0].numpy() - split.positions_px[..., 0]
    assert np.array_equal(top, np.repeat(split.image_index[:, None], 4, axis=1) * 64)


def test_the_gradient_is_there_and_that_of_finite_differences() -> None:
    random = np.random.default_rng(5)
    patch, direction = normal(random, 3, 1, 4, 4), normal(random, 3, 1, 4, 4)
    corners = torch.tensor([[[0.0, 0.0]], [[1.0, 2.0]], [[2.0, 1.0]]])
    batch, probe = batch_at(corners, torch.ones(3, 1, 4, 4), (7, 7)), some_probe(random, 4)

    def error(step: float) -> torch.Tensor:
        return overlap_terms(seen(patch + step * direction, probe), batch)[0]

    moved = patch.clone().requires_grad_()
    overlap_terms(seen(moved, probe), batch)[0].backward()
    assert moved.grad is not None
    slope = float((moved.grad.conj() * direction).real.sum())
    expected = float(error(1e-3) - error(-1e-3)) / 2e-3
    assert abs(expected) > 0.1 and slope == pytest.approx(expected, rel=1e-2)


# --- within a loss ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mae", "poisson"])
def test_the_weight_adds_the_ratio_to_the_loss(name: str, tiny: Dataset) -> None:
    loss = build_loss({"mae": MaeLoss, "poisson": PoissonLoss}[name](name=name, overlap_weight=0.5))
    batch = some_batch(tiny, 2, *loss.needs)
    prediction = seen(
        normal(np.random.default_rng(6), *batch.amplitude.shape), torch.tensor(tiny.probe)
    )
    scale = tiny.manifest.photon_scale
    expected = float(LOSSES[name](prediction, batch, scale)) + 0.5 * ratio(prediction, batch)
    assert float(loss(prediction, batch, scale)) == pytest.approx(expected, rel=1e-5)
    assert loss.needs == LOSSES[name].needs | {CORNERS} and loss.overlap_weight == 0.5


def test_patches_that_are_zero_have_error_one_and_a_finite_gradient(tiny: Dataset) -> None:
    batch = some_batch(tiny, 2)
    patch = torch.zeros(batch.amplitude.shape, dtype=torch.complex64, requires_grad=True)
    prediction = seen(patch, torch.tensor(tiny.probe))
    loss = build_loss(MaeLoss(name="mae", overlap_weight=10.0))(prediction, batch, 1.0)
    loss.backward()
    assert float(loss.detach()) == pytest.approx(11, rel=1e-6)
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

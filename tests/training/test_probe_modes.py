"""A partly coherent beam in training: every predicted pattern is a sum over modes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from study.formats.dataset import Dataset, Split, content_hash
from study.iterative.references import pack
from study.iterative.sources import make
from study.iterative.task import Task, fitted_and_judged
from study.optics import back_project, diffract, own_constant
from study.settings import Arm, BackProjection, Oracle
from study.training.data import COUNTS, PATCH_TRUTH, Batch, TrainData
from study.training.floors import floors
from study.training.losses import LOSSES, Prediction, weighted
from study.training.setup import build_run

CPU = torch.device("cpu")


def modes_of(probe: np.ndarray, share: float = 0.3) -> np.ndarray:
    """Three modes with the power of `probe`: itself, and twice itself times a coordinate."""
    steps = np.linspace(-1, 1, len(probe), dtype=np.float32)
    more = [steps[:, None] * probe, steps[None, :] * probe]
    scaled = [
        each * np.sqrt(share * np.sum(abs(probe) ** 2) / np.sum(abs(each) ** 2)) for each in more
    ]
    modes = np.stack([probe, *scaled])
    return (modes * np.sqrt(np.sum(abs(probe) ** 2) / np.sum(abs(modes) ** 2))).astype(np.complex64)


def numpy_intensity(modes: np.ndarray, patch: np.ndarray) -> np.ndarray:
    """sum_m |DFT(P_m O)|^2, by explicit matrices, zero frequency at n // 2."""
    n = patch.shape[-1]
    steps = np.arange(n)
    dft = np.exp(-2j * np.pi * np.outer(steps - n // 2, steps) / n) / np.sqrt(n)
    return np.sum([np.abs(dft @ (mode * patch) @ dft.T) ** 2 for mode in modes], axis=0)


@pytest.fixture(scope="module")
def partly_coherent(tiny: Dataset) -> Dataset:
    """The tiny set with patterns of three modes, without noise."""
    modes, scale = modes_of(tiny.probe), tiny.manifest.photon_scale

    def split(given: Split, name: str) -> Split:
        data = TrainData(tiny, name, CPU, frozenset({PATCH_TRUTH}))
        patch = data.select(torch.arange(len(data))).patch_truth
        assert patch is not None
        counts = scale**2 * numpy_intensity(modes, patch.numpy().astype(complex))
        return replace(given, counts=counts.astype(np.float32))

    splits = {name: split(given, name) for name, given in tiny.splits.items()}
    manifest = tiny.manifest.model_copy(
        update={"content_sha256": content_hash(tiny.probe, splits, modes)}
    )
    return Dataset(manifest, tiny.probe, splits, modes)


def random_field(*shape: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    return draw.normal(size=shape) + 1j * draw.normal(size=shape)


@pytest.mark.parametrize("n", [4, 7])
def test_amplitudes_are_those_of_the_summed_intensities(n: int) -> None:
    modes, patch = random_field(3, n, n), random_field(5, 2, n, n, seed=1)
    found = diffract(torch.tensor(modes), torch.tensor(patch)).square().numpy()
    assert np.allclose(found, numpy_intensity(modes, patch))


N, SCALE, CANVAS = 4, 5.0, (7, 7)
PLACES = np.array([[0, 0], [1, 2], [2, 1]])


def batch_of(amplitude: np.ndarray) -> Batch:
    """Patterns (b, n, n) at `PLACES`, with their counts."""
    measured = torch.tensor(amplitude[:, None], dtype=torch.float32)
    corners = torch.tensor(PLACES[: len(amplitude), None], dtype=torch.float32)
    counts, index = SCALE**2 * measured**2, torch.arange(len(amplitude))
    return Batch(measured, counts, None, index, corners, CANVAS)


def predicted(patch: torch.Tensor, modes: np.ndarray) -> Prediction:
    wave = torch.tensor(modes, dtype=torch.complex64)
    return Prediction(patch, diffract(wave, patch), wave)


def numpy_loss(name: str, modes: np.ndarray, patch: np.ndarray, amplitude: np.ndarray) -> float:
    """The same in float64: relative MAE, or deviance over twice the counts."""
    found = np.sqrt(numpy_intensity(modes, patch))
    if name == "mae":
        return float(np.abs(found - amplitude).sum() / amplitude.sum())
    rate, counts = (SCALE * found) ** 2, (SCALE * amplitude) ** 2
    return float((rate - counts + counts * np.log(counts / rate)).sum() / counts.sum())


def numpy_overlap(modes: np.ndarray, patch: np.ndarray, amplitude: np.ndarray) -> float:
    """Relative MAE of what the patches stitch, weighted by the light of all modes."""
    light = np.sum(np.abs(modes) ** 2, axis=0)
    total, seen = np.zeros(CANVAS, complex), np.zeros(CANVAS)
    for (y, x), each in zip(PLACES, patch, strict=True):
        total[y : y + N, x : x + N] += light * each
        seen[y : y + N, x : x + N] += light
    mean = total / np.maximum(seen, 1e-6 * light.max())
    windows = np.stack([mean[y : y + N, x : x + N] for y, x in PLACES])
    return numpy_loss("mae", modes, windows, amplitude)


@pytest.mark.parametrize("name", ["mae", "poisson"])
@pytest.mark.parametrize("overlap", [0.0, 0.7])
def test_losses_and_their_gradients_agree_with_numpy(name: str, overlap: float) -> None:
    """The slope along a random direction, by finite differences of the independent sum."""
    modes, amplitude = random_field(3, N, N), np.abs(random_field(3, N, N, seed=2))
    start, direction = random_field(3, N, N, seed=3), random_field(3, N, N, seed=4)

    def value(patch: np.ndarray) -> float:
        plain = numpy_loss(name, modes, patch, amplitude)
        return plain + overlap * numpy_overlap(modes, patch, amplitude) if overlap else plain

    patch = torch.tensor(start[:, None], dtype=torch.complex64).requires_grad_()
    loss = weighted(LOSSES[name], overlap)
    found = loss(predicted(patch, modes), batch_of(amplitude), SCALE)
    assert float(found.detach()) == pytest.approx(value(start), rel=1e-4)
    (gradient,) = torch.autograd.grad(found, patch)
    step = 1e-6
    slope = (value(start + step * direction) - value(start - step * direction)) / (2 * step)
    along = np.vdot(gradient.numpy()[:, 0], direction).real
    assert along == pytest.approx(slope, rel=1e-3)


def test_a_dark_prediction_has_a_finite_gradient() -> None:
    modes = torch.tensor(random_field(2, 4, 4))
    patch = torch.zeros(1, 1, 4, 4, dtype=torch.complex128, requires_grad=True)
    (gradient,) = torch.autograd.grad(diffract(modes, patch).sum(), patch)
    assert torch.equal(gradient, torch.zeros_like(gradient))


# --- one pattern back -------------------------------------------------------------------------


def test_a_true_patch_stays_where_it_is() -> None:
    modes = torch.tensor(random_field(3, 8, 8))
    flat = torch.full((8, 8), 1.3, dtype=modes.dtype)
    amplitude = diffract(modes, flat)[None]
    assert torch.allclose(own_constant(amplitude, modes), torch.tensor(1.3, dtype=torch.float64))
    found = back_project(amplitude, modes, 1.3, steps=3)
    assert torch.allclose(found, flat[None])


def test_two_halves_of_one_mode_are_that_mode() -> None:
    probe = torch.tensor(random_field(8, 8))
    amplitude = torch.tensor(np.abs(random_field(5, 8, 8, seed=1)))
    halves = torch.stack([probe, 1j * probe]) / 2**0.5
    one = back_project(amplitude, probe, 1.0, steps=4)
    assert torch.allclose(back_project(amplitude, halves, 1.0, steps=4), one)


def test_a_step_back_is_the_adjoint_of_the_wave_change() -> None:
    """(weight move, O') = sum_m (change_m, P_m O'): the sum over modes is the adjoint."""
    modes, amplitude = random_field(3, 6, 6), np.abs(random_field(6, 6, seed=1))
    field = np.fft.fft2(modes, norm="ortho")
    wanted = np.fft.ifftshift(amplitude) / np.sqrt(np.sum(np.abs(field) ** 2, axis=0))
    change = np.fft.ifft2(field * (wanted - 1), norm="ortho")
    light = np.sum(np.abs(modes) ** 2, axis=0)
    move = back_project(torch.tensor(amplitude), torch.tensor(modes), 1.0, steps=1).numpy() - 1
    weight = 0.9 * light + 0.1 * light.max()
    other = random_field(6, 6, seed=2)
    assert np.vdot(weight * move, other) == pytest.approx(np.vdot(change, modes * other))


# --- a data set with modes --------------------------------------------------------------------


def test_true_patches_explain_the_patterns_by_all_modes_only(
    partly_coherent: Dataset, tiny: Dataset
) -> None:
    found = floors(partly_coherent, CPU)
    alone = floors(replace(partly_coherent, modes=None), CPU)
    assert found["noise"] is not None and found["noise"] < 1e-4
    assert alone["noise"] is not None and alone["noise"] > 0.03
    assert floors(replace(tiny, modes=tiny.probe[None]), CPU)["noise"] == pytest.approx(
        floors(tiny, CPU)["noise"]
    )


@pytest.mark.parametrize(
    "source", [Oracle(name="oracle"), BackProjection(name="back_projection", steps=2)]
)
def test_references_are_judged_by_all_modes(partly_coherent: Dataset, source: object) -> None:
    def r_factor(dataset: Dataset) -> float:
        fitted, judged = fitted_and_judged(dataset)
        made = make(source, Task(dataset, fitted))  # type: ignore[arg-type]
        return float(np.nanmean(pack(made, dataset, judged).r_factor))

    assert r_factor(partly_coherent) < r_factor(replace(partly_coherent, modes=None))


def test_a_run_trains_on_all_modes(partly_coherent: Dataset, control: Arm) -> None:
    run = build_run(control, partly_coherent, 1, CPU)
    step = run.module.step
    assert step.probe.shape == (3, 16, 16)
    data = TrainData(partly_coherent, "train", CPU, step.loss.needs | {COUNTS})
    batch = data.select(torch.arange(6))
    prediction = step.forward(batch)
    intensity = numpy_intensity(
        np.asarray(partly_coherent.modes), prediction.patch.detach().numpy().astype(complex)
    )
    error = np.abs(np.sqrt(intensity) - batch.amplitude.numpy()).sum() / batch.amplitude.sum()
    loss, _ = step.backward(batch)
    assert float(loss) == pytest.approx(float(error), rel=1e-4)
    assert all(
        torch.isfinite(each.grad).all()
        for each in run.generator.parameters()
        if each.grad is not None
    )
    before = float(loss)
    for _ in range(20):
        step(batch)
    assert float(step.backward(batch)[0]) < before


def test_one_mode_trains_as_ever(tiny: Dataset, control: Arm) -> None:
    step = build_run(control, tiny, 1, CPU).module.step
    assert torch.equal(step.probe, torch.tensor(tiny.probe))

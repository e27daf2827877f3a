"""Networks that read their pattern through the known probe: told it, or refused, and by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from study.formats.dataset import Dataset
from study.formats.reconstruction import load_reconstruction
from study.generators import build
from study.optics import stitch_tiles
from study.optics.assembly import stitch
from study.optics.back_projection import ALPHA, DARK
from study.runs import RunFolder
from study.settings import Arm, GeneratorParams, UserError, read_yaml
from study.training import watch
from study.training.conditioning import back_projected, provide_probe
from study.training.reconstruct import (
    apply,
    load_generator,
    measured,
    patches_of,
    reconstruct_split,
)
from study.training.setup import build_run

CPU = torch.device("cpu")
ASKS = [
    {"start": "back_projection"},
    {"inputs": "with_back_projection"},
    {"inputs": "with_back_projection", "start": "back_projection"},
]
asking = pytest.mark.parametrize("options", ASKS, ids=["start", "inputs", "both"])


def by_hand(probe: np.ndarray, amplitude: np.ndarray) -> np.ndarray:
    """From the own constant a: a + a P* F^-1[(X / (a B) - 1) F P] / damped |P|^2, B = |F P|.

    Outside the pupil B is rounding, and the field stays as it is.
    """
    p = probe.astype(np.complex128)
    field = np.fft.fftshift(np.fft.fft2(p, norm="ortho"))
    pattern = np.abs(field)
    level = (amplitude * pattern).sum((-2, -1), keepdims=True) / (pattern**2).sum()
    lit = pattern > DARK * pattern.max()
    change = np.where(lit, amplitude / np.where(lit, level * pattern, 1) - 1, 0) * field
    wave = np.fft.ifft2(np.fft.ifftshift(change, axes=(-2, -1)), norm="ortho")
    p2 = np.abs(p) ** 2
    return level + level * p.conj() * wave / ((1 - ALPHA) * p2 + ALPHA * p2.max())


def test_what_is_told_is_one_step_from_the_own_constant(grouped: Dataset) -> None:
    amplitude = measured(grouped, "validation", CPU).amplitude[:5]
    found = back_projected(torch.tensor(grouped.probe), amplitude)
    expected = by_hand(grouped.probe, amplitude.double().numpy())
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


@asking
def test_without_the_probe_it_refuses_in_words(
    options: dict, vary: Callable[..., Arm], tiny: Dataset
) -> None:
    network = build(vary(generator=options).generator, 16, 1, 0)
    amplitude = measured(tiny, "test", CPU).amplitude[:2]
    with pytest.raises(UserError, match=r"call .*provide_probe"):
        network(amplitude)
    assert network.effective()["knows_probe"] is False
    provide_probe(network, torch.tensor(tiny.probe))
    assert network(amplitude).shape == amplitude.shape
    assert network.effective()["knows_probe"] is True


def test_who_does_not_ask_is_not_told(control: Arm, tiny: Dataset) -> None:
    network = build(control.generator, 16, 1, 0)
    provide_probe(network, torch.tensor(tiny.probe))
    assert network.back_project is None and network.effective()["knows_probe"] is False


def test_a_zeroed_head_leaves_exactly_the_back_projection(
    vary: Callable[..., Arm], tiny: Dataset
) -> None:
    generator = build_run(vary(generator=ASKS[0]), tiny, 0, CPU).generator
    with torch.no_grad():
        for value in generator.head.parameters():
            value.zero_()
    amplitude = measured(tiny, "test", CPU).amplitude
    expected = back_projected(torch.tensor(tiny.probe), amplitude)
    assert generator(amplitude).equal(expected)


@asking
def test_what_a_pattern_gives_does_not_depend_on_its_batch(
    options: dict, vary: Callable[..., Arm], tiny: Dataset
) -> None:
    generator = build_run(vary(generator=options), tiny, 0, CPU).generator
    amplitude = measured(tiny, "test", CPU).amplitude[:6]
    alone = torch.cat([generator(pattern[None]) for pattern in amplitude])
    torch.testing.assert_close(generator(amplitude), alone, rtol=1e-5, atol=1e-5)


def test_the_probe_that_is_told_is_the_one_that_is_used(
    vary: Callable[..., Arm], tiny: Dataset
) -> None:
    generator = build_run(vary(generator=ASKS[0]), tiny, 0, CPU).generator
    amplitude = measured(tiny, "test", CPU).amplitude[:2]
    before = generator(amplitude)
    provide_probe(generator, 2 * torch.tensor(tiny.probe))
    assert (generator(amplitude) - before).abs().max() > 0.1


# --- runs -------------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=ASKS, ids=["start", "inputs", "both"])
def finished(
    request: pytest.FixtureRequest,
    vary: Callable[..., Arm],
    tiny: Dataset,
    tmp_path_factory: pytest.TempPathFactory,
) -> RunFolder:
    from study.training.fit import fit

    folder = RunFolder(tmp_path_factory.mktemp("asking") / "run")
    fit(vary(generator=request.param, epochs=1, batch_size=64), tiny, 0, folder)
    return folder


def test_a_reconstruction_is_the_network_applied_by_hand(
    finished: RunFolder, tiny: Dataset
) -> None:
    """7 x 7 test patterns 8 px apart, tiled: rows and columns 4 to 60."""
    generator = load_generator(finished, "last")
    with torch.no_grad():
        patch = generator(measured(tiny, "test", CPU).amplitude)
    expected = stitch_tiles(patch.reshape(7, 7, 16, 16), 8) * tiny.manifest.object_norm["test"]
    stored = load_reconstruction(finished.object_file("last"))
    np.testing.assert_allclose(stored.object[0], expected.numpy(), rtol=1e-4, atol=1e-5)
    assert np.array_equal(stored.probe, tiny.probe)


def test_the_effective_settings_say_that_the_probe_is_known(
    finished: RunFolder, control: Arm, tiny: Dataset
) -> None:
    output = read_yaml(finished.path / "params.yaml")["generator"]
    assert output["knows_probe"] is True
    assert "back_projection" in (output["start"], output["inputs"].removeprefix("with_"))
    assert build_run(control, tiny, 0, CPU).generator.effective()["knows_probe"] is False


def test_it_is_applied_and_diagnosed_like_any_other(
    finished: RunFolder, tiny: Dataset, tmp_path: Path
) -> None:
    assert apply(finished, tiny, "last").reconstruction.distinct
    assert all(file.is_file() for file in watch.diagnose_run(finished, tiny, "last"))


def test_a_run_without_a_reconstruction_leaves_its_network_to_be_told(
    finished: RunFolder, tiny: Dataset, tmp_path: Path
) -> None:
    unfinished = RunFolder(tmp_path)
    unfinished.last.write_bytes(finished.last.read_bytes())
    generator = load_generator(unfinished, "last")
    amplitude = measured(tiny, "test", CPU).amplitude[:3]
    with pytest.raises(UserError, match="probe"):
        generator(amplitude)
    provide_probe(generator, torch.tensor(tiny.probe))
    assert generator(amplitude).equal(load_generator(finished, "last")(amplitude))


# --- networks that compute with the probe -------------------------------------------------------

UNROLLED = GeneratorParams(
    name="unrolled",
    options={
        "patterns": 4, "iterations": 1, "steps": 2, "final_steps": 1, "alpha": 0.1,
        "smoothing_px": 0.5, "modulus": "likelihood", "refinement": "shared", "width": 4,
        "layers": 2, "kernel": 3, "coarsening": 1, "synchronise": True,
    },
)  # fmt: skip


def test_an_unrolled_network_knows_probe_and_dose(
    control: Arm, tiny: Dataset, grouped: Dataset
) -> None:
    arm = control.model_copy(update={"generator": UNROLLED})
    generator = build_run(arm, grouped, 0, CPU).generator
    assert generator.effective()["knows_probe"] is True
    noise = float(generator.get_buffer("noise"))
    assert noise == pytest.approx(0.5 / grouped.manifest.photon_scale)
    with pytest.raises(UserError, match="group_size 1"):
        build_run(arm, tiny, 0, CPU)


def test_positions_that_form_no_groups_are_refused(control: Arm, grouped: Dataset) -> None:
    arm = control.model_copy(update={"generator": UNROLLED})
    test = grouped.splits["test"]
    moved = test.positions_px.copy()
    moved[0, 3] += 1
    splits = {**grouped.splits, "test": replace(test, positions_px=moved)}
    with pytest.raises(UserError, match="1 of"):
        build_run(arm, replace(grouped, splits=splits), 0, CPU)


def test_an_unrolled_network_is_stitched_with_synchronised_phases(
    control: Arm, grouped: Dataset
) -> None:
    arm = control.model_copy(update={"generator": UNROLLED})
    generator = build_run(arm, grouped, 0, CPU).generator
    patterns = measured(grouped, "test", CPU)
    patch, probe = patches_of(generator, patterns.amplitude), torch.tensor(grouped.probe)
    expected = stitch(patch, probe, patterns.scan, synchronise="groups")
    y0, x0, y1, x1 = expected.region
    found = reconstruct_split(generator, grouped).object / grouped.manifest.object_norm["test"]
    np.testing.assert_allclose(found, expected.canvas[:, y0:y1, x0:x1].numpy(), atol=1e-5)
    plain = stitch(patch, probe, patterns.scan).canvas
    assert not torch.allclose(plain, expected.canvas, atol=1e-3)

"""Statistics of a network against numpy and hand-made faults; and nothing is left behind."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import Tensor, nn

from study.formats.dataset import Dataset
from study.generators import Generator, build
from study.optics import diffract
from study.settings import Arm, GeneratorParams
from study.training import diagnostics
from study.training.data import TruePatches
from study.training.patch_errors import patch_metrics

WIDTH = 4


@pytest.fixture
def generator(control: Arm) -> Generator:
    return build(control.generator, n=16, channels=1, seed=3)


@pytest.fixture
def stable(control: Arm) -> Generator:
    options = {**control.generator.options, "layerscale_init": 0.25}
    params = GeneratorParams(name="stable_hybrid", options=options)
    return build(params, n=16, channels=1, seed=3)


@pytest.fixture
def amplitude() -> Tensor:
    return torch.rand(5, 1, 16, 16, generator=torch.Generator().manual_seed(1))


def silence(layer: Any, units: int) -> None:
    """Make the first output channels of a convolution constant: zero weights, the bias stays."""
    with torch.no_grad():
        layer.weight[:units] = 0


def hook_count(generator: nn.Module) -> int:
    return sum(len(module._forward_hooks) for module in generator.modules())


# --- summary ----------------------------------------------------------------------------------


@hypothesis.settings(deadline=None, max_examples=25)
@hypothesis.given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(max_dims=3, max_side=5),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    )
)
def test_summary_agrees_with_numpy_over_the_finite_values(values: np.ndarray) -> None:
    found = diagnostics.summary(torch.from_numpy(values))
    finite = values[np.isfinite(values)].astype(np.float64)
    assert found["non_finite"] == values.size - finite.size
    json.dumps(found, allow_nan=False)
    for name in ("min", "max", "mean", "std"):
        if finite.size:
            tolerance = 1e-12 * np.abs(finite).max()
            assert found[name] == pytest.approx(getattr(finite, name)(), rel=1e-9, abs=tolerance)
        else:
            assert found[name] is None


def test_summary_of_nothing_has_no_numbers() -> None:
    found = diagnostics.summary(torch.empty(0))
    assert found == {"min": None, "max": None, "mean": None, "std": None, "non_finite": 0}


# --- activations ------------------------------------------------------------------------------


def test_activations_cover_input_lifter_blocks_branches_and_patch(
    generator: Generator, amplitude: Tensor
) -> None:
    records = diagnostics.activations(generator, amplitude)
    kinds = {record["kind"] for record in records}
    ends = {"input", "output", "patch_abs", "patch_angle"}
    assert kinds >= ends | {"lifter", "block", "spectral", "local_conv"}
    blocks = {record["layer"] for record in records if record["kind"] == "block"}
    assert blocks == {"encoder.0", "encoder.1", "bottleneck"}


def test_activations_are_those_of_the_plain_forward_pass(
    generator: Generator, amplitude: Tensor
) -> None:
    by_name = {(r["layer"], r["kind"]): r for r in diagnostics.activations(generator, amplitude)}
    lifted, patch = generator.lifter(amplitude), generator(amplitude)
    expected = {
        ("input", "input"): amplitude,
        ("lifter", "lifter"): lifted,
        ("encoder.0.local_conv", "local_conv"): generator.encoder[0].local_conv(lifted),
        ("encoder.0.spectral", "spectral"): generator.encoder[0].spectral(lifted),
        ("encoder.0", "block"): generator.encoder[0](lifted),
        ("output", "patch_abs"): patch.abs(),
        ("output", "patch_angle"): patch.angle(),
    }
    for key, tensor in expected.items():
        values = tensor.detach().numpy()
        assert by_name[key]["mean"] == pytest.approx(values.mean(), rel=1e-4, abs=1e-6), key
        assert by_name[key]["std"] == pytest.approx(values.std(), rel=1e-4), key


@pytest.mark.parametrize("training", [True, False])
def test_watching_leaves_no_hook_no_gradient_and_the_mode(
    generator: Generator, amplitude: Tensor, training: bool
) -> None:
    generator.train(training)
    diagnostics.activations(generator, amplitude)
    diagnostics.dead_units(generator, amplitude)
    assert hook_count(generator) == 0
    assert all(module.training == training for module in generator.modules())
    assert all(parameter.grad is None for parameter in generator.parameters())


def test_hooks_are_removed_when_the_forward_pass_fails(generator: Generator) -> None:
    seen: list[str] = []

    def note(name: str, *_: Any) -> None:
        seen.append(name)
        raise RuntimeError("broken on purpose")

    layers = {"lifter": generator.lifter}
    with pytest.raises(RuntimeError), diagnostics.watched(generator, layers, note):
        generator(torch.rand(1, 1, 16, 16))
    assert seen == ["lifter"]
    assert hook_count(generator) == 0
    assert generator.training


# --- dead units -------------------------------------------------------------------------------


def test_a_fresh_network_has_no_dead_unit(generator: Generator, amplitude: Tensor) -> None:
    shares = diagnostics.dead_units(generator, amplitude)
    assert set(shares.values()) == {0.0}
    assert {"lifter.0", "encoder.1.spectral", "encoder.1", "head"} <= set(shares)


@pytest.mark.parametrize("units", [1, 3, WIDTH])
def test_silenced_units_of_a_layer_are_its_dead_share(
    generator: Generator, amplitude: Tensor, units: int
) -> None:
    silence(generator.lifter[0], units)
    silence(generator.encoder[0].local_conv, units)
    shares = diagnostics.dead_units(generator, amplitude)
    assert shares["lifter.0"] == shares["lifter.1"] == units / WIDTH
    assert shares["encoder.0.local_conv"] == units / WIDTH
    if units < WIDTH:
        others = set(shares) - {"lifter.0", "lifter.1", "encoder.0.local_conv"}
        assert {shares[name] for name in others} == {0.0}


def test_a_block_that_is_the_identity_is_dead(stable: Generator, amplitude: Tensor) -> None:
    with torch.no_grad():
        stable.encoder[1].layerscale.zero_()
    shares = diagnostics.dead_units(stable, amplitude)
    assert shares["encoder.1"] == 1.0
    assert shares["encoder.0"] == shares["bottleneck"] == shares["encoder.1.local_conv"] == 0.0


def test_a_complex_head_with_a_constant_imaginary_part_is_half_dead(
    generator: Generator, amplitude: Tensor
) -> None:
    with torch.no_grad():
        generator.head.weight[1] = 0
    assert diagnostics.dead_units(generator, amplitude)["head"] == 0.5


class Scaled(nn.Module):
    """A network of one unit whose output is the input times a factor, plus a level."""

    def __init__(self, factor: float, level: float) -> None:
        super().__init__()
        self.unit = nn.Conv2d(1, 1, 1)
        with torch.no_grad():
            self.unit.weight.fill_(factor)
            self.unit.bias.fill_(level)

    def forward(self, amplitude: Tensor) -> Tensor:
        return self.unit(amplitude).to(torch.complex64)


@pytest.mark.parametrize(
    ("factor", "level", "dead"), [(1e-3, 0.0, 0), (1e-7, 0.0, 1), (1.0, 1e3, 0), (1e-3, 1e3, 1)]
)
def test_a_unit_is_dead_below_its_tolerance_of_input_or_level(
    amplitude: Tensor, factor: float, level: float, dead: int
) -> None:
    assert diagnostics.dead_units(Scaled(factor, level), amplitude) == {"unit": float(dead)}


def test_one_pattern_on_one_pixel_says_nothing_about_units() -> None:
    assert diagnostics.dead_units(Scaled(1.0, 0.0), torch.ones(1, 1, 1, 1)) == {}


# --- spread -----------------------------------------------------------------------------------


def test_spread_of_orthogonal_patterns_has_its_closed_form() -> None:
    size = torch.tensor([1.0, 7.0, 0.2, 3.0])[:, None, None, None]
    patterns = torch.eye(4).reshape(4, 1, 2, 2) * size
    assert diagnostics.pattern_spread(patterns) == pytest.approx(np.sqrt(1 - 1 / 4))


def test_flat_patches_have_no_spread_and_the_measurement_has(tiny: Dataset) -> None:
    probe = torch.tensor(tiny.probe)
    values = torch.polar(torch.rand(9) + 0.1, 6 * torch.rand(9))[:, None, None, None]
    flat = diffract(probe, values.expand(-1, 1, 16, 16))
    counts = torch.tensor(tiny.splits["test"].counts.astype(np.float32))
    assert diagnostics.pattern_spread(flat) < 1e-6
    assert diagnostics.pattern_spread(counts.sqrt()) > 0.01


def test_dark_predictions_have_no_spread() -> None:
    assert diagnostics.pattern_spread(torch.zeros(3, 1, 4, 4)) == 0.0


# --- norms and gradients ----------------------------------------------------------------------


def test_norm_statistics_are_those_of_the_weights(stable: Generator) -> None:
    values = torch.tensor([1.0, -3.0, 2.0, 0.0])
    with torch.no_grad():
        stable.encoder[0].norm.weight.copy_(values)
    found = diagnostics.norm_stats(stable)
    weight = found["encoder.0"]["norm_weight"]
    assert weight == {"mean": 0.0, "std": pytest.approx(np.sqrt(14 / 4)), "largest": 3.0}
    scale = found["encoder.0"]["layerscale"]
    assert scale == {"mean": 0.25, "std": 0.0, "largest": 0.25}


def test_a_network_without_norms_has_no_norm_statistics(generator: Generator) -> None:
    assert diagnostics.norm_stats(generator) == {}


def test_gradient_records_agree_with_the_gradients_by_hand(
    generator: Generator, amplitude: Tensor
) -> None:
    (generator(amplitude).abs() - amplitude).abs().mean().backward()
    records = {record["layer"]: record for record in diagnostics.gradients(generator)}
    for name, parameter in generator.named_parameters():
        gradient = parameter.grad.numpy().astype(np.float64)
        assert records[name]["norm"] == pytest.approx(np.sqrt((gradient**2).sum()))
        assert records[name]["std"] == pytest.approx(gradient.std())
    block = generator.encoder[0]
    spectral = np.linalg.norm(block.spectral.weight.grad)
    local = np.hypot(
        np.linalg.norm(block.local_conv.weight.grad), np.linalg.norm(block.local_conv.bias.grad)
    )
    assert records["encoder.0"]["local_over_spectral"] == pytest.approx(local / spectral, rel=1e-5)


def test_no_ratio_without_a_spectral_gradient(generator: Generator, amplitude: Tensor) -> None:
    generator(amplitude).abs().mean().backward()
    generator.encoder[0].spectral.weight.grad.zero_()
    generator.encoder[1].spectral.weight.grad = None
    records = {record["layer"]: record for record in diagnostics.gradients(generator)}
    assert records["encoder.0"]["local_over_spectral"] is None
    assert records["encoder.1"]["local_over_spectral"] is None
    assert records["encoder.1.spectral.weight"]["norm"] is None
    assert records["bottleneck"]["local_over_spectral"] > 0


def test_the_gradient_ratio_is_the_median_over_the_blocks(
    generator: Generator, amplitude: Tensor
) -> None:
    assert diagnostics.gradient_ratio(generator) is None
    (generator(amplitude).abs() - amplitude).abs().mean().backward()
    records = diagnostics.gradients(generator)
    ratios = [r["local_over_spectral"] for r in records if r["kind"] == "block"]
    assert len(ratios) == 3
    assert diagnostics.gradient_ratio(generator) == pytest.approx(np.median(ratios), rel=1e-6)
    generator.encoder[0].spectral.weight.grad.zero_()
    generator.encoder[1].spectral.weight.grad = None
    assert diagnostics.gradient_ratio(generator) == pytest.approx(ratios[2], rel=1e-6)
    generator.bottleneck.local_conv.weight.grad[0] = float("nan")
    assert diagnostics.gradient_ratio(generator) is None


def test_a_network_without_blocks_has_no_gradient_ratio(amplitude: Tensor) -> None:
    params = GeneratorParams(name="cnn", options={"width": WIDTH, "input_transform": "none"})
    network = build(params, n=16, channels=1, seed=0)
    network(amplitude).abs().mean().backward()
    assert diagnostics.gradient_ratio(network) is None


def test_loss_gradients_are_those_of_backward_and_leave_grad_alone(
    generator: Generator, amplitude: Tensor
) -> None:
    found = diagnostics.loss_gradients(generator, generator(amplitude).abs().mean())
    assert all(parameter.grad is None for parameter in generator.parameters())
    generator(amplitude).abs().mean().backward()
    for name, parameter in generator.named_parameters():
        assert torch.equal(found[name], parameter.grad)


# --- loaders and patches ----------------------------------------------------------------------


def test_loader_statistics_are_those_of_the_first_batches(tiny: Dataset) -> None:
    index = np.array([3, 0, 8])
    records = diagnostics.loader_stats(tiny, {"train": index, "validation": index[:2]}, 4)
    found = {(record["split"], record["quantity"]): record for record in records}
    scan, manifest = tiny.splits["train"], tiny.manifest
    amplitude = np.sqrt(scan.counts[index]) / manifest.photon_scale
    assert found["train", "amplitude"]["mean"] == pytest.approx(amplitude.mean(), rel=1e-5)
    assert found["train", "amplitude"]["std"] == pytest.approx(amplitude.std(), rel=1e-5)
    assert found["train", "position_y_px"]["max"] == scan.positions_px[index, :, 0].max()
    assert found["train", "position_x_px"]["max"] == scan.positions_px[index, :, 1].max()
    norm = manifest.object_norm["validation"]
    assert found["validation", "object_norm"]["mean"] == pytest.approx(norm, rel=1e-6)
    assert found["train", "photon_scale"]["std"] == 0.0
    assert found[None, "probe_imag"]["min"] == pytest.approx(tiny.probe.imag.min())
    assert found[None, "probe_abs"]["mean"] == pytest.approx(np.abs(tiny.probe).mean(), rel=1e-5)
    loader = {"split": "validation", "quantity": "loader", "exists": True, "batches": 4}
    assert records[-1] == loader


def test_a_missing_validation_loader_is_said(tiny: Dataset) -> None:
    last = diagnostics.loader_stats(tiny, {"train": np.array([0])}, None)[-1]
    assert (last["exists"], last["batches"]) == (False, None)


class Replay(nn.Module):
    """Hands out given patches in the order of the calls, in circles, whatever the amplitude."""

    def __init__(self, patches: Tensor) -> None:
        super().__init__()
        self.anchor = nn.Parameter(torch.zeros(()))
        self.patches, self.done = patches, 0

    def forward(self, amplitude: Tensor) -> Tensor:
        start, self.done = self.done, (self.done + len(amplitude)) % len(self.patches)
        return self.patches[start : start + len(amplitude)]


def replay(dataset: Dataset, split: str, factor: float) -> tuple[nn.Module, Tensor]:
    norm = dataset.manifest.object_norm[split]
    truth = TruePatches(dataset.splits[split], dataset.manifest.n, norm)[:]
    return Replay(factor * truth), truth


def test_true_patches_have_no_amplitude_error(tiny: Dataset) -> None:
    found = patch_metrics(replay(tiny, "train", 1.0)[0], tiny, "train")
    assert found["available"]
    assert found["patterns"] == len(tiny.splits["train"].counts)
    assert [(s["scaling"], s["mae"], s["mse"]) for s in found["scalings"]] == [
        ("none", 0.0, 0.0),
        ("mean", 0.0, 0.0),
    ]


def test_a_wrong_brightness_shows_without_scaling_and_is_named_with_it(tiny: Dataset) -> None:
    double, truth = replay(tiny, "validation", 2.0)
    found = patch_metrics(double, tiny, "validation")
    plain, scaled = found["scalings"]
    illuminated = np.abs(truth.numpy() * tiny.probe)
    assert plain["scale"] == 1.0
    assert plain["mae"] == pytest.approx(illuminated.mean(), rel=1e-5)
    assert plain["mse"] == pytest.approx((illuminated**2).mean(), rel=1e-5)
    assert scaled["scale"] == pytest.approx(0.5, rel=1e-5)
    assert scaled["mae"] == pytest.approx(0.0, abs=1e-6)


def test_a_dark_prediction_has_no_scaled_error(tiny: Dataset) -> None:
    found = patch_metrics(replay(tiny, "validation", 0.0)[0], tiny, "validation")
    assert [scaling["scaling"] for scaling in found["scalings"]] == ["none"]


def test_a_measurement_says_why_it_has_no_patch_metrics(tiny: Dataset) -> None:
    blind = dataclasses.replace(tiny.splits["validation"], obj=None)
    measured = dataclasses.replace(tiny, splits={**tiny.splits, "validation": blind})
    found = patch_metrics(replay(tiny, "train", 1.0)[0], measured, "validation")
    assert not found["available"]
    assert "no true object" in found["reason"]

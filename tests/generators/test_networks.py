"""Laws that hold for every network of the table."""

from __future__ import annotations

import gc
import json
from typing import Any, get_args

import pytest
import torch
from small import NAMES, amplitude, network, normal, params
from torch import nn

from study.generators import GENERATORS, check_geometry, size
from study.generators.base import count
from study.generators.heads import InputTransform, OutputMode
from study.settings import UserError

every_network = pytest.mark.parametrize("name", NAMES)


@every_network
@pytest.mark.parametrize(("b", "channels", "n"), [(1, 1, 16), (3, 4, 8)])
def test_amplitude_in_complex_patch_of_the_same_shape_out(name, b, channels, n):
    patch = network(name, n=n, channels=channels)(amplitude(b, channels, n))
    assert patch.shape == (b, channels, n, n) and patch.dtype == torch.complex64
    assert torch.isfinite(torch.view_as_real(patch)).all()


@every_network
def test_batch_order_does_not_matter(name):
    net, x = network(name), amplitude(5, 1, 16)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(net(x[order]), net(x)[order], rtol=1e-5, atol=1e-6)


@every_network
def test_batch_size_does_not_matter(name):
    net, x = network(name), amplitude(5, 1, 16)
    one_by_one = torch.cat([net(pattern[None]) for pattern in x])
    torch.testing.assert_close(net(x), one_by_one, rtol=1e-5, atol=1e-6)


@every_network
def test_different_patterns_give_different_patches(name):
    first, second = network(name)(amplitude(2, 1, 16))
    assert (first - second).abs().mean() > 1e-3 * first.abs().mean()


SILENT_AT_FIRST = pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="the refinements of unrolled end in a layer that is zero at the start",
)


def assert_every_parameter_gets_a_gradient(name: str, **changes: Any) -> None:
    net = network(name, **changes)
    target = normal(4, 1, 16, 16, dtype=torch.complex64)
    (net(amplitude(4, 1, 16)) - target).abs().mean().backward()
    silent = [key for key, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert not silent


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=SILENT_AT_FIRST if name == "unrolled" else ()) for name in NAMES],
)
def test_every_parameter_gets_a_gradient_on_the_first_step(name):
    assert_every_parameter_gets_a_gradient(name)


@pytest.mark.xfail(
    strict=True,
    raises=AssertionError,
    reason="STABLE-GAMMA-001: with zero gamma the blocks' spectral and local weights get no "
    "gradient on the first step",
)
def test_every_parameter_gets_a_gradient_on_the_first_step_with_zero_gamma():
    assert_every_parameter_gets_a_gradient("stable_hybrid", layerscale_init=None)


@every_network
@pytest.mark.parametrize("field", ["input_transform", "output_mode"])
def test_every_transform_and_output_mode_trains(name, field):
    if field not in GENERATORS[name].options.model_fields:
        return
    for value in get_args(InputTransform if field == "input_transform" else OutputMode):
        assert_every_parameter_gets_a_gradient(name, **{field: value})


@every_network
def test_a_seed_names_the_weights_and_leaves_the_global_stream_alone(name):
    before = torch.get_rng_state()
    first, again, other = (network(name, seed=seed).state_dict() for seed in (7, 7, 8))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], again[key]) for key in first)
    weights = [key for key in first if key.endswith(("conv.weight", "0.weight"))]
    assert weights and not any(torch.equal(first[key], other[key]) for key in weights)


@every_network
def test_weights_are_real_float32_and_unit_axes_index_output_channels(name):
    for module in network(name).modules():
        for key, p in module.named_parameters(recurse=False):
            assert p.dtype == torch.float32
            axes = getattr(p, "unit_axes", (0,))
            if key == "weight" and p.ndim > 1:
                assert [p.shape[axis] for axis in axes] == [module.out_channels]


@every_network
def test_effective_is_plain_json_that_agrees_with_the_live_network(name):
    net = network(name)
    effective = json.loads(json.dumps(net.effective(), allow_nan=False))
    assert effective == net.effective()
    assert effective["parameters"] == sum(p.numel() for p in net.parameters())
    assert effective["channels_per_level"] == net.channels_per_level()


def test_effective_follows_the_modules_not_the_request():
    net = network("hybrid", mode_set="corner", max_hidden_channels=None)
    assert net.effective()["channels_per_level"] == [4, 8, 16]
    assert net.effective()["blocks"]["encoder.2"]["modes_kept"] == [4, 3]
    assert net.effective()["blocks"]["bottleneck"]["modes"] == 2
    net.encoder[0].local_conv = nn.Conv2d(4, 6, 3)
    assert net.effective()["channels_per_level"][0] == 6


@every_network
def test_features_are_channels_last_from_end_to_end(name):
    net, seen = network(name, n=16), []

    def look(module: nn.Module, _: Any, out: torch.Tensor) -> None:
        seen.append((module, out.is_contiguous(memory_format=torch.channels_last)))

    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)) and module is not net.head:
            module.register_forward_hook(look)
    net(amplitude(2, 1, 16))
    assert seen and all(packed for _, packed in seen)


@every_network
def test_patterns_of_another_size_or_group_are_refused(name):
    net = network(name)
    for x in (amplitude(1, 1, 24), amplitude(1, 2, 16)):
        with pytest.raises(UserError, match=r"\(1, 16, 16\)"):
            net(x)


@every_network
def test_float64_network_is_the_float32_one_to_rounding(name):
    x = amplitude(2, 1, 16)
    single, double = network(name), network(name).double()
    # Steps whose lengths follow from the data amplify rounding where a far field is nearly dark.
    tolerance = 1e-2 if name == "unrolled" else 1e-5
    torch.testing.assert_close(
        single(x).to(torch.complex128), double(x.double()), rtol=0, atol=tolerance
    )


# --- counts, against the published ones --------------------------------------------------------


def published_count(name: str, blocks: int, cap: int | None) -> tuple[int, int]:
    """(parameters without the spectral ones, with m x m complex weights each counted once)."""
    published: dict[str, Any] = {"width": 32, "fno_blocks": blocks, "modes": 12}
    if "max_hidden_channels" in GENERATORS[name].options.model_fields:
        published["max_hidden_channels"] = cap
    cls, options = check_geometry(params(name, **published), n=64)
    with torch.device("meta"):
        net = cls.from_options(options, n=64, channels=1)
    effective = net.effective()
    others = effective["parameters"] - effective["spectral_parameters"]
    spectral = sum(b["modes"] ** 2 * b["channels"] ** 2 for b in effective["blocks"].values())
    return others, others + spectral


def test_hybrid_has_the_published_parameters():
    assert published_count("hybrid", 4, None) == (2_309_346, 17_202_402)


def test_channel_cap_really_caps():
    assert published_count("hybrid", 6, None)[1] == 276_075_746
    assert published_count("hybrid", 6, 512)[1] == 118_263_522


def test_fno_has_the_published_parameters():
    assert published_count("fno", 4, None) == (66_178, 656_002)


def test_stable_hybrid_adds_three_numbers_per_channel_of_a_block():
    full = {"width": 32, "fno_blocks": 4, "modes": 12, "max_hidden_channels": None}
    hybrid = size(params("hybrid", **full), n=64, channels=1).parameters
    scaled = size(params("stable_hybrid", **full), n=64, channels=1).parameters
    zero = size(params("stable_hybrid", **full, layerscale_init=None), n=64, channels=1).parameters
    channels = 32 + 64 + 128 + 256 + 256
    assert (scaled - hybrid, zero - hybrid) == (3 * channels, 2 * channels)


@every_network
def test_size_from_the_meta_device_is_the_live_size(name):
    stream = torch.get_rng_state()
    net, measured = network(name), size(params(name), n=16, channels=1)
    assert torch.equal(torch.get_rng_state(), stream)
    assert measured.parameters == count(net.parameters())
    assert measured.weight_bytes == 4 * measured.parameters
    assert list(measured.channels_per_level) == net.channels_per_level()


@every_network
def test_memory_estimate_covers_weights_moments_and_every_pattern(name):
    measured = size(params(name), n=16, channels=1)
    weights = 4 * measured.weight_bytes
    per_pattern = (measured.training_bytes(16) - weights) // 16
    assert measured.training_bytes(1) == weights + per_pattern
    # Autograd keeps at least the input of every 3x3 convolution, of which there are four or more.
    assert per_pattern > 4 * (16 * 16 * 4 * 4)


@every_network
@pytest.mark.slow
def test_measuring_a_network_leaves_no_autograd_graph_behind(name):
    """A norm saves outputs of its own: kept as they are, node and output would hold each other."""
    options = {"decoder_norm": "group"} if name in ("hybrid", "stable_hybrid") else {}

    def graphs() -> int:
        gc.collect()
        return sum(
            issubclass(type(x), torch.Tensor) and x.grad_fn is not None for x in gc.get_objects()
        )

    before = graphs()
    size(params(name, **options), n=16, channels=1)
    assert graphs() <= before


def test_kept_bytes_are_those_that_autograd_keeps_on_the_cpu():
    from study.generators.size import kept_for_backward

    live = kept_for_backward(network("cnn"), amplitude(1, 1, 16))
    assert sum(live) == pytest.approx(size(params("cnn"), n=16, channels=1).kept_bytes, rel=0.02)

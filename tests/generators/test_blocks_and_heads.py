"""Laws of the residual blocks, the lifter, the input transforms and the output modes."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F
from small import amplitude, normal

from study.generators.blocks import Lifter, PtychoBlock, StablePtychoBlock
from study.generators.heads import (
    INPUT_TRANSFORMS,
    OUTPUT_MODES,
    InputTransform,
    OutputMode,
)


def test_block_is_x_plus_gelu_of_the_sum_of_its_two_paths():
    block, x = PtychoBlock(3, 2, (6, 6)), normal(2, 3, 6, 6)
    update = block.spectral(x) + block.local_conv(x)
    gelu = update * 0.5 * (1 + torch.erf(update / math.sqrt(2)))
    torch.testing.assert_close(block(x), x + gelu)


def test_stable_block_adds_a_standardised_update_times_its_layerscale():
    block, x = StablePtychoBlock(3, 2, layerscale_init=0.1), normal(2, 3, 6, 6)
    added = block(x) - x
    torch.testing.assert_close(added.mean((2, 3)), torch.zeros(2, 3), rtol=0, atol=1e-6)
    std = added.std((2, 3), correction=0)
    torch.testing.assert_close(std, torch.full((2, 3), 0.1), rtol=1e-2, atol=0)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("layerscale_init", [0.1, None])
def test_stable_block_is_its_formula_in_values_and_gradients(layerscale_init, layout):
    """y = x + l_c InstanceNorm(update), whatever weight, bias and l_c have become."""
    block = StablePtychoBlock(3, 2, layerscale_init)
    x, weights = normal(2, 3, 6, 6).to(memory_format=layout).requires_grad_(), normal(2, 6, 6)
    assert block.norm is not None
    scales = [block.norm.weight, block.norm.bias]
    scales += [] if block.layerscale is None else [block.layerscale]
    with torch.no_grad():
        for seed, scale in enumerate(scales):
            scale.copy_(normal(3, seed=seed + 1))
    added = F.instance_norm(block.update(x), weight=scales[0], bias=scales[1], eps=1e-5)
    expected = x + (added if len(scales) == 2 else scales[2][:, None, None] * added)
    found = block(x)
    torch.testing.assert_close(found, expected)
    leaves = [x, *block.parameters()]
    pairs = zip(
        torch.autograd.grad((found * weights[:, None]).sum(), leaves),
        torch.autograd.grad((expected * weights[:, None]).sum(), leaves),
        strict=True,
    )
    for ours, theirs in pairs:
        assert theirs.any()
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_grid_of_one_pixel_has_no_spread_and_no_nan():
    """Alone it is refused. Networks refuse it at any batch, see test_refusals."""
    block, x = StablePtychoBlock(3, 1, 0.1, grid=(1, 1)), normal(2, 3, 1, 1).requires_grad_()
    assert block.norm is not None
    with torch.no_grad():
        block.norm.bias.fill_(2.0)
    torch.testing.assert_close(block(x), x + 0.2)
    (block(x) ** 2).sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in (x, *block.parameters()))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        block(x[:1])


def test_layerscale_scales_each_channel_on_its_own():
    block, x = StablePtychoBlock(3, 2), normal(1, 3, 6, 6)
    assert block.layerscale is not None
    with torch.no_grad():
        block.layerscale.copy_(torch.tensor([0.0, 1.0, 2.0]))
    std = (block(x) - x).std((0, 2, 3), correction=0)
    torch.testing.assert_close(std, torch.tensor([0.0, 1.0, 2.0]), rtol=1e-2, atol=1e-6)


def test_zero_gamma_block_starts_as_the_identity():
    block, x = StablePtychoBlock(3, 2, layerscale_init=None), normal(2, 3, 6, 6)
    torch.testing.assert_close(block(x), x, rtol=0, atol=0)


def test_blocks_name_what_they_have_and_what_they_lack():
    plain = PtychoBlock(2, 2)
    scaled = StablePtychoBlock(2, 2)
    zero = StablePtychoBlock(2, 2, layerscale_init=None)
    assert plain.norm is None and plain.layerscale is None
    assert scaled.norm is not None and scaled.layerscale is not None
    assert zero.norm is not None and zero.layerscale is None
    assert not zero.norm.weight.any() and not zero.norm.bias.any()
    assert {name.split(".")[0] for name in scaled.state_dict()} == {
        "spectral",
        "local_conv",
        "norm",
        "layerscale",
    }


def test_lifter_is_two_convolutions_with_a_gelu_between():
    lifter = Lifter(2, 3)
    first, _, second = lifter
    x = amplitude(2, 2, 5)
    torch.testing.assert_close(lifter(x), second(F.gelu(first(x))))
    assert sum(p.numel() for p in lifter.parameters()) == 9 * 2 * 3 + 3 + 9 * 3 * 3 + 3


def test_input_transforms_follow_their_formulas():
    x = amplitude(2, 2, 8)
    image = x[:, :, :, :].double()
    spread = image.var((2, 3), correction=0, keepdim=True) + 1e-5
    formulas = {
        "none": image,
        "sqrt": image.sqrt(),
        "log1p": (1 + image).log(),
        "instance_norm": (image - image.mean((2, 3), keepdim=True)) / spread.sqrt(),
    }
    assert set(formulas) == set(INPUT_TRANSFORMS) == set(get_args(InputTransform))
    for name, expected in formulas.items():
        torch.testing.assert_close(INPUT_TRANSFORMS[name](x), expected.float())


@pytest.mark.parametrize("mode", get_args(OutputMode))
def test_heads_give_complex_patches_for_any_group_size(mode):
    for channels in (1, 4):
        patch = OUTPUT_MODES[mode](6, channels)(normal(2, 6, 5, 5))
        assert patch.shape == (2, channels, 5, 5) and patch.dtype == torch.complex64


@pytest.mark.parametrize("mode", ["amp_phase", "amp_phase_logits"])
def test_bounded_heads_stay_below_amplitude_one(mode):
    patch = OUTPUT_MODES[mode](6, 2)(100 * normal(2, 6, 5, 5))
    assert patch.abs().max() <= 1 + 1e-6
    assert patch.angle().abs().max() <= math.pi + 1e-6


def test_real_imag_head_reads_real_parts_first():
    head = OUTPUT_MODES["real_imag"](3, 2)
    x = normal(1, 3, 4, 4)
    raw = F.conv2d(x, head.weight, head.bias)
    torch.testing.assert_close(head(x), torch.complex(raw[:, :2], raw[:, 2:]))


def test_logits_head_is_sigmoid_and_pi_tanh_of_its_channels():
    head = OUTPUT_MODES["amp_phase_logits"](3, 1)
    x = normal(1, 3, 4, 4)
    a, p = F.conv2d(x, head.weight, head.bias).chunk(2, dim=1)
    phase = math.pi * p.tanh()
    expected = torch.complex(a.sigmoid() * phase.cos(), a.sigmoid() * phase.sin())
    torch.testing.assert_close(head(x), expected)


@pytest.mark.parametrize("mode", get_args(OutputMode))
def test_heads_make_complex64_of_bfloat16(mode):
    head = OUTPUT_MODES[mode](4, 1).bfloat16()
    assert head(normal(1, 4, 3, 3).bfloat16()).dtype == torch.complex64

"""Clip rules against an independent numpy version of Brock et al. 2021, Algorithm 2."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from study.generators import build
from study.generators.spectral import SpectralConv2d
from study.settings import Arm, UserError
from study.training.clipping import (
    CLIP_RULES,
    Clipper,
    adaptive_gradient_clip_,
    check_rule,
)


def parameter(shape: tuple[int, ...], seed: int, scale: float = 1.0) -> nn.Parameter:
    random = torch.Generator().manual_seed(seed)
    made = nn.Parameter(torch.randn(shape, generator=random) * 0.1)
    made.grad = torch.randn(shape, generator=random) * scale
    return made


def agc(
    weight: np.ndarray, grad: np.ndarray, axis: int | None, factor: float, eps: float
) -> np.ndarray:
    """Algorithm 2, one unit after the other: axis None is one norm for the whole tensor."""
    result = grad.astype(np.float64).copy()
    units = (
        [np.s_[...]]
        if axis is None
        else [(np.s_[:],) * axis + (i,) for i in range(weight.shape[axis])]
    )
    for unit in units:
        limit = factor * max(np.sqrt((weight[unit].astype(np.float64) ** 2).sum()), eps)
        norm = np.sqrt((result[unit] ** 2).sum())
        if norm > limit:
            result[unit] = result[unit] * limit / norm
    return result


@settings(deadline=None, max_examples=25)
@given(
    shape=st.lists(st.integers(1, 4), min_size=0, max_size=4).map(tuple),
    seed=st.integers(0, 99),
    scale=st.floats(1e-5, 1e3),
    unit_wise=st.booleans(),
)
def test_agc_is_algorithm_2(
    shape: tuple[int, ...], seed: int, scale: float, unit_wise: bool
) -> None:
    given = parameter(shape, seed, scale)
    assert given.grad is not None
    axis = 0 if unit_wise and len(shape) > 1 else None
    expected = agc(given.detach().numpy(), given.grad.numpy(), axis, 0.02, 1e-3)
    adaptive_gradient_clip_(given, limit=0.02, unit_wise=unit_wise)
    np.testing.assert_allclose(given.grad.numpy(), expected, rtol=1e-5, atol=1e-12)


def test_units_of_a_transposed_convolution_lie_on_axis_1(control: Arm) -> None:
    network = build(control.generator, 16, 1, seed=0)
    ups = [m for m in network.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert ups
    for up in ups:
        weight = up.weight
        weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
        expected = agc(weight.detach().numpy(), weight.grad.numpy(), 1, 0.01, 1e-3)
        adaptive_gradient_clip_(weight)
        np.testing.assert_allclose(weight.grad.numpy(), expected, rtol=1e-5)


def test_units_of_a_spectral_weight_are_its_complex_output_channels() -> None:
    """One norm per output channel over modes, inputs, real and imaginary parts together."""
    layer = SpectralConv2d(3, 5, modes=2, grid=(8, 8))
    layer.weight.grad = torch.randn(
        layer.weight.shape, generator=torch.Generator().manual_seed(2)
    ) * torch.tensor([1e-6, 1.0, 1e-6, 1.0, 1e-6])
    before = layer.weight.grad.clone()
    share = adaptive_gradient_clip_(layer.weight)
    limit = 0.01 * layer.complex_weight().detach().abs().square().sum((0, 1, 2)).sqrt()
    after = layer.weight.grad.square().sum((0, 1)).sqrt()
    assert float(share) == pytest.approx(2 / 5)
    assert after[[1, 3]].numpy() == pytest.approx(limit[[1, 3]].numpy(), rel=1e-5)
    assert layer.weight.grad[..., [0, 2, 4]].equal(before[..., [0, 2, 4]])


def test_zero_weights_and_zero_gradients_are_safe() -> None:
    still, moving = nn.Parameter(torch.zeros(2, 3)), nn.Parameter(torch.zeros(2, 3))
    still.grad, moving.grad = torch.zeros(2, 3), torch.ones(2, 3)
    bare = nn.Parameter(torch.zeros(2))
    adaptive_gradient_clip_([still, moving, bare], limit=0.01, eps=1e-3)
    assert still.grad.equal(torch.zeros(2, 3)) and bare.grad is None
    assert moving.grad.norm(dim=1).numpy() == pytest.approx([1e-5, 1e-5])


RULES = sorted(CLIP_RULES)


def network_with_gradients(control: Arm, scale: float) -> nn.Module:
    network = build(control.generator, 16, 1, seed=0)
    random = torch.Generator().manual_seed(3)
    for value in network.parameters():
        value.grad = torch.randn(value.shape, generator=random) * scale
    return network


def gradients(network: nn.Module) -> list[torch.Tensor]:
    return [value.grad.clone() for value in network.parameters() if value.grad is not None]


@pytest.mark.parametrize("rule", RULES)
def test_small_gradients_are_untouched(rule: str, control: Arm) -> None:
    network = network_with_gradients(control, 1e-9)
    before = gradients(network)
    clipped = Clipper(network, rule, 0.01, exclude_head=False)()
    assert all(a.equal(b) for a, b in zip(before, gradients(network), strict=True))
    assert float(clipped.fraction) == 0 and clipped.norm_before.equal(clipped.norm_after)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "none"])
def test_large_gradients_are_shortened_and_recorded(rule: str, control: Arm) -> None:
    network = network_with_gradients(control, 10.0)
    before = torch.cat([g.flatten() for g in gradients(network)]).double()
    clipped = Clipper(network, rule, 0.01, exclude_head=False)()
    after = torch.cat([g.flatten() for g in gradients(network)]).double()
    assert float(clipped.norm_before) == pytest.approx(float(before.norm()), rel=1e-5)
    assert float(clipped.norm_after) == pytest.approx(float(after.norm()), rel=1e-5)
    assert float(after.norm()) < 0.1 * float(before.norm())
    assert float(clipped.fraction) > 0.9


def test_no_norm_is_over_the_limit(control: Arm) -> None:
    network = network_with_gradients(control, 10.0)
    clipped = Clipper(network, "norm", 0.5, exclude_head=False)()
    assert float(clipped.norm_after) == pytest.approx(0.5, rel=1e-5)
    assert float(clipped.norm_after) <= 0.5


def test_no_element_is_over_the_value(control: Arm) -> None:
    network = network_with_gradients(control, 10.0)
    over = sum(int((g.abs() > 0.5).sum()) for g in gradients(network))
    total = sum(g.numel() for g in gradients(network))
    clipped = Clipper(network, "value", 0.5, exclude_head=False)()
    assert max(float(g.abs().max()) for g in gradients(network)) == 0.5
    assert float(clipped.fraction) == pytest.approx(over / total)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule != "none"])
def test_an_excluded_head_keeps_its_gradient(rule: str, control: Arm) -> None:
    network = network_with_gradients(control, 10.0)
    before = dict(zip(dict(network.named_parameters()), gradients(network), strict=True))
    clipper = Clipper(network, rule, 0.01, exclude_head=True)
    clipper()
    kept = {
        k for k, v in network.named_parameters() if v.grad is not None and v.grad.equal(before[k])
    }
    assert kept == set(clipper.excluded) == {"head.weight", "head.bias"}


def test_a_gradient_that_is_not_finite_stays_to_be_seen(control: Arm) -> None:
    for rule in RULES:
        network = network_with_gradients(control, 1.0)
        first = next(network.parameters())
        assert first.grad is not None
        first.grad[0] = float("nan")
        clipped = Clipper(network, rule, 0.01, exclude_head=False)()
        assert not clipped.norm_before.isfinite() and bool(first.grad[0].isnan().all())


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(UserError, match="no clip rule 'acg'; did you mean 'agc'"):
        check_rule("acg")

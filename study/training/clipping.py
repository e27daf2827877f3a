"""Gradient clipping: rules that scale gradients in place, without a copy to the host.

    none        nothing
    norm        one norm over all clipped parameters, at most the limit
    value       every gradient element within -limit..limit
    agc         per output unit, ||G_i|| <= limit * max(||W_i||, 1e-3)
    agc_tensor  the same with one norm per tensor, as in the published runs

Adaptive gradient clipping: Brock, De, Smith, Simonyan, "High-Performance Large-Scale Image
Recognition Without Normalization", ICML 2021, Algorithm 2.

A unit is an index of axis 0. A parameter with another layout has an attribute `unit_axes`, the axes
that index its output units: (1,) for a transposed convolution, the output channel for a spectral
weight. Tensors with one axis (biases, gains) have one norm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils import clip_grad_value_, clip_grads_with_norm_, get_total_norm

from study.settings import UserError, nearest

ScalarTensor = Float[Tensor, ""]


def unit_axes(parameter: Tensor) -> tuple[int, ...]:
    """Axes that index the output units of `parameter`; none for tensors with one axis or less."""
    if parameter.ndim <= 1:
        return ()
    marked = getattr(parameter, "unit_axes", (0,))
    return tuple(axis % parameter.ndim for axis in marked)


def unit_norms(values: Tensor, units: tuple[int, ...]) -> Tensor:
    """Euclidean norm over every axis that is not in `units`; those axes keep length 1."""
    inner = tuple(axis for axis in range(values.ndim) if axis not in units)
    return torch.linalg.vector_norm(values, dim=inner, keepdim=True) if inner else values.abs()


@torch.no_grad()
def adaptive_gradient_clip_(
    parameters: Tensor | Iterable[Tensor],
    limit: float = 0.01,
    eps: float = 1e-3,
    unit_wise: bool = True,
) -> ScalarTensor:
    """Shorten the gradient of each unit to limit * max(||W_i||, eps), in place.

    Returns the fraction of units (of tensors without `unit_wise`) that were shortened. Parameters
    without a gradient are left out; a gradient that is not finite is kept, so that it is noticed.
    """
    given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    clipped, units = [], 0
    for parameter in given:
        if parameter.grad is None:
            continue
        axes = unit_axes(parameter) if unit_wise else ()
        longest = limit * unit_norms(parameter, axes).clamp(min=eps)
        norm = unit_norms(parameter.grad, axes)
        over = norm > longest
        parameter.grad.mul_(torch.where(over, longest / norm, torch.ones_like(norm)))
        clipped.append(over.sum())
        units += over.numel()
    return _fraction(clipped, units)


def _fraction(clipped: Sequence[Tensor], total: int) -> ScalarTensor:
    return torch.stack(list(clipped)).sum() / total if clipped else torch.zeros(())


TORCH_EPS = 1e-6  # what torch's clip adds to the norm


@dataclass(frozen=True)
class RuleResult:
    """What a rule did: the share it clipped, and the factor if all gradients have the same one."""

    fraction: ScalarTensor
    factor: ScalarTensor | None = None


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]


Rule = Callable[[Sequence[Tensor], float, ScalarTensor], RuleResult]
# name -> rule(parameters, limit, norm): clips `.grad` in place; `norm` is that of these gradients.
CLIP_RULES: dict[str, Rule] = {}


def clip_rule(name: str) -> Callable[[Rule], Rule]:
    """Decorator that registers a rule; its default limit is in `study.settings.CLIP_LIMITS`."""

    def register(rule: Rule) -> Rule:
        CLIP_RULES[name] = rule
        return rule

    return register


@clip_rule("none")
def _leave(parameters: Sequence[Tensor], limit: float, norm: ScalarTensor) -> RuleResult:
    return RuleResult(torch.zeros_like(norm), torch.ones_like(norm))


@clip_rule("norm")
def _clip_norm(parameters: Sequence[Tensor], limit: float, norm: ScalarTensor) -> RuleResult:
    """Pascanu, Mikolov, Bengio 2013: scale all gradients together; the fraction is 1 if it clipped,
    else 0."""
    clip_grads_with_norm_(parameters, limit, norm)
    return RuleResult((norm > limit).to(norm.dtype), (limit / (norm + TORCH_EPS)).clamp(max=1.0))


@clip_rule("value")
def _clip_value(parameters: Sequence[Tensor], limit: float, norm: ScalarTensor) -> RuleResult:
    gradients = _gradients(parameters)
    over = [(gradient.abs() > limit).sum() for gradient in gradients]
    clip_grad_value_(parameters, limit)
    return RuleResult(_fraction(over, sum(gradient.numel() for gradient in gradients)))


@clip_rule("agc")
def _clip_units(parameters: Sequence[Tensor], limit: float, norm: ScalarTensor) -> RuleResult:
    return RuleResult(adaptive_gradient_clip_(parameters, limit))


@clip_rule("agc_tensor")
def _clip_tensors(parameters: Sequence[Tensor], limit: float, norm: ScalarTensor) -> RuleResult:
    return RuleResult(adaptive_gradient_clip_(parameters, limit, unit_wise=False))


def check_rule(name: str) -> str:
    """`name` when it is a rule. Raises UserError with the nearest one otherwise."""
    if name not in CLIP_RULES:
        raise UserError(f"no clip rule {name!r}{nearest(name, CLIP_RULES)}")
    return name


@dataclass(frozen=True)
class Clipped:
    """Norm of the whole gradient before and after, and the clipped share; all on the device."""

    norm_before: ScalarTensor
    norm_after: ScalarTensor
    fraction: ScalarTensor


class Clipper:
    """A rule, its limit and the parameters it acts on (`exclude_head`: without the output head)."""

    def __init__(
        self, generator: nn.Module, rule: str, limit: float | None, exclude_head: bool
    ) -> None:
        head: nn.Module | None = getattr(generator, "head", None)
        excluded = {id(p) for p in head.parameters()} if exclude_head and head is not None else ()
        self.rule = check_rule(rule)
        self.limit = limit
        self.parameters = list(generator.parameters())
        self.excluded = [
            name for name, value in generator.named_parameters() if id(value) in excluded
        ]
        self.clipped = [value for value in self.parameters if id(value) not in excluded]

    def __call__(self) -> Clipped:
        """Clip the gradients in `.grad`. The norms returned are those of the whole network."""
        before = get_total_norm(_gradients(self.parameters))
        norm = get_total_norm(_gradients(self.clipped)) if self.excluded else before
        result = CLIP_RULES[self.rule](self.clipped, self.limit or 0.0, norm)
        return Clipped(before, self._after(before, result), result.fraction.to(before.dtype))

    def _after(self, before: ScalarTensor, result: RuleResult) -> ScalarTensor:
        """The norm after clipping: from the common factor if there is one, else computed again."""
        if result.factor is None or self.excluded:
            return get_total_norm(_gradients(self.parameters))
        return before * result.factor

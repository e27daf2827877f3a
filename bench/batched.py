"""Several seeds of one arm as one network: weights stacked, forward and backward by torch.vmap.

Design choices
- Network, loss and optimiser are those of the runs. The weights of all seeds lie in one tensor a
  layer; autograd sees those, so the sum of the seeds' losses has every seed's own gradient.
- Adam works element by element, so it needs no change. A clip by norm has one norm a seed.
- Two things that vmap does not know are told here and nowhere in the networks: memory formats are
  left out (they change no number), and the product of the spectral layer takes the seeds as more
  modes, which is what it is made for.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.overrides import TorchFunctionMode

from study.generators import spectral
from study.training.clipping import TORCH_EPS
from study.training.data import Batch
from study.training.graph import FIELDS
from study.training.losses import Prediction
from study.training.optimizers import build_optimizer
from study.training.setup import Run
from study.training.step import TrainStep, predict

CLIPS = ("norm", "none")


class SeedsStep(TrainStep):
    """One step of every seed. A batch holds the seeds' patterns in turn, (seeds * b, c, n, n).

    Raises ValueError for what it cannot do: clip rules by unit or value, bf16, and what looks at
    the place or the number of the patterns of a batch.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        first, arm = runs[0].module.step, runs[0].arm
        if first.clip.rule not in CLIPS or first.clip.excluded:
            raise ValueError(f"clip rule {first.clip.rule!r}: several seeds clip by norm or not")
        if arm.precision == "bf16":
            raise ValueError("bf16: under vmap autocast leaves products of two types in a layer")
        if first.loss.overlap_weight > 0 or first.coupled_to is not None:
            raise ValueError("loss.overlap_weight and legacy need every seed's batch on its own")
        stacked, buffers = stack_module_state([run.generator for run in runs])
        weights = {name: nn.Parameter(value.detach()) for name, value in stacked.items()}
        super().__init__(
            generator=_Predictor(copy.deepcopy(runs[0].generator).to("meta"), first.probe),
            probe=first.probe,
            photon_scale=first.photon_scale,
            loss=first.loss,
            optimizer=build_optimizer(arm.optimizer, weights.values(), first.probe.device),
            clip=first.clip,
        )
        self.seeds = len(runs)
        self.weights = {f"generator.{name}": value for name, value in weights.items()}
        self.buffers = {f"generator.{name}": value for name, value in buffers.items()}

    def backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Gradients of the stacked weights; loss and std of A_pred, (seeds,) each."""
        self.optimizer.zero_grad(set_to_none=True)
        given = {name: getattr(batch, name) for name in FIELDS}
        parts = {
            name: x.unflatten(0, (self.seeds, -1)) for name, x in given.items() if x is not None
        }
        with _vmap_goes_through():
            loss, amplitude_std = vmap(self._one)(self.weights, self.buffers, parts)
        loss.sum().backward()
        return loss.detach(), amplitude_std.detach()

    def _one(
        self, weights: Mapping[str, Tensor], buffers: Mapping[str, Tensor], parts: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor]:
        given: Any = {**dict.fromkeys(FIELDS), **parts}
        batch = Batch(**given)
        prediction = functional_call(self.generator, {**weights, **buffers}, (batch.amplitude,))
        loss = self.loss(prediction, batch, self.photon_scale)
        return loss, prediction.amplitude.detach().std()

    def __call__(self, batch: Batch) -> Tensor:
        """One step; returns (seeds, 5), a row as `TrainStep` returns it for every seed."""
        loss, amplitude_std = self.backward(batch)
        norm, factor = self._clip()
        self.optimizer.step()
        facts = (loss, norm, norm * factor, (factor < 1).float(), amplitude_std)
        return torch.stack([fact.float() for fact in facts], dim=1)

    @torch.no_grad()
    def _clip(self) -> tuple[Tensor, Tensor]:
        """Norm of every seed's gradient, and the factor that it was scaled by; (seeds,)."""
        gradients = [weight.grad for weight in self.weights.values() if weight.grad is not None]
        norms = [torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients]
        norm = torch.linalg.vector_norm(torch.stack(norms), dim=0)
        if self.clip.rule == "none" or self.clip.limit is None:
            return norm, torch.ones_like(norm)
        factor = (self.clip.limit / (norm + TORCH_EPS)).clamp(max=1.0)
        for gradient in gradients:
            gradient.mul_(factor.view(-1, *[1] * (gradient.ndim - 1)))
        return norm, factor


class _Predictor(nn.Module):
    """`predict` as a module, for `functional_call`."""

    def __init__(self, generator: nn.Module, probe: Tensor) -> None:
        super().__init__()
        self.generator = generator
        self.probe = probe

    def forward(self, amplitude: Tensor) -> Prediction:
        return predict(self.generator, self.probe, amplitude)


def joined(batches: Sequence[Batch]) -> Batch:
    """The seeds' batches as one, patterns of the first seed first."""
    columns = {name: [getattr(batch, name) for batch in batches] for name in FIELDS}
    whole: Any = {name: None if x[0] is None else torch.cat(x) for name, x in columns.items()}
    return Batch(**whole)


# --- what vmap is told ------------------------------------------------------------------------


@contextmanager
def _vmap_goes_through() -> Iterator[None]:
    with _AnyMemoryFormat(), patch.object(spectral, "_ModeProduct", _MappedModeProduct):
        yield


class _AnyMemoryFormat(TorchFunctionMode):
    """A copy to a memory format is a copy to the ordinary one."""

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        given = kwargs or {}
        if func is torch.Tensor.contiguous:
            given = {key: value for key, value in given.items() if key != "memory_format"}
        return func(*args, **given)


_OneModeProduct = spectral._ModeProduct


# The newer form of a Function, which alone may have a rule for vmap.
# pyright: reportIncompatibleMethodOverride=false
class _MappedModeProduct(_OneModeProduct):
    """Spectra (s, b, 2, k, i) of s networks as (b, 2, s k, i): their modes side by side."""

    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return _OneModeProduct.apply(x, weight)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int, int], x: Tensor, weight: Tensor) -> tuple[Tensor, int]:
        x = x.movedim(in_dims[0], 2).flatten(2, 3)
        weight = weight.movedim(in_dims[1], 0).unflatten(1, (2, -1)).movedim(0, 1).flatten(0, 2)
        y = _OneModeProduct.apply(x, weight).unflatten(2, (info.batch_size, -1))
        return y.movedim(2, 0).contiguous(), 0

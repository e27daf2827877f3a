"""The straightforward version of what we do: the text-book code that the goals compare with.

rfft2 and einsum with complex weights, NCHW memory, the optimiser and the clip as torch gives them.
It computes the same numbers; the benchmarks assert that before they time anything.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from study.generators import Generator
from study.generators.spectral import SpectralConv2d
from study.optics import diffract
from study.training.data import Batch


class PlainSpectralConv2d(nn.Module):
    """The same layer by rfft2, one complex einsum over the kept modes, irfft2."""

    def __init__(self, ours: SpectralConv2d, height: int) -> None:
        super().__init__()
        self.rows = [k % height for k in ours.ky]
        self.columns = len(ours.kx)
        weight = ours.complex_weight().detach().permute(2, 3, 0, 1)
        self.weight = nn.Parameter(weight.contiguous())  # (i, o, ky, kx) complex

    def forward(self, x: Tensor) -> Tensor:
        spectrum = torch.fft.rfft2(x)
        kept = spectrum[:, :, self.rows, : self.columns]
        out = torch.zeros(
            x.shape[0], self.weight.shape[1], *spectrum.shape[2:], dtype=spectrum.dtype
        )
        out[:, :, self.rows, : self.columns] = torch.einsum("biyx,ioyx->boyx", kept, self.weight)
        return torch.fft.irfft2(out, s=x.shape[-2:])


def plain_network(generator: Generator, n: int) -> Generator:
    """`generator` itself, changed to plain spectral layers and NCHW memory."""
    level = {id(block): i for i, block in enumerate(_levels(generator))}
    for block in generator.modules():
        spectral = getattr(block, "spectral", None)
        if isinstance(spectral, SpectralConv2d):
            size = n >> level.get(id(block), len(level) - 1)
            block.spectral = PlainSpectralConv2d(spectral, size)
    for parameter in generator.parameters():
        parameter.data = parameter.data.contiguous()
    return generator


def _levels(generator: Generator) -> list[nn.Module]:
    encoder = getattr(generator, "encoder", None)
    return [] if encoder is None else list(encoder)


def plain_step(generator: Generator, probe: Tensor, lr: float) -> Callable[[Batch], Tensor]:
    """A training step as one would first write it: MAE loss, norm clip at 1, Adam."""
    parameters = list(generator.parameters())
    optimizer = torch.optim.Adam(parameters, lr=lr)

    def step(batch: Batch) -> Tensor:
        optimizer.zero_grad()
        predicted = diffract(probe, generator(batch.amplitude.contiguous()))
        loss = (predicted - batch.amplitude).abs().sum() / batch.amplitude.sum()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        return loss.detach()

    return step

"""The straightforward implementation with which the goals compare ours.

It uses rfft2 and einsum with complex weights for m x m modes at every level (as published,
regardless of the grid), NCHW memory, and torch's optimiser and norm clip. It computes the same
numbers; the benchmarks assert this before they measure times.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from study.generators.hybrid import HybridUNOGenerator
from study.generators.spectral import SpectralConv2d, mode_columns, mode_rows
from study.optics import diffract
from study.training.data import Batch


class PlainSpectralConv2d(nn.Module):
    """The same layer with rfft2, one complex einsum over the kept modes, and irfft2.

    `ours`: the layer whose weights are copied; `height`: rows of its grid. `tight`: store weights
    only for modes that exist on the grid, as ours does; otherwise for all modes of the set, of
    which the existing ones are used, as in the published code.
    """

    def __init__(self, ours: SpectralConv2d, height: int, tight: bool = True) -> None:
        super().__init__()
        self.rows = [k % height for k in ours.ky]
        self.columns = len(ours.kx)
        weight = ours.complex_weight().detach().permute(2, 3, 0, 1).contiguous()
        self.held: list[int] | None = None
        if not tight:
            every = mode_rows(ours.mode_set, ours.modes)
            self.held = [every.index(k) for k in ours.ky]
            columns = len(mode_columns(ours.mode_set, ours.modes))
            whole = torch.zeros(*weight.shape[:2], len(every), columns, dtype=weight.dtype)
            whole[:, :, self.held, : self.columns] = weight
            weight = whole
        self.weight = nn.Parameter(weight)  # (i, o, ky, kx) complex

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if self.held is not None:
            weight = weight[:, :, self.held, : self.columns]
        spectrum = torch.fft.rfft2(x)
        kept = spectrum[:, :, self.rows, : self.columns]
        out = torch.zeros(x.shape[0], weight.shape[1], *spectrum.shape[2:], dtype=spectrum.dtype)
        out[:, :, self.rows, : self.columns] = torch.einsum("biyx,ioyx->boyx", kept, weight)
        return torch.fft.irfft2(out, s=x.shape[-2:])


def plain_network(generator: HybridUNOGenerator, n: int, tight: bool) -> HybridUNOGenerator:
    """Change `generator` in place to plain spectral layers and NCHW memory, and return it.

    `n`: side of the patterns in px.
    """
    blocks = [*generator.encoder, generator.bottleneck]
    for level, block in enumerate(blocks):
        size = n >> min(level, len(blocks) - 2)
        block.spectral = PlainSpectralConv2d(block.spectral, size, tight)  # pyright: ignore
    for parameter in generator.parameters():
        parameter.data = parameter.data.contiguous()
    return generator


def plain_step(generator: nn.Module, probe: Tensor, lr: float) -> Callable[[Batch], Tensor]:
    """A straightforward training step: MAE loss, norm clip at 1, Adam. `probe`: (n, n) complex."""
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

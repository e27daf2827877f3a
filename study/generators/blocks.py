"""The residual blocks that the networks are made of, and the lifter before them.

    PtychoBlock          y = x + GELU(Spectral(x) + Conv3x3(x))
    StablePtychoBlock    y = x + l_c InstanceNorm(GELU(Spectral(x) + Conv3x3(x)))

The Fourier layer is that of Li et al. 2021 (arXiv:2010.08895, eq. 2) with a 3x3 instead of a 1x1
local path, inside a residual; l_c is the LayerScale of Touvron et al. 2021 (arXiv:2103.17239).

Contract, read by the training log: every block has `spectral`, `local_conv`, `norm` and
`layerscale`; what a block lacks is None.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from study.generators.spectral import Grid, ModeSet, SpectralConv2d, SpectralInit


class PtychoBlock(nn.Module):
    """y = x + GELU(Spectral(x) + Conv3x3(x)); shapes (b, c, h, w) kept, zero padding.

    `grid` (h, w): allocate only the modes that it has, see `SpectralConv2d`.
    """

    norm: nn.InstanceNorm2d | None
    layerscale: nn.Parameter | None

    def __init__(
        self,
        channels: int,
        modes: int,
        grid: Grid | None = None,
        mode_set: ModeSet = "classic",
        spectral_init: SpectralInit = "variance",
    ) -> None:
        super().__init__()
        self.spectral = SpectralConv2d(channels, channels, modes, grid, mode_set, spectral_init)
        self.local_conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm = None
        self.layerscale = None

    def update(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """GELU(Spectral(x) + Conv3x3(x)): what the block adds, before norm and scale."""
        return F.gelu(self.local_conv(x).add_(self.spectral(x)))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return self.update(x).add_(x)


class StablePtychoBlock(PtychoBlock):
    """y = x + l_c InstanceNorm(GELU(Spectral(x) + Conv3x3(x))), one learnable l_c per channel.

    `layerscale_init` is the first l_c, with norm weight 1 and bias 0. None is the zero-gamma
    variant: no l_c, norm weight and bias start at 0, so the block starts as the identity and its
    spectral and local weights have exactly zero gradient on the first step.

    The grid needs more than one pixel: the spread of a single one is zero.
    """

    def __init__(
        self,
        channels: int,
        modes: int,
        layerscale_init: float | None = 1e-3,
        grid: Grid | None = None,
        mode_set: ModeSet = "classic",
        spectral_init: SpectralInit = "variance",
    ) -> None:
        super().__init__(channels, modes, grid, mode_set, spectral_init)
        self.norm = nn.InstanceNorm2d(channels, eps=1e-5, affine=True)
        if layerscale_init is None:
            nn.init.zeros_(self.norm.weight)
        else:
            self.layerscale = nn.Parameter(torch.full((channels,), float(layerscale_init)))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        assert self.norm is not None
        weight, bias = self.norm.weight, self.norm.bias
        if self.layerscale is not None:
            # l_c (w x^ + b) is an affine norm with l_c w and l_c b: one pass less.
            weight, bias = self.layerscale * weight, self.layerscale * bias
        # One group a channel is InstanceNorm, and on the CPU it keeps channels_last (a step of the
        # quick network takes 0.93 of the time).
        update = F.group_norm(self.update(x), len(weight), weight, bias, self.norm.eps)
        return update.add_(x)


class Lifter(nn.Sequential):
    """Conv3x3(c -> w), GELU, Conv3x3(w -> w): measured amplitude to features, (b, c, n, n) in."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(
            nn.Conv2d(channels, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

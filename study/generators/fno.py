"""Cascaded FNO: Fourier blocks at full resolution, refined by convolutions.

    X -> lifter -> block -> block -> block -> block -> 1x1 -> [Conv3x3 - GELU] x 2 -> head -> O
                   w channels, n x n pixels from end to end

    block   y = x + GELU(Spectral(x) + Conv3x3(x))
    head    1x1 convolution to real and imaginary part

Fourier neural operator: Li et al. 2021, arXiv:2010.08895. What it is not: that paper's network,
which has a 1x1 local path, no residual and no convolutional refinement.

Size at w = 32, 4 blocks, 12 modes: 66,178 real numbers without the spectral weights; 656,002 in the
published counting (m x m complex weights a block, complex counted once). Stored as real numbers at
n = 64: 2,425,474 with mode set `classic`, 1,245,826 with `corner`.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from study.generators.base import Generator, Options
from study.generators.blocks import Lifter, PtychoBlock
from study.generators.heads import OUTPUT_MODES, InputTransform, OutputMode
from study.generators.spectral import ModeSet, SpectralInit
from study.settings import Channels, Count


class FnoOptions(Options):
    width: Channels
    fno_blocks: Annotated[Count, Field(le=256)]
    modes: Channels
    mode_set: ModeSet
    spectral_init: SpectralInit
    input_transform: InputTransform
    output_mode: OutputMode


class CascadedFNOGenerator(Generator):
    """See the module docstring."""

    options: ClassVar[type[Options]] = FnoOptions

    def __init__(self, options: FnoOptions, n: int, channels: int) -> None:
        super().__init__(channels, n, options.input_transform)
        width = options.width
        self.lifter = Lifter(channels, width)
        self.blocks = nn.Sequential(
            *(
                PtychoBlock(width, options.modes, (n, n), options.mode_set, options.spectral_init)
                for _ in range(options.fno_blocks)
            )
        )
        self.project = nn.Conv2d(width, width, 1)
        self.refine = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
        )
        self.head = OUTPUT_MODES[options.output_mode](width, channels)
        self.channels_last()

    @classmethod
    def check_geometry(cls, options: FnoOptions, n: int) -> None:
        """Every n will do: nothing is downsampled."""

    def features(self, x: Float[Tensor, "b c n n"]) -> Float[Tensor, "b w n n"]:
        return self.refine(self.project(self.blocks(self.lifter(x))))

    def channels_per_level(self) -> list[int]:
        return [b.local_conv.out_channels for b in self.blocks if isinstance(b, PtychoBlock)]

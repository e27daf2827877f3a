"""Hybrid U-NO: a U-Net whose encoder levels are Fourier blocks.

    X -> lifter -> block  w      n   ------------------------------- skip -> refine -> head -> O
                     | down                                            ^ up
                   block 2w    n/2   ---------------------- skip -> refine
                     | down                                   ^ up
                   block 4w    n/4   ------------- skip -> refine
                     | down                          ^ up
                   block 8w    n/8   -> bottleneck block (half the modes)

    block       y = x + GELU(Spectral(x) + Conv3x3(x))
    down, up    Conv2x2 and ConvTranspose2x2, stride 2; channels double per level, to a cap if any
    refine      concatenate with the block's output of that level, Conv3x3 - GELU - Conv3x3
    head        1x1 convolution to real and imaginary part

`decoder_norm: group` puts GroupNorm over all channels (Wu & He 2018, arXiv:1803.08494, one group)
between the decoder's first convolution and its GELU, which a growing decoder then cannot saturate.

U-shaped neural operators: Rahman, Ross, Azizzadenesheli 2022, arXiv:2204.11127. What it is not: an
operator on a continuum: the strided convolutions and the zero padding are tied to the pixel, so
weights trained at one n mean nothing at another.

Size at n = 64, w = 32, 4 blocks, 12 modes: 2,309,346 real numbers without the spectral weights. The
published counting with them, m x m complex weights at every level and complex counted once, is
17,202,402. Stored, as real numbers and as far as the grids have the modes: 20,462,818 with mode set
`classic`, 16,497,890 with `corner`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from study.generators.base import Generator, Options
from study.generators.blocks import Lifter, PtychoBlock
from study.generators.heads import OUTPUT_MODES, Inputs, InputTransform, OutputMode, Start
from study.generators.spectral import ModeSet, SpectralInit
from study.generators.units import mark_units
from study.settings import WIDEST, Channels, UserError

DecoderNorm = Literal["none", "group"]


class HybridOptions(Options):
    """`fno_blocks` counts the encoder levels; the bottleneck has modes // 2, hence 2 at least."""

    width: Channels
    fno_blocks: Annotated[int, Field(ge=1, le=16)]
    modes: Annotated[int, Field(ge=2, le=WIDEST)]
    mode_set: ModeSet
    spectral_init: SpectralInit
    max_hidden_channels: Channels | None
    input_transform: InputTransform
    inputs: Inputs
    decoder_norm: DecoderNorm
    output_mode: OutputMode
    start: Start

    @model_validator(mode="after")
    def _cap_leaves_the_width(self) -> HybridOptions:
        level_channels(self.width, self.fno_blocks, self.max_hidden_channels)
        return self


class HybridUNOGenerator(Generator):
    """See the module docstring."""

    options: ClassVar[type[Options]] = HybridOptions
    smallest_grid: ClassVar[int] = 1

    def __init__(self, options: HybridOptions, n: int, channels: int) -> None:
        super().__init__(channels, n, options.input_transform, options.inputs, options.start)
        levels = options.fno_blocks
        check_levels(n, levels, self.smallest_grid)
        widths = level_channels(options.width, levels, options.max_hidden_channels)
        block_class = self.block_class(options)

        def block(level: int, modes: int) -> PtychoBlock:
            grid = (n >> level, n >> level)
            return block_class(
                widths[level],
                modes,
                grid=grid,
                mode_set=options.mode_set,
                spectral_init=options.spectral_init,
            )

        steps = list(pairwise(widths))  # (finer, coarser)
        seen = 3 * channels if options.inputs == "with_back_projection" else channels
        self.lifter = Lifter(seen, options.width)
        self.encoder = nn.ModuleList(block(level, options.modes) for level in range(levels))
        self.down = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in steps)
        self.bottleneck = block(levels - 1, options.modes // 2)
        self.decoder = nn.ModuleList(
            DecoderLevel(coarse, fine, options.decoder_norm) for fine, coarse in steps[::-1]
        )
        self.head = OUTPUT_MODES[options.output_mode](options.width, channels)
        self.channels_last()

    @classmethod
    def block_class(cls, options: Any) -> Callable[..., PtychoBlock]:
        """What makes a block: `(channels, modes, grid=, mode_set=, spectral_init=)`."""
        return PtychoBlock

    @classmethod
    def check_geometry(cls, options: HybridOptions, n: int) -> None:
        check_levels(n, options.fno_blocks, cls.smallest_grid)

    def features(self, x: Float[Tensor, "b c n n"]) -> Float[Tensor, "b w n n"]:
        x = self.lifter(x)
        skips = []
        for block, down in zip(self.encoder, self.down, strict=False):
            x = block(x)
            skips.append(x)
            x = down(x)
        x = self.bottleneck(self.encoder[-1](x))
        for level in self.decoder:
            x = level(x, skips.pop())
        return x

    def channels_per_level(self) -> list[int]:
        return [b.local_conv.out_channels for b in self.encoder if isinstance(b, PtychoBlock)]

    def effective(self) -> dict[str, Any]:
        norms = {_name_of(level.norm) for level in self.decoder if isinstance(level, DecoderLevel)}
        return {**super().effective(), "decoder_norms": sorted(norms)}


def _name_of(norm: nn.Module | None) -> str:
    return "none" if norm is None else type(norm).__name__


class DecoderLevel(nn.Module):
    """Up by two, concatenate with the encoder's features, Conv3x3 - (norm) - GELU - Conv3x3."""

    def __init__(self, coarse: int, fine: int, norm: DecoderNorm = "none") -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(coarse, fine, 2, stride=2)
        mark_units(self.up.weight, (1,))
        self.merge = nn.Conv2d(2 * fine, fine, 3, padding=1)
        self.norm = nn.GroupNorm(1, fine) if norm == "group" else None
        self.refine = nn.Conv2d(fine, fine, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "b coarse h w"], skip: Float[Tensor, "b fine 2*h 2*w"]
    ) -> Float[Tensor, "b fine 2*h 2*w"]:
        merged = self.merge(torch.cat([self.up(x), skip], dim=1))
        return self.refine(F.gelu(merged if self.norm is None else self.norm(merged)))


def level_channels(width: int, levels: int, cap: int | None) -> list[int]:
    """width, 2 width, 4 width ... to the cap. Raises UserError when the cap is below the width."""
    if cap is not None and cap < width:
        raise UserError(
            f"max_hidden_channels {cap} is below width {width}, which the first level has; raise "
            "max_hidden_channels or lower width"
        )
    widths = [width << level for level in range(levels)]
    return widths if cap is None else [min(width, cap) for width in widths]


def check_levels(n: int, levels: int, smallest: int) -> None:
    """Raise UserError unless n halves levels - 1 times to a whole grid of `smallest` px or more."""
    factor = 2 ** (levels - 1)
    if n % factor == 0 and n // factor >= smallest:
        return
    possible = [k for k in range(1, 32) if n % 2 ** (k - 1) == 0 and n >> (k - 1) >= smallest]
    most = f"at most {possible[-1]} are possible at n = {n}" if possible else "choose a larger n"
    why = (
        f"n / 2^{levels - 1} = {n}/{factor} = {n / factor:g} px at the deepest level, which must "
        f"be a whole number of at least {smallest}"
    )
    raise UserError(f"fno_blocks {levels} does not fit n = {n}: {why}; {most}")

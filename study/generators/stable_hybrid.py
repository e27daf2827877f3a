"""Stable hybrid: the hybrid U-NO with blocks whose update is normalised and scaled.

    the picture of hybrid.py, each block replaced by
    y = x + l_c InstanceNorm(GELU(Spectral(x) + Conv3x3(x)))

    layerscale_init: 1e-3   LayerScale (Touvron et al. 2021, arXiv:2103.17239)
    layerscale_init: null   zero gamma: no l_c, norm weight and bias start at 0 (Goyal et al. 2017,
                            arXiv:1706.02677, section 5.1), so each block starts as the identity

What it is not: normalised throughout. Lifter, decoder and head are the hybrid's, without norm.
InstanceNorm needs 2 x 2 pixels, hence one level less than the hybrid at the same n.

Size at n = 64, w = 32, 4 blocks, 12 modes: the hybrid's plus 3 real numbers a channel of each block
(norm weight, norm bias, l_c; 2 with zero gamma), 2,208 in all.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

from study.generators.base import Options
from study.generators.blocks import StablePtychoBlock
from study.generators.hybrid import HybridOptions, HybridUNOGenerator
from study.settings import Positive


class StableHybridOptions(HybridOptions):
    layerscale_init: Positive | None


class StableHybridUNOGenerator(HybridUNOGenerator):
    """See the module docstring."""

    options: ClassVar[type[Options]] = StableHybridOptions
    smallest_grid: ClassVar[int] = 2

    @classmethod
    def block_class(cls, options: StableHybridOptions) -> partial[StablePtychoBlock]:
        return partial(StablePtychoBlock, layerscale_init=options.layerscale_init)

"""C6: stored real numbers of the hybrid network, relative to m x m complex weights at every level.

The published network allocates all m x m modes (m // 2 in the bottleneck) on every grid; ours
stores only modes that exist on the grid. Both counts are for whole networks, and a complex weight
counts as two numbers. Nothing is allocated: ours is built on the meta device, the published size is
computed from a formula.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch

from bench.figure import Figure, Goal
from study import generators
from study.settings import Arm, GeneratorParams, load_study

ROOT = Path(__file__).parent.parent
N, CHANNELS = 64, 1
# The published network with 4 blocks: real numbers without spectral weights, and the published
# parameter count, in which a complex weight counts as one.
PLAIN_NUMBERS, PUBLISHED_COUNT = 2_309_346, 17_202_402

GOALS = {
    4: Goal("C6-4blocks", "stored numbers against m x m modes, 4 blocks", 0.55, "x", False),
    6: Goal("C6-6blocks", "the same with 6 blocks, no cap on the channels", 0.15, "x", False),
}


def network(blocks: int) -> GeneratorParams:
    """The control of the full study (w = 32, 12 modes, mode set corner) with `blocks` levels."""
    control = load_study(ROOT / "full" / "params.yaml").arms["control"]
    assert isinstance(control, Arm)
    options = {**control.generator.options, "fno_blocks": blocks, "max_hidden_channels": None}
    asked = {"width": 32, "modes": 12, "mode_set": "corner"}
    assert {key: options[key] for key in asked} == asked
    return GeneratorParams(name="hybrid", options=options)


def widths(blocks: int, width: int = 32) -> list[int]:
    return [width << level for level in range(blocks)]


def convolution(inputs: int, outputs: int, side: int) -> int:
    return inputs * outputs * side**2 + outputs


def without_spectral(blocks: int) -> int:
    """Real numbers of lifting, local convolutions, down- and upsampling, refinement and head."""
    levels = widths(blocks)
    count = convolution(CHANNELS, levels[0], 3) + convolution(levels[0], levels[0], 3)
    count += sum(convolution(c, c, 3) for c in (*levels, levels[-1]))
    for fine, coarse in pairwise(levels):
        count += convolution(fine, coarse, 2) + convolution(coarse, fine, 2)
        count += convolution(2 * fine, fine, 3) + convolution(fine, fine, 3)
    return count + convolution(levels[0], 2 * CHANNELS, 1)


def published_complex(blocks: int, modes: int = 12) -> int:
    """Complex spectral weights with m x m modes at every level, m // 2 in the bottleneck."""
    levels = widths(blocks)
    return sum(c**2 * modes**2 for c in levels) + levels[-1] ** 2 * (modes // 2) ** 2


def split_count(params: GeneratorParams) -> tuple[int, int]:
    """Stored real numbers of the actual network: (spectral weights, all others)."""
    cls, options = generators.check_geometry(params, N)
    with torch.device("meta"):
        named = cls.from_options(options, n=N, channels=CHANNELS).named_parameters()
        sizes = {name: parameter.numel() for name, parameter in named}
    spectral = sum(size for name, size in sizes.items() if ".spectral." in f".{name}")
    return spectral, sum(sizes.values()) - spectral


def compare(blocks: int) -> Figure:
    params, others = network(blocks), without_spectral(blocks)
    spectral, rest = split_count(params)
    stored = generators.size(params, N, CHANNELS).parameters
    assert rest == others, f"{rest} numbers beside the spectral weights, the formula has {others}"
    assert stored == spectral + rest
    published = others + 2 * published_complex(blocks)
    details = {
        "stored": stored,
        "m x m": published,
        "spectral, stored": spectral,
        "spectral, m x m": 2 * published_complex(blocks),
        "all others": others,
    }
    return Figure(GOALS[blocks], stored / published, details)


def measure() -> list[Figure]:
    assert without_spectral(4) == PLAIN_NUMBERS
    assert without_spectral(4) + published_complex(4) == PUBLISHED_COUNT
    return [compare(blocks) for blocks in GOALS]

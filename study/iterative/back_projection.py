"""What known-probe rPIE steps make of every single pattern on its own: untrained patches.

The fair floor of a network that sees the probe: one step costs no training at all. Every pattern
starts from the same flat object, and no pattern learns from its neighbours.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Complex64, Float32
from torch import Tensor

from study import optics
from study.iterative.rpie import best_constant

CHUNK = 256


def back_project(
    amplitude: Float32[Tensor, "J n n"],
    probe: Complex64[Tensor, "*m n n"],
    steps: int,
    known: Bool[Tensor, "n n"] | None = None,
) -> Complex64[Tensor, "J n n"]:
    """Patches (network units) after `steps` rPIE steps of each pattern from the best constant.

    `amplitude` and `probe` in one unit, sqrt(photons) or dimensionless. `known`: measured pixels,
    None for all.
    """
    level = best_constant(amplitude, probe, known)
    chunks = amplitude.split(CHUNK)
    return torch.cat([optics.back_project(some, probe, level, steps, known) for some in chunks])

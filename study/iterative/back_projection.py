"""What known-probe rPIE steps make of every single pattern on its own: untrained patches.

The fair floor of a network that sees the probe: one step costs no training at all. Every pattern
starts from the same flat object, and no pattern learns from its neighbours.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from study.iterative.rpie import best_constant, regularised, replace_modulus
from study.optics import exit_wave

# As in the rPIE row; between 0.02 and 0.2 the stitched amplitude SSIM moves by 0.02.
ALPHA = 0.1
CHUNK = 256


def back_project(
    amplitude: Float32[Tensor, "J n n"], probe: Complex64[Tensor, "n n"], steps: int
) -> Complex64[Tensor, "J n n"]:
    """Patches (network units) after `steps` rPIE steps of each pattern from the best constant.

    `amplitude` and `probe` in one unit, sqrt(photons) or dimensionless.
    """
    level = best_constant(amplitude, probe)
    pull = probe.conj() / regularised(probe.abs().square(), ALPHA)
    return torch.cat([_steps(some, probe, pull, level, steps) for some in amplitude.split(CHUNK)])


def _steps(
    amplitude: Float32[Tensor, "b n n"],
    probe: Complex64[Tensor, "n n"],
    pull: Complex64[Tensor, "n n"],
    level: float,
    steps: int,
) -> Complex64[Tensor, "b n n"]:
    patch = torch.full(amplitude.shape, level, dtype=torch.complex64)
    for _ in range(steps):
        correction, _ = replace_modulus(exit_wave(probe, patch), amplitude)
        patch = patch + pull * correction
    return patch

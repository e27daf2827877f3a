"""One pattern back through a known probe: the step that rPIE, references and networks share.

    patch -> exit wave -> far field -> modulus becomes the measured one -> exit wave' -> patch

A. Maiden, D. Johnson & P. Li, Optica 4, 736 (2017), for a single pattern:

    patch + conj(P) (exit' - exit) / ((1 - alpha) |P|^2 + alpha max |P|^2)
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor

from study.optics.wave import diffract, exit_wave, far_field, inverse_far_field

# As in the rPIE row; between 0.02 and 0.2 the stitched amplitude SSIM moves by 0.02.
ALPHA = 0.1
# Below this part of a pattern's brightest modulus a field is rounding (float32: 1e-7), no light: of
# a flat object under a pupil with a rim, everything outside the rim.
DARK = 1e-5


def replace_modulus(
    wave: Complex[Tensor, "*b n n"], amplitude: Float[Tensor, "*b n n"]
) -> tuple[Complex[Tensor, "*b n n"], Float[Tensor, "*b n n"]]:
    """exit' - exit, where exit' has the measured modulus in the far field, and the modulus now.

    Where the far field is dark (`DARK`) it has no phase to keep, and is left as it is.
    """
    field = far_field(wave)
    modulus = field.abs()
    tiny = torch.finfo(modulus.dtype).tiny
    lit = modulus > DARK * modulus.amax(dim=(-2, -1), keepdim=True)
    change = torch.where(lit, amplitude / modulus.clamp(min=tiny) - 1, 0.0)
    return inverse_far_field(field * change), modulus


def regularised(weight: Float[Tensor, "h w"], alpha: float) -> Float[Tensor, "h w"]:
    """(1 - alpha) weight + alpha max weight: what an update is divided by."""
    return (1 - alpha) * weight + alpha * weight.max()


def back_project(
    amplitude: Float[Tensor, "*b n n"],
    probe: Complex[Tensor, "n n"],
    level: Float[Tensor, "*b 1 1"] | float,
    steps: int,
) -> Complex[Tensor, "*b n n"]:
    """Patches (network units) after `steps` steps of each pattern from the constant `level`.

    `amplitude` and `probe` in one unit, sqrt(photons) or dimensionless.
    """
    pull = probe.conj() / regularised(probe.abs().square(), ALPHA)
    patch = torch.zeros_like(amplitude, dtype=probe.dtype) + level
    for _ in range(steps):
        correction, _ = replace_modulus(exit_wave(probe, patch), amplitude)
        patch = patch + pull * correction
    return patch


def own_constant(
    amplitude: Float[Tensor, "*b n n"], probe: Complex[Tensor, "n n"]
) -> Float[Tensor, "*b 1 1"]:
    """The constant object that fits each single pattern best: sum X B / sum B^2, B = |far P|."""
    pattern = diffract(probe, torch.ones_like(probe))
    return (amplitude * pattern).sum(dim=(-2, -1), keepdim=True) / pattern.square().sum()

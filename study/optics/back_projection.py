"""One pattern back through a known probe: the step that rPIE, references and networks share.

    patch -> exit wave -> far field -> modulus becomes the measured one -> exit wave' -> patch

A. Maiden, D. Johnson & P. Li, Optica 4, 736 (2017), for a single pattern:

    patch + conj(P) (exit' - exit) / ((1 - alpha) |P|^2 + alpha max |P|^2)

`known` (n, n), None for all: pixels of the detector that were measured. The field keeps its own
modulus at the others. A probe of several modes (m, n, n) is an incoherent sum: the modulus that is
replaced is that of all modes, and the patch moves by the sum of what each mode asks for.
"""

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from study.optics.wave import diffract, exit_wave, far_field, inverse_far_field, light_of

# As in the rPIE row; between 0.02 and 0.2 the stitched amplitude SSIM moves by 0.02.
ALPHA = 0.1
# Below this part of a pattern's brightest modulus a field is rounding (float32: 1e-7), no light: of
# a flat object under a pupil with a rim, everything outside the rim.
DARK = 1e-5


def replace_modulus(
    wave: Complex[Tensor, "*b n n"],
    amplitude: Float[Tensor, "*b n n"],
    known: Bool[Tensor, "n n"] | None = None,
) -> tuple[Complex[Tensor, "*b n n"], Float[Tensor, "*b n n"]]:
    """exit' - exit, where exit' has the measured modulus in the far field, and the modulus now.

    Where the far field is dark (`lit`) it has no phase and is not changed.
    """
    field = far_field(wave)
    change, modulus = modulus_change(field, amplitude, known)
    return inverse_far_field(field * change), modulus


def lit(modulus: Float[Tensor, "*b n n"]) -> Bool[Tensor, "*b n n"]:
    """Where the field of each pattern is light and not the rounding of a transform (`DARK`)."""
    return modulus > DARK * modulus.amax(dim=(-2, -1), keepdim=True)


def modulus_change(
    field: Complex[Tensor, "*b n n"],
    amplitude: Float[Tensor, "*b n n"],
    known: Bool[Tensor, "n n"] | None = None,
) -> tuple[Float[Tensor, "*b n n"], Float[Tensor, "*b n n"]]:
    """What `field` is multiplied by to move to the measured modulus, and its modulus now.

    All arrays in one pixel order, whichever. A pixel that is not `known` gets the change 0.
    """
    modulus = field.abs()
    tiny = torch.finfo(modulus.dtype).tiny
    bright = lit(modulus) if known is None else lit(modulus) & known
    # The inner `where` keeps the gradient of the branch that is not taken finite.
    divisor = torch.where(bright, modulus, 1.0).clamp(min=tiny)
    change = torch.where(bright, amplitude / divisor - 1, 0.0)
    return change, modulus


def regularised(weight: Float[Tensor, "h w"], alpha: float) -> Float[Tensor, "h w"]:
    """(1 - alpha) weight + alpha max weight: what an update is divided by."""
    return (1 - alpha) * weight + alpha * weight.max()


def back_project(
    amplitude: Float[Tensor, "*b n n"],
    probe: Complex[Tensor, "*m n n"],
    level: Float[Tensor, "*b 1 1"] | float,
    steps: int,
    known: Bool[Tensor, "n n"] | None = None,
) -> Complex[Tensor, "*b n n"]:
    """Patches (network units) after `steps` steps of each pattern from the constant `level`.

    `amplitude` and `probe` in one unit, sqrt(photons) or dimensionless.
    """
    pull = probe.conj() / regularised(light_of(probe), ALPHA)
    patch = torch.zeros_like(amplitude, dtype=probe.dtype) + level
    for _ in range(steps):
        if probe.ndim == 2:
            correction, _ = replace_modulus(exit_wave(probe, patch), amplitude, known)
            patch = patch + pull * correction
        else:
            field = far_field(probe * patch[..., None, :, :])  # (*b, m, n, n)
            together = field.abs().square().sum(dim=-3).sqrt()
            change, _ = modulus_change(together.to(field.dtype), amplitude, known)
            correction = inverse_far_field(field * change[..., None, :, :])
            patch = patch + (pull * correction).sum(dim=-3)
    return patch


def own_constant(
    amplitude: Float[Tensor, "*b n n"],
    probe: Complex[Tensor, "*m n n"],
    known: Bool[Tensor, "n n"] | None = None,
) -> Float[Tensor, "*b 1 1"]:
    """The constant object that fits each single pattern best: sum X B / sum B^2, B = |far P|."""
    pattern = diffract(probe, torch.ones_like(probe.reshape(-1, *probe.shape[-2:])[0]))
    pattern = pattern if known is None else pattern * known
    return (amplitude * pattern).sum(dim=(-2, -1), keepdim=True) / pattern.square().sum()

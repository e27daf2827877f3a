"""Object patch -> exit wave -> far field -> amplitude: used by simulation and loss.

Far-field (Fraunhofer) geometry: the detector sees the Fourier transform of the exit wave
(Rodenburg & Maiden, Springer Handbook of Microscopy 2019, eq. 17.2). The transform is unitary, so
photons are neither made nor lost between sample and detector. rPIE and the group steps repeat it
with zero frequency first, which saves the shifts.
"""

import torch
from jaxtyping import Complex, Float
from torch import Tensor


def exit_wave(
    probe: Complex[Tensor, "n n"], patch: Complex[Tensor, "*batch n n"]
) -> Complex[Tensor, "*batch n n"]:
    """Thin-object product probe * patch; the probe is the same for every pattern of a batch."""
    return probe * patch


def far_field(wave: Complex[Tensor, "*batch h w"]) -> Complex[Tensor, "*batch h w"]:
    """Unitary 2-D DFT of the last two axes, zero frequency at (h//2, w//2)."""
    return torch.fft.fftshift(torch.fft.fft2(wave, norm="ortho"), dim=(-2, -1))


def inverse_far_field(
    field: Complex[Tensor, "*batch h w"],
) -> Complex[Tensor, "*batch h w"]:
    """Inverse (and adjoint) of `far_field`."""
    return torch.fft.ifft2(torch.fft.ifftshift(field, dim=(-2, -1)), norm="ortho")


def diffract(
    probe: Complex[Tensor, "*modes n n"], patch: Complex[Tensor, "*batch n n"]
) -> Float[Tensor, "*batch n n"]:
    """Predicted amplitude |far_field(probe * patch)|, in the units of the probe.

    The intensities of several modes add up, since they do not interfere.
    """
    if probe.ndim == 2:
        return far_field(exit_wave(probe, patch)).abs()
    intensity = torch.stack([diffract(mode, patch).square() for mode in probe]).sum(dim=0)
    # The root has no gradient at zero, where a single mode's modulus has the gradient 0.
    lit = intensity > 0
    return torch.where(lit, torch.where(lit, intensity, 1.0).sqrt(), 0.0)


def light_of(probe: Complex[Tensor, "*modes n n"]) -> Float[Tensor, "n n"]:
    """Intensity of a probe, of all its modes together."""
    intensity = probe.abs().square()
    return intensity if probe.ndim == 2 else intensity.sum(dim=0)

"""Probe modes: a partly coherent beam is an incoherent sum, intensity = sum |far field of mode|^2.

Modes are a mixed state (Thibault & Menzel, Nature 494, 68, 2013): a unitary mixture of them gives
the same patterns. Orthogonal ones, sorted by power, are the one choice that is unique where their
powers differ, and their powers say how coherent the beam is.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex64, Float, Float32
from torch import Tensor

# Share of the whole power that each mode gets that the data set does not hold.
NEW_MODE_POWER = 0.03


def orthogonal(modes: Complex64[Tensor, "m n n"]) -> Complex64[Tensor, "m n n"]:
    """The same mixed state from orthogonal modes, the strongest first."""
    flat = modes.flatten(1).to(torch.complex128)
    mixture = torch.linalg.eigh(flat @ flat.mH).eigenvectors
    mixed = mixture.flip(1).mH @ flat
    return mixed.to(modes.dtype).reshape(modes.shape)


def amplitude_of(probe: Complex64[Tensor, "*m n n"]) -> Complex64[Tensor, "n n"]:
    """Square root of the summed intensity of all modes: what lights the object.

    A probe of one mode, (n, n), is returned as it is.
    """
    if probe.ndim == 2:
        return probe
    return probe.abs().square().sum(dim=0).sqrt().to(probe.dtype)


def start_modes(modes: Complex64[Tensor, "m n n"], count: int) -> Complex64[Tensor, "k n n"]:
    """`count` modes with the power of the given ones: the strongest of them, and new ones.

    A new mode is the strongest one times a polynomial about its centre (y, x, y^2, yx, ...: a
    blurred beam looks so to first order), made orthogonal, with `NEW_MODE_POWER` of the power.
    """
    whole = modes.abs().square().sum()
    kept = orthogonal(modes)[:count]
    if len(kept) < count:
        kept = torch.cat([kept, _new_modes(kept, count - len(kept))])
    return kept * (whole / kept.abs().square().sum()).sqrt()


def _new_modes(kept: Complex64[Tensor, "m n n"], count: int) -> Complex64[Tensor, "k n n"]:
    main = kept[0]
    y, x = _centred(main.abs().square())
    orders = [(a, total - a) for total in range(1, count + 2) for a in range(total, -1, -1)]
    basis = [mode / mode.norm() for mode in kept]
    for a, b in orders:
        mode = main * (y[:, None] ** a * x**b)
        for other in basis:
            mode = mode - other * torch.vdot(other.flatten(), mode.flatten())
        basis.append(mode / mode.norm())
    new = torch.stack(basis[len(kept) : len(kept) + count])
    return new * (NEW_MODE_POWER * kept.abs().square().sum()).sqrt()


def _centred(
    intensity: Float32[Tensor, "n n"],
) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """Coordinates about the centre of mass in units of the spread, along rows and columns."""
    axes = []
    for axis in (1, 0):
        weight = intensity.sum(dim=axis)
        steps = torch.arange(len(weight), dtype=weight.dtype)
        centred = steps - (steps * weight).sum() / weight.sum()
        axes.append(centred / ((centred**2 * weight).sum() / weight.sum()).sqrt().clamp(min=0.5))
    return axes[0], axes[1]

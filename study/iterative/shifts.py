"""Where the windows really were: a shift for each position, from the corrections of rPIE.

The exit wave of pattern j is P O(r_j). Moving the window by (dy, dx) changes it by P (dy dO/dy +
dx dO/dx) to first order; the shift that explains the correction of the exit wave best, by least
squares, is taken (Odstrcil, Menzel & Guizar-Sicairos, Optics Express 26, 3108, 2018). All shifts
together are free of their mean, which belongs to the object.
"""

from __future__ import annotations

import torch
from jaxtyping import Complex64, Float32, Float64
from torch import Tensor

from study.optics import extract
from study.optics.assembly import CHUNK
from study.optics.back_projection import modulus_change
from study.optics.measurement import Measurement
from study.optics.wave import far_field, inverse_far_field

# A single correction is a small part of the way and noisy: steps are bounded per pass, and the sum
# by the margin that an object has around its windows.
DAMPING = 0.5
STEP_PX = 0.5
MOST_PX = 3.5
STEPS = 8  # for patterns that did not make the object
# Refinement starts after 1 / this of the passes: an object that is not there yet misleads it.
START_SHARE = 2


def gradients(patch: Complex64[Tensor, "b n n"]) -> Complex64[Tensor, "2 b n n"]:
    """Central differences along rows and columns in 1/px; zero in the border pixels."""
    down, right = torch.zeros_like(patch), torch.zeros_like(patch)
    down[:, 1:-1] = (patch[:, 2:] - patch[:, :-2]) / 2
    right[:, :, 1:-1] = (patch[:, :, 2:] - patch[:, :, :-2]) / 2
    return torch.stack([down, right])


def shift_step(
    probe: Complex64[Tensor, "*m n n"],
    patch: Complex64[Tensor, "b n n"],
    correction: Complex64[Tensor, "b *m n n"],
) -> Float32[Tensor, "b 2"]:
    """(dy, dx) of each pattern in px that explains the correction of its exit waves best."""
    modes = probe.reshape(-1, *probe.shape[-2:])
    wanted = correction.reshape(len(patch), len(modes), *patch.shape[-2:])
    # Re <P G, c> = Re <G, conj(P) c>, summed over the modes before the pixels.
    pull = (modes.conj() * wanted).sum(dim=1)
    light = modes.abs().square().sum(dim=0)
    slope = gradients(patch)
    right = (slope.conj() * pull).real.sum(dim=(-2, -1), dtype=torch.float64)
    normal = torch.einsum("abyx,cbyx,yx->bac", slope.conj(), slope, light.to(slope.dtype)).real
    return _solve(normal.double(), right.T).float()


def _solve(
    normal: Float64[Tensor, "b 2 2"], right: Float64[Tensor, "b 2"]
) -> Float64[Tensor, "b 2"]:
    """Least squares with a little of the trace added; zero for an object without structure."""
    trace = normal.diagonal(dim1=1, dim2=2).sum(dim=1)
    ridge = 1e-3 * trace[:, None, None] * torch.eye(2, dtype=normal.dtype)
    flat = trace <= torch.finfo(torch.float32).tiny
    safe = torch.where(flat[:, None, None], torch.eye(2, dtype=normal.dtype), normal + ridge)
    step = torch.linalg.solve(safe, right)
    step = torch.where(flat[:, None], torch.zeros_like(step), step)
    return (DAMPING * step).clamp(-STEP_PX, STEP_PX)


def moved(
    positions_px: Float32[Tensor, "J 2"],
    shift_px: Float32[Tensor, "J 2"],
    n: int,
    shape: tuple[int, int],
) -> Float32[Tensor, "J 2"]:
    """Positions with their shifts, bounded by `MOST_PX` and by the object."""
    bounded = shift_px.clamp(-MOST_PX, MOST_PX)
    room = torch.tensor([shape[0] - n, shape[1] - n], dtype=positions_px.dtype)
    return torch.minimum((positions_px + bounded).clamp(min=0), room)


def refined_positions(
    canvas: Complex64[Tensor, "I h w"],
    probe: Complex64[Tensor, "*m n n"],
    measured: Measurement,
) -> Float32[Tensor, "J c 2"]:
    """Where the patterns of `measured` fit an object and a probe best that stay as they are."""
    scan, shape = measured.scan, (canvas.shape[1], canvas.shape[2])
    given = scan.positions_px.flatten(0, 1)
    amplitude = measured.amplitude.flatten(0, 1)
    image = scan.image_index.repeat_interleave(scan.positions_px.shape[1])
    modes, found = probe.reshape(-1, *probe.shape[-2:]), given.clone()
    for number in range(scan.images):
        for index in (image == number).nonzero()[:, 0].split(CHUNK):
            shift = torch.zeros_like(given[index])
            for _ in range(STEPS):
                here = moved(given[index], shift, scan.n, shape)
                patch = extract(canvas[number], here, scan.n)
                field = far_field(modes * patch[:, None])
                together = field.abs().square().sum(dim=1).sqrt() + 0j
                change, _ = modulus_change(together, amplitude[index], measured.known)
                correction = inverse_far_field(field * change[:, None])
                shift = shift + shift_step(modes, patch, correction)
            found[index] = moved(given[index], shift, scan.n, shape)
    return found.view_as(scan.positions_px)

"""What counts cannot tell when the probe is unknown, and how rPIE fixes it.

Object and probe may exchange a complex factor and a phase ramp, and may shift together, and every
pattern stays as it was.

- Factor: the probe keeps the power and the mean phase of the given one.
- Ramp: the object has none where it is lit. The given probe cannot decide this, because a pattern
  is centred on the detector only to some pixels: every pixel off is a ramp of 2 pi / n rad/px
  (2.4 px for the measured Siemens star, 50 rad over its object), and it belongs to the probe.
- Shift: left free. It starts at 0, settles within the first passes (2 to 2.5 px there), and to undo
  it would interpolate the object.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Complex64
from torch import Tensor


def mean_slope(obj: Complex64[Tensor, "h w"], lit: Bool[Tensor, "h w"]) -> tuple[float, float]:
    """Mean phase gradient (y, x) of the lit pixels in rad/px, from neighbours: no unwrapping."""
    seen = torch.where(lit, obj, 0)
    down = (seen[1:] * seen[:-1].conj()).sum(dtype=torch.complex128)
    right = (seen[:, 1:] * seen[:, :-1].conj()).sum(dtype=torch.complex128)
    return float(down.angle()), float(right.angle())


def ramp(shape: tuple[int, int], slope: tuple[float, float]) -> Complex64[Tensor, "h w"]:
    """exp(i (slope_y y + slope_x x)): phase 0 in the first pixel."""
    y, x = (
        torch.arange(size, dtype=torch.float64) * per_px
        for size, per_px in zip(shape, slope, strict=True)
    )
    phase_rad = y[:, None] + x
    return torch.polar(torch.ones_like(phase_rad), phase_rad).to(torch.complex64)


def fix_gauge(
    obj: Complex64[Tensor, "h w"],
    probe: Complex64[Tensor, "*m n n"],
    given: Complex64[Tensor, "*m n n"],
    lit: Bool[Tensor, "h w"],
) -> tuple[Complex64[Tensor, "h w"], Complex64[Tensor, "*m n n"]]:
    """The same patterns from an object without mean ramp and a probe as strong as `given`.

    Of several modes the first, the strongest, has the mean phase of the given one.

    At whole-pixel positions patterns are unchanged; between pixels they change by what bilinear
    interpolation makes of the ramp (second order in it).
    """
    slope = mean_slope(obj, lit)
    obj = obj * ramp((obj.shape[0], obj.shape[1]), slope).conj()
    probe = probe * ramp((probe.shape[-2], probe.shape[-1]), slope)
    n = probe.shape[-1]
    overlap = torch.vdot(given.reshape(-1, n, n)[0].flatten(), probe.reshape(-1, n, n)[0].flatten())
    factor = torch.polar(given.norm() / probe.norm(), -overlap.angle())
    return obj / factor, probe * factor

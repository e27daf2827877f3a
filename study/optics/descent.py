"""Steps of the windows of groups towards their measured patterns.

    r = X - |f|, f = F[P O]         what the modulus lacks, per pattern
    U                               the simultaneous update for r (`GroupOptics.update`)
    O + s U + t V                   V: the last change of the window

`simultaneous`: s = 1, t = 0, the rPIE step. `conjugate`: s and t of every group minimise

    sum (r - s a - t b)^2,   a = Re(conj(f) F[P U]) / |f|,   b the same of V

the squared error of the amplitudes to first order: conjugate gradients with the rPIE step as the
preconditioned gradient (M. Zibulevsky & M. Elad, IEEE Signal Process. Mag. 27, 76 (2010), with one
earlier direction). Fields are linear in the window, f + s F[P U] + t F[P V], so that such a step
takes the two transforms per pattern of a plain one.

All arrays have the zero frequency first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from study.optics.back_projection import lit
from study.optics.groups import GroupOptics, cut_patches
from study.settings import StepKind

# Of the squared norm of a direction: keeps the two lengths finite where U and V are parallel.
RIDGE = 1e-6


@dataclass(frozen=True)
class Iterate:
    """Windows and their fields; the last change of both, None before the first step."""

    window: Complex[Tensor, "b w w"]
    field: Complex[Tensor, "b c n n"]
    change: Complex[Tensor, "b w w"] | None = None
    change_field: Complex[Tensor, "b c n n"] | None = None

    @classmethod
    def constant(cls, optics: GroupOptics, amplitude: Float[Tensor, "b c n n"]) -> Iterate:
        """The constant that fits each group best."""
        window = optics.constant(amplitude)
        return cls(window, optics.field(window))


@dataclass(frozen=True)
class Misfit:
    """`lacking`: r, zero where the field is dark or not measured; `unit`: f / |f|."""

    lacking: Float[Tensor, "b c n n"]
    unit: Complex[Tensor, "b c n n"]

    @classmethod
    def of(
        cls,
        field: Complex[Tensor, "b c n n"],
        amplitude: Float[Tensor, "b c n n"],
        noise: Float[Tensor, ""] | None = None,
        known: Bool[Tensor, "n n"] | None = None,
    ) -> Misfit:
        """r = X - m for the modulus m of a field; zero at pixels that are not `known` (None: all).

        With `noise`, the standard deviation of an amplitude, r is the score of the Poisson
        likelihood over its Fisher information instead, (X^2 - m^2) / (2 sqrt(m^2 + noise^2)). At
        the true object its mean over the noise is zero. That of X - m is not: the root of a small
        count is too small in the mean.
        """
        # Twice as fast as `abs`, which guards against overflow; finite derivative where f = 0.
        square = field.real.square() + field.imag.square() + torch.finfo(amplitude.dtype).tiny
        modulus = square.sqrt()
        if noise is None:
            moved = amplitude - modulus
        else:
            moved = (amplitude.square() - square) / (2 * (square + noise.square()).sqrt())
        judged = lit(modulus) if known is None else lit(modulus) & known
        return cls(torch.where(judged, moved, 0.0), field / modulus)

    @property
    def correction(self) -> Complex[Tensor, "b c n n"]:
        """Difference of measured and predicted fields."""
        return self.lacking * self.unit

    def best_lengths(
        self,
        direction: Complex[Tensor, "b c n n"],
        last: Complex[Tensor, "b c n n"] | None,
    ) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"] | None]:
        """s and t of every group, for the fields of U and V. None without V."""
        r, a = self.lacking.flatten(1), self._along(direction)
        tiny = torch.finfo(r.dtype).tiny
        aa = _dot(a, a) * (1 + RIDGE) + tiny
        if last is None:
            return _dot(a, r) / aa, None
        b = self._along(last)
        ar, br, ab = _dot(a, r), _dot(b, r), _dot(a, b)
        bb = _dot(b, b) * (1 + RIDGE) + tiny
        # Divided first: products of four small norms would leave the range of float32.
        overlap = ab / bb
        s = (ar - overlap * br) / (aa - overlap * ab)
        return s, (br - s * ab) / bb

    def _along(self, field: Complex[Tensor, "b c n n"]) -> Float[Tensor, "b k"]:
        """By how much the moduli grow, to first order, when `field` is added."""
        unit = self.unit
        return (unit.real * field.real + unit.imag * field.imag).flatten(1)


def _dot(a: Float[Tensor, "b k"], b: Float[Tensor, "b k"]) -> Float[Tensor, " b"]:
    return torch.linalg.vecdot(a, b)


def advance(
    optics: GroupOptics,
    now: Iterate,
    misfit: Misfit,
    direction: Complex[Tensor, "b w w"],
    scale: tuple[Tensor | float, Tensor | float] = (1.0, 1.0),
) -> Iterate:
    """The conjugate step along `direction` and the last change, lengths times `scale`."""
    field = optics.field(direction)
    s, t = misfit.best_lengths(field, now.change_field)
    s = (scale[0] * s)[:, None, None]
    change, change_field = s * direction, s[..., None] * field
    if t is not None and now.change is not None and now.change_field is not None:
        t = (scale[1] * t)[:, None, None]
        change = change + t * now.change
        change_field = change_field + t[..., None] * now.change_field
    return Iterate(now.window + change, now.field + change_field, change, change_field)


def group_steps(
    amplitude: Float[Tensor, "b c n n"],
    probe: Complex[Tensor, "n n"],
    steps: int,
    kind: StepKind,
    alpha: float,
    smoothing_px: float = 0.0,
    known: Bool[Tensor, "n n"] | None = None,
) -> Complex[Tensor, "b c n n"]:
    """Patches (network units) after `steps` untrained steps of each group on its own.

    Every group starts from the constant that fits it best. `amplitude` as measured, and `known`
    (None: all pixels), with the zero frequency in the middle.
    """
    patterns = amplitude.shape[-3]
    first = None if known is None else torch.fft.ifftshift(known)
    optics = GroupOptics.of(probe, patterns, alpha, smoothing_px, first)
    measured = torch.fft.ifftshift(amplitude, dim=(-2, -1))
    now = Iterate.constant(optics, measured)
    for _ in range(steps):
        misfit = Misfit.of(now.field, measured, known=first)
        direction = optics.update(misfit.correction)
        if kind == "conjugate":
            now = advance(optics, now, misfit, direction)
        else:
            now = Iterate(now.window + direction, now.field + optics.field(direction))
    return cut_patches(now.window, patterns)

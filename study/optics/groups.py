"""Groups of patterns that share one window: cut the patches out, put them back, update from all.

A group of c = s x s patterns, `GROUP_STEP_PX` apart and row-major, covers a common window of
w = n + (s - 1) GROUP_STEP_PX pixels. c = 1 is a single pattern whose window is its own patch.

One simultaneous update of the window O from all patterns of its group (the rPIE step of a batch,
A. Maiden, D. Johnson & P. Li, Optica 4, 736 (2017)):

    U = sum_k conj(P) (exit'_k - exit_k) / ((1 - alpha) I + alpha max I),   I = sum_k |P|^2

where exit'_k has the measured modulus in the far field. `study.optics.descent` takes the steps.
Amplitude and probe are in one unit, windows in network units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from study.optics.back_projection import ALPHA, regularised
from study.settings import UserError

GROUP_STEP_PX = 4
PLACE_TOLERANCE_PX = 1e-2


def group_side(patterns: int) -> int:
    """s of a group of s x s patterns. Raises UserError for a number that is not a square."""
    side = math.isqrt(patterns)
    if side * side != patterns:
        raise UserError(f"group_size is {patterns}, which is not a square group; accepted: 1, 4, 9")
    return side


def group_offsets(patterns: int) -> list[tuple[int, int]]:
    """Corner (y, x) in px of every pattern of a group, relative to the window, row-major."""
    steps = [GROUP_STEP_PX * step for step in range(group_side(patterns))]
    return [(y, x) for y in steps for x in steps]


def check_groups(positions_px: Float[Tensor, "J c 2"]) -> None:
    """Raise UserError unless the c patterns of every entry form a group as described above."""
    count, c = positions_px.shape[:2]
    relative = positions_px - positions_px[:, :1]
    expected = relative.new_tensor(group_offsets(c))
    wrong = ((relative - expected).abs().amax(dim=(-2, -1)) > PLACE_TOLERANCE_PX).nonzero()[:, 0]
    if len(wrong):
        first = int(wrong[0])
        raise UserError(
            f"{len(wrong)} of {count} groups of the data set are not {c} patterns on a square grid "
            f"of {GROUP_STEP_PX} px: group {first} has its patterns at {relative[first].tolist()} "
            "px from its first one; use a data set whose positions form such groups, or a method "
            "for single patterns (group_size 1)"
        )


def window_px(n: int, patterns: int) -> int:
    """Side w of the common window of a group."""
    return n + GROUP_STEP_PX * (group_side(patterns) - 1)


def cut_patches(window: Complex[Tensor, "*b w w"], patterns: int) -> Complex[Tensor, "*b c n n"]:
    """The c patches of every common window."""
    return _Cut.apply(window, patterns)  # pyright: ignore[reportReturnType]


def add_patches(
    patch: Complex[Tensor, "*b c n n"] | Float[Tensor, "*b c n n"],
) -> Complex[Tensor, "*b w w"] | Float[Tensor, "*b w w"]:
    """Adjoint of `cut_patches`: the patches of every group, summed in their window."""
    return _Add.apply(patch)  # pyright: ignore[reportReturnType]


class _Cut(torch.autograd.Function):
    """Each is the derivative of the other: a third of the time of the one by slices."""

    @staticmethod
    def forward(ctx: Any, window: Tensor, patterns: int) -> Tensor:
        n = window.shape[-1] - window_px(0, patterns)
        corners = group_offsets(patterns)
        return torch.stack([window[..., y : y + n, x : x + n] for y, x in corners], dim=-3)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> tuple[Tensor, None]:
        return _Add.apply(*grad_outputs), None  # pyright: ignore[reportReturnType]


class _Add(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, patch: Tensor) -> Tensor:
        ctx.patterns, n = patch.shape[-3], patch.shape[-1]
        w = window_px(n, ctx.patterns)
        window = patch.new_zeros(*patch.shape[:-3], w, w)
        for index, (y, x) in enumerate(group_offsets(ctx.patterns)):
            window[..., y : y + n, x : x + n] += patch[..., index, :, :]
        return window

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Tensor:
        return _Cut.apply(*grad_outputs, ctx.patterns)  # pyright: ignore[reportReturnType]


@dataclass(frozen=True)
class GroupOptics:
    """What a known probe gives every group of a scan. Fields have the zero frequency first.

    `illumination`: I, the summed |P|^2 on the window; `damped`: what an update is divided by;
    `flat`: |F[P]|, the pattern of the object 1, zero where not known; `smoothing`: G, a Gaussian
    along one axis of the window, or None; `known`: measured pixels, None for all. With G an update
    is D^-1/2 G (D^-1/2 g) G instead of g / D: objects vary slowly from pixel to pixel, and the
    steps reach such windows first.
    """

    probe: Complex[Tensor, "n n"]
    patterns: int
    illumination: Float[Tensor, "w w"]
    damped: Float[Tensor, "w w"]
    flat: Float[Tensor, "n n"]
    smoothing: Complex[Tensor, "w w"] | None
    known: Bool[Tensor, "n n"] | None = None

    @classmethod
    def of(
        cls,
        probe: Complex[Tensor, "n n"],
        patterns: int,
        alpha: float = ALPHA,
        smoothing_px: float = 0.0,
        known: Bool[Tensor, "n n"] | None = None,
    ) -> GroupOptics:
        """`alpha`: as in `regularised`; `smoothing_px`: standard deviation of G, 0 for none.

        `known`: measured pixels, zero frequency first.
        """
        seen = add_patches(probe.abs().square().expand(patterns, -1, -1))
        flat = torch.fft.fft2(probe, norm="ortho").abs()
        flat = flat if known is None else flat * known
        smoothing = None if smoothing_px == 0 else gaussian(seen, smoothing_px).to(probe.dtype)
        return cls(probe, patterns, seen, regularised(seen, alpha), flat, smoothing, known)

    def constant(self, amplitude: Float[Tensor, "b c n n"]) -> Complex[Tensor, "b w w"]:
        """The constant window that fits each group best: sum X B / sum B^2, B = |F[P]|."""
        level = (amplitude * self.flat).sum(dim=(-3, -2, -1)) / (
            self.patterns * self.flat.square().sum()
        )
        return level[:, None, None].to(self.probe.dtype).expand(-1, *self.damped.shape)

    def field(self, window: Complex[Tensor, "b w w"]) -> Complex[Tensor, "b c n n"]:
        """F[P O] of every pattern."""
        return torch.fft.fft2(self.probe * cut_patches(window, self.patterns), norm="ortho")

    def update(self, correction: Complex[Tensor, "b c n n"]) -> Complex[Tensor, "b w w"]:
        """What one simultaneous step adds to every window, for a correction of the fields."""
        near = torch.fft.ifft2(correction, norm="ortho")
        gradient = add_patches(self.probe.conj() * near)
        if self.smoothing is None:
            return gradient / self.damped
        root = self.damped.rsqrt()
        return root * (self.smoothing @ (root * gradient) @ self.smoothing)


def gaussian(like: Float[Tensor, "w w"], sigma_px: float) -> Float[Tensor, "w w"]:
    """Convolution with a Gaussian of sum 1 as a symmetric matrix; beyond the window is zero."""
    steps = torch.arange(len(like), dtype=like.dtype, device=like.device)
    weight = torch.exp(-((steps[:, None] - steps).square()) / (2 * sigma_px**2))
    return weight / weight.sum(dim=1).max()

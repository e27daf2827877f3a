"""Unrolled conjugate gradients through the known probe, with learned directions.

    X -> constant window -> [ m steps, the last one refined ] x K -> f steps -> patches

    window       O, what the c patterns of a group see together (`study.optics.groups`)
    step         O + s U + t V: U the simultaneous update of the window from all its patterns, V the
                 last change, s and t the lengths that fit the measured amplitudes of this group
                 best (`study.optics.descent`), times two learned factors per step
    refinement   U + |U| CNN(O, U, V, I): L convolutions with GELU between them. It reads window,
                 update and last change, each over its norm, and the illumination I. With one layer
                 it is a learned linear filter: a preconditioner

The factors are 1 at the start, and the last layer of a refinement is zero there: an untrained
network is exactly the untrained steps (`optics.descent.group_steps`, `kind: conjugate`). Lengths
are found after the refinement, so a poor direction costs a step and does no other harm.

`modulus`: the amplitudes move to the measured ones (`replaced`), or by the `likelihood` of the
counts, whose mean over the noise is right at low doses (`optics.back_projection.replace_modulus`);
the noise of an amplitude, 1 / (2 S), is then multiplied by a learned factor per step.

`refinement`: every iteration has its `own` weights, all use `shared` ones, or there is `none`.
`coarsening: 2` gives a refinement blocks of 2 x 2 pixels as channels, at a quarter of the cost and
with twice the reach. `alpha` regularises the updates, as in rPIE, and `smoothing_px` smooths them.

Unrolled networks for inverse problems: Adler & Oktem 2018, arXiv:1707.06474 (learned primal-dual).
What it is not: a network without physics. It knows the probe and sees all patterns of a group, but
no position of a group and no neighbouring group; it is trained for the one probe that it is
given. With `patterns: 1` the phase is hardly determined by what it sees.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from pydantic import Field, StrictBool, model_validator
from torch import Tensor, nn

from study.generators.base import Generator, Options
from study.optics.descent import Iterate, Misfit, advance
from study.optics.groups import GroupOptics, cut_patches
from study.settings import Channels, LengthOrZero, UserError

Refinement = Literal["own", "shared", "none"]
Modulus = Literal["replaced", "likelihood"]
Steps = Annotated[int, Field(ge=1, le=256)]

SEEN = 7  # real channels that a refinement reads: window, update, last change, illumination


class UnrolledOptions(Options):
    """`iterations` K, `steps` m, `final_steps` f after the last refinement.

    What nothing would read is null: `width` where a refinement has one layer, and all four of
    `width`, `layers`, `kernel` and `coarsening` where there is none.
    """

    patterns: Literal[1, 4]
    iterations: Steps
    steps: Steps
    final_steps: Annotated[int, Field(ge=0, le=256)]
    alpha: Annotated[float, Field(gt=0, le=1)]
    smoothing_px: LengthOrZero
    modulus: Modulus
    refinement: Refinement
    width: Channels | None
    layers: Annotated[int, Field(ge=1, le=32)] | None
    kernel: Literal[3, 5, 7] | None
    coarsening: Literal[1, 2] | None
    synchronise: StrictBool

    @model_validator(mode="after")
    def _all_read(self) -> UnrolledOptions:
        refined = self.refinement != "none"
        read = {
            "width": refined and self.layers != 1,
            "layers": refined,
            "kernel": refined,
            "coarsening": refined,
        }
        for name, needed in read.items():
            given = getattr(self, name)
            if needed is (given is None):
                raise ValueError(
                    f"{name} is {given} with refinement {self.refinement} and layers "
                    f"{self.layers}; accepted: {'a number' if needed else 'null, nothing reads it'}"
                )
        return self


class RefinementNet(nn.Module):
    """A small CNN whose output, zero at the start, is added to an update."""

    def __init__(self, options: UnrolledOptions) -> None:
        super().__init__()
        kernel, layers, coarsening = options.kernel, options.layers, options.coarsening
        assert kernel and layers and coarsening, "checked with the options"
        self.coarsening = coarsening
        block = coarsening**2
        widths = [SEEN * block, *[options.width or 0] * (layers - 1), 2 * block]
        stack: list[nn.Module] = []
        for inputs, outputs in pairwise(widths):
            stack += [nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2), nn.GELU()]
        self.layers = nn.Sequential(*stack[:-1])
        last = stack[-2]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def forward(
        self, optics: GroupOptics, now: Iterate, update: Complex[Tensor, "b w w"]
    ) -> Complex[Tensor, "b w w"]:
        """The refined update; its scale is that of the update for any dose."""
        light = optics.illumination / optics.illumination.max()
        change = torch.zeros_like(update) if now.change is None else now.change
        shown = [each / lit_norm(each, light) for each in (now.window, update, change)]
        # Channels come last already, so nothing is copied into the order of the convolutions.
        seen = torch.cat(
            [*map(torch.view_as_real, shown), light.expand(update.shape)[..., None]], dim=-1
        ).permute(0, 3, 1, 2)
        if self.coarsening > 1:
            seen = F.pixel_unshuffle(seen, self.coarsening)
        found = self.layers(seen.contiguous(memory_format=torch.channels_last))
        if self.coarsening > 1:
            found = F.pixel_shuffle(found, self.coarsening)
        added = found.permute(0, 2, 3, 1).to(seen.dtype).contiguous()
        return update + lit_norm(update, light) * torch.view_as_complex(added)


def lit_norm(
    window: Complex[Tensor, "b w w"], light: Float[Tensor, "w w"]
) -> Float[Tensor, "b 1 1"]:
    """Root mean square over the window, weighted by the light; not below the smallest number."""
    square = (light * (window.real.square() + window.imag.square())).mean(
        dim=(-2, -1), keepdim=True
    )
    return (square + torch.finfo(square.dtype).tiny).sqrt()


class Descent(nn.Module):
    """`count` steps; the last direction is refined by the network that is handed in.

    `size`, `momentum`: factors of the two lengths; `damping`: of the noise.
    """

    def __init__(self, count: int, likelihood: bool, first: bool = False) -> None:
        super().__init__()
        self.count = count
        self.size = nn.Parameter(torch.ones(count))
        # The very first step has no last change.
        self.momentum = nn.Parameter(torch.ones(count - first)) if count > first else None
        self.damping = nn.Parameter(torch.ones(count)) if likelihood else None

    def forward(
        self,
        optics: GroupOptics,
        now: Iterate,
        amplitude: Float[Tensor, "b c n n"],
        noise: Float[Tensor, ""],
        refine: nn.Module | None = None,
    ) -> Iterate:
        for index in range(self.count):
            given = None if self.damping is None else self.damping[index] * noise
            misfit = Misfit.of(now.field, amplitude, given, optics.known)
            direction = optics.update(misfit.correction)
            if refine is not None and index == self.count - 1:
                direction = refine(optics, now, direction)
            now = advance(optics, now, misfit, direction, self._factors(now, index))
        return now

    def _factors(self, now: Iterate, index: int) -> tuple[Tensor, Tensor | float]:
        if self.momentum is None or now.change is None:
            return self.size[index], 1.0
        return self.size[index], self.momentum[index - self.count]  # counted from the end


# State of the steps: optics, windows, measured amplitudes, their noise.
State = tuple[GroupOptics, Iterate, Tensor, Tensor]


class FinalSteps(nn.Module):
    """The steps after the last refinement, and the patches cut from the window."""

    def __init__(self, count: int, likelihood: bool) -> None:
        super().__init__()
        self.descent = Descent(count, likelihood)

    def forward(self, state: State) -> Complex[Tensor, "b c n n"]:
        return cut_patches(self.descent(*state).window, state[0].patterns)


class UnrolledGenerator(Generator):
    """See the module docstring."""

    options: ClassVar[type[Options]] = UnrolledOptions
    wants_probe: ClassVar[bool] = True

    noise: Tensor

    def __init__(self, options: UnrolledOptions, n: int, channels: int) -> None:
        super().__init__(channels, n, "none")
        check_groups(options.patterns, channels)
        check_coarsening(n, options.coarsening)
        self.synchronise = options.synchronise
        self.alpha, self.smoothing_px = options.alpha, options.smoothing_px
        self.modulus = options.modulus
        likelihood = options.modulus == "likelihood"
        self.descents = nn.ModuleList(
            Descent(options.steps, likelihood, first=index == 0)
            for index in range(options.iterations)
        )
        networks = {"own": options.iterations, "shared": 1, "none": 0}[options.refinement]
        self.refinements = nn.ModuleList(RefinementNet(options) for _ in range(networks))
        self.head = FinalSteps(options.final_steps, likelihood)
        # Of an amplitude X; kept with the weights, so that a stored network knows its dose.
        self.register_buffer("noise", torch.zeros(()))
        self.channels_last()

    @classmethod
    def check_geometry(cls, options: UnrolledOptions, n: int) -> None:
        check_coarsening(n, options.coarsening)

    def features(self, x: Float[Tensor, "b c n n"]) -> State:
        amplitude = torch.fft.ifftshift(x, dim=(-2, -1)).contiguous()
        probe = self.probe.to(x.device, x.dtype.to_complex())
        known = None if self.known is None else torch.fft.ifftshift(self.known.to(x.device))
        optics = GroupOptics.of(probe, self.channels, self.alpha, self.smoothing_px, known)
        now = Iterate.constant(optics, amplitude)
        for descent, refine in zip(self.descents, self._refinements(), strict=True):
            now = descent(optics, now, amplitude, self.noise, refine)
        return optics, now, amplitude, self.noise

    def channels_per_level(self) -> list[int]:
        first = [net.get_submodule("layers.0") for net in self.refinements]
        return [conv.out_channels for conv in first if isinstance(conv, nn.Conv2d)]

    def effective(self) -> dict[str, Any]:
        return {
            **super().effective(),
            "patterns": self.channels,
            "iterations": len(self.descents),
            "steps": [module.count for module in self.modules() if isinstance(module, Descent)],
            "refinements": len(self.refinements),
            "alpha": self.alpha,
            "smoothing_px": self.smoothing_px,
            "modulus": self.modulus,
            "synchronise": self.synchronise,
        }

    def _refinements(self) -> Iterator[nn.Module | None]:
        count = len(self.refinements)
        for index in range(len(self.descents)):
            yield self.refinements[index % count] if count else None


def check_groups(patterns: int, channels: int) -> None:
    """Raise UserError unless the data's groups are those that the network is for."""
    if patterns != channels:
        found = "single patterns" if channels == 1 else f"groups of {channels}"
        raise UserError(
            f"the unrolled network is set to patterns: {patterns}, but the data set has group_size "
            f"{channels} ({found}); choose a data set with group_size {patterns}, or set patterns "
            f"to {channels}"
        )


def check_coarsening(n: int, coarsening: int | None) -> None:
    """Raise UserError unless the window can be folded into blocks of coarsening^2 pixels."""
    if n % (coarsening or 1):
        raise UserError(
            f"unrolled does not fit n = {n}: coarsening {coarsening} needs an n that is a multiple "
            f"of {coarsening}; choose another n, or coarsening 1"
        )

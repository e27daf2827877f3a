"""The two ends of a network: measured amplitude in, complex object patch out.

Input transforms, all of a dimensionless amplitude X >= 0, (b, c, n, n) -> (b, c, n, n)
- `none`; `sqrt`; `log1p`: log(1 + X).
- `instance_norm`: every image to mean 0 and variance 1 (eps 1e-5), so its photon count is lost.

Output modes, from features (b, w, n, n) to O (b, c, n, n); a and p are c channels each
- `real_imag`: O = a + i p from one 1x1 convolution, unbounded.
- `amp_phase_logits`: O = sigmoid(a) exp(i pi tanh(p)), a and p from one 1x1 convolution.
- `amp_phase`: the same bounds, but a and p come from two heads of their own, Conv3x3 - GELU -
  Conv1x1 each.
Started from (`start`), added to what the head gives: `zero`; `one`, an object without structure;
`back_projection`, the patch that the pattern gives by one step through the known probe.
The bounded modes reach |O| < 1, and O = 1 is the mean of the brightest pixel over the training
patches (`object_norm`): they clip the brighter half of these maxima. Phases stay within +-pi rad.

Complex numbers are made in float32 at least, also under bf16 autocast.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Complex, Float
from torch import Tensor, nn

InputTransform = Literal["none", "sqrt", "log1p", "instance_norm"]
Inputs = Literal["amplitude", "with_back_projection"]
Start = Literal["zero", "one", "back_projection"]
OutputMode = Literal["real_imag", "amp_phase", "amp_phase_logits"]

INPUT_TRANSFORMS: dict[InputTransform, Callable[[Tensor], Tensor]] = {
    "none": lambda amplitude: amplitude,
    "sqrt": torch.sqrt,
    "log1p": torch.log1p,
    "instance_norm": F.instance_norm,
}


def bounded(a: Float[Tensor, "b c n n"], p: Float[Tensor, "b c n n"]) -> Complex[Tensor, "b c n n"]:
    """sigmoid(a) exp(i pi tanh(p)): amplitude in (0, 1), phase in (-pi, pi) rad."""
    return torch.polar(torch.sigmoid(_full(a)), math.pi * torch.tanh(_full(p)))


def _full(x: Tensor) -> Tensor:
    """At least float32: complex numbers of half precision have no Fourier transform."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


class RealImagHead(nn.Conv2d):
    """One 1x1 convolution read as real parts of all channels, then imaginary parts."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__(width, 2 * channels, 1)

    def forward(self, input: Float[Tensor, "b w n n"]) -> Complex[Tensor, "b c n n"]:
        return torch.complex(*_full(super().forward(input)).chunk(2, dim=1))


class AmpPhaseLogitsHead(nn.Conv2d):
    """One 1x1 convolution read as logits of amplitudes, then of phases."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__(width, 2 * channels, 1)

    def forward(self, input: Float[Tensor, "b w n n"]) -> Complex[Tensor, "b c n n"]:
        return bounded(*super().forward(input).chunk(2, dim=1))


class AmpPhaseHead(nn.Module):
    """Separate heads for amplitude and phase."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.amplitude = _two_convs(width, channels)
        self.phase = _two_convs(width, channels)

    def forward(self, x: Float[Tensor, "b w n n"]) -> Complex[Tensor, "b c n n"]:
        return bounded(self.amplitude(x), self.phase(x))


def _two_convs(width: int, channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, width, 3, padding=1), nn.GELU(), nn.Conv2d(width, channels, 1)
    )


OUTPUT_MODES: dict[OutputMode, Callable[[int, int], nn.Module]] = {
    "real_imag": RealImagHead,
    "amp_phase": AmpPhaseHead,
    "amp_phase_logits": AmpPhaseLogitsHead,
}

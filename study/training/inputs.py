"""What a network is told besides the measured amplitude: the known probe, where it asks for it."""

from __future__ import annotations

from functools import partial

from jaxtyping import Complex64, Float32
from torch import Tensor, nn

from study.generators import Generator
from study.optics import back_project, own_constant


def tell_probe(generator: nn.Module, probe: Complex64[Tensor, "n n"]) -> None:
    """Give a network that reads its pattern through the probe that probe, on any device.

    Any other network stays as it is.
    """
    if isinstance(generator, Generator) and generator.wants_back_projection:
        generator.back_project = partial(back_projected, probe)


def back_projected(
    probe: Complex64[Tensor, "n n"], amplitude: Float32[Tensor, "b c n n"]
) -> Complex64[Tensor, "b c n n"]:
    """One known-probe step of every pattern from the constant that fits it alone.

    Its own constant, so that what a pattern gives does not depend on its batch.
    """
    probe = probe.to(amplitude.device)
    return back_project(amplitude, probe, own_constant(amplitude, probe), steps=1)

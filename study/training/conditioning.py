"""Inputs of a network besides the measured amplitude: the known probe, if the network needs it."""

from __future__ import annotations

from functools import partial

import torch
from jaxtyping import Bool, Complex64, Float32
from torch import Tensor, nn

from study.formats.dataset import Dataset
from study.generators import Generator
from study.optics import back_project, own_constant
from study.optics.groups import check_groups


def provide_probe(
    generator: nn.Module,
    probe: Complex64[Tensor, "*m n n"],
    photon_scale: float | None = None,
    known: Bool[Tensor, "n n"] | None = None,
) -> None:
    """Provide the known probe, on any device, to a network that asks for it.

    `photon_scale`: S of the data set, which says how noisy an amplitude is; None leaves what is
    stored with the weights. `known`: measured pixels of the detector, None for all. Of several
    modes (m, n, n), the strongest first, a back-projection uses all and a network that computes
    with the probe itself the first. Any other network stays as it is.
    """
    if not isinstance(generator, Generator):
        return
    if generator.wants_back_projection:
        generator.back_project = partial(back_projected, probe, known=known)
    if generator.wants_probe:
        strongest = probe if probe.ndim == 2 else probe[0]
        generator.learn_probe(strongest, photon_scale, known)


def provide_data(
    generator: nn.Module, dataset: Dataset, device: torch.device
) -> Complex64[Tensor, "*m n n"]:
    """The probe of a data set, or all its modes, on `device`; provided to a network that asks.

    Raises UserError when the network needs groups of patterns and the positions form none.
    """
    if isinstance(generator, Generator) and generator.wants_probe:
        for split in dataset.splits.values():
            check_groups(torch.tensor(split.positions_px))
    probe = torch.tensor(dataset.forward_probe, device=device)
    mask = dataset.mask
    known = None if mask is None else torch.tensor(mask, device=device)
    provide_probe(generator, probe, dataset.manifest.photon_scale, known)
    return probe


def back_projected(
    probe: Complex64[Tensor, "*m n n"],
    amplitude: Float32[Tensor, "b c n n"],
    known: Bool[Tensor, "n n"] | None = None,
) -> Complex64[Tensor, "b c n n"]:
    """One known-probe step of every pattern from the constant that fits it alone.

    Each pattern has its own constant, so that the result does not depend on the batch.
    """
    probe = probe.to(amplitude.device)
    known = None if known is None else known.to(amplitude.device)
    level = own_constant(amplitude, probe, known)
    return back_project(amplitude, probe, level, steps=1, known=known)

"""From stored weights to a reconstruction: patches of every pattern, stitched and judged.

- A simulated set: the test split only, stitched as published where its scan is a regular raster.
- An imported set: stitched from train and validation patterns, judged by held-out test patterns.
- `apply`: a network of one run on any data set of its pattern size, with held-out patterns always.

Geometry and forward model are `study.optics.assembly`, shared with the references and rPIE.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn

from study.formats.dataset import Dataset
from study.formats.reconstruction import (
    Reconstruction,
    load_reconstruction,
    save_reconstruction,
)
from study.generators import Generator
from study.optics.assembly import (
    Assembled,
    Stitched,
    Synchronise,
    are_distinct,
    assemble,
    hold_out,
    stitch,
    total_r_factor,
)
from study.optics.measurement import Measurement
from study.runs import RunFolder
from study.settings import UserError
from study.training.checkpoints import halve_weights, load_weights
from study.training.conditioning import provide_data, provide_probe

BATCH = 64


@dataclass(frozen=True)
class Applied:
    """A reconstruction with R over the patterns that made the object, and over those that did not.

    None if no such pattern is on the known object.
    """

    reconstruction: Reconstruction
    r_factor_fitted: float | None
    r_factor_held_out: float | None


def load_generator(folder: RunFolder, which: str) -> nn.Module:
    """The network with the `best` or `last` weights of a run, evaluation mode, on the CPU.

    It gets the probe of its reconstruction, if it needs one. Raises
    UserError when the weights are absent or torn, or `which` is another word.
    """
    generator = load_weights(weights_file(folder, which))[0]
    if folder.object_file(which).is_file():
        known = load_reconstruction(folder.object_file(which)).probe
        provide_probe(generator, torch.tensor(known))
    return generator


def weights_file(folder: RunFolder, which: str) -> Path:
    """File of the `best` or `last` weights. Raises UserError for another word."""
    if which not in ("best", "last"):
        raise UserError(f"checkpoint is {which!r}; accepted: best, last")
    return folder.best if which == "best" else folder.last


def measured(dataset: Dataset, split: str, device: torch.device) -> Measurement:
    """One split of a data set as amplitudes and positions on `device`."""
    return Measurement.of(dataset.splits[split], dataset.manifest.photon_scale, device)


@torch.no_grad()
def patches_of(
    generator: nn.Module, amplitude: Float[Tensor, "J c n n"]
) -> Complex[Tensor, "J c n n"]:
    """The network's patch of every pattern, network units; evaluation mode, mode restored."""
    mode = generator.training
    generator.eval()
    patches = torch.cat([generator(batch) for batch in amplitude.split(BATCH)])
    generator.train(mode)
    return patches


def _device_of(generator: nn.Module) -> torch.device:
    return next(generator.parameters()).device


def synchronises(generator: nn.Module, dataset: Dataset) -> Synchronise | None:
    """The network's own option, where it has one, else the rule of the data set.

    A network with the option makes one window per group; any other leaves the phase of every
    patch free.
    """
    own = generator.synchronise if isinstance(generator, Generator) else None
    if own is None:
        return "windows" if dataset.synchronised else None
    return "groups" if own else None


def _stitched(
    patch: Complex[Tensor, "J c n n"], generator: nn.Module, dataset: Dataset, measured: Measurement
) -> Stitched:
    """One object of all patches; of several modes the single probe says where it is lit."""
    probe = torch.tensor(dataset.probe, device=patch.device)
    synchronise = synchronises(generator, dataset)
    return stitch(patch, probe, measured.scan, synchronise=synchronise)


def _packed(
    assembled: Assembled, dataset: Dataset, distinct: bool, checkpoint: str, epoch: int
) -> Reconstruction:
    return Reconstruction(
        object=assembled.object,
        region=assembled.region,
        r_factor=assembled.r_factor,
        predicted_amplitude=assembled.predicted_amplitude,
        shown=assembled.shown,
        distinct=distinct,
        checkpoint=checkpoint,
        epoch=epoch,
        probe=dataset.probe,
    )


def reconstruct_split(
    generator: nn.Module, dataset: Dataset, *, checkpoint: str = "last", epoch: int = 0
) -> Reconstruction:
    """The object of the test split from the network's patches of it, on the network's device.

    `checkpoint` and `epoch` name the weights. Object units by the split's own `object_norm`.
    """
    device = _device_of(generator)
    probe = provide_data(generator, dataset, device)
    patterns = measured(dataset, "test", device)
    patch = patches_of(generator, patterns.amplitude)
    stitched = _stitched(patch, generator, dataset, patterns)
    assembled = assemble(stitched, probe, patterns, dataset.manifest.object_norm["test"])
    return _packed(assembled, dataset, are_distinct(patch), checkpoint, epoch)


def reconstruct_held_out(
    generator: nn.Module, dataset: Dataset, *, checkpoint: str = "last", epoch: int = 0
) -> Applied:
    """The object from some patterns, and R on others that it has not seen.

    An imported set: object from train and validation, held out and judged: test. A simulated set:
    object from the test split without every 16th pattern, judged on all of it.
    """
    device = _device_of(generator)
    probe = provide_data(generator, dataset, device)
    test = measured(dataset, "test", device)
    if dataset.manifest.kind == "imported":
        fitted = measured(dataset, "train", device).and_then(
            measured(dataset, "validation", device)
        )
        held_out = test
    else:
        left_out = hold_out(len(test.amplitude)).to(device)
        fitted, held_out = test.only(~left_out), test.only(left_out)
    patch = patches_of(generator, fitted.amplitude)
    stitched = _stitched(patch, generator, dataset, fitted)
    assembled = assemble(stitched, probe, test, dataset.manifest.object_norm["test"])
    return Applied(
        _packed(assembled, dataset, are_distinct(patch), checkpoint, epoch),
        total_r_factor(stitched, probe, fitted),
        total_r_factor(stitched, probe, held_out),
    )


def apply(folder: RunFolder, dataset: Dataset, which: str = "best") -> Applied:
    """Reconstruct `dataset` with the network of a run, on the CPU; nothing is written.

    Raises UserError when the weights are absent, `which` is another word than best or last, or the
    patterns have another size than those that the network was built for.
    """
    generator, network, epoch = load_weights(weights_file(folder, which))
    manifest = dataset.manifest
    if (manifest.n, manifest.group_size) != (network.n, network.channels):
        raise UserError(
            f"data set {manifest.name} has patterns of n = {manifest.n}, group size "
            f"{manifest.group_size}, but the network of {folder.path} takes n = {network.n}, group "
            f"size {network.channels}; choose a run that was trained on such patterns"
        )
    return reconstruct_held_out(generator, dataset, checkpoint=which, epoch=epoch)


def store_reconstruction(
    folder: RunFolder, which: str, dataset: Dataset, device: torch.device
) -> nn.Module:
    """Bring a run's weights to their final form, reconstruct with them, write the object file.

    Returns the network as stored, on `device`.
    """
    file = weights_file(folder, which)
    dtype = halve_weights(file)
    generator, _, epoch = load_weights(file)
    generator = generator.to(device)
    facts = {"which": which, "epoch": epoch, "weights": dtype}
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    began = clock()
    if dataset.manifest.kind == "imported":
        applied = reconstruct_held_out(generator, dataset, checkpoint=which, epoch=epoch)
        result = applied.reconstruction
        facts |= {
            "r_factor_fitted": applied.r_factor_fitted,
            "r_factor_held_out": applied.r_factor_held_out,
        }
    else:
        result = reconstruct_split(generator, dataset, checkpoint=which, epoch=epoch)
    folder.update_status(reconstruct_seconds=clock() - began)
    save_reconstruction(folder.object_file(which), result)
    folder.event("reconstructed", **facts)
    return generator

"""Where the object of each reference row comes from: patches to be stitched, or one whole object.

`SOURCES` maps the name of a source in params.yaml to its function. Patches go through the stitching
of the networks (here); rPIE's object is whole and is cropped to the same region
(`study.iterative.whole_sources`). All in network units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Complex64
from torch import Tensor

from study.iterative.back_projection import CHUNK, back_project
from study.iterative.rpie import best_constant
from study.iterative.task import Made, Task, check_object
from study.iterative.whole_sources import converged, iterative
from study.optics import extract
from study.optics.assembly import Synchronise, are_distinct, stitch
from study.optics.back_projection import ALPHA
from study.optics.counts import to_network_units
from study.optics.descent import group_steps
from study.optics.groups import check_groups
from study.settings import (
    BackProjection,
    Flat,
    FromAmplitude,
    GroupSteps,
    Oracle,
    Scalar,
    Source,
    UserError,
)
from study.simulate.objects import phase_of


def _stitched(
    task: Task,
    patch: Complex64[Tensor, "J c n n"],
    effective: Mapping[str, Scalar],
    *,
    synchronise: bool | None = None,
) -> Made:
    """`synchronise`: of whole groups; None: of single windows, where the data set asks for it."""
    what: Synchronise | None = "groups" if synchronise else None
    if synchronise is None and task.dataset.synchronised:
        what = "windows"
    stitched = stitch(patch, task.probe, task.fitted.scan, synchronise=what)
    return Made(stitched, task.forward_probe, are_distinct(patch), effective)


def flat(source: Flat, task: Task) -> Made:
    """The constant that fits the measured amplitudes best, by least squares."""
    level = best_constant(task.amplitude, task.forward_probe, task.fitted.known)
    patch = torch.full(task.fitted.amplitude.shape, level, dtype=torch.complex64)
    return _stitched(task, patch, {"constant": level, "fit": "least squares of amplitudes"})


def oracle(source: Oracle, task: Task) -> Made:
    """The true patches. Raises UserError for a measurement, whose object nobody knows."""
    dataset, scan = task.dataset, task.fitted.scan
    truth = dataset.splits["test"].obj
    if truth is None:
        raise UserError(
            f"data set {dataset.manifest.name} is a measurement without a true object, so it has "
            "no oracle; choose a simulated data set, or the source rpie"
        )
    norm = dataset.manifest.object_norm["test"]
    patch = torch.empty(task.fitted.amplitude.shape, dtype=torch.complex64)
    for image, obj in enumerate(truth):
        corners = scan.positions_px[scan.of(image)]
        windows = extract(torch.tensor(obj), corners.flatten(0, 1), scan.n)
        patch[scan.of(image)] = to_network_units(windows, norm).unflatten(0, corners.shape[:2])
    return _stitched(task, patch, {})


def back_projection(source: BackProjection, task: Task) -> Made:
    """Untrained patches: known-probe steps of every pattern on its own."""
    patch = back_project(task.amplitude, task.forward_probe, source.steps, task.fitted.known)
    effective = {"steps": source.steps, "alpha": ALPHA, "start": "best constant"}
    return _stitched(task, patch.unflatten(0, task.fitted.amplitude.shape[:2]), effective)


def from_amplitude(source: FromAmplitude, task: Task) -> Made:
    """Back-projection, then phi = `phase_of` of the stitched amplitude in place of its phase.

    Maximum and mean of that function are over the known pixels of all images.
    """
    made = back_projection(BackProjection(name="back_projection", steps=source.steps), task)
    stitched = made.stitched
    amplitude = stitched.canvas.abs()
    canvas = amplitude.to(stitched.canvas.dtype)
    known = amplitude[stitched.known].double().numpy()
    canvas[stitched.known] *= torch.from_numpy(np.exp(1j * phase_of(known))).to(canvas.dtype)
    effective = {**made.effective, "phase": "function of the amplitude"}
    return replace(made, stitched=replace(stitched, canvas=canvas), effective=effective)


def untrained_groups(source: GroupSteps, task: Task) -> Made:
    """Untrained patches: known-probe steps of every group of patterns on its own.

    Raises UserError when the positions do not form groups.
    """
    check_groups(task.fitted.scan.positions_px)
    chunks = task.fitted.amplitude.split(CHUNK)
    patch = torch.cat(
        [
            group_steps(
                some,
                task.probe,
                source.steps,
                source.kind,
                source.alpha,
                source.smoothing_px,
                task.fitted.known,
            )
            for some in chunks
        ]
    )
    effective = {
        **source.model_dump(exclude={"name"}),
        "patterns": patch.shape[1],
        "start": "best constant of each group",
    }
    return _stitched(task, patch, effective, synchronise=source.synchronise)


SOURCES: Mapping[str, Callable[..., Made]] = {
    "flat": flat,
    "oracle": oracle,
    "back_projection": back_projection,
    "from_amplitude": from_amplitude,
    "group_steps": untrained_groups,
    "rpie": iterative,
    "rpie_converged": converged,
}


def make(source: Source, task: Task) -> Made:
    """The object of one source. Raises UserError where the data set cannot serve it."""
    check_object(task.fitted.scan, task.dataset.manifest.name)
    return SOURCES[source.name](source, task)

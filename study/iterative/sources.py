"""Where the object of each reference row comes from: patches to be stitched, or one whole object.

`SOURCES` maps the name of a source in params.yaml to its function. Patches go through the stitching
of the networks; rPIE's object is whole and is cropped to the same region. All in network units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from study.formats.dataset import Dataset
from study.iterative.back_projection import back_project
from study.iterative.rpie import BATCH, PROBE_ALPHA, Progress, best_constant, rpie
from study.optics import extract
from study.optics.assembly import (
    Measurement,
    Scan,
    Stitched,
    are_distinct,
    hold_out,
    stitch,
    whole,
)
from study.optics.back_projection import ALPHA
from study.optics.counts import counts_from_amplitude, to_network_units
from study.params import (
    BackProjection,
    Flat,
    Oracle,
    Rpie,
    Scalar,
    Source,
    UserError,
)


@dataclass(frozen=True)
class Task:
    """What a source starts from: the patterns it may see, and where its progress goes."""

    dataset: Dataset
    fitted: Measurement
    progress: Progress | None = None

    @property
    def probe(self) -> Complex64[Tensor, "n n"]:
        return torch.tensor(self.dataset.probe)

    @property
    def amplitude(self) -> Float32[Tensor, "K n n"]:
        """Measured amplitudes X of single windows, groups taken apart."""
        return self.fitted.amplitude.flatten(0, 1)


@dataclass(frozen=True)
class Made:
    """An object and the probe that belongs to it (P_sim units), with what acted to make it.

    `distinct`: different patterns gave different output. `r_factor`: one number a pass.
    """

    stitched: Stitched
    probe: Complex64[Tensor, "n n"]
    distinct: bool
    effective: Mapping[str, Scalar]
    r_factor: tuple[float, ...] = ()


def measured(dataset: Dataset, split: str) -> Measurement:
    """One split as amplitudes and positions."""
    return Measurement.of(dataset.splits[split], dataset.manifest.photon_scale, torch.device("cpu"))


def fitted_and_judged(dataset: Dataset) -> tuple[Measurement, Measurement]:
    """What a row may see, and what it is judged by: as for the networks.

    An imported set: train and validation, judged by the held-out test. A simulated set: the test
    split, both times.
    """
    test = measured(dataset, "test")
    if dataset.manifest.kind != "imported":
        return test, test
    return measured(dataset, "train").and_then(measured(dataset, "validation")), test


def fitted_and_held_out(dataset: Dataset) -> tuple[Measurement, Measurement]:
    """The same for an imported set; of a simulated one every 16th test pattern is held out."""
    fitted, judged = fitted_and_judged(dataset)
    if dataset.manifest.kind == "imported":
        return fitted, judged
    left_out = hold_out(len(judged.amplitude))
    return judged.only(~left_out), judged.only(left_out)


# --- patch sources ----------------------------------------------------------------------------


def _stitched(
    task: Task, patch: Complex64[Tensor, "J c n n"], effective: Mapping[str, Scalar]
) -> Made:
    stitched = stitch(patch, task.probe, task.fitted.scan)
    return Made(stitched, task.probe, are_distinct(patch), effective)


def flat(source: Flat, task: Task) -> Made:
    """The constant that fits the measured amplitudes best, by least squares."""
    level = best_constant(task.amplitude, task.probe)
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
    patch = back_project(task.amplitude, task.probe, source.steps)
    effective = {"steps": source.steps, "alpha": ALPHA, "start": "best constant"}
    return _stitched(task, patch.unflatten(0, task.fitted.amplitude.shape[:2]), effective)


# --- a whole object ---------------------------------------------------------------------------


def on_one_canvas(scan: Scan) -> tuple[Float32[Tensor, "K 2"], tuple[int, int]]:
    """Window corners with the images one below the other, and that canvas: one probe serves all."""
    height, width = scan.object_shape
    drop = torch.zeros(len(scan.image_index), 1, 2)
    drop[:, 0, 0] = scan.image_index * height
    return (scan.positions_px + drop).flatten(0, 1), (scan.images * height, width)


def iterative(source: Rpie, task: Task) -> Made:
    """rPIE on all fitted patterns."""
    photon_scale, scan = task.dataset.manifest.photon_scale, task.fitted.scan
    positions_px, shape = on_one_canvas(scan)
    result = rpie(
        counts_from_amplitude(task.amplitude, photon_scale),
        task.probe * photon_scale,
        positions_px,
        shape,
        passes=source.passes,
        alpha=source.alpha,
        update_probe=source.update_probe,
        seed=source.seed,
        progress=task.progress,
    )
    canvas = result.obj.unflatten(0, (scan.images, scan.object_shape[0]))
    effective = {
        **source.model_dump(exclude={"name"}),
        "batch": BATCH,
        "probe_alpha": PROBE_ALPHA if source.update_probe else None,
        "start": "best constant",
    }
    # Scored and judged where the networks are: the given probe says what is lit.
    return Made(
        whole(canvas, task.probe, scan),
        result.probe / photon_scale if source.update_probe else task.probe,
        distinct=True,
        effective=effective,
        r_factor=result.r_factor,
    )


SOURCES: Mapping[str, Callable[..., Made]] = {
    "flat": flat,
    "oracle": oracle,
    "back_projection": back_projection,
    "rpie": iterative,
}


def make(source: Source, task: Task) -> Made:
    return SOURCES[source.name](source, task)

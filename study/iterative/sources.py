"""Where the object of each reference row comes from: patches to be stitched, or one whole object.

`SOURCES` maps the name of a source in params.yaml to its function. Patches go through the stitching
of the networks; rPIE's object is whole and is cropped to the same region. All in network units.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from study.formats.dataset import Dataset
from study.formats.limits import check_memory
from study.iterative.back_projection import CHUNK, back_project
from study.iterative.modes import start_modes
from study.iterative.rpie import BATCH, PROBE_ALPHA, Progress, Result, Stop, best_constant, rpie
from study.optics import extract
from study.optics.assembly import (
    Stitched,
    Synchronise,
    are_distinct,
    hold_out,
    stitch,
    total_r_factor,
    whole,
)
from study.optics.back_projection import ALPHA
from study.optics.counts import counts_from_amplitude, to_network_units
from study.optics.descent import group_steps
from study.optics.groups import check_groups
from study.optics.measurement import Measurement, Scan
from study.settings import (
    BackProjection,
    Flat,
    FromAmplitude,
    GroupSteps,
    Oracle,
    Rpie,
    RpieConverged,
    RpieSetting,
    Scalar,
    Source,
    UserError,
)
from study.simulate.objects import phase_of

# Of rPIE at its peak, measured (47 on a canvas of 4040 x 4040 px) and rounded up.
OBJECT_PIXEL_BYTES = 56
# Counts, amplitudes and their copies, measured on the Siemens star (516 patterns).
PATTERN_PIXEL_BYTES = 58


@dataclass(frozen=True)
class Task:
    """What a source starts from: the patterns it may see, and where its progress goes.

    For rPIE: `modes`, how many (None: as many as the data set has), and whether it refines the
    positions.
    """

    dataset: Dataset
    fitted: Measurement
    progress: Progress | None = None
    modes: int | None = None
    refine_positions: bool = False

    @property
    def probe(self) -> Complex64[Tensor, "n n"]:
        return torch.tensor(self.dataset.probe)

    @property
    def start_probe(self) -> Complex64[Tensor, "*m n n"]:
        """What rPIE starts from: (n, n) for one mode, else modes with its power."""
        held = self.dataset.modes
        count = self.modes or (1 if held is None else len(held))
        if count == 1:
            return self.probe
        return start_modes(self.probe[None] if held is None else torch.tensor(held), count)

    @property
    def amplitude(self) -> Float32[Tensor, "K n n"]:
        """Measured amplitudes X of single windows, groups taken apart."""
        return self.fitted.amplitude.flatten(0, 1)


@dataclass(frozen=True)
class Made:
    """An object and the probe that belongs to it (P_sim units), with what acted to make it.

    `distinct`: different patterns gave different output. `r_factor`: one number a pass.
    `shift_px`: of each fitted pattern, where positions were refined.
    """

    stitched: Stitched
    probe: Complex64[Tensor, "*m n n"]
    distinct: bool
    effective: Mapping[str, Any]
    r_factor: tuple[float, ...] = ()
    shift_px: Float32[Tensor, "J c 2"] | None = None


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
    return Made(stitched, task.probe, are_distinct(patch), effective)


def flat(source: Flat, task: Task) -> Made:
    """The constant that fits the measured amplitudes best, by least squares."""
    level = best_constant(task.amplitude, task.probe, task.fitted.known)
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
    patch = back_project(task.amplitude, task.probe, source.steps, task.fitted.known)
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


# --- a whole object ---------------------------------------------------------------------------


def on_one_canvas(scan: Scan) -> tuple[Float32[Tensor, "K 2"], tuple[int, int]]:
    """Window corners with the images one below the other, and that canvas: one probe serves all."""
    height, width = scan.object_shape
    drop = torch.zeros(len(scan.image_index), 1, 2)
    drop[:, 0, 0] = scan.image_index * height
    return (scan.positions_px + drop).flatten(0, 1), (scan.images * height, width)


def iterative(source: Rpie, task: Task) -> Made:
    """rPIE on all fitted patterns."""
    found = _fit(task, task.fitted, RpieSetting(alpha=source.alpha, update="batches"), source)
    effective = {
        **source.model_dump(exclude={"name"}),
        "batch": BATCH,
        "probe_alpha": PROBE_ALPHA if source.update_probe else None,
        "start": "best constant",
    }
    return found.made(effective)


def converged(source: RpieConverged, task: Task) -> Made:
    """rPIE until R stops changing, with the setting that predicts patterns best that were left out.

    Every 16th fitted pattern, from the 9th on, is left out (`optics.assembly.hold_out`); test
    patterns of a measurement are none of them. Each setting runs from the constant to convergence
    on the others. The lowest R over the left-out patterns wins; between equals, and where no
    left-out pattern lies on known object (a scan that hardly overlaps, fewer than 9 patterns), the
    first by name. The winner runs once more, from the constant, on all fitted patterns: its R per
    pass is the row's history.
    """
    left_out = hold_out(len(task.fitted.amplitude))
    kept, judged = task.fitted.only(~left_out), task.fitted.only(left_out)
    tried: dict[str, dict[str, Scalar]] = {}
    for name, setting in sorted(source.settings.items()):
        trial = _fit(replace(task, progress=None), kept, setting, source)
        tried[name] = {
            "passes": len(trial.result.r_factor),
            "converged": trial.result.converged,
            "r_factor_left_out": total_r_factor(trial.stitched, trial.probe, judged),
        }
    best = min(tried, key=lambda name: _or_infinity(tried[name]["r_factor_left_out"]))
    found = _fit(task, task.fitted, source.settings[best], source)
    effective = {
        **source.model_dump(exclude={"name"}),
        "batch": BATCH,
        "probe_alpha": PROBE_ALPHA if source.update_probe else None,
        "start": "best constant",
        "left_out_patterns": len(judged.amplitude),
        "tried": tried,
        "chosen": best,
        "passes_done": len(found.result.r_factor),
        "converged": found.result.converged,
    }
    return found.made(effective)


@dataclass(frozen=True)
class _Fit:
    """A result of rPIE on its canvas, and the probe in the units of P_sim."""

    stitched: Stitched
    probe: Complex64[Tensor, "*m n n"]
    result: Result
    shift_px: Float32[Tensor, "J c 2"] | None = None

    def made(self, effective: Mapping[str, Any]) -> Made:
        return Made(self.stitched, self.probe, True, effective, self.result.r_factor, self.shift_px)


def _fit(
    task: Task, fitted: Measurement, setting: RpieSetting, source: Rpie | RpieConverged
) -> _Fit:
    """rPIE on the patterns of `fitted`, with the probe of the data set."""
    photon_scale, scan = task.dataset.manifest.photon_scale, fitted.scan
    first = task.start_probe
    positions_px, shape = on_one_canvas(scan)
    result = rpie(
        counts_from_amplitude(fitted.amplitude.flatten(0, 1), photon_scale),
        first * photon_scale,
        positions_px,
        shape,
        passes=source.passes,
        alpha=setting.alpha,
        update_probe=source.update_probe,
        seed=source.seed,
        update=setting.update,
        known=fitted.known,
        refine_positions=task.refine_positions,
        stop=Stop(source.change, source.over) if isinstance(source, RpieConverged) else None,
        progress=task.progress,
    )
    canvas = result.obj.unflatten(0, (scan.images, scan.object_shape[0]))
    # Scored and judged where the networks are: the given probe says what is lit.
    stitched = whole(canvas, task.probe, scan)
    shift = None
    if result.positions_px is not None:
        shift = (result.positions_px - positions_px).view_as(scan.positions_px)
    probe = result.probe / photon_scale if source.update_probe else first
    return _Fit(stitched, probe, result, shift)


def _or_infinity(value: Scalar) -> float:
    return float(value) if isinstance(value, float) and math.isfinite(value) else math.inf


SOURCES: Mapping[str, Callable[..., Made]] = {
    "flat": flat,
    "oracle": oracle,
    "back_projection": back_projection,
    "from_amplitude": from_amplitude,
    "group_steps": untrained_groups,
    "rpie": iterative,
    "rpie_converged": converged,
}


def check_room(dataset: Dataset) -> None:
    """Raise UserError, before patterns are loaded, when a reconstruction needs too much memory."""
    splits = dataset.splits.values()
    images = max(int(split.image_index.max()) + 1 for split in splits)
    height, width = dataset.splits["test"].object_shape
    pixels = sum(prod(split.counts.shape) for split in splits)
    check_memory(
        OBJECT_PIXEL_BYTES * images * height * width + PATTERN_PIXEL_BYTES * pixels,
        f"a reconstruction of data set {dataset.manifest.name}, {images} x {height} x {width} px "
        f"from {pixels} pixels of patterns,",
    )


def check_object(scan: Scan, name: str) -> None:
    """Raise UserError, before it is made, when the object is too large for the memory that is free.

    `name`: of the data set. Its positions decide the size: a few stray ones make a huge object.
    Raises UserError also for windows that are not on the object.
    """
    positions_px, (height, width) = on_one_canvas(scan)
    low, high = positions_px.amin(dim=0), positions_px.amax(dim=0) + scan.n
    if bool((low < 0).any()) or float(high[0]) > height or float(high[1]) > width:
        raise UserError(
            f"data set {name} has windows from {low.tolist()} to {high.tolist()} px but an object "
            f"of {height} x {width} px; import or simulate it again"
        )
    check_memory(
        OBJECT_PIXEL_BYTES * height * width,
        f"the object of data set {name}, {height} x {width} px as its positions span,",
    )


def make(source: Source, task: Task) -> Made:
    """The object of one source. Raises UserError where the data set cannot serve it."""
    check_object(task.fitted.scan, task.dataset.manifest.name)
    return SOURCES[source.name](source, task)

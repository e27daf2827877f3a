"""What the object of a reference row is made from, and what comes out; memory is checked before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from jaxtyping import Complex64, Float32
from torch import Tensor

from study.formats.dataset import Dataset
from study.formats.limits import check_memory
from study.iterative.modes import start_modes
from study.iterative.rpie import Progress
from study.optics.assembly import Stitched, hold_out
from study.optics.measurement import Measurement, Scan
from study.settings import UserError

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
    def forward_probe(self) -> Complex64[Tensor, "*m n n"]:
        """What predicts patterns: all modes of the data set, or its probe."""
        return torch.tensor(self.dataset.forward_probe)

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


def on_one_canvas(scan: Scan) -> tuple[Float32[Tensor, "K 2"], tuple[int, int]]:
    """Window corners with the images one below the other, and that canvas: one probe serves all."""
    height, width = scan.object_shape
    drop = torch.zeros(len(scan.image_index), 1, 2)
    drop[:, 0, 0] = scan.image_index * height
    return (scan.positions_px + drop).flatten(0, 1), (scan.images * height, width)


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

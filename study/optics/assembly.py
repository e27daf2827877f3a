"""From patches to one image, and from the image back to the patterns: geometry for every source.

Networks, references and rPIE share these functions, so their rows differ in the patches only. All
arrays in network units until `assemble` turns the object into object units.

One rule per data set stitches all of its rows: `stitching` in its settings
- Absent, on a regular raster of single windows: the central stride x stride window of every patch,
  tiled, as published. The scored region is the union of them (27:357 at n = 64, stride 10).
- `average`, and absent on any other scan: illumination-weighted average. The scored region is the
  bounding box of the pixels that received a tenth of the median illumination.
- `synchronised`: the same, after the global phases of all single windows agree
  (`optics.synchronise`).
Networks, the constant, the oracle and back-projection follow it; `unrolled` and `group_steps` have
an option `synchronise` of their own, which goes before it. rPIE makes its object in one piece and
is judged on the same region (`whole`). The regime map calls no scan a raster, so there all patches
are averaged. One back-projection step has an amplitude error of 0.143 tiled and 0.182 averaged:
compare numbers within one rule only.

Patterns are predicted from the stitched object, where it is known well enough: a tiled object must
hold the whole window, a weighted one the pixels on which 99 % of the probe's light falls.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import (
    Bool,
    Complex,
    Complex64,
    Float,
    Float16,
    Float32,
    Int64,
)
from torch import Tensor

from study.optics.counts import to_object_units
from study.optics.measurement import Measurement, Scan
from study.optics.patches import covered, extract, illumination, stitch_tiles, stitch_weighted
from study.optics.synchronise import synchronised
from study.optics.wave import diffract

SHOWN = 64
HELD_OUT = 16
CHUNK = 256  # windows held at once
KNOWN_SHARE = 0.01  # of the median illumination: dimmer pixels are not known
LIGHT_SHARE = 0.99  # of the probe's light must fall on known pixels
DISTINCT = 1e-3  # outputs closer than this, relative to their size, are one output

Region = tuple[int, int, int, int]
Synchronise = Literal["groups", "windows"]


@dataclass(frozen=True)
class Stitched:
    """Objects on their full canvas, zero where unknown; `region`: (y0, x0, y1, x1) that is scored.

    `weight` sums to 1 over each window: a pattern counts as predictable when at least `share` of it
    falls on `known` pixels.
    """

    canvas: Complex[Tensor, "I h w"]
    known: Bool[Tensor, "I h w"]
    region: Region
    weight: Float[Tensor, "n n"]
    share: float


@dataclass(frozen=True)
class Assembled:
    """The part of a reconstruction that geometry and the forward model give; numpy, ready to store.

    Names and units as in `formats.reconstruction.Reconstruction`.
    """

    object: Complex64[np.ndarray, "I h w"]
    region: Int64[np.ndarray, " 4"]
    r_factor: Float32[np.ndarray, " J"]
    predicted_amplitude: Float16[np.ndarray, "K n n"]
    shown: Int64[np.ndarray, " K"]


# --- regions ----------------------------------------------------------------------------------


def raster_shape(positions_px: Float[Tensor, "J 2"]) -> tuple[int, int]:
    """Rows and columns of a row-major raster. Raises ValueError for positions that are none."""
    rows, columns = (len(torch.unique(positions_px[:, axis])) for axis in (0, 1))
    if rows * columns != len(positions_px):
        raise ValueError(
            f"{len(positions_px)} positions are not a raster of {rows} rows and {columns} columns"
        )
    return rows, columns


def tiled_region(scan: Scan) -> Region:
    """Union of the central windows of a raster, the same for every image."""
    assert scan.stride_px is not None, "a tiled scan has a stride"
    corners = scan.positions_px[scan.of(0), 0]
    rows, columns = raster_shape(corners)
    border = (scan.n - scan.stride_px) // 2
    y0, x0 = (int(start) + border for start in corners.amin(dim=0).tolist())
    return y0, x0, y0 + rows * scan.stride_px, x0 + columns * scan.stride_px


def seen_by(scan: Scan, probe: Complex[Tensor, "n n"]) -> Float[Tensor, "I h w"]:
    """Summed illumination of every image."""
    windows = (scan.positions_px[scan.of(image)].flatten(0, 1) for image in range(scan.images))
    return torch.stack([illumination(probe, corners, scan.object_shape) for corners in windows])


def lit_region(seen: Float[Tensor, "I h w"]) -> Region:
    """Largest box within the bounding boxes of the well-lit pixels of every image."""
    boxes = []
    for image in seen:
        lit = covered(image)
        rows, columns = lit.any(dim=1).nonzero(), lit.any(dim=0).nonzero()
        boxes.append((rows[0], columns[0], rows[-1] + 1, columns[-1] + 1))
    y0, x0, y1, x1 = ([int(edge) for edge in edges] for edges in zip(*boxes, strict=True))
    return max(y0), max(x0), min(y1), min(x1)


def crop(canvas: Complex[Tensor, "I h w"], region: Region) -> Complex[Tensor, "I y x"]:
    y0, x0, y1, x1 = region
    return canvas[:, y0:y1, x0:x1]


# --- stitching --------------------------------------------------------------------------------


def stitch(
    patch: Complex[Tensor, "J c n n"],
    probe: Complex[Tensor, "n n"],
    scan: Scan,
    *,
    synchronise: Synchronise | None = None,
) -> Stitched:
    """One object per image from the patches of all patterns.

    `synchronise`: first make the global phases agree over the overlaps, of whole `groups`, whose
    patches are cut from one window and share its phase, or of single `windows`.
    """
    if synchronise is not None:
        patch = _synchronised(patch, probe, scan, synchronise)
    return _tile(patch, scan) if scan.tiled else _average(patch, probe, scan)


def _synchronised(
    patch: Complex[Tensor, "J c n n"],
    probe: Complex[Tensor, "n n"],
    scan: Scan,
    what: Synchronise,
) -> Complex[Tensor, "J c n n"]:
    result = patch.clone()
    for image in range(scan.images):
        chosen = scan.of(image)
        some, corners = patch[chosen], scan.positions_px[chosen]
        if what == "windows":  # each a group of its own
            some, corners = some.flatten(0, 1)[:, None], corners.flatten(0, 1)[:, None]
        agreeing = synchronised(some, probe, corners, scan.object_shape)
        result[chosen] = agreeing.reshape(patch[chosen].shape)
    return result


def _tile(patch: Complex[Tensor, "J 1 n n"], scan: Scan) -> Stitched:
    assert scan.stride_px is not None, "a tiled scan has a stride"
    y0, x0, y1, x1 = tiled_region(scan)
    canvas = patch.new_zeros(scan.images, *scan.object_shape)
    for image in range(scan.images):
        chosen = scan.of(image)
        rows, columns = raster_shape(scan.positions_px[chosen, 0])
        tiles = patch[chosen, 0].unflatten(0, (rows, columns))
        canvas[image, y0:y1, x0:x1] = stitch_tiles(tiles, scan.stride_px)
    return tiled(canvas, scan)


def tiled(canvas: Complex[Tensor, "I h w"], scan: Scan) -> Stitched:
    """Judge objects where the tiles of a raster lie: windows that leave the region do not count."""
    region = tiled_region(scan)
    y0, x0, y1, x1 = region
    known = torch.zeros(canvas.shape, dtype=torch.bool, device=canvas.device)
    known[:, y0:y1, x0:x1] = True
    everywhere = torch.full((scan.n, scan.n), 1 / scan.n**2, device=canvas.device)
    # Nearly 1: the sum of n^2 float weights is not exact, one missing pixel is far below.
    return Stitched(canvas, known, region, everywhere, 1 - 0.5 / scan.n**2)


def _average(
    patch: Complex[Tensor, "J c n n"], probe: Complex[Tensor, "n n"], scan: Scan
) -> Stitched:
    canvas = [
        stitch_weighted(
            patch[scan.of(image)].flatten(0, 1),
            probe,
            scan.positions_px[scan.of(image)].flatten(0, 1),
            scan.object_shape,
        )
        for image in range(scan.images)
    ]
    return whole(torch.stack(canvas), probe, scan)


def whole(canvas: Complex[Tensor, "I h w"], probe: Complex[Tensor, "n n"], scan: Scan) -> Stitched:
    """An object that was made in one piece (rPIE), judged where a stitched one of `scan` is.

    Its R-factor then covers the same patterns as that of the rows it is beside.
    """
    if scan.tiled:
        return tiled(canvas, scan)
    seen = seen_by(scan, probe)
    floor = torch.stack([KNOWN_SHARE * image[image > 0].median() for image in seen])
    light = probe.abs().square()
    known = seen >= floor[:, None, None]
    return Stitched(canvas, known, lit_region(seen), light / light.sum(), LIGHT_SHARE)


# --- predicting patterns ----------------------------------------------------------------------


def predict_patterns(
    stitched: Stitched,
    probe: Complex[Tensor, "*modes n n"],
    positions_px: Float[Tensor, "b c 2"],
    image: int,
) -> Float[Tensor, "b c n n"]:
    """Amplitudes |far field| of one image's windows, in the units of `probe`."""
    patch = extract(stitched.canvas[image], positions_px.flatten(0, 1), probe.shape[-1])
    return diffract(probe, patch).unflatten(0, positions_px.shape[:2])


def predictable(
    stitched: Stitched, positions_px: Float[Tensor, "b c 2"], image: int
) -> Bool[Tensor, " b"]:
    """Patterns whose windows, all c of them, fall on known object."""
    known = stitched.known[image].to(stitched.canvas.dtype)
    window = extract(known, positions_px.flatten(0, 1), stitched.weight.shape[-1]).real
    share = (window * stitched.weight).sum(dim=(-2, -1)).unflatten(0, positions_px.shape[:2])
    return (share >= stitched.share).all(dim=1)


def r_factors(
    stitched: Stitched,
    probe: Complex[Tensor, "*modes n n"],
    measured: Measurement,
) -> Float[Tensor, " J"]:
    """sum |X - A_pred| / sum X per pattern, NaN where the object is not known there.

    Both sums over the known pixels. A_pred from the stitched object, in the units of `probe`.
    """
    scan = measured.scan
    result = torch.full((len(measured.amplitude),), float("nan"), device=probe.device)
    for image in range(scan.images):
        for index in scan.of(image).nonzero()[:, 0].split(CHUNK):
            corners, amplitude = scan.positions_px[index], measured.amplitude[index]
            error = (amplitude - predict_patterns(stitched, probe, corners, image)).abs()
            light = measured.judged(amplitude).sum(dim=(1, 2, 3))
            ratio = measured.judged(error).sum(dim=(1, 2, 3)) / light
            ratio[~predictable(stitched, corners, image)] = float("nan")
            result[index] = ratio.to(result.dtype)
    return result


def total_r_factor(
    stitched: Stitched, probe: Complex[Tensor, "*modes n n"], measured: Measurement
) -> float | None:
    """sum |X - A_pred| / sum X over all predictable patterns; None when there is none."""
    ratio = r_factors(stitched, probe, measured)
    usable = ratio.isfinite()
    if not bool(usable.any()):
        return None
    light = measured.light(usable)
    return float((ratio[usable] * light).sum() / light.sum())


def hold_out(count: int) -> Bool[Tensor, " count"]:
    """True for every 16th pattern, from the middle of the first sixteen on."""
    return torch.arange(count) % HELD_OUT == HELD_OUT // 2


def shown_patterns(r_factor: Float[Tensor, " J"]) -> Int64[Tensor, " K"]:
    """At most `SHOWN` patterns with an R-factor, spread evenly over the scan."""
    usable = r_factor.isfinite().nonzero()[:, 0]
    if len(usable) <= SHOWN:
        return usable
    # In float64: float32 steps would repeat an index on long scans.
    spread = torch.linspace(0, len(usable) - 1, SHOWN, dtype=torch.float64, device=usable.device)
    return usable[spread.round().long()]


def assemble(
    stitched: Stitched,
    probe: Complex[Tensor, "*modes n n"],
    measured: Measurement,
    object_norm: float,
) -> Assembled:
    """Stored facts of a stitched object, judged by the patterns of `measured`."""
    scan = measured.scan
    r_factor = r_factors(stitched, probe, measured)
    shown = shown_patterns(r_factor)
    predicted = [
        predict_patterns(
            stitched, probe, scan.positions_px[index : index + 1], int(scan.image_index[index])
        )[:, 0]
        for index in shown.tolist()
    ]
    none = measured.amplitude.new_zeros(0, scan.n, scan.n)
    obj = to_object_units(crop(stitched.canvas, stitched.region), object_norm)
    return Assembled(
        object=obj.to(torch.complex64).cpu().numpy(),
        region=np.array(stitched.region, dtype=np.int64),
        r_factor=r_factor.float().cpu().numpy(),
        predicted_amplitude=torch.cat([*predicted, none]).half().cpu().numpy(),
        shown=shown.cpu().numpy(),
    )


def are_distinct(patch: Complex[Tensor, "J c n n"]) -> bool:
    """Whether the patches of different patterns differ: by more than 1e-3 of their size (rms)."""
    spread = (patch - patch.mean(dim=0)).abs().square().mean()
    return bool(spread > DISTINCT**2 * patch.abs().square().mean())

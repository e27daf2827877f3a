"""What a file reader hands over, and the faults that make a scan unusable."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Complex

from study.formats.frames import Frames, blocks
from study.formats.geometry import Geometry
from study.settings import UserError

Values = Literal["counts", "amplitudes"]
ZeroFrequency = Literal["corner", "centre"]

# Names under which files say how the wave travelled, and what near-field ones say.
PROPAGATION_KEYS = ("propagation", "definition", "experiment_type", "near_field", "nearfield")
NEAR_FIELD = re.compile(r"near[\s_-]*field|fresnel|holograph", re.IGNORECASE)
LARGEST_PX = 20_000
LARGEST_FRESNEL = 1.0


@dataclass(frozen=True)
class RawScan:
    """A scan as its file holds it, before any convention is decided.

    `patterns` (J, n, n), left in the file where that is possible; `positions_px` (J, 2) window
    corners, taken as (y, x); `probe` (..., m, m) modes or None; `object_shape` where the file has
    an object frame; `values` and `zero_frequency` are what files of this layout hold by custom;
    `notes`: sentences for the manifest. `mask`: pixels without a measurement, (n, n) or (J, n, n)
    bool. `object_pixel_m`: where the file states it, but no geometry.
    """

    patterns: Frames
    positions_px: np.ndarray
    probe: np.ndarray | None
    object_shape: tuple[int, int] | None
    geometry: Geometry | None
    values: Values
    zero_frequency: ZeroFrequency
    notes: tuple[str, ...]
    mask: Frames | None = None
    object_pixel_m: float | None = None


def refuse_near_field(name: str, value: Any, where: Path) -> None:
    """Raise UserError when the entry `name` of a file speaks of near-field patterns."""
    key = name.rsplit("/", 1)[-1].lower()
    if key not in PROPAGATION_KEYS:
        return
    plain = (
        value.item() if isinstance(value, (np.ndarray, np.generic)) and value.size == 1 else value
    )
    text = plain.decode(errors="replace") if isinstance(plain, bytes) else str(plain)
    flagged = key in ("near_field", "nearfield") and text.lower() in ("1", "true", "yes", "1.0")
    if flagged or NEAR_FIELD.search(text):
        raise UserError(
            f"{where} says {name} = {text!r}: near-field data; this study models the far field "
            "(Fraunhofer) alone, so choose a far-field scan"
        )


def squeeze_to(array: np.ndarray, axes: int) -> np.ndarray:
    """Drop axes of length 1 from the front until `axes` are left."""
    while array.ndim > axes and array.shape[0] == 1:
        array = array[0]
    return array


def is_real(dtype: np.dtype[Any]) -> bool:
    """Whether the numbers of this type are real: numpy counts time differences among integers."""
    return dtype.kind in "iuf"


def as_float(array: np.ndarray, where: Path) -> np.ndarray:
    """float64 of real numbers. Raises UserError for anything else."""
    if not is_real(array.dtype):
        raise UserError(f"positions in {where} are {array.dtype}; accepted: real numbers, in px")
    return array.astype(np.float64)


def check_shape(shape: tuple[int, ...], dtype: np.dtype[Any], where: Path) -> None:
    """Raise UserError unless patterns are real numbers of shape (J, n, n)."""
    if len(shape) != 3 or shape[0] < 1 or shape[1] != shape[2] or shape[1] < 4:
        raise UserError(
            f"patterns in {where} have shape {shape}; accepted: (patterns, n, n), square with n of "
            "at least 4; crop them to a square around the direct beam"
        )
    if not is_real(dtype):
        raise UserError(f"patterns in {where} are {dtype}; accepted: counts or amplitudes")


def check_patterns(patterns: Frames, where: Path) -> None:
    """Raise UserError unless patterns are (J, n, n), real, and not all dark."""
    check_shape(patterns.shape, patterns.dtype, where)
    if not any(block.any() for block in blocks(patterns)):  # reads up to the first light
        raise UserError(f"all patterns in {where} are zero; give a scan with light on the detector")


def check_far_field(raw: RawScan, probe: Complex[np.ndarray, "n n"], where: Path) -> None:
    """Raise UserError when the probe is too wide for the far field at the distance stated.

    Fresnel number N = D^2 / (wavelength distance), D the diameter with 99 % of the probe's light.
    """
    if raw.geometry is None:
        return
    light = np.abs(probe) ** 2
    steps = np.arange(len(probe)) - len(probe) // 2
    radius = np.hypot(steps[:, None], steps[None, :]).ravel()
    order = np.argsort(radius, kind="stable")
    inside = np.cumsum(light.ravel()[order]) / light.sum()
    diameter_px = 2 * radius[order][min(int(np.searchsorted(inside, 0.99)), len(order) - 1)]
    diameter_m = diameter_px * raw.geometry.object_pixel_m(len(probe))
    fresnel = diameter_m**2 / (raw.geometry.wavelength_m * raw.geometry.distance_m)
    if fresnel > LARGEST_FRESNEL:
        raise UserError(
            f"{where} has a probe of {diameter_m:.3g} m at {raw.geometry.distance_m:.3g} m from "
            f"the detector, Fresnel number {fresnel:.2g}: near-field data (accepted: at most "
            f"{LARGEST_FRESNEL:g}); check distance, energy and detector pixel, or choose a "
            "far-field scan"
        )


def check_positions(raw: RawScan, where: Path) -> None:
    """Raise UserError unless there is one finite position a pattern, inside the file's object."""
    positions, n = raw.positions_px, raw.patterns.shape[-1]
    if positions.shape != (len(raw.patterns), 2):
        raise UserError(
            f"{where} holds {len(raw.patterns)} patterns but positions of shape {positions.shape}; "
            f"accepted: ({len(raw.patterns)}, 2)"
        )
    if not np.isfinite(positions).all():
        raise UserError(f"positions in {where} are not all finite; leave those patterns out")
    low, high = positions.min(axis=0), positions.max(axis=0)
    span = float((high - low).max())
    if not 1 <= span <= LARGEST_PX:
        raise UserError(
            f"positions in {where} span {span:.3g} px; accepted: 1 to {LARGEST_PX}; are they "
            "metres or nanometres? give them in object pixels"
        )
    if raw.object_shape is not None and ((low < 0).any() or (high + n > raw.object_shape).any()):
        raise UserError(
            f"positions_px in {where} span rows {low[0]:g} to {high[0] + n:g} and columns "
            f"{low[1]:g} to {high[1] + n:g} but the object has {raw.object_shape[0]} x "
            f"{raw.object_shape[1]} px; enlarge the object or leave those patterns out"
        )

"""What a file reader hands over, and the faults that make a scan unusable."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from study.formats.geometry import Geometry
from study.params import UserError

Values = Literal["counts", "amplitudes"]
ZeroFrequency = Literal["corner", "centre"]

# Names under which files say how the wave travelled, and what near-field ones say.
PROPAGATION_KEYS = ("propagation", "definition", "experiment_type", "near_field", "nearfield")
NEAR_FIELD = re.compile(r"near[\s_-]*field|fresnel|holograph", re.IGNORECASE)
LARGEST_PX = 20_000


@dataclass(frozen=True)
class RawScan:
    """A scan as its file holds it, before any convention is decided.

    `patterns` (J, n, n); `positions_px` (J, 2) window corners, taken as (y, x); `probe` (..., m, m)
    modes or None; `object_shape` where the file has an object frame; `values` and `zero_frequency`
    are what files of this layout hold by custom; `said`: sentences for the manifest.
    """

    patterns: np.ndarray
    positions_px: np.ndarray
    probe: np.ndarray | None
    object_shape: tuple[int, int] | None
    geometry: Geometry | None
    values: Values
    zero_frequency: ZeroFrequency
    said: tuple[str, ...]


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


def as_float(array: np.ndarray, where: Path) -> np.ndarray:
    """float64 of real numbers. Raises UserError for anything else."""
    if np.iscomplexobj(array) or not np.issubdtype(array.dtype, np.number):
        raise UserError(f"positions in {where} are {array.dtype}; accepted: real numbers, in px")
    return array.astype(np.float64)


def check_shape(patterns: np.ndarray, where: Path) -> None:
    """Raise UserError unless patterns are real numbers of shape (J, n, n)."""
    shape = patterns.shape
    if len(shape) != 3 or shape[0] < 1 or shape[1] != shape[2] or shape[1] < 4:
        raise UserError(
            f"patterns in {where} have shape {shape}; accepted: (patterns, n, n), square with n of "
            "at least 4; crop them to a square around the direct beam"
        )
    if np.iscomplexobj(patterns) or not np.issubdtype(patterns.dtype, np.number):
        raise UserError(f"patterns in {where} are {patterns.dtype}; accepted: counts or amplitudes")


def check_patterns(patterns: np.ndarray, where: Path) -> None:
    """Raise UserError unless patterns are (J, n, n), real, finite, not negative, not all dark."""
    check_shape(patterns, where)
    finite = np.isfinite(patterns).all(axis=(1, 2))
    if not finite.all():
        raise UserError(
            f"{np.sum(~finite)} of {len(patterns)} patterns in {where} hold NaN or infinite pixels "
            f"(first: pattern {finite.argmin()}); set bad pixels to a number or leave the patterns "
            "out"
        )
    lowest = patterns.min(axis=(1, 2))
    if lowest.min() < 0:
        raise UserError(
            f"{np.sum(lowest < 0)} of {len(patterns)} patterns in {where} hold negative pixels "
            f"(first: pattern {(lowest < 0).argmax()}, lowest {lowest.min():g}); counts are never "
            "negative: clip what a background subtraction left"
        )
    if not patterns.any():
        raise UserError(f"all patterns in {where} are zero; give a scan with light on the detector")


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

"""Photons of a scan whose conventions are decided, block by block, and what sums are accepted."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32

from study.formats.binning import bin_counts, bin_known
from study.formats.conventions import detect_values
from study.formats.frames import Derived, Frames, block_length, derived
from study.formats.import_options import Overrides
from study.formats.masks import fill_masked
from study.formats.measured import Values
from study.formats.orientation import turn
from study.formats.trial import Convention
from study.settings import UserError

# Per pattern. Below, the search for the conventions divides by its own regularisation; above,
# squares overflow single precision.
SMALLEST_PHOTONS, LARGEST_PHOTONS = 1e-9, 1e18


def photons_of(
    patterns: Frames, chosen: Convention, known: Bool[np.ndarray, "n n"], overrides: Overrides
) -> tuple[Derived, tuple[str, ...]]:
    """Photons with the zero frequency at n // 2, binned, masked pixels filled; and sentences.

    `known`: of the pixels before binning, turned as the frames are.
    """
    factor = overrides.bin or 1
    n = patterns.shape[-1] // factor
    measured = known if factor == 1 else bin_known(known, factor)
    notes: list[str] = []
    dose: np.float32 | None = None

    def photons(block: np.ndarray) -> Float32[np.ndarray, "b n n"]:
        counts = np.roll(_as_counts(block, chosen.values), chosen.shift, axis=(-2, -1))
        return np.ascontiguousarray(turn(counts, chosen.frames))

    if overrides.photons_per_pattern is not None:
        sums = frame_sums(derived(patterns, photons, dtype=np.float32))
        check_brightest(float(sums.max()), chosen.values)
        mean = float(sums.mean())
        dose = np.float32(overrides.photons_per_pattern / mean)
        notes.append(
            f"dose: scaled from {mean:.6g} to {overrides.photons_per_pattern:.6g}, as given"
        )
    elif overrides.values is None and detect_values(patterns) is None:
        notes.append("dose: pixels are not whole photons, so the photon is a nominal unit here")

    def made(block: np.ndarray) -> Float32[np.ndarray, "b m m"]:
        # Also where the data set is written later: extreme numbers overflow, and are refused.
        with np.errstate(all="ignore"):
            counts = photons(block)
            if dose is not None:
                counts *= dose
            counts = counts if factor == 1 else bin_counts(counts, factor)
            return counts if measured.all() else fill_masked(counts, measured)

    return derived(patterns, made, n, np.float32), tuple(notes)


def _as_counts(patterns: np.ndarray, values: Values) -> Float32[np.ndarray, "b n n"]:
    """Patterns in float32, squared where they are amplitudes."""
    counts = patterns.astype(np.float32)
    return counts**2 if values == "amplitudes" else counts


def frame_sums(frames: Frames) -> np.ndarray:
    """The sum of every pattern (J,), float64, block by block."""
    step = block_length(frames.shape[1:])
    return np.concatenate(
        [pattern_sums(frames[start : start + step]) for start in range(0, len(frames), step)]
    )


def pattern_sums(block: np.ndarray) -> np.ndarray:
    """The sum of every pattern of a block, float64."""
    return block.sum(axis=tuple(range(1, block.ndim)), dtype=np.float64)


def spread_patterns(patterns: Frames) -> np.ndarray:
    """Up to 127 patterns spread over the scan."""
    return patterns[:: max(1, len(patterns) // min(64, block_length(patterns.shape[1:])))]


def check_light(patterns: np.ndarray, values: Values) -> None:
    """`check_brightest` for some patterns as stored."""
    check_brightest(float(pattern_sums(_as_counts(patterns, values)).max()), values)


def check_brightest(brightest: float, values: Values) -> None:
    """Raise UserError where squares overflow, or where no light is left in float32."""
    if not SMALLEST_PHOTONS < brightest < LARGEST_PHOTONS:
        raise UserError(
            f"the brightest pattern sums to {brightest:.3g} as {values} but {SMALLEST_PHOTONS:g} "
            f"to {LARGEST_PHOTONS:g} photons are accepted; rescale the patterns to photons"
        )

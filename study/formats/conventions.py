"""Conventions that files do not state, found from the data with a few lines of numpy.

- Counts or amplitudes: whole numbers, or squares of whole numbers.
- Zero frequency: light gathers around it.
- Order and sign of the positions: with the right ones neighbouring patterns agree on the object, so
  a short ePIE run (Maiden & Rodenburg, Ultramicroscopy 109, 1256, 2009) fits the data better. Eight
  conventions are tried on the patterns nearest to the middle of the scan, low frequencies only.
"""

from __future__ import annotations

import itertools

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float, Float32, Float64

from study.formats.measured import Values, ZeroFrequency
from study.formats.probe import crop, resample

ORDERS = ("yx", "xy")
FLIPS = ("none", "y", "x", "both")
TRIED_PATTERNS = 128
TRIED_PX = 64
PASSES = 4
# A convention is believed when its misfit is this much below the other's.
CLEARLY = 0.93


def detect_values(patterns: np.ndarray) -> Values | None:
    """Counts, amplitudes of counts, or None when the pixels are neither."""
    sample = patterns[:: max(1, len(patterns) // 64)].astype(np.float64)
    if np.array_equal(sample, np.round(sample)):
        return "counts"
    # Bright squares lose their last digits in float32; faint ones tell.
    squares = sample[sample < 100] ** 2
    whole = np.abs(squares - np.round(squares)) < 1e-3
    return "amplitudes" if whole.all() else None


def detect_zero_frequency(intensity: Float[np.ndarray, "J n n"]) -> ZeroFrequency | None:
    """Where light gathers: second moment about the centre against that about the corner."""
    mean = intensity.mean(axis=0, dtype=np.float64)
    steps = np.arange(len(mean)) - len(mean) // 2
    squared = steps[:, None] ** 2 + steps[None, :] ** 2
    ratio = np.sum(squared * np.fft.fftshift(mean)) / max(np.sum(squared * mean), 1e-300)
    if 0.8 <= ratio <= 1.25:
        return None
    return "corner" if ratio < 1 else "centre"


def arrange(
    positions_px: Float64[np.ndarray, "J 2"], order: str, flip: str
) -> Float64[np.ndarray, "J 2"]:
    """Stored positions read in one convention, as (y, x); `flip` is in terms of the result."""
    table = positions_px if order == "yx" else positions_px[:, ::-1]
    signs = {"none": (1, 1), "y": (-1, 1), "x": (1, -1), "both": (-1, -1)}[flip]
    return table * np.array(signs, dtype=np.float64)


def compare_orders(
    counts: Float32[np.ndarray, "J n n"],
    probe: Complex[np.ndarray, "n n"],
    positions_px: Float64[np.ndarray, "J 2"],
    candidates: list[tuple[str, str]],
) -> dict[tuple[str, str], float]:
    """Misfit after a few ePIE passes for every (order, flip); zero frequency of counts central."""
    n = counts.shape[-1]
    m = min(n, TRIED_PX)
    distance = np.sum((positions_px - positions_px.mean(axis=0)) ** 2, axis=1)
    chosen = np.argsort(distance, kind="stable")[:TRIED_PATTERNS]
    # Windows too far from the middle to share light with it only cost memory.
    chosen = chosen[distance[chosen] <= max((8 * n) ** 2, distance[chosen[0]])]
    amplitude = np.fft.ifftshift(np.sqrt(crop(counts[chosen], m)), axes=(-2, -1))
    small = resample(probe, m)
    light = np.mean(np.sum(amplitude**2, axis=(1, 2)))
    small = (small * np.sqrt(light / np.sum(np.abs(small) ** 2))).astype(np.complex64)
    near = positions_px[chosen] * (m / n)
    return {each: _misfit(amplitude, small, arrange(near, *each)) for each in candidates}


def _misfit(
    amplitude: Float32[np.ndarray, "J m m"],
    probe: Complex[np.ndarray, "m m"],
    positions: Float64[np.ndarray, "J 2"],
) -> float:
    """R-factor met during the last of a few ePIE passes; the probe moves from the second on."""
    m = amplitude.shape[-1]
    corners = np.round(positions - positions.min(axis=0)).astype(int)
    obj = np.ones(corners.max(axis=0) + m, np.complex64)
    generator = np.random.default_rng(0)
    residual = 0.0
    for step in range(PASSES):
        residual = 0.0
        for index in generator.permutation(len(corners)):
            y, x = corners[index]
            window = obj[y : y + m, x : x + m]
            field = scipy.fft.fft2(probe * window, norm="ortho")
            modulus = np.abs(field)
            residual += float(np.abs(modulus - amplitude[index]).sum())
            revised = field * (amplitude[index] / (modulus + 1e-6))
            change = scipy.fft.ifft2(revised - field, norm="ortho")
            before = window.copy()
            window += _weight(probe) * change
            probe = probe + _weight(before) * change if step else probe
    return residual / float(amplitude.sum())


def _weight(field: Complex[np.ndarray, "m m"]) -> Complex[np.ndarray, "m m"]:
    """ePIE's update weight conj(f) / max |f|^2."""
    return np.conj(field) / (np.abs(field).max() ** 2 + 1e-12)


def all_orders(order: str | None, flip: str | None) -> list[tuple[str, str]]:
    """The conventions to try when some are given; the customary one, ("yx", "none"), first."""
    orders = [order] if order else ORDERS
    flips = [flip] if flip else FLIPS
    return list(itertools.product(orders, flips))


def choose_order(misfits: dict[tuple[str, str], float]) -> tuple[tuple[str, str], str]:
    """The convention to use and why: of those that fit about equally well, the first by custom."""
    best = min(misfits.values())
    fitting = [each for each, misfit in misfits.items() if best >= CLEARLY * misfit]
    chosen = fitting[0]
    other = min(misfit for each, misfit in misfits.items() if each != chosen)
    numbers = f"misfit {misfits[chosen]:.3f}, best of the other conventions {other:.3f}"
    decided = len(fitting) == 1 or chosen != next(iter(misfits))
    how = "found from the data" if decided else "by custom; the data do not decide"
    return chosen, f"{how} ({numbers})"

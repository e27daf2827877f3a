"""Short fits of a scan under one convention: how well neighbouring patterns agree on an object.

A few passes of ePIE (Maiden & Rodenburg, Ultramicroscopy 109, 1256, 2009) over the patterns nearest
to the middle of the scan, low frequencies only. The residual is the misfit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from jaxtyping import Bool, Complex, Complex64, Float32, Float64

from study.formats.frames import Frames
from study.formats.measured import Values, ZeroFrequency
from study.formats.orientation import AS_STORED, Axes, arrange, turn
from study.formats.probe import crop, resample

TRIED_PATTERNS, TRIED_PX = 64, 64


@dataclass(frozen=True)
class Convention:
    """One reading of a scan.

    `shift`: (y, x) in px by which patterns are rolled so that the zero frequency is at n // 2;
    `frames`, `probe`, `positions`: their axes as (order, reversed ones).
    """

    values: Values
    shift: tuple[int, int]
    frames: Axes = AS_STORED
    probe: Axes = AS_STORED
    positions: Axes = AS_STORED

    def zero_frequency(self, n: int) -> ZeroFrequency:
        """Where the zero frequency is stored, but for the offset of the beam."""
        near = [abs(wrapped(each, n)) <= n // 4 for each in self.shift]
        return "centre" if all(near) else "corner"

    def offset(self, n: int) -> tuple[int, int]:
        """(y, x) px by which the direct beam is off the pixel where the zero frequency belongs."""
        home = n // 2 if self.zero_frequency(n) == "corner" else 0
        y, x = (-wrapped(each - home, n) for each in self.shift)
        return y, x


@dataclass(frozen=True)
class TrialScan:
    """What a search works on: patterns (J, n, n) as stored, known pixels, probe, positions."""

    patterns: Frames
    known: Bool[np.ndarray, "n n"]
    probe: Complex[np.ndarray, "n n"]
    positions_px: Float64[np.ndarray, "J 2"]


def wrapped(shift: int, n: int) -> int:
    """The shift between -n / 2 and n / 2 that does the same."""
    return (shift + n // 2) % n - n // 2


@dataclass(frozen=True)
class Prepared:
    """Patterns as square roots of counts and known pixels, zero frequency first; the probe with the
    light of the patterns; positions (J, 2) in px of these patterns."""

    amplitude: Float32[np.ndarray, "J m m"]
    known: Bool[np.ndarray, "m m"]
    probe: Complex[np.ndarray, "m m"]
    places_px: Float64[np.ndarray, "J 2"]


class Trial:
    """The patterns that are tried, prepared once per reading of values and shift."""

    def __init__(self, scan: TrialScan) -> None:
        n = len(scan.known)
        self.scan, self.m = scan, min(n, TRIED_PX)
        distance = np.sum((scan.positions_px - np.median(scan.positions_px, axis=0)) ** 2, axis=1)
        chosen = np.argsort(distance, kind="stable")[:TRIED_PATTERNS]
        if distance[chosen[0]] > (8 * n) ** 2:
            # Nothing near the middle (a ring, far clusters): stay near the pattern that is closest.
            distance = np.sum((scan.positions_px - scan.positions_px[chosen[0]]) ** 2, axis=1)
            chosen = np.argsort(distance, kind="stable")[:TRIED_PATTERNS]
        # Windows too far from the others to share light with them only cost memory.
        self.chosen = chosen[distance[chosen] <= (8 * n) ** 2]
        self.patterns = scan.patterns[self.chosen].astype(np.float32)
        self.small = resample(scan.probe, self.m)

    def misfit(self, convention: Convention, passes: int, degrees: float = 0.0) -> float:
        """R-factor of a few ePIE passes; infinite where nothing can be compared.

        `degrees`: by which the positions are turned.
        """
        return self.fit(convention, passes, degrees)[0]

    def fit(
        self, convention: Convention, passes: int, degrees: float = 0.0
    ) -> tuple[float, Complex64[np.ndarray, "h w"]]:
        """Misfit and object; the object is empty where nothing can be compared."""
        found = self.prepared(convention)
        if found is None:
            return np.inf, np.zeros((0, 0), np.complex64)
        places = found.places_px
        if degrees:
            sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
            places = places @ np.array([[cosine, -sine], [sine, cosine]])
        return _epie(found.amplitude, found.known, found.probe, places, passes)

    def prepared(self, convention: Convention) -> Prepared | None:
        """The tried patterns as `convention` reads them; None where no light on them is known."""
        counts = convention.values == "counts"
        amplitude = np.sqrt(self.patterns) if counts else self.patterns
        known = unwrapped(self.scan.known, convention.shift)
        amplitude = np.roll(amplitude, convention.shift, axis=(-2, -1))
        amplitude = crop(turn(amplitude, convention.frames), self.m)
        known = crop(turn(known, convention.frames), self.m)
        amplitude = np.fft.ifftshift(amplitude * known, axes=(-2, -1))
        known = np.fft.ifftshift(known, axes=(-2, -1))
        probe = turn(self.small, convention.probe)
        light = np.mean(np.sum(amplitude**2, axis=(1, 2), dtype=np.float64))
        pattern = np.abs(fft2(probe)) ** 2
        power = np.sum(pattern * known)
        if not (np.isfinite(light) and light > 0 and np.isfinite(power) and power > 0):
            return None
        probe = (probe * np.sqrt(light / power)).astype(np.complex64)
        near = self.scan.positions_px[self.chosen] * (self.m / len(self.scan.known))
        return Prepared(amplitude, known, probe, arrange(near, *convention.positions))


def unwrapped(known: Bool[np.ndarray, "n n"], shift: tuple[int, int]) -> Bool[np.ndarray, "n n"]:
    """Known pixels rolled by `shift`; rows that a beam offset moves past the edge are unknown.

    A shift by half the pattern is a reordering, not an offset.
    """
    n = len(known)
    moved = np.roll(known, shift, axis=(0, 1))
    for axis, each in enumerate(Convention("counts", shift).offset(n)):
        lost = [slice(None), slice(None)]
        # Moved back by `each`: what left at one edge came in at the other.
        lost[axis] = slice(n - each, None) if each > 0 else slice(0, -each)
        if each:
            moved[tuple(lost)] = False
    return moved


def _epie(
    amplitude: Float32[np.ndarray, "J m m"],
    known: Bool[np.ndarray, "m m"],
    probe: Complex[np.ndarray, "m m"],
    positions: Float64[np.ndarray, "J 2"],
    passes: int,
) -> tuple[float, Complex64[np.ndarray, "h w"]]:
    """R-factor met during the last of a few ePIE passes, and the object.

    The probe is updated from the second pass on.
    """
    m = amplitude.shape[-1]
    corners = np.round(positions - positions.min(axis=0)).astype(int)
    obj = np.ones(corners.max(axis=0) + m, np.complex64)
    generator = np.random.default_rng(0)
    every = bool(known.all())
    residual = 0.0
    for step in range(passes):
        residual = 0.0
        for index in generator.permutation(len(corners)):
            y, x = corners[index]
            window = obj[y : y + m, x : x + m]
            field = fft2(probe * window)
            modulus = np.abs(field)
            wrong = amplitude[index] - modulus
            if not every:
                wrong *= known
            residual += float(np.abs(wrong).sum())
            change = ifft2(field * (wrong / (modulus + 1e-6)))
            before = window.copy()
            window += weight(probe) * change
            probe = probe + weight(before) * change if step else probe
    misfit = residual / max(float(amplitude.sum(dtype=np.float64)), 1e-300)
    return (misfit if np.isfinite(misfit) else np.inf), obj


def fft2(field: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.fft.fft2(field, norm="ortho"))


def ifft2(field: np.ndarray) -> np.ndarray:
    return np.asarray(scipy.fft.ifft2(field, norm="ortho"))


def weight(field: Complex[np.ndarray, "m m"]) -> Complex[np.ndarray, "m m"]:
    """ePIE's update weight conj(f) / max |f|^2."""
    return np.conj(field) / (np.abs(field).max() ** 2 + 1e-12)

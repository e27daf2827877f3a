"""The scale of the positions: a wrong pixel size, energy, distance or unit stretches all of them.

Patterns agree best on an object where their windows overlap as they did in the measurement. A short
fit is not enough: before it has converged, more overlap fits better, and smaller scales win. So the
search uses sub-pixel positions, rPIE steps and `PASSES` passes. It starts at the scale as stated or
at a clearly better one of a coarse table, and moves in steps of 5 % towards the lower misfit.

The curve of the misfit is as sharp as the object and the overlap make it. Scales whose misfit is
within `EQUAL` of the best fit equally well: their range is the resolution of the search.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float64

from study.formats.trial import Convention, Prepared, Trial, TrialScan, fft2, ifft2, weight

COARSE = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25, 1.4, 1.7, 2.0)
COARSE_PASSES, PASSES, POLISH_PASSES = 8, 20, 60
POLISH = (0.98, 0.99, 1.0, 1.01, 1.02)
STEP, MOST_STEPS = 1.05, 6
LEAST_OVERLAP = 2.0
DAMPING = 0.2
# Share of the misfit as stated that has to be lost before a scan is stopped, or a warning given.
CLEARLY, SLIGHTLY, EQUAL = 0.9, 0.97, 1.03


@dataclass(frozen=True)
class Scale:
    """The factor on all positions that fits best, with its misfit and that of the factor 1.

    `equal`: smallest and largest factor tried that fit equally well.
    """

    factor: float
    misfit: float
    stated_misfit: float
    equal: tuple[float, float]

    @property
    def wrong(self) -> bool:
        """Whether the positions as stated fit clearly worse."""
        return self.misfit < CLEARLY * self.stated_misfit

    @property
    def doubtful(self) -> bool:
        """Whether the positions as stated fit slightly worse, and are outside the resolution."""
        return self.misfit < SLIGHTLY * self.stated_misfit and not (
            self.equal[0] <= 1 <= self.equal[1]
        )


def wrong_scale(found: Scale, values: str | None = None) -> str:
    """What a refusal says about positions whose scale is wrong, and the options that go on.

    `values`: of another reading of the pixels, where that is what fits at the found scale.
    """
    reading = "" if values is None else f" if the pixels are {values}"
    return (
        f"positions times {found.factor:.4g} fit clearly better{reading} (misfit "
        f"{found.misfit:.3f}, as stated {found.stated_misfit:.3f}): pixel size, distance, energy "
        f"or units are wrong. Correct them, or go on with `{scale_options(found.factor, values)}`, "
        "or with the stated positions by `--position-scale 1`"
    )


def scale_options(factor: float, values: str | None = None) -> str:
    """Options of `study import` that take a scale, and the reading of the pixels with it."""
    return ("" if values is None else f"--values {values} ") + f"--position-scale {factor:.4g}"


def describe_scale(found: Scale) -> str:
    """The sentence of the manifest about a scale that is accepted."""
    low, high = (f"{each:.3g}" for each in found.equal)
    if found.wrong or found.doubtful:
        return (
            f"warning: positions times {found.factor:.3g} fit better (misfit {found.misfit:.3f}, "
            f"as stated {found.stated_misfit:.3f}); check pixel size, distance, energy and units"
        )
    if low == high:
        return "scale of the positions: as stated; no other factor that was tried fits as well"
    return f"scale of the positions: as stated; factors from {low} to {high} fit equally well"


def stretched(scan: TrialScan, factor: float) -> TrialScan:
    """The scan with all positions times `factor`."""
    return replace(scan, positions_px=scan.positions_px * factor)


def find_scales(
    scan: TrialScan, conventions: Sequence[Convention]
) -> tuple[Convention, Scale] | None:
    """The first convention and its scale, or another one that fits clearly better at its own scale.

    At a wrong scale the search for the conventions may prefer the wrong reading of the pixels.
    None where the first cannot be compared. `stated_misfit` is always that of the first.
    """
    found = [(each, find_scale(scan, each)) for each in conventions]
    first = found[0][1]
    if first is None:
        return None
    chosen, best = conventions[0], first
    for convention, scale in found[1:]:
        if scale is not None and scale.wrong and scale.misfit < CLEARLY * best.misfit:
            chosen, best = convention, replace(scale, stated_misfit=first.stated_misfit)
    return chosen, _polished(scan, chosen, best) if best.wrong else best


def find_scale(scan: TrialScan, convention: Convention) -> Scale | None:
    """The scale that fits the patterns nearest to the middle best; None: nothing to compare."""
    prepared = Trial(scan).prepared(convention)
    if prepared is None:
        return None
    coarse = {
        factor: misfit_at(prepared, factor, COARSE_PASSES)
        for factor in COARSE
        if _comparable(prepared, factor)
    }
    if not np.isfinite(coarse[1.0]):
        return None
    best = min(coarse, key=lambda factor: coarse[factor])
    fine: dict[float, float] = {}

    def at(factor: float) -> float:
        if not _comparable(prepared, factor):
            return np.inf
        if factor not in fine:
            fine[factor] = misfit_at(prepared, factor, PASSES)
        return fine[factor]

    at(1.0)
    for start in {1.0, best if coarse[best] < CLEARLY * coarse[1.0] else 1.0}:
        _descend(at, start)
    # Between the factors tried, the parabola through the best three has its lowest point.
    at(_vertex(fine, min(fine, key=lambda factor: fine[factor])))
    found = min(fine, key=lambda factor: fine[factor])
    equal = [factor for factor, misfit in fine.items() if misfit <= EQUAL * fine[found]]
    return Scale(found, fine[found], fine[1.0], (min(equal), max(equal)))


def _polished(scan: TrialScan, convention: Convention, found: Scale) -> Scale:
    """The factor that a refusal states, from longer fits: their misfit is smooth within 1 %."""
    prepared = Trial(scan).prepared(convention)
    if prepared is None:
        return found
    tried = {
        found.factor * change: misfit_at(prepared, found.factor * change, POLISH_PASSES)
        for change in POLISH
    }
    return replace(found, factor=_vertex(tried, min(tried, key=lambda factor: tried[factor])))


def _descend(at: Callable[[float], float], start: float) -> None:
    """Try neighbours until the lowest misfit has one on both sides."""
    here = start
    for _ in range(MOST_STEPS):
        lower, upper = here / STEP, here * STEP
        if at(here) <= min(at(lower), at(upper)):
            return
        here = lower if at(lower) < at(upper) else upper


def _vertex(fine: dict[float, float], best: float) -> float:
    """The factor at the lowest point of the parabola through the best and its two neighbours."""
    finite = [factor for factor, misfit in fine.items() if np.isfinite(misfit)]
    below = [factor for factor in finite if factor < best]
    above = [factor for factor in finite if factor > best]
    if not below or not above:
        return best
    factors = np.array([max(below), best, min(above)])
    misfits = np.array([fine[each] for each in factors])
    square, linear, _ = np.polyfit(factors - best, misfits, 2)
    if not square > 0:
        return best
    return float(np.clip(best - linear / (2 * square), factors[0], factors[2]))


def _comparable(prepared: Prepared, factor: float) -> bool:
    """Whether windows overlap enough at `factor`: patterns without overlap fit any object."""
    return factor <= 1 or overlap(prepared, factor) >= LEAST_OVERLAP


def overlap(prepared: Prepared, factor: float) -> float:
    """How many windows light a place of the object, on average over the light; 1: no overlap.

    Area of the probe times the number of patterns, over the area that they light together. Areas
    are participation ratios, (sum I)^2 / sum I^2.
    """
    m = prepared.amplitude.shape[-1]
    light = np.abs(prepared.probe) ** 2
    corners = np.round((prepared.places_px - prepared.places_px.min(axis=0)) * factor).astype(int)
    together = np.zeros(corners.max(axis=0) + m)
    for y, x in corners:
        together[y : y + m, x : x + m] += light
    one = light.sum() ** 2 / np.sum(light**2)
    return float(len(corners) * one * np.sum(together**2) / together.sum() ** 2)


def misfit_at(prepared: Prepared, factor: float, passes: int) -> float:
    """R-factor met during the last of a few rPIE passes with positions times `factor`."""
    return fit_at(prepared, factor, passes)[0]


def fit_at(
    prepared: Prepared, factor: float, passes: int
) -> tuple[float, Complex[np.ndarray, "m m"]]:
    """Misfit and probe after a few rPIE passes with positions times `factor`.

    The misfit is the R-factor met during the last pass, infinite where it is not finite. Windows
    are cut at whole pixels; the probe carries the rest of the position as a phase ramp of its
    spectrum. The probe moves from the second pass on.
    """
    m = prepared.amplitude.shape[-1]
    places = prepared.places_px * factor
    places = places - places.min(axis=0)
    corners = np.round(places).astype(int)
    ramps = _ramps(places - corners, m)
    obj = np.ones(corners.max(axis=0) + m, np.complex64)
    spectrum = fft2(prepared.probe)
    generator = np.random.default_rng(0)
    total = float(prepared.amplitude.sum(dtype=np.float64))
    residual = 0.0
    for step in range(passes):
        residual = 0.0
        for index in generator.permutation(len(corners)):
            y, x = corners[index]
            window = obj[y : y + m, x : x + m]
            probe = ifft2(spectrum * ramps[index])
            field = fft2(probe * window)
            modulus = np.abs(field)
            wrong = (prepared.amplitude[index] - modulus) * prepared.known
            residual += float(np.abs(wrong).sum())
            change = ifft2(field * (wrong / (modulus + 1e-6)))
            light = np.abs(probe) ** 2
            damped = (1 - DAMPING) * light + DAMPING * light.max() + 1e-12
            before = window.copy()
            window += np.conj(probe) / damped * change
            if step:
                spectrum = spectrum + fft2(weight(before) * change) * ramps[index].conj()
    misfit = residual / max(total, 1e-300)
    return (misfit if np.isfinite(misfit) else np.inf), ifft2(spectrum)


def _ramps(rest: Float64[np.ndarray, "J 2"], m: int) -> np.ndarray:
    """Phase ramps (J, m, m) that move a probe by `rest` (y, x) px."""
    frequency = -2j * np.pi * scipy.fft.fftfreq(m)
    rows, columns = np.exp(rest[:, :1] * frequency), np.exp(rest[:, 1:] * frequency)
    return (rows[:, :, None] * columns[:, None, :]).astype(np.complex64)

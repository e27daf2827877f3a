"""Conventions that files do not state, found together by fitting the scan.

Counts or amplitudes, where the zero frequency is, and how frames and positions are oriented
relative to each other: with the right choice neighbouring patterns agree on the object, so a short
ePIE run (Maiden & Rodenburg, Ultramicroscopy 109, 1256, 2009) fits the data better. Every
combination is tried on the patterns nearest to the middle of the scan (low frequencies only), the
best ones again with more passes.

Symmetries
- Moving frames, positions and probe together changes nothing but the orientation of the object. So
  the axes of the positions are taken as given and the orientation of the frames relative to them is
  searched. The probe of the file may belong to either: both are tried, and where the probe moves
  with the frames it is the positions that are read otherwise.
- Frames turned by 180 degrees fit the conjugate of object and probe. The probe that is given
  decides between the two as far as it differs from its own twin.
- A shift of the pattern is a phase ramp of the probe. The spectrum of the given probe says where
  the direct beam should be.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Complex, Complex64, Float64

from study.formats.frames import Frames
from study.formats.measured import Values, ZeroFrequency
from study.formats.orientation import (
    ALL_AXES,
    AS_STORED,
    ORIENTATIONS,
    Axes,
    inverse,
    matrix,
    turn,
)
from study.formats.trial import Convention, Trial, TrialScan, fft2, ifft2, wrapped

COARSE_PASSES, FINE_PASSES, FINE = 3, 8, 4
# The best combination counts as found when its misfit is this far below that of any other, and when
# it explains the patterns at all.
CLEARLY, LARGEST_MISFIT = 0.9, 0.6
ROTATIONS = (-8.0, -4.0, -2.0, 2.0, 4.0, 8.0)  # degrees
# A plainer reading of the same solution is kept unless another is this far below it.
SIMPLER = 0.93
SAME_PROBE = 0.98  # correlation above which two orientations of a probe are one


@dataclass(frozen=True)
class Fit:
    """A convention and its misfit: the R-factor met during the last pass."""

    convention: Convention
    misfit: float


@dataclass(frozen=True)
class Given:
    """What the user has fixed; None: find it."""

    values: Values | None = None
    shift: tuple[int, int] | None = None
    zero_frequency: ZeroFrequency | None = None
    frames: Axes | None = None
    positions: Axes | None = None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to search."""
        return None not in (self.values, self.shift, self.frames, self.positions)


# --- what single properties say ---------------------------------------------------------------


def detect_values(patterns: Frames) -> Values | None:
    """Amplitudes of counts where squares are whole and values are not; counts for any whole
    numbers; None when the pixels alone do not decide. NaN and negative pixels are not looked at."""
    sample = patterns[:: max(1, len(patterns) // 64)].astype(np.float64)
    sample = sample[np.isfinite(sample) & (sample >= 0)]
    if np.array_equal(sample, np.round(sample)):
        return "counts"
    # Bright squares lose their last digits in float32; faint ones tell.
    squares = sample[sample < 100] ** 2
    whole = np.abs(squares - np.round(squares)) < 1e-3
    return "amplitudes" if whole.all() else None


def possible_values(patterns: Frames) -> tuple[Values, ...]:
    """Readings of the pixels that a fit has to decide between, the likelier one first.

    Whole numbers may be counts or rounded amplitudes; roots of whole numbers are amplitudes.
    """
    found = detect_values(patterns)
    if found == "amplitudes":
        return ("amplitudes",)
    return ("counts", "amplitudes")


def typical(patterns: Frames) -> Float64[np.ndarray, "n n"]:
    """Median over up to 64 patterns: no single frame moves it."""
    some = patterns[:: max(1, len(patterns) // 64)].astype(np.float64)
    middle = np.median(some, axis=0)
    # Photons so rare that most pixels are dark: the mean, with the brightest frame left out.
    if np.count_nonzero(middle) < 0.01 * middle.size and len(some) > 2:
        return (some.sum(axis=0) - some.max(axis=0)) / (len(some) - 1)
    return middle


def possible_shifts(scan: TrialScan, values: Values, limits: Given) -> list[tuple[int, int]]:
    """Shifts to try: none, by half, and where the spectrum of the probe is found in the data."""
    n = len(scan.known)
    middle = typical(scan.patterns)
    middle = np.sqrt(middle) if values == "counts" else middle
    weight = np.where(scan.known, middle - middle[scan.known].mean(), 0.0)
    expected = np.abs(fft2(np.fft.ifftshift(scan.probe)))
    expected = np.fft.fftshift(expected) - expected.mean()
    # Zero lag is at the origin: the beam is where it should be.
    lag = np.real(ifft2(fft2(weight) * fft2(expected).conj()))
    at = np.unravel_index(int(lag.argmax()), lag.shape)
    found = (wrapped(-int(at[0]), n), wrapped(-int(at[1]), n))
    plain = {"centre": (0, 0), "corner": (n // 2, n // 2)}
    tried = [plain["centre"], plain["corner"]]
    if all(
        max(abs(wrapped(a - b, n)) for a, b in zip(found, each, strict=True)) > 1 for each in tried
    ):
        tried.append(found)
    if limits.zero_frequency is not None:
        wanted = limits.zero_frequency
        tried = [s for s in tried if Convention("counts", s).zero_frequency(n) == wanted]
    return tried


# --- orientations -----------------------------------------------------------------------------


def similarity(a: Complex[np.ndarray, "n n"], b: Complex[np.ndarray, "n n"]) -> float:
    """|correlation| of two fields at the shift that fits best: 1 where they are one field."""
    product = fft2(a) * fft2(b).conj()
    size = np.linalg.norm(a) * np.linalg.norm(b)
    # A unitary transform of a product is the correlation over n.
    return float(len(a) * np.abs(ifft2(product)).max() / max(float(size), 1e-300))


def distinct_turns(probe: Complex[np.ndarray, "n n"]) -> list[Axes]:
    """Orientations of a probe that differ, `AS_STORED` first."""
    found: list[Axes] = []
    for axes in ALL_AXES:
        moved = turn(probe, axes)
        if all(similarity(moved, turn(probe, other)) < SAME_PROBE for other in found):
            found.append(axes)
    return found


def twins(a: Convention, b: Convention, n: int) -> bool:
    """Whether one is the other with frames turned by 180 degrees, or with a shift of few pixels.

    The first is object and probe conjugated, the second a phase ramp of the probe: both describe
    the same object where they fit equally well.
    """
    half = matrix(("yx", "both"))
    relative = [matrix(inverse(each.positions)) @ matrix(each.frames) for each in (a, b)]
    turned = np.array_equal(relative[0], relative[1]) or np.array_equal(
        relative[0], half @ relative[1]
    )
    near = a.zero_frequency(n) == b.zero_frequency(n)
    return turned and near and a.values == b.values


# --- the search -------------------------------------------------------------------------------


def search(scan: TrialScan, limits: Given) -> list[Fit]:
    """Conventions with their misfits, the best first.

    Coarse: values, shift and orientation of the frames together. Fine: the best of them with every
    orientation of the probe, and more passes. Fits of the coarse search follow those of the fine.
    """
    tried = Trial(scan)
    coarse = [Fit(each, tried.misfit(each, COARSE_PASSES)) for each in conventions(scan, limits)]
    coarse.sort(key=lambda fit: fit.misfit)
    leaders = [fit for fit in coarse[:FINE] if fit.misfit <= 2 * coarse[0].misfit]
    turns = distinct_turns(scan.probe)
    fine = [_settled(leader.convention, turns, tried) for leader in leaders]
    fine.sort(key=lambda fit: fit.misfit)
    free = limits.frames is None and limits.positions is None
    plain = [
        replace(fit, convention=_plainest(fit.convention, scan.probe)) if free else fit
        for fit in fine
    ]
    return [*plain, *coarse[len(leaders) :]]


def _settled(found: Convention, turns: Sequence[Axes], tried: Trial) -> Fit:
    """A reading with the orientation of the probe and the beam offset that fit it best.

    The probe as stored, the probe that moves with the frames, and no offset go first: something
    else has to fit clearly better. They are compared after few passes, before the probe of a wrong
    orientation has been corrected by the fit.
    """
    n = len(tried.scan.known)
    y, x = found.offset(n)
    shifts = [found.shift]
    if y or x:
        shifts.insert(0, (found.shift[0] + y, found.shift[1] + x))
    moved = _equal_turn(found.frames, turns, tried.scan.probe)
    likely = [
        Fit(each, tried.misfit(each, COARSE_PASSES))
        for shift in shifts
        for each in (replace(found, shift=shift, probe=axes) for axes in {AS_STORED: 0, moved: 0})
    ]
    unlikely = [
        Fit(each, tried.misfit(each, COARSE_PASSES))
        for each in (replace(found, probe=axes) for axes in turns if axes not in (AS_STORED, moved))
    ]
    best = min((fit.misfit for fit in (*likely, *unlikely)), default=np.inf)
    # No offset before an offset; of the two probes in one place, the better one.
    for some in (likely[: len(likely) // len(shifts)], likely, unlikely):
        chosen = min(some, key=lambda fit: fit.misfit, default=None)
        if chosen is not None and best >= SIMPLER * chosen.misfit:
            return Fit(chosen.convention, tried.misfit(chosen.convention, FINE_PASSES))
    return Fit(found, tried.misfit(found, FINE_PASSES))


def _equal_turn(wanted: Axes, turns: Sequence[Axes], probe: Complex[np.ndarray, "n n"]) -> Axes:
    """The first of the distinct turns of a probe that looks like `wanted`."""
    moved = turn(probe, wanted)
    return next(
        (axes for axes in turns if similarity(moved, turn(probe, axes)) >= SAME_PROBE), wanted
    )


def conventions(scan: TrialScan, limits: Given) -> Iterator[Convention]:
    """Every reading that the limits leave. Moving the frames covers what moving the positions does,
    so that positions move only where the orientation of the frames is given."""
    readings = possible_values(scan.patterns) if limits.values is None else (limits.values,)
    frames = ALL_AXES if limits.frames is None else (limits.frames,)
    positions = (AS_STORED,) if limits.frames is None else ALL_AXES
    positions = positions if limits.positions is None else (limits.positions,)
    for values in readings:
        shifts = (
            [limits.shift] if limits.shift is not None else possible_shifts(scan, values, limits)
        )
        for shift, axes, places in itertools.product(shifts, frames, positions):
            yield Convention(values, shift, axes, AS_STORED, places)


def _plainest(found: Convention, probe: Complex[np.ndarray, "n n"]) -> Convention:
    """The same reading with the fewest things moved.

    Where the probe of the file moves with the frames, it is the positions that are read otherwise.
    Where it looks the same when moved, the axes of the positions are taken as given.
    """
    moved = turn(probe, found.probe)
    with_frames = similarity(moved, turn(probe, found.frames))
    if found.frames != AS_STORED and with_frames >= SAME_PROBE > similarity(moved, probe):
        return replace(found, frames=AS_STORED, probe=AS_STORED, positions=inverse(found.frames))
    return found


def choices(fits: Sequence[Fit], n: int) -> list[Fit]:
    """The best fit of each of the three best solutions."""
    found: list[Fit] = []
    for fit in fits:
        if not any(twins(fit.convention, other.convention, n) for other in found):
            found.append(fit)
    return found[:3]


def clear(fits: Sequence[Fit], n: int, searched: bool = True) -> tuple[bool, Fit | None]:
    """Whether the first fit is the one, and the best of those that are another solution.

    Not `searched`: all was given, and no fit is asked for.
    """
    table = choices(fits, n)
    best, rival = table[0], table[1] if len(table) > 1 else None
    if not searched:
        return True, rival
    margin = rival is None or best.misfit <= CLEARLY * rival.misfit
    return best.misfit <= LARGEST_MISFIT and margin, rival


def options(convention: Convention, n: int) -> str:
    """The options of `study import` that fix a convention."""
    frames = next(name for name, axes in ORIENTATIONS.items() if axes == convention.frames)
    order, flip = convention.positions
    y, x = convention.offset(n)
    offset = f" --beam-offset {y} {x}" if y or x else ""
    return (
        f"--values {convention.values} --zero-frequency {convention.zero_frequency(n)}{offset} "
        f"--frame-orientation {frames} --position-order {order} --position-flip {flip}"
    )


def difference(one: Convention, other: Convention, n: int) -> list[str]:
    """What `one` reads otherwise than `other`, in the words of the options."""
    parts = [text.split("--")[1:] for text in (options(one, n), options(other, n))]
    return [part.strip() for part in parts[0] if part.strip() not in map(str.strip, parts[1])]


def preview(scan: TrialScan, convention: Convention) -> Complex64[np.ndarray, "h w"]:
    """The object that a short fit in one convention gives, at the resolution of the search.

    From the patterns nearest to the middle of the scan; empty where nothing can be compared.
    """
    return Trial(scan).fit(convention, FINE_PASSES)[1]


def unclear(table: Sequence[Fit], n: int, where: Path) -> str:
    """The refusal of a scan whose conventions the data do not decide: best readings, options."""
    best = table[0].misfit
    lines = [
        f"  {row}  misfit {fit.misfit:.3f}  {options(fit.convention, n)}"
        for row, fit in enumerate(table, start=1)
    ]
    why = (
        f"none explains the patterns (a misfit up to {LARGEST_MISFIT:g} would)"
        if not best <= LARGEST_MISFIT
        else f"the best is not clearly better than the next (at least {1 - CLEARLY:.0%} is asked)"
    )
    return "\n".join(
        [
            f"the conventions of {where} are not clear from its data: {why}. Best readings:",
            *lines,
            "Check probe, positions (units, axes) and energy; or go on with `--accept N`, or with "
            "the options of a row",
        ]
    )


@dataclass(frozen=True)
class Turned:
    """A rotation of the positions that fits better."""

    degrees: float
    misfit: float


def rotation(scan: TrialScan, best: Fit) -> Turned | None:
    """The rotation of the scan axes that fits clearly better than none, if any of a few does."""
    tried = Trial(scan)
    if not np.isfinite(best.misfit):
        return None
    plain = tried.misfit(best.convention, COARSE_PASSES)
    fits = [Turned(a, tried.misfit(best.convention, COARSE_PASSES, a)) for a in ROTATIONS]
    found = min(fits, key=lambda each: each.misfit)
    return found if found.misfit < CLEARLY * plain else None

"""Pixels and frames that measure nothing, found in the patterns themselves and left out.

invalid   NaN, infinite, flags (-1, -2), and the largest number of 16, 31 or 32 bits or of the type
dead      never any photon, between pixels that see light in most frames
hot       far brighter than all but two neighbours in the median frame, or stuck at one value
cosmic    the same in one frame, where the pixel is dark otherwise
frames    without light, or with more than a tenth of their pixels invalid

One mask serves all patterns of a data set, so a pixel that is bad in one frame is masked in all.
Medians over frames and comparisons with neighbours are not moved by single outliers. All patterns
are gone through block by block (`study.formats.survey`); the median is that of frames spread over
the scan where all of them would not fit into the memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import scipy.ndimage
import scipy.stats
from jaxtyping import Bool, Float, Float64, Int64

from study.formats.frames import Derived, Frames, block_length, derived
from study.formats.survey import SEEN, Progress, Survey, bad_in_most, first_guess, survey
from study.settings import UserError

BAD_FRAME = 0.1  # of its pixels invalid: the frame is left out
EMPTY_SHARE = 1e-2  # of the median light: a frame with less has none
SPIKE = 10.0  # times the third-brightest neighbour
GAP_PX = 40  # widest run of dead pixels that is bridged
MOST_MASKED = 0.5  # of all pixels
MOST_EXACT = 8  # pixels that are listed by their coordinates
FEW_FRAMES = 8  # fewer do not tell a stuck pixel from a bright one
MEDIAN_PIXELS = 2**24  # of frames that a median is taken of
SATURATED_PIXELS, SATURATED_VALUE = 3, 20  # fewer pixels, or photons, share a maximum by chance
STEADY, LIGHT_CHANGE = 0.9, 1.3  # rank correlation with time, and factor, of a drift of the light


@dataclass(frozen=True)
class Cleaned:
    """`patterns` (K, n, n) of the frames kept, zero at pixels that are not `known` (n, n), computed
    when they are asked for.

    `frames`: the indices kept; `notes`: sentences for the manifest.
    """

    patterns: Frames
    known: Bool[np.ndarray, "n n"]
    frames: Int64[np.ndarray, " K"]
    notes: tuple[str, ...]


def clean(
    patterns: Frames,
    given: Frames | None,
    most_left_out: float,
    where: Path,
    progress: Progress | None = None,
) -> Cleaned:
    """Patterns without bad frames, and the mask of pixels that count.

    `given`: bad pixels as the file or the user states them, (n, n) or per pattern (J, n, n).
    `most_left_out`: share of the frames that may be left out. `progress("reading", patterns done,
    all)`. Raises UserError when more would have to go, when half of the pixels would be masked, and
    for negative pixels that are not flags.
    """
    found, kinds, notes = _surveyed(patterns, given, most_left_out, where, progress)
    frames = np.flatnonzero(found.assumed.kept)
    hidden = found.hidden
    pixels = {
        "masked in the file or by --mask": found.given,
        f"invalid ({', '.join(kinds)})": hidden & ~found.given,
    }
    pixels |= _outliers(patterns, frames, found)
    bad = np.any(list(pixels.values()), axis=0)
    if bad.mean() > MOST_MASKED:
        raise UserError(
            f"{int(bad.sum())} of {bad.size} pixels of the patterns in {where} would be masked "
            f"({_counts(pixels)}); at most half may be: crop the patterns, or correct the mask"
        )
    cleaned = without(patterns, bad).chosen(frames)
    warnings = (*_saturation(found, ~bad), *_drift_of_light(found.light[frames]))
    return Cleaned(cleaned, ~bad, frames, (*notes, *_sentences(pixels), *warnings))


def without(patterns: Frames, bad: Bool[np.ndarray, "n n"]) -> Derived:
    """The patterns with zeros at the pixels `bad`."""
    zero = patterns.dtype.type(0)
    return derived(patterns, lambda block: np.where(bad, zero, block))


def with_mask_of(given: Frames | None, added: Bool[np.ndarray, "n n"]) -> Frames:
    """Bad pixels of a scan, (n, n) or (J, n, n) or none, and those `added` for all patterns."""
    if given is None:
        return added
    if isinstance(given, np.ndarray):
        return given | added
    return derived(given, lambda block: block | added)


# --- frames -----------------------------------------------------------------------------------


def _surveyed(
    patterns: Frames,
    given: Frames | None,
    most_left_out: float,
    where: Path,
    progress: Progress | None,
) -> tuple[Survey, list[str], tuple[str, ...]]:
    """Counts that agree with what they assume, kinds of invalid values, sentences about frames."""
    assumed = first_guess(patterns, given)
    while True:
        found = survey(patterns, given, assumed, progress)
        kinds = found.kinds(where)
        # Each of the three follows from those before it, so that this ends after three changes.
        counts = found.found.difference(found.flags)
        always = bad_in_most(found)
        if counts:
            flags = tuple(flag for flag in assumed.flags if flag not in counts)
            assumed = replace(assumed, flags=flags)
        elif not np.array_equal(always, assumed.always):
            assumed = replace(assumed, always=always)
        else:
            kept, notes = _frames(found, most_left_out, where)
            if np.array_equal(kept, assumed.kept):
                return found, kinds, notes
            assumed = replace(assumed, kept=kept)


def _frames(
    found: Survey, most_left_out: float, where: Path
) -> tuple[Bool[np.ndarray, " J"], tuple[str, ...]]:
    """Frames to keep, and notes about the others."""
    light, torn = found.light, found.single > BAD_FRAME
    if not light.any():
        raise UserError(f"no pixel of {where} that is not masked has light; check the mask")
    level = np.median(light[light > 0]) if (light > 0).any() else 0.0
    empty = ~torn & (light <= EMPTY_SHARE * level)
    left_out = torn | empty
    if left_out.mean() > most_left_out:
        raise UserError(
            f"{int(left_out.sum())} of {len(light)} patterns in {where} are unusable "
            f"({int(empty.sum())} without light, {int(torn.sum())} with invalid pixels; first: "
            f"pattern {int(left_out.argmax())}); at most {most_left_out:.0%} are left out: check "
            "the file, or allow more with `--left-out`"
        )
    notes = [
        f"left out: {int(chosen.sum())} patterns {why} ({_listed(np.flatnonzero(chosen))})"
        for chosen, why in ((empty, "without light"), (torn, "with invalid pixels"))
        if chosen.any()
    ]
    return ~left_out, tuple(notes)


def _saturation(found: Survey, known: Bool[np.ndarray, "n n"]) -> tuple[str, ...]:
    """A warning where several pixels reach the same largest value, each in `TOP` frames or more."""
    top = found.highest[0][known].max(initial=0)
    at_top = known & np.all(found.highest == top, axis=0)
    if top < SATURATED_VALUE or at_top.sum() < SATURATED_PIXELS:
        return ()
    return (
        f"warning: {int(at_top.sum())} pixels reach the largest value, {top:g}, in several frames: "
        "the detector may saturate there; mask these pixels with --mask",
    )


def _drift_of_light(light: Float64[np.ndarray, " K"]) -> tuple[str, ...]:
    """A warning where the light of the frames rises or falls steadily during the scan."""
    ends = max(len(light) // 10, 1)
    if len(light) < 2 * FEW_FRAMES or np.ptp(light) == 0:
        return ()
    factor = float(np.median(light[-ends:]) / np.median(light[:ends]))
    steady = abs(np.corrcoef(np.arange(len(light)), scipy.stats.rankdata(light))[0, 1])
    if steady < STEADY or max(factor, 1 / factor) < LIGHT_CHANGE:
        return ()
    return (
        f"warning: the light of the frames changes steadily, by a factor of {factor:.2f} from the "
        "first to the last: divide by the intensity of the beam where that is the cause",
    )


# --- what differs from its surroundings -------------------------------------------------------


def _outliers(
    patterns: Frames, frames: Int64[np.ndarray, " K"], found: Survey
) -> dict[str, Bool[np.ndarray, "n n"]]:
    """Dead, hot and hit pixels among those that are not hidden."""
    hidden = found.hidden
    seen = np.where(hidden, 0, found.seen) / len(frames)
    lit = found.least[(seen > 0) & np.isfinite(found.least)]
    least = float(lit.min()) if lit.size else 0.0  # one photon, where pixels are counts
    spread = max(1, -(-len(frames) * hidden.size // MEDIAN_PIXELS))
    some = without(patterns, hidden)[frames[::spread]]
    middle = np.median(some, axis=0).astype(np.float64)
    known = ~hidden
    hot = known & (middle > SPIKE * (_third_neighbour(middle[None], known)[0] + least))
    if len(frames) < FEW_FRAMES:
        return {"dead": known & False, "hot": hot, "hit in single frames": known & False}
    hot |= known & _stuck(found, seen)
    dead = known & (seen == 0) & _bridged(seen, known)
    hit = _hit(patterns, found, known & ~hot, least)
    return {"dead": dead, "hot": hot, "hit in single frames": hit}


def _stuck(found: Survey, seen: Float[np.ndarray, "n n"]) -> Bool[np.ndarray, "n n"]:
    """One value above zero in all frames, while most pixels that see light vary."""
    same = (found.lowest == found.highest[0]) & (seen > 0)
    return same if same.sum() < 0.01 * max(1, int((seen > 0).sum())) + 1 else same & False


def _third_neighbour(
    frames: Float[np.ndarray, "k n n"], known: Bool[np.ndarray, "n n"]
) -> Float[np.ndarray, "k n n"]:
    """The third-brightest of the eight neighbours: a peak of a sampled pattern has more."""
    # Unknown neighbours may be bright. Patterns are periodic: the beam may be in the corner.
    padded = np.pad(np.where(known, frames, np.inf), ((0, 0), (1, 1), (1, 1)), mode="wrap")
    n = frames.shape[-1]
    around = [
        padded[:, 1 + y : 1 + y + n, 1 + x : 1 + x + n]
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
        if (y, x) != (0, 0)
    ]
    return np.partition(np.stack(around), 5, axis=0)[5]


def _hit(
    patterns: Frames, found: Survey, known: Bool[np.ndarray, "n n"], least: float
) -> Bool[np.ndarray, "n n"]:
    """Pixels that a cosmic ray hit in some frame: a spike there, far above their other frames.

    The third-highest value of a pixel over all frames is not moved by two hits, and only the two
    above it can be far above it.
    """
    level = SPIKE * (found.highest[2].astype(np.float64) + least)
    rank, y, x = np.nonzero((found.highest[:2] > level) & known)
    frame = found.where[rank, y, x]
    result = np.zeros(known.shape, bool)
    every = np.unique(frame)
    cleaned = without(patterns, found.hidden)
    step = block_length(patterns.shape[1:])
    for start in range(0, len(every), step):
        some = every[start : start + step]
        for number, image in zip(some.tolist(), cleaned[some].astype(np.float64), strict=True):
            at = frame == number
            spike = image > SPIKE * (_third_neighbour(image[None], known)[0] + least)
            result[y[at], x[at]] |= spike[y[at], x[at]]
    return result


def _bridged(
    seen: Float[np.ndarray, "n n"], known: Bool[np.ndarray, "n n"]
) -> Bool[np.ndarray, "n n"]:
    """Pixels between two living ones of their row, or of their column, not far apart."""
    alive = (seen > SEEN) & known
    width = min(GAP_PX, len(seen) // 4) + 1
    result = np.zeros(seen.shape, bool)
    for axis in (0, 1):
        line = np.ones((width + 1, 1) if axis == 0 else (1, width + 1), bool)
        # A closing fills what is narrower than the line between living pixels.
        padded = np.pad(alive, width)
        closed = scipy.ndimage.binary_closing(padded, line)[width:-width, width:-width]
        dark = scipy.ndimage.binary_closing(np.pad(seen > 0, width), line)[
            width:-width, width:-width
        ]
        result |= np.asarray(closed, bool) & np.asarray(dark, bool) & (seen == 0)
    return result


# --- words ------------------------------------------------------------------------------------


def _sentences(found: Mapping[str, Bool[np.ndarray, "n n"]]) -> list[str]:
    taken = np.zeros(next(iter(found.values())).shape, bool)
    notes = []
    for kind, pixels in found.items():
        new = pixels & ~taken
        taken |= pixels
        if new.any():
            notes.append(f"bad pixels: {int(new.sum())} {kind}{_where(new)}")
    return notes


def _where(pixels: Bool[np.ndarray, "n n"]) -> str:
    places = np.argwhere(pixels)
    shown = ", ".join(f"({y}, {x})" for y, x in places[:MOST_EXACT].tolist())
    more = ", ..." if len(places) > MOST_EXACT else ""
    return f", at (row, column) {shown}{more}"


def _counts(found: Mapping[str, Bool[np.ndarray, "n n"]]) -> str:
    return ", ".join(
        f"{int(pixels.sum())} {kind}" for kind, pixels in found.items() if pixels.any()
    )


def _listed(index: Int64[np.ndarray, " k"]) -> str:
    shown = ", ".join(map(str, index[:MOST_EXACT].tolist()))
    return shown + (", ..." if len(index) > MOST_EXACT else "")

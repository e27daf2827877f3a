"""Pixels and frames that measure nothing, found in the patterns themselves and left out.

invalid   NaN, infinite, flags (-1, -2), and the largest number of 16, 31 or 32 bits or of the type
dead      never any photon, between pixels that see light in most frames
hot       far brighter than all but two neighbours in the median frame, or stuck at one value
cosmic    the same in one frame, where the pixel is dark otherwise
frames    without light, or with more than a tenth of their pixels invalid

One mask serves all patterns of a data set, so a pixel that is bad in one frame is masked in all.
Medians over frames and comparisons with neighbours are not moved by single outliers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float, Int64

from study.settings import UserError

FLAGS = (2**16 - 1, 2**31 - 1, 2**32 - 1)
# Of a module's own reading, not of a flag: 255 photons are common.
SMALLEST_FLAG = 2**16 - 1
BAD_FRAME = 0.1  # of its pixels invalid: the frame is left out
EMPTY_SHARE = 1e-2  # of the median light: a frame with less has none
SPIKE = 10.0  # times the third-brightest neighbour
SEEN = 0.5  # of the frames: a pixel that sees light in so many is alive
GAP_PX = 40  # widest run of dead pixels that is bridged
MOST_MASKED = 0.5  # of all pixels
MOST_EXACT = 8  # pixels that are listed by their coordinates
FEW_FRAMES = 8  # fewer do not tell a stuck pixel from a bright one


@dataclass(frozen=True)
class Cleaned:
    """`patterns` (K, n, n) of the frames kept, zero at pixels that are not `known` (n, n).

    `frames`: the indices kept; `said`: sentences for the manifest.
    """

    patterns: np.ndarray
    known: Bool[np.ndarray, "n n"]
    frames: Int64[np.ndarray, " K"]
    said: tuple[str, ...]


def clean(
    patterns: np.ndarray,
    given: Bool[np.ndarray, "*J n n"] | None,
    most_left_out: float,
    where: Path,
) -> Cleaned:
    """Patterns without bad frames, and the mask of pixels that count.

    `given`: bad pixels as the file or the user states them, per pattern or for all.
    `most_left_out`: share of the frames that may be left out. Raises UserError when
    more would have to go, when half of the pixels would be masked, and for negative
    pixels that are not flags.
    """
    invalid, kinds = _invalid(patterns, where)
    if given is not None:
        invalid |= given
    always = _often(invalid)
    frames, said = _frames(patterns, invalid & ~always, always, most_left_out, where)
    patterns, invalid = patterns[frames], invalid[frames]
    hidden = np.asarray(invalid.any(axis=0))
    stated = np.zeros_like(hidden) if given is None else _in_all(given, frames)
    found = {
        "masked in the file or by --mask": stated,
        f"invalid ({', '.join(kinds)})": hidden & ~stated,
    }
    patterns = np.where(hidden, patterns.dtype.type(0), patterns)
    found |= _outliers(patterns, hidden)
    bad = np.any(list(found.values()), axis=0)
    if bad.mean() > MOST_MASKED:
        raise UserError(
            f"{int(bad.sum())} of {bad.size} pixels of the patterns in {where} would be masked "
            f"({_counts(found)}); at most half may be: crop the patterns, or correct the mask"
        )
    patterns = np.where(bad, patterns.dtype.type(0), patterns)
    return Cleaned(patterns, ~bad, frames, (*said, *_sentences(found)))


# --- what is invalid --------------------------------------------------------------------------


def _invalid(patterns: np.ndarray, where: Path) -> tuple[Bool[np.ndarray, "J n n"], list[str]]:
    """Values that no detector reads, and their kinds. UserError for negative ones of many kinds."""
    bad = np.zeros(patterns.shape, bool)
    kinds: list[str] = []

    def add(name: str, chosen: np.ndarray) -> None:
        if chosen.any():
            kinds.append(name)
            bad[chosen] = True

    if patterns.dtype.kind == "f":
        add("NaN or infinite", ~np.isfinite(patterns))
    whole = patterns.dtype.kind in "iu"
    # As whole numbers: the largest of 64 bits is not a float.
    top = int(np.iinfo(patterns.dtype).max) if whole else float(np.finfo(patterns.dtype).max)
    flags = {flag for flag in FLAGS if flag <= top} | ({top} if whole else set())
    for value in sorted(flags, reverse=True):
        if value < SMALLEST_FLAG:
            continue
        chosen = patterns == patterns.dtype.type(value)
        # Below the type's largest number it is a count like others where brighter pixels are valid.
        with np.errstate(invalid="ignore"):
            brighter = chosen.any() and value < top and ((patterns > value) & ~bad).any()
        if not brighter:
            add(f"{value:.0f}", chosen)
    with np.errstate(invalid="ignore"):
        negative = patterns < 0
    if negative.any():
        values = np.unique(patterns[negative])
        if len(values) > 3 or not np.array_equal(values, np.round(values)):
            first = int(negative.any(axis=(1, 2)).argmax())
            raise UserError(
                f"{int(negative.any(axis=(1, 2)).sum())} of {len(patterns)} patterns in {where} "
                f"hold negative pixels (first: pattern {first}, lowest {values[0]:g}); counts are "
                "never negative and few whole numbers mark bad pixels: add back the background "
                "that was subtracted, or mask these pixels"
            )
        add(", ".join(f"{value:g}" for value in values), negative)
    return bad, kinds


def _often(invalid: Bool[np.ndarray, "J n n"]) -> Bool[np.ndarray, "n n"]:
    return np.asarray(invalid.mean(axis=0) >= SEEN)


def _in_all(
    given: Bool[np.ndarray, "*J n n"], frames: Int64[np.ndarray, " K"]
) -> Bool[np.ndarray, "n n"]:
    """Pixels that are bad in any of the frames kept."""
    return np.asarray(given[frames].any(axis=0) if given.ndim == 3 else given)


def _frames(
    patterns: np.ndarray,
    single: Bool[np.ndarray, "J n n"],
    always: Bool[np.ndarray, "n n"],
    most_left_out: float,
    where: Path,
) -> tuple[Int64[np.ndarray, " K"], tuple[str, ...]]:
    """Frames to keep, and what is said about the others."""
    torn = single.mean(axis=(1, 2)) > BAD_FRAME
    with np.errstate(invalid="ignore", over="ignore"):
        clipped = np.where(single | always, 0, patterns)
        light = clipped.sum(axis=(1, 2), dtype=np.float64)
    if not light.any():
        raise UserError(f"no pixel of {where} that is not masked has light; check the mask")
    level = np.median(light[light > 0]) if (light > 0).any() else 0.0
    empty = ~torn & (light <= EMPTY_SHARE * level)
    left_out = torn | empty
    if left_out.mean() > most_left_out:
        raise UserError(
            f"{int(left_out.sum())} of {len(patterns)} patterns in {where} are unusable "
            f"({int(empty.sum())} without light, {int(torn.sum())} with invalid pixels; first: "
            f"pattern {int(left_out.argmax())}); at most {most_left_out:.0%} are left out: check "
            "the file, or allow more with `--left-out`"
        )
    said = [
        f"left out: {int(chosen.sum())} patterns {why} ({_listed(np.flatnonzero(chosen))})"
        for chosen, why in ((empty, "without light"), (torn, "with invalid pixels"))
        if chosen.any()
    ]
    return np.flatnonzero(~left_out), tuple(said)


# --- what differs from its surroundings -------------------------------------------------------


def _outliers(
    patterns: np.ndarray, hidden: Bool[np.ndarray, "n n"]
) -> dict[str, Bool[np.ndarray, "n n"]]:
    """Dead, hot and hit pixels among those that are not hidden."""
    seen = (patterns > 0).mean(axis=0)
    lit = patterns[patterns > 0]
    least = float(lit.min()) if lit.size else 0.0  # one photon, where pixels are counts
    middle = np.median(patterns, axis=0).astype(np.float64)
    known = ~hidden
    hot = known & (middle > SPIKE * (_third_neighbour(middle[None], known)[0] + least))
    if len(patterns) >= FEW_FRAMES:
        hot |= known & _stuck(patterns, seen)
        dead = known & (seen == 0) & _bridged(seen, known)
    else:
        dead = known & False
    return {"dead": dead, "hot": hot, "hit in single frames": _hit(patterns, known & ~hot, least)}


def _stuck(patterns: np.ndarray, seen: Float[np.ndarray, "n n"]) -> Bool[np.ndarray, "n n"]:
    """One value above zero in all frames, while most pixels that see light vary."""
    same = (patterns == patterns[:1]).all(axis=0) & (seen > 0)
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
    patterns: np.ndarray, known: Bool[np.ndarray, "n n"], least: float
) -> Bool[np.ndarray, "n n"]:
    """Pixels that a cosmic ray hit in some frame: a spike there, far above their other frames."""
    found = np.zeros(known.shape, bool)
    if len(patterns) < FEW_FRAMES:
        return found
    # The third-highest value of a pixel over all frames: two hits do not move it.
    high = np.partition(patterns, len(patterns) - 3, axis=0)[-3]
    level = SPIKE * (high.astype(np.float64) + least)
    frame, y, x = np.nonzero((patterns > level) & known)
    for some in np.unique(frame):
        at = frame == some
        image = patterns[some].astype(np.float64)
        spike = image > SPIKE * (_third_neighbour(image[None], known)[0] + least)
        found[y[at], x[at]] |= spike[y[at], x[at]]
    return found


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
    said = []
    for kind, pixels in found.items():
        new = pixels & ~taken
        taken |= pixels
        if new.any():
            said.append(f"bad pixels: {int(new.sum())} {kind}{_where(new)}")
    return said


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

"""Which convention a scan has: given, found by the search, or refused with a table of readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Complex64

from study.formats.agreement import describe_fit
from study.formats.conventions import (
    LARGEST_MISFIT,
    Fit,
    Given,
    choices,
    clear,
    conventions,
    difference,
    options,
    preview,
    rotation,
    search,
    unclear,
)
from study.formats.import_options import Overrides
from study.formats.orientation import AS_STORED, ORIENTATIONS, inverse
from study.formats.scales import (
    describe_scale,
    find_scales,
    scale_options,
    stretched,
    wrong_scale,
)
from study.formats.trial import Convention, TrialScan
from study.settings import UserError


@dataclass(frozen=True)
class CleanScan:
    """Patterns without bad frames and pixels, as one of the ways in which a file may be read."""

    scan: TrialScan
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Candidate:
    """A row of the table of an unclear search; `options` are those of `study import`."""

    misfit: float
    options: str
    object: Complex64[np.ndarray, "h w"]


class Unclear(UserError):
    """The data do not decide the conventions: the message lists the best readings.

    `table`: misfit, options of `study import`, scan and convention of every row.
    """

    def __init__(
        self, message: str, table: Sequence[tuple[float, str, TrialScan, Convention]]
    ) -> None:
        super().__init__(message)
        self.table = table

    def readings(self) -> tuple[Candidate, ...]:
        """The rows of the table in its order, each with the object of a short fit."""
        return tuple(
            Candidate(misfit, given, preview(scan, convention))
            for misfit, given, scan, convention in self.table
        )


@dataclass(frozen=True)
class Decided:
    convention: Convention
    notes: tuple[str, ...]


def decide(
    usable: Sequence[CleanScan], overrides: Overrides, path: Path
) -> tuple[CleanScan, Decided]:
    """The reading of the file and the convention that fit; nothing is searched where all is given.

    Raises UserError, `Unclear` with the best readings, where the data do not decide.
    """
    n = len(usable[0].scan.known)
    limits = overrides.limits(n)
    if limits.complete and len(usable) == 1:
        chosen = next(conventions(usable[0].scan, limits))
        if overrides.position_scale is not None:
            notes = _scale(usable[0].scan, [chosen], overrides, path)
        else:
            notes = ("scale of the positions: not checked; all conventions were stated",)
            notes += describe_fit(usable[0].scan, chosen)
        return usable[0], Decided(chosen, notes)
    ranked = [(fit, which) for which in usable for fit in search(which.scan, limits)]
    ranked.sort(key=lambda pair: pair[0].misfit)
    return _decide(ranked, limits, overrides, path)


def _scale(
    scan: TrialScan, readings: Sequence[Convention], overrides: Overrides, path: Path
) -> tuple[str, ...]:
    """Sentences about the scale of the positions and on the fit at this scale.

    `readings`: the chosen one, then others.

    Raises UserError where another scale fits clearly better and none was given or accepted.
    """
    fit = describe_fit(scan, readings[0])
    if overrides.position_scale is not None:
        return (f"scale of the positions: times {overrides.position_scale:g}, as given", *fit)
    if overrides.accept is not None:
        readings = readings[:1]
    pair = find_scales(scan, readings)
    if pair is None or pair[1].misfit > LARGEST_MISFIT:
        return fit
    reading, found = pair
    if found.wrong and overrides.accept is None:
        values = reading.values if reading != readings[0] else None
        table = [
            (
                found.misfit,
                scale_options(found.factor, values),
                stretched(scan, found.factor),
                reading,
            ),
            (found.stated_misfit, scale_options(1), scan, readings[0]),
        ]
        sentence = (
            f"the scale of the positions in {path} is not clear: {wrong_scale(found, values)}"
        )
        raise Unclear(sentence, table)
    return (describe_scale(found), *fit)


def _readings(fits: Sequence[Fit]) -> list[Convention]:
    """The best convention of each reading of the pixels, the best of all first."""
    best: dict[str, Convention] = {}
    for fit in fits:
        best.setdefault(fit.convention.values, fit.convention)
    return list(best.values())


def _decide(
    ranked: list[tuple[Fit, CleanScan]], limits: Given, overrides: Overrides, path: Path
) -> tuple[CleanScan, Decided]:
    """The best of the fits, or the one accepted. Raises UserError with a table when unclear."""
    accept = overrides.accept
    fits, (best, usable) = [fit for fit, _ in ranked], ranked[0]
    n = len(usable.scan.known)
    table = choices(fits, n)
    if accept is not None:
        if accept > len(table):
            raise UserError(f"--accept {accept}: the search gave {len(table)} solutions")
        row = table[accept - 1]
        usable = next(which for fit, which in ranked if fit is row)
        notes = f"fit: misfit {row.misfit:.3f}, row {accept} of the table, accepted as given"
        scale = _scale(usable.scan, [row.convention], overrides, path)
        return usable, Decided(row.convention, (notes, *scale))
    sure, rival = clear(fits, n, searched=not limits.complete)
    if not sure:
        hint = ""
        readings = _readings(fits)
        pair = None if overrides.position_scale is not None else find_scales(usable.scan, readings)
        if pair is not None and pair[1].wrong and pair[1].misfit <= LARGEST_MISFIT:
            values = pair[0].values if pair[0] != readings[0] else None
            hint = f". Also: {wrong_scale(pair[1], values)}"
        scans = {id(fit): which.scan for fit, which in ranked}
        rows = [
            (fit.misfit, options(fit.convention, n), scans[id(fit)], fit.convention)
            for fit in table
        ]
        raise Unclear(unclear(table, n, path) + hint, rows)
    other = ""
    if rival is not None:
        names = ", ".join(difference(rival.convention, best.convention, n))
        margin = 100 * (1 - best.misfit / rival.misfit)
        other = f"; runner-up {rival.misfit:.3f} ({names}), margin {margin:.0f} %"
    notes = [f"fit: misfit {best.misfit:.3f}{other}"]
    turned = rotation(usable.scan, best)
    if turned is not None:
        notes.append(
            f"warning: positions turned by {turned.degrees:g} degrees fit better (misfit "
            f"{turned.misfit:.3f}); check the rotation between scan axes and detector"
        )
    notes += _scale(usable.scan, _readings(fits), overrides, path)
    return usable, Decided(best.convention, tuple(notes))


def describe(chosen: Convention, n: int, overrides: Overrides) -> tuple[str, ...]:
    """Sentences on every convention, and whether it was given."""
    zero = chosen.zero_frequency(n)
    offset, flip = chosen.offset(n), chosen.positions[1]
    reversed_ = {"none": "", "both": ", both axes reversed"}.get(flip, f", {flip} reversed")
    y, x = chosen.positions[0]
    notes = [
        f"values: {chosen.values}, {_how(overrides.values)}",
        f"zero frequency: {zero}, {_how(overrides.zero_frequency)}",
    ]
    if any(offset):
        notes.append(
            f"beam: off centre by {offset} px (y, x), {_how(overrides.beam_offset)}; patterns are "
            "shifted back, and what a shift moves past an edge is masked"
        )
    if chosen.frames != AS_STORED or overrides.frame_orientation is not None:
        name = next(key for key, axes in ORIENTATIONS.items() if axes == chosen.frames)
        same = inverse(chosen.frames)
        order = f"({same[0][0]}, {same[0][1]})" + (
            "" if same[1] == "none" else f" with {same[1]} reversed"
        )
        notes.append(
            f"frames: {name} relative to the positions, {_how(overrides.frame_orientation)} (the "
            f"same as positions {order}, but for the orientation of the object)"
        )
    given = overrides.position_order or overrides.position_flip
    how = "found from the data" if chosen.positions != AS_STORED else "as stored"
    notes.append(f"positions: ({y}, {x}){reversed_}, {'as given' if given else how}")
    if chosen.probe not in (AS_STORED, chosen.frames):
        notes.append("probe: in another orientation than the frames, turned to fit")
    return tuple(notes)


def _how(given: object) -> str:
    return "as given" if given is not None else "found from the data"

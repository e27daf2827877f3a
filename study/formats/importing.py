"""A measured scan becomes a data set: read, decide the conventions, check, split, scale.

What was decided, and how, stands in the manifest's statements; every decision can be overridden.
Every 12th pattern is held out for the test and another 12th for validation; all three splits share
one object frame. There is no truth: the reference is an iterative reconstruction of the counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Bool, Complex64, Complex128, Float32
from pydantic import Field, ValidationError

from study import __version__
from study.formats.bad_pixels import clean
from study.formats.binning import bin_counts, bin_known, bin_probe, binning_said, check_bin
from study.formats.conventions import (
    LARGEST_MISFIT,
    Fit,
    Limits,
    choices,
    clear,
    conventions,
    detect_values,
    difference,
    options,
    preview,
    rotation,
    search,
    unclear,
)
from study.formats.dataset import Dataset, Manifest, Split, content_hash
from study.formats.geometry import NOMINAL_PX_M, Geometry
from study.formats.mask_file import read_mask
from study.formats.masks import fill_masked, filling
from study.formats.measured import (
    RawScan,
    Values,
    ZeroFrequency,
    check_far_field,
    check_patterns,
    check_positions,
)
from study.formats.orientation import (
    AS_STORED,
    ORIENTATIONS,
    Orientation,
    arrange,
    inverse,
    turn,
)
from study.formats.positions import Beside
from study.formats.probe import all_modes, in_corner, normalise, single
from study.formats.readers import hash_of, read_probe_of, read_raw
from study.formats.scales import (
    describe_scale,
    find_scales,
    scale_options,
    stretched,
    wrong_scale,
)
from study.formats.trial import Convention, Scan, unwrapped
from study.settings import SPLITS, Model, Positive, UserError, explain

MARGIN_PX = 4
HELD_OUT = {"validation": 11, "test": 5}
PERIOD = 12
# Per pattern. Below, the search for the conventions divides by its own regularisation; above,
# squares overflow single precision.
SMALLEST_PHOTONS, LARGEST_PHOTONS = 1e-9, 1e18


class Overrides(Model):
    """What the user knows better; None means: find it from the data.

    `frame_orientation`: how stored frames are moved to agree with the positions; `position_flip`:
    which axes of the positions run backwards. `beam_offset`: (y, x) px by which the direct beam is
    off the pixel n // 2 (or the corner). `position_scale`: factor on all positions; 1 takes them as
    stated, without a search. `bin`: detector pixels added along each axis. `accept`: number
    of the row to take of the table that an unclear search ends with. `left_out`: largest share of
    frames that may be unusable.
    `photons_per_pattern`: rescales the patterns to this mean, for files whose unit is not the
    photon.
    """

    values: Values | None = None
    zero_frequency: ZeroFrequency | None = None
    position_order: Literal["yx", "xy"] | None = None
    position_flip: Literal["none", "y", "x", "both"] | None = None
    photons_per_pattern: Positive | None = None
    frame_orientation: Orientation | None = None
    beam_offset: tuple[int, int] | None = None
    position_scale: Positive | None = None
    bin: Annotated[int, Field(ge=2, le=64)] | None = None
    accept: Annotated[int, Field(ge=1, le=3)] | None = None
    left_out: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def request(self) -> dict[str, Any]:
        """What the manifest keeps; options that came later only where they are used."""
        every = self.model_dump(mode="json")
        later = {"frame_orientation", "beam_offset", "position_scale", "bin", "accept"}
        kept = {k: v for k, v in every.items() if k not in later or v is not None}
        return {k: v for k, v in kept.items() if k != "left_out" or v != 0.1}

    def limits(self, n: int) -> Limits:
        """The part of them that a search has to respect, for patterns of n px."""
        positions = None
        if self.position_order is not None or self.position_flip is not None:
            positions = (self.position_order or "yx", self.position_flip or "none")
        frames = None if self.frame_orientation is None else ORIENTATIONS[self.frame_orientation]
        fixed = Limits(self.values, None, self.zero_frequency, frames, positions)
        if self.zero_frequency is None:
            return fixed
        home = n // 2 if self.zero_frequency == "corner" else 0
        y, x = self.beam_offset or (0, 0)
        whole = self.beam_offset is not None or (self.values and frames and positions)
        return replace(fixed, shift=(home - y, home - x)) if whole else fixed


@dataclass(frozen=True)
class MeasuredScan:
    """A scan with every convention decided: counts (J, n, n), zero frequency at n // 2.

    `positions_px` (J, 2): window corners (y, x) in a frame of `object_shape`. `probe`: (n, n) in
    the file's own scale, the strongest of its `modes` (m, n, n). `mask`: True for measured pixels;
    None where all are.
    """

    counts: Float32[np.ndarray, "J n n"]
    positions_px: Float32[np.ndarray, "J 2"]
    probe: Complex128[np.ndarray, "n n"]
    modes: Complex128[np.ndarray, "m n n"]
    object_shape: tuple[int, int]
    geometry: Geometry | None
    statements: tuple[str, ...]
    object_pixel_m: float | None = None
    mask: Bool[np.ndarray, "n n"] | None = None


def read_scan(
    path: Path,
    overrides: Overrides,
    probe: Path | None = None,
    beside: Beside | None = None,
    mask: Path | None = None,
) -> MeasuredScan:
    """Read a scan file; `probe`: a file whose probe replaces its own; `beside`: more from the user;
    `mask`: a file of bad pixels, added to those of the scan.

    Raises UserError for every fault of the file, before anything is written, and where the data do
    not decide a convention clearly.
    """
    path = Path(path)
    raw = read_raw(path, beside)
    check_patterns(raw.patterns, path)
    if overrides.position_scale is not None:
        raw = replace(raw, positions_px=raw.positions_px * overrides.position_scale)
    check_positions(raw, path)
    if overrides.bin is not None:
        check_bin(raw.patterns.shape[-1], overrides.bin)
    modes, probe_said = _probe(raw, path, probe)
    given = modes[0]
    normalise(given)  # refuses a probe without light in its middle, before anything is fitted
    check_far_field(raw, given, path)
    bad, mask_said = _bad_pixels(raw, mask)
    usable, found = _best_reading(raw, given, bad, overrides, path)
    chosen, n = found.convention, given.shape[-1]
    counts, counts_said = _counts(usable.scan.patterns, chosen, overrides)
    known = turn(unwrapped(usable.scan.known, chosen.shift), chosen.frames)
    modes, geometry, said = turn(modes, chosen.probe), raw.geometry, found.said
    statements = describe(chosen, n, overrides)
    if overrides.bin is not None:
        modes = bin_probe(modes, overrides.bin)
        counts, known = bin_counts(counts, overrides.bin), bin_known(known, overrides.bin)
        if geometry is not None:
            larger = geometry.pixel_m * overrides.bin
            geometry = geometry.model_copy(update={"pixel_m": larger})
        said = (*said, binning_said(n, overrides.bin))
        n = len(known)
    counts = counts if known.all() else fill_masked(counts, known)
    arranged = arrange(usable.scan.positions_px, *chosen.positions)
    corners = arranged - arranged.min(axis=0) + MARGIN_PX
    height, width = np.ceil(corners.max(axis=0)).astype(int) + n + MARGIN_PX
    hidden = int((~known).sum())
    return MeasuredScan(
        counts=counts,
        positions_px=corners.astype(np.float32),
        probe=modes[0],
        modes=modes,
        object_shape=(int(height), int(width)),
        geometry=geometry,
        statements=(
            *raw.said,
            *mask_said,
            *usable.said,
            *statements,
            *counts_said,
            *said,
            *probe_said,
            *((filling(hidden),) if hidden else ()),
        ),
        object_pixel_m=raw.object_pixel_m,
        mask=known if hidden else None,
    )


@dataclass(frozen=True)
class _Usable:
    """Patterns without bad frames and pixels, as one of the ways in which a file may be read."""

    scan: Scan
    said: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """A row of the table of an unclear search; `options` are those of `study import`."""

    misfit: float
    options: str
    object: Complex64[np.ndarray, "h w"]


class Unclear(UserError):
    """The data do not decide the conventions: the message lists the best readings.

    `table`: misfit, options of `study import`, scan and convention of every row.
    """

    def __init__(self, message: str, table: Sequence[tuple[float, str, Scan, Convention]]) -> None:
        super().__init__(message)
        self.table = table

    def readings(self) -> tuple[Reading, ...]:
        """The rows of the table in its order, each with the object of a short fit."""
        return tuple(
            Reading(misfit, given, preview(scan, convention))
            for misfit, given, scan, convention in self.table
        )


@dataclass(frozen=True)
class _Decided:
    convention: Convention
    said: tuple[str, ...]


def _probe(
    raw: RawScan, path: Path, other: Path | None
) -> tuple[Complex128[np.ndarray, "m n n"], tuple[str, ...]]:
    """Modes of the probe, the strongest first, and the sentences about them."""
    if other is not None:
        probe, said = all_modes(read_probe_of(Path(other)), Path(other))
        said = (*said, f"probe: from {Path(other).name}")
    elif raw.probe is not None:
        probe, said = all_modes(raw.probe, path)
    else:
        raise UserError(
            f"{path} holds no probe; give one: `--probe FILE`, an npz with key `probe`, or a "
            "reconstruction (.ptyr, .mat, *_para.hdf5, CXI)"
        )
    n = raw.patterns.shape[-1]
    if probe.shape[-1] != n:
        raise UserError(
            f"the probe has {probe.shape[-1]} px but the patterns of {path} have {n}; they must "
            "agree: pad or resample the probe"
        )
    if in_corner(probe[0]):
        probe = np.fft.fftshift(probe, axes=(-2, -1))
        said = (*said, "probe: stored with its centre in the corner, moved to the middle")
    return probe, said


def _bad_pixels(
    raw: RawScan, mask: Path | None
) -> tuple[Bool[np.ndarray, "*J n n"] | None, tuple[str, ...]]:
    """Bad pixels that the scan and the file `mask` name, of any frame or of each."""
    if mask is None:
        return raw.mask, ()
    added = read_mask(Path(mask), raw.patterns.shape[-1])
    said = (f"mask: {int(added.sum())} bad pixels from {Path(mask).name}",)
    return added if raw.mask is None else raw.mask | added, said


def _best_reading(
    raw: RawScan,
    probe: Complex128[np.ndarray, "n n"],
    bad: Bool[np.ndarray, "*J n n"] | None,
    overrides: Overrides,
    path: Path,
) -> tuple[_Usable, _Decided]:
    """Bad frames and pixels left out, and the convention that fits.

    As many patterns as a pattern has rows leave open which axis counts them; both are tried.
    """
    count, n = raw.patterns.shape[:2]
    stacks: list[tuple[np.ndarray, np.ndarray | None, tuple[str, ...]]]
    stacks = [(raw.patterns, bad, ())]
    if count == n and bad is None:
        last = "frames: stored with the pattern on the last axis, found from the data"
        stacks.append((np.moveaxis(raw.patterns, 2, 0), None, (last,)))
    usable: list[_Usable] = []
    for patterns, marked, said in stacks:
        cleaned = clean(patterns, marked, overrides.left_out, path)
        if len(cleaned.frames) < PERIOD:
            raise UserError(
                f"{path} holds {len(cleaned.frames)} usable patterns; at least {PERIOD} are needed "
                "to hold out one for the test and one for validation"
            )
        places = raw.positions_px[cleaned.frames].astype(np.float64)
        scan = Scan(cleaned.patterns, cleaned.known, probe, places)
        usable.append(_Usable(scan, (*said, *cleaned.said)))
    check_light(usable[0].scan.patterns, overrides.values or raw.values)
    limits = overrides.limits(n)
    if limits.complete and len(usable) == 1:
        chosen = next(conventions(usable[0].scan, limits))
        said = ("fit: none; every convention was given, and the scale was not checked",)
        if overrides.position_scale is not None:
            said = _scale(usable[0].scan, [chosen], overrides, path)
        return usable[0], _Decided(chosen, said)
    ranked = [(fit, which) for which in usable for fit in search(which.scan, limits)]
    ranked.sort(key=lambda pair: pair[0].misfit)
    return _decide(ranked, limits, overrides, path)


def _scale(
    scan: Scan, readings: Sequence[Convention], overrides: Overrides, path: Path
) -> tuple[str, ...]:
    """The sentence about the scale of the positions. `readings`: the chosen one, then others.

    Raises UserError where another scale fits clearly better and none was given or accepted.
    """
    if overrides.position_scale is not None:
        return (f"scale of the positions: times {overrides.position_scale:g}, as given",)
    if overrides.accept is not None:
        readings = readings[:1]
    pair = find_scales(scan, readings)
    if pair is None or pair[1].misfit > LARGEST_MISFIT:
        return ()
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
    return (describe_scale(found),)


def _readings(fits: Sequence[Fit]) -> list[Convention]:
    """The best convention of each reading of the pixels, the best of all first."""
    best: dict[str, Convention] = {}
    for fit in fits:
        best.setdefault(fit.convention.values, fit.convention)
    return list(best.values())


def _decide(
    ranked: list[tuple[Fit, _Usable]], limits: Limits, overrides: Overrides, path: Path
) -> tuple[_Usable, _Decided]:
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
        said = f"fit: misfit {row.misfit:.3f}, row {accept} of the table, accepted as given"
        scale = _scale(usable.scan, [row.convention], overrides, path)
        return usable, _Decided(row.convention, (said, *scale))
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
        other = (
            f"; runner-up {rival.misfit:.3f} ({names}), margin {1 - best.misfit / rival.misfit:.0%}"
        )
    said = [f"fit: misfit {best.misfit:.3f}{other}"]
    turned = rotation(usable.scan, best)
    if turned is not None:
        said.append(
            f"warning: positions turned by {turned.degrees:g} degrees fit better (misfit "
            f"{turned.misfit:.3f}); check the rotation between scan axes and detector"
        )
    said += _scale(usable.scan, _readings(fits), overrides, path)
    return usable, _Decided(best.convention, tuple(said))


def describe(chosen: Convention, n: int, overrides: Overrides) -> tuple[str, ...]:
    """Sentences on every convention, and whether it was given."""
    zero = chosen.zero_frequency(n)
    offset, flip = chosen.offset(n), chosen.positions[1]
    reversed_ = {"none": "", "both": ", both axes reversed"}.get(flip, f", {flip} reversed")
    y, x = chosen.positions[0]
    said = [
        f"values: {chosen.values}, {_how(overrides.values)}",
        f"zero frequency: {zero}, {_how(overrides.zero_frequency)}",
    ]
    if any(offset):
        said.append(
            f"beam: off centre by {offset} px (y, x), {_how(overrides.beam_offset)}; patterns are "
            "shifted back, and what a shift moves past an edge is masked"
        )
    if chosen.frames != AS_STORED or overrides.frame_orientation is not None:
        name = next(key for key, axes in ORIENTATIONS.items() if axes == chosen.frames)
        same = inverse(chosen.frames)
        order = f"({same[0][0]}, {same[0][1]})" + (
            "" if same[1] == "none" else f" with {same[1]} reversed"
        )
        said.append(
            f"frames: {name} relative to the positions, {_how(overrides.frame_orientation)} (the "
            f"same as positions {order}, but for the orientation of the object)"
        )
    given = overrides.position_order or overrides.position_flip
    how = "found from the data" if chosen.positions != AS_STORED else "as stored"
    said.append(f"positions: ({y}, {x}){reversed_}, {'as given' if given else how}")
    if chosen.probe not in (AS_STORED, chosen.frames):
        said.append("probe: in another orientation than the frames, turned to fit")
    return tuple(said)


def _how(given: object) -> str:
    return "as given" if given is not None else "found from the data"


def _counts(
    patterns: np.ndarray, chosen: Convention, overrides: Overrides
) -> tuple[Float32[np.ndarray, "J n n"], tuple[str, ...]]:
    """Photons with the zero frequency at n // 2, and sentences about their scale."""
    counts = check_light(patterns, chosen.values)
    counts = turn(np.roll(counts, chosen.shift, axis=(-2, -1)), chosen.frames)
    counts = np.ascontiguousarray(counts)
    said: list[str] = []
    if overrides.photons_per_pattern is not None:
        mean = float(counts.sum(axis=(1, 2), dtype=np.float64).mean())
        counts *= np.float32(overrides.photons_per_pattern / mean)
        said.append(
            f"dose: scaled from {mean:.6g} to {overrides.photons_per_pattern:.6g}, as given"
        )
    elif overrides.values is None and detect_values(patterns) is None:
        said.append("dose: pixels are not whole photons, so the photon is a nominal unit here")
    return counts, tuple(said)


def check_light(patterns: np.ndarray, values: Values) -> Float32[np.ndarray, "J n n"]:
    """Patterns in float32, squared where they are amplitudes.

    Raises UserError where that overflows, or leaves no light in float32.
    """
    counts = patterns.astype(np.float32)
    counts = counts**2 if values == "amplitudes" else counts
    brightest = float(counts.sum(axis=(1, 2), dtype=np.float64).max())
    if not SMALLEST_PHOTONS < brightest < LARGEST_PHOTONS:
        raise UserError(
            f"the brightest pattern sums to {brightest:.3g} as {values} but {SMALLEST_PHOTONS:g} "
            f"to {LARGEST_PHOTONS:g} photons are accepted; rescale the patterns to photons"
        )
    return counts


def held_out(count: int) -> dict[str, np.ndarray]:
    """Pattern indices of the three splits: every 12th is test, another every 12th validation."""
    index = np.arange(count)
    chosen = {name: index[index % PERIOD == offset] for name, offset in HELD_OUT.items()}
    taken = np.isin(index % PERIOD, list(HELD_OUT.values()))
    return {"train": index[~taken], **chosen}


def request_of_import(
    path: Path, probe: Path | None = None, beside: Beside | None = None, **overrides: Any
) -> tuple[Overrides, dict[str, Any]]:
    """The options, checked, and what the manifest keeps of the request: names and hashes.

    Names, not paths: the manifest must not depend on the machine. Raises UserError for an unknown
    option and for files that cannot be read.
    """
    try:
        chosen = Overrides.model_validate(overrides)
    except ValidationError as error:
        raise UserError(f"import: {explain(error, overrides, '', Overrides)}") from None
    files = {"file": Path(path), "probe": None if probe is None else Path(probe)}
    names = {key: None if file is None else file.name for key, file in files.items()}
    hashes = {f"{key}_sha256": hash_of(file) for key, file in files.items() if file is not None}
    more = {} if beside is None else beside.request()
    return chosen, {**names, **hashes, **chosen.request(), **more}


def import_scan(
    path: Path,
    name: str,
    *,
    probe: Path | None = None,
    beside: Beside | None = None,
    **overrides: Any,
) -> Dataset:
    """The file as a data set in memory; `overrides` are the fields of `Overrides`.

    `probe`: a file whose probe replaces the scan's. `beside`: what the file does not hold itself.

    S = sqrt(mean counts of a train pattern / sum |P_sim|^2), so that the object's amplitude is of
    order 1. Raises UserError for an unknown override and for every fault of the file.
    """
    chosen, request = request_of_import(path, probe, beside, **overrides)
    try:
        # Extreme numbers overflow on the way; every result is checked where it is used.
        with np.errstate(all="ignore"):
            scan = read_scan(path, chosen, probe, beside, None if beside is None else beside.mask)
            return _dataset(scan, name, request)
    except MemoryError:
        # What else runs here may have taken the memory that was free when it was compared.
        raise UserError(
            f"{path} needs more memory than is free; crop, bin or split the scan, or use a machine "
            "with more memory"
        ) from None


def _dataset(scan: MeasuredScan, name: str, request: dict[str, Any]) -> Dataset:
    normalised, probe_norm = normalise(scan.probe)
    stored = single(normalised)
    power = float(np.sum(np.abs(normalised) ** 2))
    # Of the direct beam, the share that falls on pixels that were measured.
    beam = np.abs(np.fft.fftshift(np.fft.fft2(normalised, norm="ortho"))) ** 2
    known = power if scan.mask is None else float(np.sum(beam[scan.mask]))
    if not (np.isfinite(stored).all() and 0 < power < np.inf and known > 0):
        raise UserError(
            f"the probe of {request['file']} spans more than single precision holds; cut off what "
            "is far outside the beam"
        )
    modes = None
    if len(scan.modes) > 1:  # with the power of the single probe, so that one scale serves both
        share = np.sum(np.abs(scan.modes[0]) ** 2) / np.sum(np.abs(scan.modes) ** 2)
        modes = (scan.modes * (np.sqrt(share) / probe_norm)).astype(np.complex64)
    members = held_out(len(scan.counts))
    splits = {split: _split(scan, members[split]) for split in SPLITS}
    light = {name: float(split.counts[:].sum(dtype=np.float64)) for name, split in splits.items()}
    dark = [name for name, photons in light.items() if not photons > 0]
    if dark:
        raise UserError(
            f"{request['file']} has no light in the patterns of {', '.join(dark)} (every "
            f"{PERIOD}th pattern is test, another validation); leave dark patterns out"
        )
    measured = splits["train"].all_counts()
    if scan.mask is not None:
        measured = measured * scan.mask
    photons = float(measured.sum(axis=(1, 2, 3), dtype=np.float64).mean()) * power / known
    manifest = Manifest(
        format_version=1,
        name=name,
        kind="imported",
        n=len(stored),
        group_size=1,
        patterns={split: len(index) for split, index in members.items()},
        photon_scale=float(np.sqrt(photons / power)),
        probe_norm=probe_norm,
        object_norm=dict.fromkeys(SPLITS, 1.0),
        photons_per_pattern=photons,
        geometry=scan.geometry
        or Geometry.nominal(len(stored), scan.object_pixel_m or NOMINAL_PX_M),
        nominal=scan.geometry is None,
        request=request,
        statements=scan.statements,
        content_sha256=content_hash(stored, splits, modes),
        code_version=__version__,
    )
    return Dataset(manifest, stored, splits, modes)


def _split(scan: MeasuredScan, index: np.ndarray) -> Split:
    return Split(
        counts=scan.counts[index][:, None],
        positions_px=scan.positions_px[index][:, None],
        image_index=np.zeros(len(index), np.int64),
        obj=None,
        object_shape=scan.object_shape,
        stride_px=None,
        mask=scan.mask,
    )

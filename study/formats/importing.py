"""A measured scan becomes a data set: read, decide the conventions, check, split, scale.

What was decided, and how, stands in the manifest's statements; every decision can be overridden.
Every 12th pattern is held out for the test and another 12th for validation; all three splits share
one object frame. There is no truth: the reference is an iterative reconstruction of the counts.

Patterns stay in the file and pass through block by block: one pass for bad pixels and frames (more
where some are found), one for the sums and the hash, one for writing. The search for the
conventions reads the 64 patterns nearest to the middle of the scan.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex128, Float32

from study import __version__
from study.formats.bad_pixels import clean, with_mask_of
from study.formats.binning import bin_known, bin_probe, binning_said, check_bin
from study.formats.dataset import Dataset, Manifest, Split, content_hash
from study.formats.decision import CleanScan, decide, describe
from study.formats.frames import Derived, Frames
from study.formats.geometry import NOMINAL_PX_M, Geometry
from study.formats.import_options import Overrides, request_of_import
from study.formats.limits import check_memory, working_bytes
from study.formats.mask_file import read_mask
from study.formats.masks import filling
from study.formats.measured import (
    RawScan,
    check_far_field,
    check_patterns,
    check_positions,
)
from study.formats.orientation import arrange, turn
from study.formats.photons import (
    check_brightest,
    check_light,
    pattern_sums,
    photons_of,
    spread_patterns,
)
from study.formats.positions import Beside
from study.formats.probe import all_modes, in_corner, normalise, single
from study.formats.readers import read_probe_of, read_raw
from study.formats.survey import Progress
from study.formats.trial import TrialScan, unwrapped
from study.settings import SPLITS, UserError

MARGIN_PX = 4
HELD_OUT = {"validation": 11, "test": 5}
PERIOD = 12
# Counts of a whole scan that are kept in memory once they are computed.
HELD_BYTES = 2**28


@dataclass(frozen=True)
class MeasuredScan:
    """A scan with every convention decided: counts (J, n, n) float32, zero frequency at n // 2,
    computed from the file when they are asked for.

    `positions_px` (J, 2): window corners (y, x) in a frame of `object_shape`. `probe`: (n, n) in
    the file's own scale, the strongest of its `modes` (m, n, n). `mask`: True for measured pixels;
    None where all are.
    """

    counts: Frames
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
    progress: Progress | None = None,
) -> MeasuredScan:
    """Read a scan file; `probe`: a file whose probe replaces its own; `beside`: more from the user;
    `mask`: a file of bad pixels, added to those of the scan. `progress(what, patterns done, all)`.

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
    readings = _readings_of(raw, given, bad, overrides, path, progress)
    check_light(spread_patterns(readings[0].scan.patterns), overrides.values or raw.values)
    usable, found = decide(readings, overrides, path)
    chosen, n = found.convention, given.shape[-1]
    known = turn(unwrapped(usable.scan.known, chosen.shift), chosen.frames)
    counts, counts_said = photons_of(usable.scan.patterns, chosen, known, overrides)
    modes, geometry, notes = turn(modes, chosen.probe), raw.geometry, found.notes
    statements = describe(chosen, n, overrides)
    if overrides.bin is not None:
        modes, known = bin_probe(modes, overrides.bin), bin_known(known, overrides.bin)
        if geometry is not None:
            larger = geometry.pixel_m * overrides.bin
            geometry = geometry.model_copy(update={"pixel_m": larger})
        notes = (*notes, binning_said(n, overrides.bin))
        n = len(known)
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
            *raw.notes,
            *mask_said,
            *usable.notes,
            *statements,
            *counts_said,
            *notes,
            *probe_said,
            *((filling(hidden),) if hidden else ()),
        ),
        object_pixel_m=raw.object_pixel_m,
        mask=known if hidden else None,
    )


def _probe(
    raw: RawScan, path: Path, other: Path | None
) -> tuple[Complex128[np.ndarray, "m n n"], tuple[str, ...]]:
    """Modes of the probe, the strongest first, and the sentences about them."""
    if other is not None:
        probe, notes = all_modes(read_probe_of(Path(other)), Path(other))
        notes = (*notes, f"probe: from {Path(other).name}")
    elif raw.probe is not None:
        probe, notes = all_modes(raw.probe, path)
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
        notes = (*notes, "probe: stored with its centre in the corner, moved to the middle")
    return probe, notes


def _bad_pixels(raw: RawScan, mask: Path | None) -> tuple[Frames | None, tuple[str, ...]]:
    """Bad pixels that the scan and the file `mask` name, of any frame or of each."""
    if mask is None:
        return raw.mask, ()
    added = read_mask(Path(mask), raw.patterns.shape[-1])
    notes = (f"mask: {int(added.sum())} bad pixels from {Path(mask).name}",)
    return with_mask_of(raw.mask, added), notes


def _readings_of(
    raw: RawScan,
    probe: Complex128[np.ndarray, "n n"],
    bad: Frames | None,
    overrides: Overrides,
    path: Path,
    progress: Progress | None,
) -> list[CleanScan]:
    """The ways in which a file may be read, without bad frames and pixels.

    As many patterns as a pattern has rows leave open which axis counts them; both are tried.
    """
    count, n = raw.patterns.shape[:2]
    stacks: list[tuple[Frames, Frames | None, tuple[str, ...]]] = [(raw.patterns, bad, ())]
    if count == n and bad is None:
        last = "frames: stored with the pattern on the last axis, found from the data"
        check_memory(working_bytes(raw.patterns.shape, raw.patterns.dtype), f"{path}")
        stacks.append((np.moveaxis(raw.patterns[:], 2, 0), None, (last,)))
    usable: list[CleanScan] = []
    for patterns, marked, notes in stacks:
        cleaned = clean(patterns, marked, overrides.left_out, path, progress)
        if len(cleaned.frames) < PERIOD:
            raise UserError(
                f"{path} holds {len(cleaned.frames)} usable patterns; at least {PERIOD} are needed "
                "to hold out one for the test and one for validation"
            )
        places = raw.positions_px[cleaned.frames].astype(np.float64)
        scan = TrialScan(cleaned.patterns, cleaned.known, probe, places)
        usable.append(CleanScan(scan, (*notes, *cleaned.notes)))
    return usable


# --- the data set -----------------------------------------------------------------------------


def held_out(count: int) -> dict[str, np.ndarray]:
    """Pattern indices of the three splits: every 12th is test, another every 12th validation."""
    index = np.arange(count)
    chosen = {name: index[index % PERIOD == offset] for name, offset in HELD_OUT.items()}
    taken = np.isin(index % PERIOD, list(HELD_OUT.values()))
    return {"train": index[~taken], **chosen}


def import_scan(
    path: Path,
    name: str,
    *,
    probe: Path | None = None,
    beside: Beside | None = None,
    progress: Progress | None = None,
    held_bytes: int = HELD_BYTES,
    **overrides: Any,
) -> Dataset:
    """The file as a data set; `overrides` are the fields of `Overrides`.

    `probe`: a file whose probe replaces the scan's. `beside`: what the file does not hold itself.
    `progress(what, patterns done, all)`. Counts of more than `held_bytes` in total are left in the
    file and computed whenever they are asked for.

    S = sqrt(mean counts of a train pattern / sum |P_sim|^2), so that the object's amplitude is of
    order 1. Raises UserError for an unknown override and for every fault of the file.
    """
    chosen, request = request_of_import(path, probe, beside, **overrides)
    try:
        # Extreme numbers overflow on the way; every result is checked where it is used.
        with np.errstate(all="ignore"):
            mask = None if beside is None else beside.mask
            scan = read_scan(path, chosen, probe, beside, mask, progress)
            if scan.counts.nbytes <= held_bytes:
                scan = replace(scan, counts=scan.counts[:])
            return _dataset(scan, name, request, progress)
    except MemoryError:
        # What else runs here may have taken the memory that was free when it was compared.
        raise UserError(
            f"{path} needs more memory than is free; crop, bin or split the scan, or use a machine "
            "with more memory"
        ) from None


def _dataset(
    scan: MeasuredScan, name: str, request: dict[str, Any], progress: Progress | None
) -> Dataset:
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
    totals = _Totals(scan, progress)
    found_hash = content_hash(stored, splits, modes, totals.add)
    check_brightest(totals.brightest, "counts")
    light = {name: sum(map(np.sum, sums)) for name, sums in totals.light.items()}
    dark = [name for name, photons in light.items() if not photons > 0]
    if dark:
        raise UserError(
            f"{request['file']} has no light in the patterns of {', '.join(dark)} (every "
            f"{PERIOD}th pattern is test, another validation); leave dark patterns out"
        )
    photons = float(np.concatenate(totals.known).mean()) * power / known
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
        content_sha256=found_hash,
        code_version=__version__,
    )
    return Dataset(manifest, stored, splits, modes)


class _Totals:
    """Sums of the patterns, taken while their hash is computed."""

    def __init__(self, scan: MeasuredScan, progress: Progress | None) -> None:
        self.mask, self.count, self.progress = scan.mask, len(scan.counts), progress
        self.light: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}
        self.known: list[np.ndarray] = []  # of train patterns, masked pixels left out
        self.brightest, self.done = 0.0, 0

    def add(self, name: str, block: np.ndarray) -> None:
        """Called with every block of every array of the data set."""
        split, _, array = name.partition("/")
        if array != "counts":
            return
        sums = pattern_sums(block)
        self.light[split].append(sums)
        self.brightest = max(self.brightest, float(sums.max(initial=0.0)))
        if split == "train":
            self.known.append(sums if self.mask is None else pattern_sums(block * self.mask))
        self.done += len(block)
        if self.progress is not None:
            self.progress("adding up", self.done, self.count)


def _split(scan: MeasuredScan, index: np.ndarray) -> Split:
    return Split(
        counts=_chosen(scan.counts, index),
        positions_px=scan.positions_px[index][:, None],
        image_index=np.zeros(len(index), np.int64),
        obj=None,
        object_shape=scan.object_shape,
        stride_px=None,
        mask=scan.mask,
    )


def _chosen(counts: Frames, index: np.ndarray) -> Frames:
    """Some patterns as groups of one (J, 1, n, n), left in the file where they are."""
    if isinstance(counts, Derived):
        return counts.chosen(index).reshape(len(index), 1, *counts.shape[1:])
    return counts[index][:, None]

"""A measured scan becomes a data set: read, decide the conventions, check, split, scale.

What was decided, and how, stands in the manifest's statements; every decision can be overridden.
Every 12th pattern is held out for the test and another 12th for validation; all three splits share
one object frame. There is no truth: the reference is an iterative reconstruction of the counts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Complex128, Float32, Float64
from pydantic import ValidationError

from study import __version__
from study.formats.conventions import (
    all_orders,
    arrange,
    choose_order,
    compare_orders,
    detect_values,
    detect_zero_frequency,
)
from study.formats.cxi_measured import read_measured_cxi
from study.formats.dataset import Dataset, Manifest, Split, content_hash
from study.formats.geometry import Geometry
from study.formats.measured import (
    RawScan,
    Values,
    ZeroFrequency,
    check_patterns,
    check_positions,
)
from study.formats.npz import read_npz
from study.formats.probe import normalise, one_mode, read_probe, single
from study.params import SPLITS, Model, Positive, UserError, explain

MARGIN_PX = 4
HELD_OUT = {"validation": 11, "test": 5}
PERIOD = 12


class Overrides(Model):
    """What the user knows better; None means: find it from the data.

    `position_flip`: which axes of the positions run backwards. `photons_per_pattern`: rescales the
    patterns to this mean, for files whose unit is not the photon.
    """

    values: Values | None = None
    zero_frequency: ZeroFrequency | None = None
    position_order: Literal["yx", "xy"] | None = None
    position_flip: Literal["none", "y", "x", "both"] | None = None
    photons_per_pattern: Positive | None = None


@dataclass(frozen=True)
class MeasuredScan:
    """A scan with every convention decided: counts (J, n, n), zero frequency at n // 2.

    `positions_px` (J, 2): window corners (y, x) in a frame of `object_shape`. `probe`: (n, n) in
    the file's own scale.
    """

    counts: Float32[np.ndarray, "J n n"]
    positions_px: Float32[np.ndarray, "J 2"]
    probe: Complex128[np.ndarray, "n n"]
    object_shape: tuple[int, int]
    geometry: Geometry | None
    statements: tuple[str, ...]


def read_scan(path: Path, overrides: Overrides, probe: Path | None = None) -> MeasuredScan:
    """Read a CXI or npz file (also within bz2); `probe`: an npz whose `probe` replaces the file's.

    Raises UserError for every fault of the file, before anything is written.
    """
    path = Path(path)
    raw = _reader(path)(path)
    check_patterns(raw.patterns, path)
    check_positions(raw, path)
    given, probe_said = _probe(raw, path, probe)
    counts, counts_said = _counts(raw, overrides)
    arranged, order_said = _positions(raw, counts, given, overrides)
    corners = arranged - arranged.min(axis=0) + MARGIN_PX
    height, width = np.ceil(corners.max(axis=0)).astype(int) + counts.shape[-1] + MARGIN_PX
    return MeasuredScan(
        counts=counts,
        positions_px=corners.astype(np.float32),
        probe=given,
        object_shape=(int(height), int(width)),
        geometry=raw.geometry,
        statements=(*raw.said, *counts_said, order_said, *probe_said),
    )


def _reader(path: Path) -> Any:
    """The reader for a file, by its first bytes."""
    try:
        with path.open("rb") as stream:
            head = stream.read(8)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); give a CXI or npz file"
        ) from None
    if head.startswith(b"\x89HDF"):
        return read_measured_cxi
    if head.startswith((b"PK", b"BZh")):
        return read_npz
    raise UserError(f"{path} is neither HDF5 (CXI) nor npz, plain or in bz2; convert it to one")


def _probe(
    raw: RawScan, path: Path, other: Path | None
) -> tuple[Complex128[np.ndarray, "n n"], tuple[str, ...]]:
    if other is not None:
        probe, said = read_probe(Path(other))
        said = (*said, f"probe: from {Path(other).name}")
    elif raw.probe is not None:
        probe, said = one_mode(raw.probe, path)
    else:
        raise UserError(f"{path} holds no probe; give one: `--probe FILE`, an npz with key `probe`")
    n = raw.patterns.shape[-1]
    if len(probe) != n:
        raise UserError(
            f"the probe has {len(probe)} px but the patterns of {path} have {n}; they must agree: "
            "pad or resample the probe"
        )
    return probe, said


def _counts(
    raw: RawScan, overrides: Overrides
) -> tuple[Float32[np.ndarray, "J n n"], tuple[str, ...]]:
    """Photons with the zero frequency at n // 2, and how that was decided."""
    found = detect_values(raw.patterns)
    values = overrides.values or found or raw.values
    counts = raw.patterns.astype(np.float32)
    counts = counts**2 if values == "amplitudes" else counts
    said = [f"values: {values}, {_how(overrides.values, found)}"]
    where_found = detect_zero_frequency(counts)
    zero = overrides.zero_frequency or where_found or raw.zero_frequency
    counts = np.fft.fftshift(counts, axes=(-2, -1)) if zero == "corner" else counts
    said.append(f"zero frequency: {zero}, {_how(overrides.zero_frequency, where_found)}")
    if overrides.photons_per_pattern is not None:
        mean = float(counts.sum(axis=(1, 2), dtype=np.float64).mean())
        counts *= np.float32(overrides.photons_per_pattern / mean)
        said.append(
            f"dose: scaled from {mean:.6g} to {overrides.photons_per_pattern:.6g}, as given"
        )
    elif found is None and overrides.values is None:
        said.append("dose: pixels are not whole photons, so the photon is a nominal unit here")
    return counts, tuple(said)


def _how(given: object, found: object) -> str:
    if given is not None:
        return "as given"
    return "found from the data" if found is not None else "by custom of this layout"


def _positions(
    raw: RawScan,
    counts: Float32[np.ndarray, "J n n"],
    probe: Complex128[np.ndarray, "n n"],
    overrides: Overrides,
) -> tuple[Float64[np.ndarray, "J 2"], str]:
    """Positions as (y, x) and how their order and signs were decided."""
    stored = raw.positions_px.astype(np.float64)
    candidates = all_orders(overrides.position_order, overrides.position_flip)
    if len(candidates) == 1:
        chosen, reason = candidates[0], "as given"
    else:
        chosen, reason = choose_order(compare_orders(counts, probe, stored, candidates))
    order, flip = chosen
    flipped = {"none": "", "both": ", both axes reversed"}.get(flip, f", {flip} reversed")
    return arrange(stored, *chosen), f"positions: ({order[0]}, {order[1]}){flipped}, {reason}"


def held_out(count: int) -> dict[str, np.ndarray]:
    """Pattern indices of the three splits: every 12th is test, another every 12th validation."""
    index = np.arange(count)
    chosen = {name: index[index % PERIOD == offset] for name, offset in HELD_OUT.items()}
    taken = np.isin(index % PERIOD, list(HELD_OUT.values()))
    return {"train": index[~taken], **chosen}


def import_scan(path: Path, name: str, *, probe: Path | None = None, **overrides: Any) -> Dataset:
    """The file as a data set in memory; `overrides` are the fields of `Overrides`.

    S = sqrt(mean counts of a train pattern / sum |P_sim|^2), so that the object's amplitude is of
    order 1. Raises UserError for an unknown override and for every fault of the file.
    """
    try:
        chosen = Overrides.model_validate(overrides)
    except ValidationError as error:
        raise UserError(f"import: {explain(error, overrides)}") from None
    scan = read_scan(path, chosen, probe)
    if len(scan.counts) < PERIOD:
        raise UserError(
            f"{path} holds {len(scan.counts)} patterns; at least {PERIOD} are needed to hold out "
            "one for the test and one for validation"
        )
    return _dataset(scan, name, _request(Path(path), probe, chosen))


def _dataset(scan: MeasuredScan, name: str, request: dict[str, Any]) -> Dataset:
    normalised, probe_norm = normalise(scan.probe)
    stored = single(normalised)
    members = held_out(len(scan.counts))
    splits = {split: _split(scan, members[split]) for split in SPLITS}
    photons = float(splits["train"].all_counts().sum(axis=(1, 2, 3), dtype=np.float64).mean())
    manifest = Manifest(
        format_version=1,
        name=name,
        kind="imported",
        n=len(stored),
        group_size=1,
        patterns={split: len(index) for split, index in members.items()},
        photon_scale=float(np.sqrt(photons / np.sum(np.abs(normalised) ** 2))),
        probe_norm=probe_norm,
        object_norm=dict.fromkeys(SPLITS, 1.0),
        photons_per_pattern=photons,
        geometry=scan.geometry or Geometry.nominal(len(stored)),
        nominal=scan.geometry is None,
        request=request,
        statements=scan.statements,
        content_sha256=content_hash(stored, splits),
        code_version=__version__,
    )
    return Dataset(manifest=manifest, probe=stored, splits=splits)


def _split(scan: MeasuredScan, index: np.ndarray) -> Split:
    return Split(
        counts=scan.counts[index][:, None],
        positions_px=scan.positions_px[index][:, None],
        image_index=np.zeros(len(index), np.int64),
        obj=None,
        object_shape=scan.object_shape,
        stride_px=None,
    )


def _request(path: Path, probe: Path | None, chosen: Overrides) -> dict[str, Any]:
    """Names and hashes, not paths: the manifest must not depend on the machine."""
    files = {"file": path, "probe": probe}
    return {
        **{key: None if item is None else Path(item).name for key, item in files.items()},
        **{
            f"{key}_sha256": hashlib.sha256(Path(item).read_bytes()).hexdigest()
            for key, item in files.items()
            if item is not None
        },
        **chosen.model_dump(mode="json"),
    }

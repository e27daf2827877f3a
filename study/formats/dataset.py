"""A data set: three scans, one probe, and a manifest that says all about them.

    data/quick/
        manifest.json   every parameter, seed and scale, and the hash of the arrays
        train.cxi       counts, positions, probe, and the true object where there is one
        validation.cxi
        test.cxi

Counts, probe and `photon_scale` are stored; every other unit follows from them (`optics.counts`).
The counts of a split that would take more than a share of the memory stay in their file (`frames`).
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Complex64
from pydantic import ValidationError

from study import environment
from study.formats.cxi import CxiScan, read_cxi, write_cxi
from study.formats.frames import Frames, blocks
from study.formats.geometry import Geometry
from study.params import (
    SPLITS,
    Count,
    DataParams,
    Model,
    Positive,
    ProbeFile,
    UserError,
    explain,
)
from study.runs import read_json, write_json

# Of the memory that is free, for one split: all three together leave a quarter.
MEMORY_SHARE = 0.25
HELD_BYTES = 8  # a pixel in training: counts as stored, amplitude as float32


class Manifest(Model):
    """What a data set is, for people and for checks.

    `request`: the parameters that were asked for (a simulation's `DataParams`, or an import's file
    and options). `photon_scale`: S, from amplitude to sqrt(photons). `probe_norm`: divisor that
    made the probe P_sim. `object_norm`: per split, the divisor that brings the object to network
    units (1.0 where no truth is known). `content_sha256`: hash of all arrays, in the order split,
    name.
    `geometry`: energy, distance, detector pixel. `nominal`: true when these are conventional,
    because only pixels are known. `code_version`: the package's version, not the commit, so that a
    commit which changes no array changes no data set.
    """

    format_version: Literal[1]
    name: str
    kind: Literal["simulated", "imported"]
    n: Count
    group_size: Literal[1, 4]
    patterns: Mapping[str, int]
    photon_scale: Positive
    probe_norm: Positive
    object_norm: Mapping[str, float]
    photons_per_pattern: Positive
    geometry: Geometry
    nominal: bool
    request: Mapping[str, Any]
    statements: tuple[str, ...]
    content_sha256: str
    code_version: str


@dataclass(frozen=True)
class Split:
    """One scan: counts (J, c, n, n) photons, positions_px (J, c, 2), image_index (J,).

    `counts`: an array, or left on disk; `counts[index]` gives an array in both cases. `obj`:
    (I, H, W) complex64 truth in object units, or None for a measurement. `image_index` says which
    of the I objects a pattern belongs to. `stride_px`: scan step of a regular raster (rows x
    columns in row-major order, per image), else None.
    """

    counts: Frames
    positions_px: np.ndarray
    image_index: np.ndarray
    obj: np.ndarray | None
    object_shape: tuple[int, int]
    stride_px: int | None

    def all_counts(self) -> np.ndarray:
        """The counts of the whole split in memory, for who needs them at once (stitching)."""
        return self.counts[:]


@dataclass(frozen=True)
class Dataset:
    """A data set; large counts may be left on disk. `probe`: P_sim, (n, n) complex64."""

    manifest: Manifest
    probe: np.ndarray
    splits: Mapping[str, Split]


# --- hash and checks --------------------------------------------------------------------------


def _arrays(probe: np.ndarray, splits: Mapping[str, Split]) -> Iterator[tuple[str, Frames]]:
    yield "probe", probe
    for name in SPLITS:
        split = splits[name]
        yield f"{name}/counts", split.counts
        yield f"{name}/image_index", split.image_index
        if split.obj is not None:
            yield f"{name}/obj", split.obj
        yield f"{name}/positions_px", split.positions_px


def content_hash(probe: Complex64[np.ndarray, "n n"], splits: Mapping[str, Split]) -> str:
    """sha256 of the probe and of the arrays of all splits: names, types, shapes and bytes."""
    digest = hashlib.sha256()
    for name, array in _arrays(probe, splits):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        for block in blocks(array):
            digest.update(np.ascontiguousarray(block).data)
    return digest.hexdigest()


def request_of(params: DataParams) -> dict[str, Any]:
    """What a simulation was asked for: every parameter, and the hash of a probe file's bytes.

    Raises UserError when the probe file cannot be read.
    """
    request = params.model_dump(mode="json")
    for key in ("probe", "assumed_probe"):
        probe = getattr(params, key)
        if isinstance(probe, ProbeFile):
            request[key]["sha256"] = _hash_of(probe)
    return request


def _hash_of(probe: ProbeFile) -> str:
    try:
        return hashlib.sha256(Path(probe.path).read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(
            f"probe file {probe.path} cannot be read ({error.strerror}); paths count from the "
            "working directory"
        ) from None


def check_request(manifest: Manifest, params: DataParams) -> None:
    """Raises UserError that names every parameter in which a data set differs from `params`."""
    have = dict(_leaves(manifest.request))
    want = dict(_leaves(request_of(params)))
    differing = [
        f"{key} is {have.get(key, 'absent')} there and {want.get(key, 'absent')} in the request"
        for key in sorted(have.keys() | want.keys())
        if have.get(key, "absent") != want.get(key, "absent")
    ]
    if differing:
        raise UserError(
            f"data set {manifest.name} was made with other parameters: {'; '.join(differing)}; "
            "simulate it again or change the request"
        )


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(item, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value


# --- on disk ----------------------------------------------------------------------------------


def save_dataset(dataset: Dataset, folder: Path) -> None:
    """Write manifest and splits as `folder`, whole or not at all.

    Raises UserError when the folder already holds something.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} already exists; remove it or choose another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        temporary.mkdir()
        for name, split in dataset.splits.items():
            write_cxi(temporary / f"{name}.cxi", _to_scan(dataset, split))
            _sync(temporary / f"{name}.cxi")
        write_json(temporary / "manifest.json", dataset.manifest.model_dump(mode="json"))
        _sync(temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_scan(dataset: Dataset, split: Split) -> CxiScan:
    extra = {
        "image_index": split.image_index,
        "object_shape": np.array(split.object_shape),
        "group_size": dataset.manifest.group_size,
        "photon_scale": dataset.manifest.photon_scale,
    }
    if split.stride_px is not None:
        extra["stride_px"] = split.stride_px
    return CxiScan(
        frames=split.counts.reshape(-1, *split.counts.shape[2:]),
        positions_px=split.positions_px.reshape(-1, 2),
        probe=dataset.probe,
        truth=split.obj,
        geometry=dataset.manifest.geometry,
        nominal=dataset.manifest.nominal,
        extra=extra,
    )


def _to_split(scan: CxiScan, group_size: int) -> Split:
    stride = scan.extra.get("stride_px")
    height, width = scan.extra["object_shape"]
    return Split(
        counts=scan.frames.reshape(-1, group_size, *scan.frames.shape[1:]),
        positions_px=scan.positions_px.reshape(-1, group_size, 2),
        image_index=scan.extra["image_index"],
        obj=scan.truth,
        object_shape=(int(height), int(width)),
        stride_px=None if stride is None else int(stride),
    )


def load_manifest(folder: Path) -> Manifest:
    """manifest.json of a data set. Raises UserError when it is absent, torn or of another kind."""
    path = Path(folder) / "manifest.json"
    given = read_json(path)
    if given is None:
        raise UserError(
            f"{path} is absent or torn; simulate or import the data set, or `dvc pull` it"
        )
    try:
        return Manifest.model_validate(given)
    except ValidationError as error:
        raise UserError(f"{path} is no manifest of a data set: {explain(error, given)}") from None


def load_dataset(
    folder: Path, splits: Sequence[str] = SPLITS, limit_bytes: float | None = None
) -> Dataset:
    """The data set in `folder`, or some of its splits.

    The counts of a split that would take more than `limit_bytes` in training are left on disk;
    `MEMORY_SHARE` of the free memory when None, 0 leaves all there, `math.inf` none.

    Raises UserError for an absent, torn or foreign file, and when shapes differ from the manifest.
    """
    folder = Path(folder)
    manifest = load_manifest(folder)
    scans = {name: read_cxi(folder / f"{name}.cxi") for name in splits}
    for name, scan in scans.items():
        _check_shapes(manifest, name, scan, folder)
    probe = next(iter(scans.values())).probe
    limit = memory_share() if limit_bytes is None else limit_bytes
    loaded = {
        name: _to_split(_held(scan, limit), manifest.group_size) for name, scan in scans.items()
    }
    return Dataset(manifest=manifest, probe=probe, splits=loaded)


def memory_share(runs: int = 1) -> float:
    """Bytes that one split may take in memory when as many runs go side by side."""
    return MEMORY_SHARE * environment.memory() / runs


def _held(scan: CxiScan, limit_bytes: float) -> CxiScan:
    """The scan with its frames in memory, where they may take so much."""
    if HELD_BYTES * prod(scan.frames.shape) > limit_bytes:
        return scan
    return replace(scan, frames=scan.frames[:])


def _check_shapes(manifest: Manifest, name: str, scan: CxiScan, folder: Path) -> None:
    n, frames = manifest.n, manifest.patterns[name] * manifest.group_size
    expected = {
        "frames": (scan.frames.shape, (frames, n, n)),
        "positions": (scan.positions_px.shape, (frames, 2)),
        "probe": (scan.probe.shape, (n, n)),
        "image_index": (scan.extra["image_index"].shape, (manifest.patterns[name],)),
    }
    for what, (got, wanted) in expected.items():
        if got != wanted:
            raise UserError(
                f"{folder / name}.cxi holds {what} of shape {got} but manifest.json says {wanted}; "
                "the folder mixes two data sets: simulate or import it again"
            )


def verify_dataset(folder: Path) -> Manifest:
    """Read everything and compare with the content hash. Raises UserError when they differ."""
    dataset = load_dataset(folder, limit_bytes=0)
    found = content_hash(dataset.probe, dataset.splits)
    if found != dataset.manifest.content_sha256:
        raise UserError(
            f"{folder} was changed after it was written: its arrays hash to {found[:12]}, "
            f"manifest.json says {dataset.manifest.content_sha256[:12]}; make it again"
        )
    return dataset.manifest

"""A data set: three scans, one probe, and a manifest that describes them.

    data/quick/
        manifest.json   every parameter, seed and scale, and the hash of the arrays
        train.cxi       counts, positions, probe, and the true object where there is one
        validation.cxi
        test.cxi

A set that draws objects per seed holds one such folder per seed, data/NAME/s1, s2, ...: arms name
data/NAME, and a run takes the folder of its seed (`seed_folder`). The probe is the same in all.

Counts, probe and `photon_scale` are stored; every other unit follows from them (`optics.counts`).
A mask, where there is one, says which detector pixels were measured (`formats.masks`).
The counts of a split that would take more than a share of the memory stay in their file (`frames`).
"""

from __future__ import annotations

import filecmp
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Complex64
from pydantic import ValidationError

from study.formats.cxi import CxiScan, read_cxi, write_cxi
from study.formats.frames import Frames, blocks
from study.formats.geometry import Geometry
from study.formats.limits import check_memory
from study.formats.masks import fill_masked, filling
from study.reading import read_mapping
from study.runs import environment, write_json
from study.runs.seed_folders import held_seeds
from study.runs.temporary import sweep, sync, temporary_folder
from study.settings import SPLITS, Count, Model, Positive, UserError, explain, seeds_text
from study.settings.data import NumberPerSplit, PatternsPerSplit

# Of the memory that is free, for one split: all three together leave a quarter.
MEMORY_SHARE = 0.25
HIDDEN = re.compile(r"\..+\.tmp")
MODES = "probe_modes"  # in entry_1/armature_1
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
    patterns: PatternsPerSplit
    photon_scale: Positive
    probe_norm: Positive
    object_norm: NumberPerSplit
    photons_per_pattern: Positive
    geometry: Geometry
    nominal: bool
    request: Mapping[str, Any]
    statements: tuple[str, ...]
    content_sha256: str
    code_version: str

    @property
    def set_sha256(self) -> str:
        """Hash of the set that an arm names: equal for the data of all its seeds.

        Of a set with objects per seed it is that of their common request, elsewhere that of the
        content.
        """
        if "seeds" not in self.request:
            return self.content_sha256
        common = {key: value for key, value in self.request.items() if key != "seeds"}
        return hashlib.sha256(json.dumps(common, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Split:
    """One scan: counts (J, c, n, n) photons, positions_px (J, c, 2), image_index (J,).

    `counts`: an array, or left on disk; `counts[index]` gives an array in both cases. `obj`:
    (I, H, W) complex64 truth in object units, or None for a measurement. `image_index` says which
    of the I objects a pattern belongs to. `stride_px`: scan step of a regular raster (rows x
    columns in row-major order, per image), else None. `mask`: (n, n) bool, True for measured
    pixels, the same in all splits; None where all were. Counts at other pixels are a filling.
    """

    counts: Frames
    positions_px: np.ndarray
    image_index: np.ndarray
    obj: np.ndarray | None
    object_shape: tuple[int, int]
    stride_px: int | None
    mask: Bool[np.ndarray, "n n"] | None = None

    def all_counts(self) -> np.ndarray:
        """The counts of the whole split in memory, for who needs them at once (stitching).

        Raises UserError where they are left on disk and need more memory than is free.
        """
        if not isinstance(self.counts, np.ndarray):
            check_memory(self.counts.nbytes, f"counts of shape {self.counts.shape}")
        return self.counts[:]


@dataclass(frozen=True)
class Dataset:
    """A data set; large counts may be left on disk.

    `probe`: P_sim, (n, n) complex64. `modes`: where the beam was partly coherent, orthogonal modes
    (m, n, n), the strongest first, with the power of `probe`, which is the first of them alone.
    """

    manifest: Manifest
    probe: np.ndarray
    splits: Mapping[str, Split]
    modes: np.ndarray | None = None

    @property
    def mask(self) -> Bool[np.ndarray, "n n"] | None:
        """Pixels that were measured, the same in all splits; None for all pixels."""
        return next(iter(self.splits.values())).mask

    @property
    def forward_probe(self) -> np.ndarray:
        """What predicts patterns: all modes (m, n, n) where there are several, else the probe."""
        return self.probe if self.modes is None else self.modes

    @property
    def synchronised(self) -> bool:
        """Whether its rows are stitched after the global phases of all windows agree."""
        return self.manifest.request.get("stitching") == "synchronised"


# --- hash and checks --------------------------------------------------------------------------


def _arrays(
    probe: np.ndarray, splits: Mapping[str, Split], modes: np.ndarray | None
) -> Iterator[tuple[str, Frames]]:
    yield "probe", probe
    if modes is not None:
        yield "modes", modes
    for name in SPLITS:
        split = splits[name]
        yield f"{name}/counts", split.counts
        yield f"{name}/image_index", split.image_index
        if split.mask is not None:
            yield f"{name}/mask", split.mask
        if split.obj is not None:
            yield f"{name}/obj", split.obj
        yield f"{name}/positions_px", split.positions_px


def content_hash(
    probe: Complex64[np.ndarray, "n n"],
    splits: Mapping[str, Split],
    modes: Complex64[np.ndarray, "m n n"] | None = None,
    seen: Callable[[str, np.ndarray], None] | None = None,
) -> str:
    """sha256 of the probe and of the arrays of all splits: names, types, shapes and bytes.

    `seen(name, block)` is called with what is hashed, so that nobody has to read it once more.
    """
    digest = hashlib.sha256()
    for name, array in _arrays(probe, splits, modes):
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        for block in blocks(array):
            digest.update(np.ascontiguousarray(block).data)
            if seen is not None:
                seen(name, block)
    return digest.hexdigest()


def with_mask(dataset: Dataset, mask: Bool[np.ndarray, "n n"]) -> Dataset:
    """`dataset` with only the pixels of `mask` (True) known; masks that it has stay in force.

    Counts at the other pixels become the radial mean of their pattern; they are brought into
    memory. Raises UserError for a mask of another size, or without any known pixel.
    """
    n = dataset.manifest.n
    whole = mask if dataset.mask is None else mask & dataset.mask if mask.shape == (n, n) else mask
    if whole.shape != (n, n) or not whole.any():
        raise UserError(
            f"the mask has shape {mask.shape} and {int(mask.sum())} known pixels; accepted: "
            f"({n}, {n}) with at least one, not all of them masked before"
        )
    splits = {
        name: replace(split, counts=fill_masked(split.all_counts(), whole), mask=whole)
        for name, split in dataset.splits.items()
    }
    hidden = int((~whole).sum())
    manifest = dataset.manifest.model_copy(
        update={
            "content_sha256": content_hash(dataset.probe, splits, dataset.modes),
            "statements": (*dataset.manifest.statements, filling(hidden)),
        }
    )
    return replace(dataset, manifest=manifest, splits=splits)


# --- on disk ----------------------------------------------------------------------------------


def save_dataset(
    dataset: Dataset,
    folder: Path,
    complete: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> None:
    """Write manifest and splits as `folder`, whole or not at all, block by block.

    `complete`: `folder` may already hold some of these very files, as a killed `dvc add` leaves
    them; what is missing is added. What killed writers left beside `folder` is removed.
    `progress("writing", patterns done, all)`.

    Raises UserError when the folder already holds something else.
    """
    folder = Path(folder)
    occupied = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    if occupied and not complete:
        raise UserError(f"{folder} already exists; remove it or choose another name")
    folder.parent.mkdir(parents=True, exist_ok=True)
    sweep(folder.parent)  # a killed import may have left gigabytes
    with temporary_folder(folder) as temporary:
        count, done = sum(dataset.manifest.patterns.values()), 0

        def written(patterns: int) -> None:
            nonlocal done
            done += patterns
            if progress is not None:
                progress("writing", done, count)

        for name, split in dataset.splits.items():
            write_cxi(temporary / f"{name}.cxi", _to_scan(dataset, split), written)
            sync(temporary / f"{name}.cxi")
        write_json(temporary / "manifest.json", dataset.manifest.model_dump(mode="json"))
        sync(temporary)
        if occupied:
            _complete(folder, temporary)
        else:
            temporary.rename(folder)
    sync(folder.parent)


def _complete(folder: Path, whole: Path) -> None:
    """Move the files of `whole` that `folder` lacks into it. UserError when any other differs."""
    # `dvc add` replaces files by way of hidden temporary ones.
    names = {path.name for path in folder.iterdir() if not HIDDEN.fullmatch(path.name)}
    made = {path.name for path in whole.iterdir()}
    same = all(filecmp.cmp(folder / name, whole / name, shallow=False) for name in names & made)
    if names - made or not same:
        raise UserError(
            f"{folder} exists already and is not this scan, imported with these options; choose "
            "another name, or remove it first"
        )
    for name in sorted(made - names):
        (whole / name).rename(folder / name)


def _to_scan(dataset: Dataset, split: Split) -> CxiScan:
    extra = {
        "image_index": split.image_index,
        "object_shape": np.array(split.object_shape),
        "group_size": dataset.manifest.group_size,
        "photon_scale": dataset.manifest.photon_scale,
    }
    if split.stride_px is not None:
        extra["stride_px"] = split.stride_px
    if dataset.modes is not None:
        extra[MODES] = dataset.modes
    return CxiScan(
        frames=split.counts.reshape(-1, *split.counts.shape[2:]),
        positions_px=split.positions_px.reshape(-1, 2),
        probe=dataset.probe,
        truth=split.obj,
        geometry=dataset.manifest.geometry,
        nominal=dataset.manifest.nominal,
        mask=split.mask,
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
        mask=scan.mask,
    )


def load_manifest(folder: Path) -> Manifest:
    """manifest.json of a data set. Raises UserError when it is absent, torn or of another kind."""
    path = Path(folder) / "manifest.json"
    given = read_mapping(path)
    if given is None and (held := held_seeds(Path(folder))):
        raise UserError(
            f"{folder} holds one data set per seed ({seeds_text(held)}); choose one, such as "
            f"{Path(folder) / f's{held[0]}'}"
        )
    if given is None:
        raise UserError(f"{path} is absent; simulate or import the data set, or `dvc pull` it")
    try:
        return Manifest.model_validate(given)
    except ValidationError as error:
        raise UserError(
            f"{path} is not the manifest of a data set: {explain(error, given, '', Manifest)}"
        ) from None


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
    first = next(iter(scans.values()))
    limit = memory_share() if limit_bytes is None else limit_bytes
    loaded = {
        name: _to_split(_held(scan, limit), manifest.group_size) for name, scan in scans.items()
    }
    return Dataset(manifest, first.probe, loaded, first.extra.get(MODES))


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
        "modes": (scan.extra.get(MODES, scan.probe).shape[-2:], (n, n)),
        "image_index": (scan.extra["image_index"].shape, (manifest.patterns[name],)),
        "mask": ((n, n) if scan.mask is None else scan.mask.shape, (n, n)),
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
    found = content_hash(dataset.probe, dataset.splits, dataset.modes)
    if found != dataset.manifest.content_sha256:
        raise UserError(
            f"{folder} was changed after it was written: its arrays hash to {found[:12]}, "
            f"manifest.json says {dataset.manifest.content_sha256[:12]}; make it again"
        )
    return dataset.manifest

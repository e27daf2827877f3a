"""One scan of a data set in the layouts that other programs open.

    .cxi, .h5      NXcxi_ptycho: photon energy in beam_1 (and source_1, where many programs look),
                   mask, all probe modes in sqrt(photons)
    .hdf5          the pair *_dp.hdf5 and *_para.hdf5
    .npz           PtychoPINN: one mode, no mask

Positions in CXI are translations of the sample in metres as in `formats.cxi`; those of the pair are
window centres in metres from the middle of the object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
from jaxtyping import Complex64, Float32

from study.formats.cxi import DETECTOR, INVALID, SOURCE, TRANSLATION
from study.formats.dataset import Dataset, Split
from study.formats.frames import Frames, blocks
from study.formats.importing import held_out
from study.formats.layouts.hdf5_pair import other_half
from study.formats.npz import export_npz
from study.runs.temporary import temporary_folder
from study.settings import SPLITS, UserError

BEAM = "entry_1/instrument_1/beam_1"
ENTRIES = {
    "entry_1": "NXentry",
    "entry_1/instrument_1": "NXinstrument",
    BEAM: "NXbeam",
    SOURCE: "NXsource",
    DETECTOR: "NXdetector",
    "entry_1/sample_1": "NXsample",
    "entry_1/sample_1/geometry_1": "NXgeometry",
    "entry_1/data_1": "NXdata",
}


def export_scan(dataset: Dataset, split: str, path: Path) -> list[Path]:
    """Write one split, or `all` of an imported set in the order of its file; the files written.

    The layout follows the ending of `path`. Raises UserError for another ending, for a set with
    several images, and for `all` of a set whose splits show different objects.
    """
    path = Path(path)
    write = WRITERS.get(path.suffix)
    if write is None:
        raise UserError(
            f"{path} has the ending {path.suffix or '(none)'}; accepted: {', '.join(WRITERS)}: "
            "CXI, the pair *_dp.hdf5 and *_para.hdf5, or npz"
        )
    whole = _one_scan(dataset, split)
    if whole.splits[split].image_index.any():
        raise UserError(
            f"{dataset.manifest.name} has several images per split but these layouts hold one "
            "object; export a set with one image"
        )
    return write(whole, split, path)


def _one_scan(dataset: Dataset, split: str) -> Dataset:
    """`dataset` with the split asked for; `all`: its splits joined in the order of the file."""
    if split != "all":
        return dataset
    if dataset.manifest.kind != "imported":
        raise UserError(
            f"the splits of {dataset.manifest.name} show different objects; export one of "
            f"{', '.join(SPLITS)}"
        )
    parts = [dataset.splits[name] for name in SPLITS]
    members = held_out(sum(len(part.counts) for part in parts))
    order = np.argsort(np.concatenate([members[name] for name in SPLITS]))
    joined = replace(
        parts[0],
        counts=np.concatenate([part.all_counts() for part in parts])[order],
        positions_px=np.concatenate([part.positions_px for part in parts])[order],
        image_index=np.concatenate([part.image_index for part in parts])[order],
    )
    return replace(dataset, splits={**dataset.splits, "all": joined})


def _probe(dataset: Dataset) -> Complex64[np.ndarray, "*m n n"]:
    """In sqrt(photons)."""
    probe = dataset.probe if dataset.modes is None else dataset.modes
    return (probe * dataset.manifest.photon_scale).astype(np.complex64)


def _pixel_m(dataset: Dataset) -> float:
    return dataset.manifest.geometry.object_pixel_m(dataset.manifest.n)


def _flat(split: Split) -> tuple[Frames, Float32[np.ndarray, "J 2"]]:
    """Frames (J, n, n) and corners (J, 2), groups taken apart."""
    frames = split.counts.reshape(-1, *split.counts.shape[2:])
    return frames, split.positions_px.reshape(-1, 2)


def _write_frames(file: h5py.File, name: str, frames: Frames) -> h5py.Dataset:
    """One pattern per chunk, packed; block by block."""
    stored = file.create_dataset(
        name,
        frames.shape,
        frames.dtype,
        chunks=(1, *frames.shape[1:]),
        compression="gzip",
        compression_opts=4,
        shuffle=True,
    )
    start = 0
    for block in blocks(frames):
        stored[start : start + len(block)] = block
        start += len(block)
    return stored


def _written(path: Path, fill: Callable[[h5py.File], None]) -> Path:
    """The file `path`, whole or not at all."""
    with temporary_folder(path) as folder:
        with h5py.File(folder / path.name, "w") as file:
            fill(file)
        (folder / path.name).replace(path)
    return path


# --- CXI --------------------------------------------------------------------------------------


def export_cxi(dataset: Dataset, split: str, path: Path) -> list[Path]:
    """Write one split in the layout NXcxi_ptycho."""
    return [_written(path, lambda file: _fill_cxi(file, dataset, split))]


def _fill_cxi(file: h5py.File, dataset: Dataset, split: str) -> None:
    geometry = dataset.manifest.geometry
    frames, corners = _flat(dataset.splits[split])
    file["cxi_version"] = 160
    for group, kind in ENTRIES.items():
        file.create_group(group).attrs["NX_class"] = kind
    file["entry_1/definition"] = "NXptycho"
    file["entry_1/title"] = f"{dataset.manifest.name}, {split}"
    numbers = {
        f"{BEAM}/energy": (geometry.energy_j, "J"),
        f"{BEAM}/incident_beam_energy": (geometry.energy_j, "J"),
        f"{SOURCE}/energy": (geometry.energy_j, "J"),
        f"{DETECTOR}/distance": (geometry.distance_m, "m"),
        f"{DETECTOR}/x_pixel_size": (geometry.pixel_m, "m"),
        f"{DETECTOR}/y_pixel_size": (geometry.pixel_m, "m"),
    }
    for name, (value, units) in numbers.items():
        file[name] = value
        file[name].attrs["units"] = units
    _write_frames(file, f"{DETECTOR}/data", frames).attrs["units"] = "counts"
    file[DETECTOR].attrs["signal"] = "data"
    if dataset.mask is not None:
        file[f"{DETECTOR}/mask"] = np.where(dataset.mask, 0, INVALID).astype(np.uint32)
    file[f"{SOURCE}/illumination"] = _probe(dataset)
    metres = corners[:, ::-1].astype(np.float64) * _pixel_m(dataset)
    file[TRANSLATION] = np.pad(metres, ((0, 0), (0, 1)))
    file[TRANSLATION].attrs["units"] = "m"
    links = {
        f"{DETECTOR}/translation": TRANSLATION,
        "entry_1/data_1/data": f"{DETECTOR}/data",
        "entry_1/data_1/translation": TRANSLATION,
    }
    for name, target in links.items():
        file[name] = h5py.SoftLink(f"/{target}")
    file["entry_1/data_1"].attrs["signal"] = "data"


# --- the pair ---------------------------------------------------------------------------------


def export_pair(dataset: Dataset, split: str, path: Path) -> list[Path]:
    """Write one split as NAME_dp.hdf5 and NAME_para.hdf5; `path`: NAME.hdf5 or either of them."""
    named = path if other_half(path) is not None else path.with_name(f"{path.stem}_dp{path.suffix}")
    other = other_half(named)
    assert other is not None, "the name has one of the two parts"
    halves = sorted([named, other], key=lambda file: "_dp." not in file.name)
    fills = (_fill_frames, _fill_parameters)
    return [
        _written(file, lambda out, fill=fill: fill(out, dataset, split))
        for file, fill in zip(halves, fills, strict=True)
    ]


def _fill_frames(file: h5py.File, dataset: Dataset, split: str) -> None:
    _write_frames(file, "dp", _flat(dataset.splits[split])[0])
    if dataset.mask is not None:
        file["bad_pixels"] = ~dataset.mask


def _fill_parameters(file: h5py.File, dataset: Dataset, split: str) -> None:
    chosen, pixel_m, n = dataset.splits[split], _pixel_m(dataset), dataset.manifest.n
    obj = np.ones(chosen.object_shape, np.complex64) if chosen.obj is None else chosen.obj[0]
    probe = _probe(dataset)
    file["object"] = obj[None]
    file["probe"] = probe.reshape(1, -1, n, n)
    for name in ("object", "probe"):
        for key in ("pixel_height_m", "pixel_width_m"):
            file[name].attrs[key] = pixel_m
    middle = np.array(chosen.object_shape) / 2
    centres = (_flat(chosen)[1].astype(np.float64) + n // 2 - middle) * pixel_m
    file["probe_position_y_m"], file["probe_position_x_m"] = centres.T


def _export_npz(dataset: Dataset, split: str, path: Path) -> list[Path]:
    export_npz(dataset, split, path)
    return [path]


WRITERS: dict[str, Callable[[Dataset, str, Path], list[Path]]] = {
    ".cxi": export_cxi,
    ".h5": export_cxi,
    ".hdf5": export_pair,
    ".npz": _export_npz,
}

"""Stage `simulate`: all data sets in params.yaml; each seed is written completely or not at all."""

import shutil
from pathlib import Path

from study.formats.dataset import load_manifest, save_dataset
from study.formats.requests import check_request
from study.optics.groups import window_px
from study.reading import real_path
from study.runs import environment
from study.runs.links import refuse_links
from study.settings import SPLITS, DataParams, Study, UserError
from study.simulate import simulate
from study.simulate.dataset import CHUNK


def simulate_all(study: Study, out: Path) -> list[str]:
    """Write `out`/NAME, or `out`/NAME/s<seed>, for each data set; returns the names computed.

    Raises UserError if an existing data set was simulated with different parameters (with the
    fields that differ), for insufficient disk space, and for links that lead out of the checkout.
    """
    refuse_links(out)
    wanted = {}
    for name, params in parts(study).items():
        if (out / name / "manifest.json").is_file():
            check_request(load_manifest(out / name), params)
        else:
            wanted[name] = params
    for name, params in wanted.items():
        check_memory(name, params)
    check_disk(out, sum(data_bytes(params) for params in wanted.values()))
    for name, params in wanted.items():
        save_dataset(simulate(name, params), out / name)
    return list(wanted)


def parts(study: Study) -> dict[str, DataParams]:
    """Parameters by NAME, or by NAME/s<seed> for data sets with objects drawn per seed."""
    found: dict[str, DataParams] = {}
    for name, params in study.data.items():
        if params.seeds is None:
            found[name] = params
        else:
            found |= {f"{name}/s{seed}": params.of_seed(seed) for seed in params.seeds}
    return found


def patterns(params: DataParams, split: str) -> int:
    """Number of samples (patterns, or groups for a group size of 4) of one split, in all images."""
    window = window_px(params.n, params.group_size)
    across = (params.object_px - window) // getattr(params.scan.stride_px, split) + 1
    return across**2 * params.images_per_split


def data_bytes(params: DataParams) -> int:
    """Size of the counts of all splits and seeds on disk, four bytes per pixel."""
    windows = len(params.seeds or (0,)) * sum(patterns(params, split) for split in SPLITS)
    return 4 * windows * params.group_size * params.n**2


def memory_bytes(params: DataParams) -> int:
    """Least memory in which one seed is simulated: counts and positions of all splits, the objects
    in double and single precision, one canvas, and the fields of a chunk of windows."""
    seed = params if params.seeds is None else params.of_seed(params.seeds[0])
    channels = params.group_size * sum(patterns(params, split) for split in SPLITS)
    objects = 24 * len(SPLITS) * params.images_per_split * params.object_px**2
    fields = 4 * 16 * min(CHUNK * params.group_size, channels) * params.n**2
    return data_bytes(seed) + 8 * channels + objects + 8 * params.canvas_px**2 + fields


def check_memory(name: str, params: DataParams) -> None:
    """Raise UserError when this process may not use the memory that the data set takes."""
    needed, free = memory_bytes(params), environment.memory()
    if needed > free:
        windows = sum(patterns(params, split) for split in SPLITS)
        raise UserError(
            f"simulating {name} takes at least {_size(needed)} of memory, and "
            f"{_size(free)} are free: {windows:,} patterns of {params.n} px from "
            f"{params.images_per_split:,} images of {params.object_px:,} px per split. Choose "
            "fewer images, a smaller n, object_px or canvas_px, or a larger scan.stride_px"
        )


def check_disk(folder: Path, needed_bytes: int) -> None:
    """Raise UserError if the disk of `folder` has less than `needed_bytes` of free space."""
    existing = next(p for p in (folder, *real_path(folder).parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise UserError(
            f"{_size(free)} are free under {folder}, but {_size(needed_bytes)} are needed; free "
            "some space (`study clean --dry` shows what can be deleted)"
        )


def _size(size_bytes: int) -> str:
    """Three digits, in MB or GB, without an exponent."""
    value, unit = (size_bytes / 1e9, "GB") if size_bytes >= 1e9 else (size_bytes / 1e6, "MB")
    return f"{value:.0f} {unit}" if value >= 100 else f"{value:.3g} {unit}"

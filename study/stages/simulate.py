"""Stage `simulate`: every data set of params.yaml, each whole or not at all."""

import shutil
from pathlib import Path

from study.formats.dataset import check_request, load_manifest, save_dataset
from study.params import DataParams, Study, UserError
from study.simulate import simulate


def simulate_all(study: Study, out: Path) -> list[str]:
    """Write `out`/NAME for every data set; returns the names that were computed.

    A set that is there must have been made from the same parameters: anything else is refused with
    the fields that differ (UserError), never silently reused or replaced.
    """
    wanted = {}
    for name, params in study.data.items():
        if (out / name / "manifest.json").is_file():
            check_request(load_manifest(out / name), params)
        else:
            wanted[name] = params
    check_disk(out, sum(data_bytes(params) for params in wanted.values()))
    for name, params in wanted.items():
        save_dataset(simulate(name, params), out / name)
    return list(wanted)


def data_bytes(params: DataParams) -> int:
    """Size of the counts of all splits on disk, four bytes a pixel."""
    steps = params.scan.stride_px
    span = params.object_px - params.n
    patterns = sum((span // step + 1) ** 2 for step in (steps.train, steps.validation, steps.test))
    return 4 * patterns * params.images_per_split * params.group_size * params.n**2


def check_disk(folder: Path, needed_bytes: int) -> None:
    """Raise UserError when the disk of `folder` has less than `needed_bytes` left."""
    existing = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise UserError(
            f"{free / 1e9:.2f} GB are free under {folder} but {needed_bytes / 1e9:.2f} GB are "
            "needed; free some space (`study clean` shows what can go)"
        )

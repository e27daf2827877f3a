"""Stage `simulate`: every data set of params.yaml into one folder, whole or not at all."""

import shutil
from pathlib import Path

from study.formats.dataset import check_request, load_manifest, save_dataset
from study.params import Study, UserError
from study.simulate import simulate


def simulate_all(study: Study, out: Path) -> list[str]:
    """Write `out`/NAME for every data set; returns the names that were computed.

    A set that is there must have been made from the same parameters: anything else is refused with
    the fields that differ (UserError), never silently reused or replaced.
    """
    made = []
    for name, params in study.data.items():
        folder = out / name
        if (folder / "manifest.json").is_file():
            check_request(load_manifest(folder), params)
            continue
        save_dataset(simulate(name, params), folder)
        made.append(name)
    return made


def check_disk(folder: Path, needed_bytes: int) -> None:
    """Raise UserError when the disk of `folder` has less than `needed_bytes` left."""
    existing = next(p for p in (folder, *folder.resolve().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    if free < needed_bytes:
        raise UserError(
            f"{free / 1e9:.2f} GB are free under {folder} but {needed_bytes / 1e9:.2f} GB are "
            "needed; free some space (`study clean` shows what can go)"
        )

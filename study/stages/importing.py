"""`study import`: a measured scan into imported/NAME, tracked by DVC on its own.

`data/` belongs to data.dvc only (`dvc repro` deletes what else is there), so measured sets live
beside it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.formats.dataset import Manifest, save_dataset
from study.formats.import_options import request_of_import
from study.formats.importing import import_scan
from study.formats.positions import Beside
from study.runs import environment, read_json
from study.runs.links import refuse_links
from study.runs.temporary import sweep
from study.settings import UserError, check_name
from study.stages.progress import passes
from study.stages.simulate import check_disk


def import_file(
    root: Path,
    file: Path,
    name: str,
    probe: Path | None,
    overrides: Mapping[str, Any],
    track: bool,
    beside: Beside | None = None,
) -> Manifest:
    """Read, check and write imported/NAME; nothing is written when anything is wrong.

    The same command again completes what a killed one left, and changes nothing otherwise.

    Raises UserError for names that are taken or are not names, and for every fault of the file.
    """
    target = root / "imported" / check_name(name)
    refuse_links(target.parent)
    _, request = request_of_import(file, probe, beside, **overrides)
    if target.exists():
        _refuse_other(target, request)
    elif (tracked := target.with_name(f"{target.name}.dvc")).exists():
        # Written over, its only trace would be the history of git.
        raise UserError(
            f"{tracked} is a data set of that name that is not in this checkout; "
            f"`study pull imported/{name}` brings it. Choose another name for this file"
        )
    with passes() as progress:
        dataset = import_scan(
            file, name, probe=probe, beside=beside, progress=progress, **overrides
        )
        sweep(target.parent)  # gigabytes of a killed import count as free room
        check_disk(target, sum(split.counts.nbytes for split in dataset.splits.values()))
        save_dataset(dataset, target, complete=True, progress=progress)
    if track:
        track_folder(root, target)
    return dataset.manifest


def _refuse_other(target: Path, request: Mapping[str, Any]) -> None:
    """Raise UserError, before the scan is read, where the manifest says that it is another one."""
    stored = read_json(target / "manifest.json") if target.is_dir() else {}
    if stored is not None and (not isinstance(stored, dict) or stored.get("request") != request):
        raise UserError(
            f"{target} exists and is not this file imported with these options; choose "
            "another name, or remove it first"
        )


def track_folder(root: Path, target: Path) -> None:
    """`dvc add`, so that `dvc push` and an arm on this set find it."""
    done = environment.dvc("add", "-q", str(target.relative_to(root)), root=root)
    if done.returncode:
        raise UserError(
            f"{target} is written, but `dvc add` failed ({done.stderr.strip()}); "
            "use --no-track outside a DVC checkout"
        )

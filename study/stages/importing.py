"""`study import`: a measured scan into imported/NAME, tracked by DVC on its own.

`data/` belongs to data.dvc alone (`dvc repro` deletes what else lies there), so measured sets live
beside it.
"""

from collections.abc import Mapping
from pathlib import Path

from study import environment
from study.formats.dataset import Manifest, save_dataset
from study.formats.importing import import_scan
from study.params import UserError, check_name
from study.stages.simulate import check_disk


def import_file(
    root: Path,
    file: Path,
    name: str,
    probe: Path | None,
    overrides: Mapping[str, str],
    track: bool,
) -> Manifest:
    """Read, check and write imported/NAME; nothing is written when anything is wrong.

    Raises UserError for names that exist or are no names and for every fault of the file.
    """
    target = root / "imported" / check_name(name)
    if target.exists():
        raise UserError(f"{target} exists already; choose another name or remove it first")
    dataset = import_scan(file, name, probe=probe, **overrides)
    check_disk(target, sum(split.counts.nbytes for split in dataset.splits.values()))
    save_dataset(dataset, target)
    if track:
        track_folder(root, target)
    return dataset.manifest


def track_folder(root: Path, target: Path) -> None:
    """`dvc add`, so that `dvc push` and an arm on this set find it."""
    done = environment.dvc("add", "-q", str(target.relative_to(root)), root=root)
    if done.returncode:
        raise UserError(
            f"{target} is written, but `dvc add` failed ({done.stderr.strip()}); "
            "use --no-track outside a DVC checkout"
        )

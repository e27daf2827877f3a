"""`study import`: import a measured scan as imported/NAME, which DVC tracks separately.

`data/` is an output of data.dvc (`dvc repro` deletes any other files in it), so measured data sets
are stored in a different folder.
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
    """Read and check a scan and write imported/NAME; nothing is written if there is an error.

    `probe`: file with the probe; `beside`: other files, such as positions and mask; `overrides`:
    conventions stated by the user; `track`: add the data set to DVC. Repeating the same command
    completes an interrupted import, and otherwise changes nothing.

    Raises UserError if the name is taken or invalid, and for invalid files.
    """
    target = root / "imported" / check_name(name)
    refuse_links(target.parent)
    _, request = request_of_import(file, probe, beside, **overrides)
    if target.exists():
        _refuse_other(target, request)
    elif (tracked := target.with_name(f"{target.name}.dvc")).exists():
        # Overwriting it would leave a trace of it only in the git history.
        raise UserError(
            f"{tracked} is a data set of that name that is not in this checkout (get it with "
            f"`study pull imported/{name}`). Choose another name for this file"
        )
    with passes() as progress:
        dataset = import_scan(
            file, name, probe=probe, beside=beside, progress=progress, **overrides
        )
        sweep(target.parent)  # frees the space used by killed imports
        check_disk(target, sum(split.counts.nbytes for split in dataset.splits.values()))
        save_dataset(dataset, target, complete=True, progress=progress)
    if track:
        track_folder(root, target)
    return dataset.manifest


def _refuse_other(target: Path, request: Mapping[str, Any]) -> None:
    """Raise UserError, before the scan is read, if `target` was imported from another request."""
    stored = read_json(target / "manifest.json") if target.is_dir() else {}
    if stored is not None and (not isinstance(stored, dict) or stored.get("request") != request):
        raise UserError(
            f"{target} exists and is not this file imported with these options; choose "
            "another name, or remove it first"
        )


def track_folder(root: Path, target: Path) -> None:
    """Run `dvc add` on a data set, so that `dvc push` and arms that use it find it.

    Raises UserError if this fails.
    """
    done = environment.dvc("add", "-q", str(target.relative_to(root)), root=root)
    if done.returncode:
        raise UserError(
            f"{target} was written, but `dvc add` failed ({done.stderr.strip()}); "
            "use --no-track outside a DVC checkout"
        )

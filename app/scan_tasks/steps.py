"""User actions on a scan: choose, read, mask, accept, import, reconstruct, stop, remove.

Called only by `app.actions`, which rejects users without write access.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.scan_tasks import importer, mask, places, work
from app.scan_tasks.importer import Request
from study.settings import UserError, check_name

RESULT = "result.npz"


@dataclass(frozen=True)
class Upload:
    """A file uploaded with the browser."""

    name: str
    data: bytes


def begin(
    root: Path, scan: Upload | Path, beside: Mapping[str, Upload], units: str | None = None
) -> str:
    """Store a scan in a private folder, start to read it, and return its id.

    `scan`: an upload, or a file below a configured folder. `beside`: optional uploads `probe` and
    `positions`. Raises UserError if the scan is not accepted or cannot be stored; nothing is kept.
    """
    for upload in (*beside.values(), *([scan] if isinstance(scan, Upload) else [])):
        _check_size(upload)
    chosen = scan if isinstance(scan, Upload) else places.checked(scan)
    folder = work.create(root, chosen.name)
    try:
        file = _kept(folder, "scan", chosen) if isinstance(chosen, Upload) else chosen
        kept = {kind: str(_kept(folder, kind, upload)) for kind, upload in beside.items()}
        request = Request(str(file), kept.get("probe"), kept.get("positions"), units)
        work.save(folder, request, isinstance(scan, Upload))
        work.start(root, folder, "look")
    except OSError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise UserError(f"the scan cannot be stored: {error.strerror or error}") from None
    except UserError:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return folder.name


def _check_size(upload: Upload) -> None:
    if len(upload.data) > places.LARGEST_MB * 2**20:
        raise UserError(
            f"{places.safe_name(upload.name)} has {len(upload.data) / 2**20:.0f} MB; uploads up to "
            f"{places.LARGEST_MB} MB are accepted: move it to a folder listed under [scans], or "
            "use `study import`"
        )


def _kept(folder: Path, kind: str, upload: Upload) -> Path:
    """Write an upload to folder/kind under its (sanitised) name, readable only by the owner."""
    place = folder / kind
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(mode=0o700)
    file = place / places.safe_name(upload.name)
    file.write_bytes(upload.data)
    file.chmod(0o600)
    return file


def look_again(
    root: Path,
    scan_id: str,
    threshold: float | None,
    shapes: str,
    upload: Upload | None,
) -> None:
    """Read the scan again with a mask. `threshold`: photons.

    Raises UserError for invalid shapes, too large an upload, or too many running tasks.
    """
    scan = work.read(root, scan_id)
    mask.parse(shapes)
    file = scan.request.mask_file
    if upload is not None:
        _check_size(upload)
        file = str(_kept(scan.folder, "mask", upload))
    elif file is not None and not Path(file).is_file():
        file = None
    changed = replace(
        scan.request, threshold=threshold, shapes=shapes, mask_file=file, accept=None, options=""
    )
    work.save(scan.folder, changed, scan.uploaded)
    work.start(root, scan.folder, "look")


def accept(root: Path, scan_id: str, row: int) -> None:
    """Accept a row (from 1) of the table of an ambiguous scan, or 0 for none.

    Raises UserError for a row that does not exist.
    """
    scan = work.read(root, scan_id)
    rows = scan.task("look").facts.readings
    if not 0 <= row <= len(rows):
        raise UserError(f"row {row} does not exist; the table has {len(rows)} rows")
    options = rows[row - 1].options if row else ""
    request = replace(scan.request, accept=row or None, options=options)
    work.save(scan.folder, request, scan.uploaded)


def import_command(root: Path, scan: work.Scan, name: str) -> list[str]:
    """Arguments of `study` that import the scan with its mask and accepted reading."""
    return importer.command(scan.request, scan.folder, name, (root / ".dvc").is_dir())


def import_as(root: Path, scan_id: str, name: str) -> None:
    """Start the import as imported/NAME. Raises UserError if the name is invalid or taken."""
    scan = work.read(root, scan_id)
    if (root / "imported" / check_name(name)).exists():
        raise UserError(f"imported/{name} exists; choose another name")
    work.note_import(scan.folder, name)
    work.start(root, scan.folder, "import", import_command(root, scan, name))


def reconstruct_command(scan: work.Scan, source: str, options: Sequence[str]) -> list[str]:
    """Arguments of `study` that reconstruct the imported scan. `source`: rpie or a run folder."""
    out = str(scan.folder / RESULT)
    where = f"imported/{scan.imported}"
    return ["reconstruct", source, where, "--out", out, *options, "--json"]


def reconstruct(root: Path, scan_id: str, source: str, options: Sequence[str]) -> None:
    """Start a reconstruction. Raises UserError if the scan is not imported yet."""
    scan = work.read(root, scan_id)
    if scan.imported is None or scan.task("import").state != "finished":
        raise UserError("the scan is not imported yet; import it first")
    (scan.folder / RESULT).unlink(missing_ok=True)
    work.start(root, scan.folder, "reconstruct", reconstruct_command(scan, source, options))


def stop(root: Path, scan_id: str, task: str) -> None:
    """Stop a task. A scan whose first reading was not complete is discarded."""
    scan = work.read(root, scan_id)
    work.stop(scan.folder, task)
    if not (scan.folder / importer.READ).is_file():
        work.forget_all(scan.folder)


def remove(root: Path, scan_id: str) -> None:
    """Delete the scan's folder with its uploads; an imported data set is kept."""
    work.remove(work.read(root, scan_id).folder)

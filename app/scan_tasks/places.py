"""Sources of scans: uploads, and files below folders that are configured in
.streamlit/secrets.toml:

    [scans]
    folders = ["/data/beamtime"]

Links are resolved; files outside these folders are neither offered nor accepted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from app import access
from study.settings import UserError

LARGEST_MB = 200
MOST_FILES, DEEPEST = 2000, 6
KINDS = (
    *(".cxi", ".h5", ".hdf5", ".nxs", ".npz", ".bz2", ".mat"),
    *(".ptyr", ".ptyd", ".zarr", ".emd", ".hspy", ".dm4", ".mib"),
)


def folders() -> list[Path]:
    """The configured folders, resolved. Raises UserError for a malformed list."""
    listed = access.secret("scans")
    if listed is None:
        return []
    paths = listed.get("folders") if isinstance(listed, Mapping) else None
    if not isinstance(paths, list) or not all(
        isinstance(one, str) and Path(one).is_absolute() for one in paths
    ):
        raise UserError(
            f"[scans] in {access.SECRETS} is malformed; it must be a list of absolute paths, for "
            'example: folders = ["/data/beamtime"]'
        )
    return [Path(one).resolve() for one in paths]


def listed() -> dict[str, Path]:
    """Displayed name -> path of scan files below the configured folders; at most `MOST_FILES`.

    Raises UserError for a malformed list of folders.
    """
    found: dict[str, Path] = {}
    for folder in folders():
        for path in _files(folder, DEEPEST):
            if len(found) >= MOST_FILES:
                return found
            name = f"{folder.name}/{path.relative_to(folder)}"
            found[name if name not in found else str(path)] = path
    return found


def _files(folder: Path, depth: int) -> Iterator[Path]:
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in ordered:
        if entry.name.startswith("."):
            continue
        path = Path(entry.path)
        if path.suffix.lower() in KINDS:
            yield path
        elif depth and entry.is_dir(follow_symlinks=False):
            yield from _files(path, depth - 1)


def checked(path: Path) -> Path:
    """The real path of a file below one of the folders. Raises UserError for any other."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError):
        raise UserError(f"{path.name} no longer exists; choose another file") from None
    if not any(real.is_relative_to(folder) for folder in folders()):
        raise UserError(
            f"{path.name} is not below a folder of [scans] in {access.SECRETS}; choose a listed "
            "file, or add its folder there and restart the app"
        )
    return real


def safe_name(name: str) -> str:
    """A file name for an upload: no path, no leading dot or dash, plain characters only."""
    base = re.split(r"[/\\]", name)[-1]
    plain = re.sub(r"[^A-Za-z0-9._+-]", "_", base).lstrip(".-_")
    stem, dot, suffix = plain.rpartition(".")
    return f"{stem[-80:]}{dot}{suffix[-12:]}" if stem else (plain[-80:] or "scan")

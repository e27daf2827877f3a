"""Content of files and folders in DVC's terms: the md5 of a file, or of a sorted file list."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from app.provenance.lock import Content
from study.runs.reread import Reread

# Folders excluded by .dvcignore of this project.
LEFT_OUT_FOLDERS = frozenset({"__pycache__", ".venv", ".pytest_cache", ".hypothesis"})


def file_md5(file: Path) -> str:
    """md5 of the content of a file. Raises OSError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


class Disk:
    """Hashes of files and folders below `folder`; an unchanged file is hashed only once.

    `hashes`: cache of md5 values that the caller keeps between instances.
    """

    def __init__(self, folder: Path, hashes: Reread[str]) -> None:
        self.folder = folder
        self._hashes = hashes

    def size(self, path: str) -> tuple[int, int] | None:
        """(bytes, number of files) of a path, or None if it does not exist."""
        found = [facts.st_size for _, item in self._files(path) if (facts := _facts(item))]
        return (sum(found), len(found)) if self._exists(path) else None

    def md5(self, path: str) -> str | None:
        """md5 of a path as recorded by DVC (folders end in .dir), or None if it does not exist."""
        place = self.folder / path
        if place.is_file():
            return self._md5(place)
        if not place.is_dir():
            return None
        listed = [
            {"md5": digest, "relpath": name}
            for name, item in self._files(path)
            if (digest := self._md5(item))
        ]
        listed.sort(key=lambda entry: entry["relpath"])
        text = json.dumps(listed, sort_keys=True)
        return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest() + ".dir"

    def same(self, path: str, recorded: Content, contents: bool) -> bool | None:
        """Whether a path matches its record; None if it does not exist.

        Without `contents`, only the size in bytes and the number of files are compared.
        """
        found = self.size(path)
        if found is None:
            return None
        if found != (recorded.size, recorded.files):
            return False
        return not contents or self.md5(path) == recorded.md5

    def _exists(self, path: str) -> bool:
        return (self.folder / path).exists()

    def _files(self, path: str) -> Iterator[tuple[str, Path]]:
        place = self.folder / path
        if place.is_file():
            yield place.name, place
            return
        for root, folders, names in os.walk(place):
            folders[:] = [name for name in folders if name not in LEFT_OUT_FOLDERS]
            for name in names:
                if not name.endswith(".pyc"):
                    file = Path(root) / name
                    yield file.relative_to(place).as_posix(), file

    def _md5(self, file: Path) -> str | None:
        """md5 of a file; None if it was deleted while the folder was read."""
        try:
            return self._hashes(file.absolute())
        except FileNotFoundError:
            return None


def _facts(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except FileNotFoundError:
        return None

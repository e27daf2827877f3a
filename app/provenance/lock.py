"""Records in dvc.lock and .dvc files: hashes of inputs and outputs, settings and commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.artifacts.dvc_yaml import Stored, read_dvc_file
from study.artifacts.lockfile import Locked, read_lock


@dataclass(frozen=True)
class Content:
    """Recorded content of a path: md5 as written by DVC (folders end in .dir), size in bytes and
    number of files."""

    md5: str
    size: int
    files: int


@dataclass(frozen=True)
class Record:
    """The record of a stage's last run. `params`: file -> dotted key -> value."""

    cmd: str
    deps: Mapping[str, Content]
    params: Mapping[str, Mapping[str, Any]]
    outs: Mapping[str, Content]


def records(folder: Path) -> dict[str, Record]:
    """All recorded stages by name. Raises UserError if dvc.lock or a .dvc file is invalid."""
    found = {name: _stage(locked) for name, locked in read_lock(folder / "dvc.lock").items()}
    for place in [folder / "data.dvc", *(folder / "imported").glob("*.dvc")]:
        if place.is_file():
            name, content = place.relative_to(folder), read_dvc_file(place)
            outs = _stored(content.outs, name.parent)
            if outs:
                deps = _stored(content.deps)
                found[name.as_posix()] = Record("", deps, {}, outs)
    return found


def _stage(locked: Locked) -> Record:
    return Record(
        cmd=str(locked.value("cmd") or ""),
        deps=_contents(locked.paths("deps")),
        params=locked.params(),
        outs=_contents(locked.paths("outs")),
    )


def _contents(items: Iterable[Mapping[str, str]]) -> dict[str, Content]:
    """Recorded paths and contents; entries without md5 are not recorded yet and are skipped."""
    return {
        item["path"]: Content(item["md5"], int(item.get("size", 0)), int(item.get("nfiles", 1)))
        for item in items
        if "md5" in item
    }


def _stored(items: Iterable[Stored], below: Path = Path()) -> dict[str, Content]:
    """A .dvc file names its outputs from its own folder."""
    return {
        (below / item.path).as_posix(): Content(item.md5, item.size, item.nfiles)
        for item in items
        if item.md5
    }

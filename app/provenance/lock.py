"""What dvc.lock and the .dvc files recorded: hashes of inputs and outputs, settings, commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.artifacts.lockfile import Locked, read_lock
from study.artifacts.outputs import read_dvc_file


@dataclass(frozen=True)
class Content:
    """What a path held: md5 as DVC writes it (folders end in .dir), bytes, files."""

    md5: str
    size: int
    files: int


@dataclass(frozen=True)
class Record:
    """One stage as it last ran. `params`: file -> dotted key -> value."""

    cmd: str
    deps: Mapping[str, Content]
    params: Mapping[str, Mapping[str, Any]]
    outs: Mapping[str, Content]


def records(folder: Path) -> dict[str, Record]:
    """Every recorded stage by name. Raises UserError for a dvc.lock that is none."""
    found = {name: _stage(locked) for name, locked in read_lock(folder / "dvc.lock").items()}
    for place in [folder / "data.dvc", *(folder / "imported").glob("*.dvc")]:
        if place.is_file():
            name, content = place.relative_to(folder), read_dvc_file(place)
            outs = _contents(content.get("outs", ()), name.parent)
            if outs:
                deps = _contents(content.get("deps", ()))
                found[name.as_posix()] = Record("", deps, {}, outs)
    return found


def _stage(locked: Locked) -> Record:
    return Record(
        cmd=str(locked.value("cmd") or ""),
        deps=_contents(locked.paths("deps")),
        params=locked.value("params") or {},
        outs=_contents(locked.paths("outs")),
    )


def _contents(items: Any, below: Path = Path()) -> dict[str, Content]:
    """A .dvc file names its outputs from its own folder; without md5 nothing was recorded yet."""
    return {
        (below / str(item["path"])).as_posix(): Content(
            str(item["md5"]), int(item.get("size", 0)), int(item.get("nfiles", 1))
        )
        for item in items
        if "md5" in item
    }

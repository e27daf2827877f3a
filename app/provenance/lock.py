"""What dvc.lock and the .dvc files recorded: hashes of inputs and outputs, settings, commands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from study.params import UserError, read_yaml


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
    file = folder / "dvc.lock"
    found = {str(name): _record(entry) for name, entry in _stages(file).items()}
    for place in [folder / "data.dvc", *(folder / "imported").glob("*.dvc")]:
        if place.is_file():
            name = place.relative_to(folder)
            record = _record(read_yaml(place) or {}, name.parent)
            if record.outs:
                found[name.as_posix()] = record
    return found


def _stages(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    try:
        # The C parser: a large dvc.lock takes the other one seconds.
        content = YAML(typ="safe").load(file.read_text())
    except (YAMLError, UnicodeDecodeError) as error:
        raise UserError(
            f"{file} is no valid YAML ({' '.join(str(error).split())[:120]}); is a merge "
            "unfinished? see `git status`"
        ) from None
    stages = content.get("stages") if isinstance(content, Mapping) else None
    if not isinstance(stages, Mapping):
        raise UserError(f"{file} holds no stages; restore it with `git checkout -- {file}`")
    return stages


def _record(entry: Mapping[str, Any], below: Path = Path()) -> Record:
    return Record(
        cmd=str(entry.get("cmd", "")),
        deps=_contents(entry.get("deps", ()), Path()),
        params=entry.get("params") or {},
        outs=_contents(entry.get("outs", ()), below),
    )


def _contents(items: Any, below: Path) -> dict[str, Content]:
    """A .dvc file names its outputs from its own folder; without md5 nothing was recorded yet."""
    return {
        (below / str(item["path"])).as_posix(): Content(
            str(item["md5"]), int(item.get("size", 0)), int(item.get("nfiles", 1))
        )
        for item in items
        if "md5" in item
    }

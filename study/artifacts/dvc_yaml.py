"""dvc.yaml as plain data: which stages a pipeline folder declares, and what they write.

Paths and commands keep their references (`${key}`); `app.provenance.pipeline` fills them in.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from study.reading import UserError, read_yaml


class Out(NamedTuple):
    """An output: `path` from the folder; whether DVC stores it in the cache, and pushes it to
    remotes."""

    path: str
    cached: bool
    pushed: bool


def declared(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Stage -> its entry in dvc.yaml; empty without a dvc.yaml.

    Raises UserError unless `stages` is a mapping of mappings.
    """
    file = folder / "dvc.yaml"
    content = read_yaml(file) if file.is_file() else {}
    section = content.get("stages") if isinstance(content, Mapping) else None
    entries = {} if section is None else section
    if not isinstance(entries, Mapping) or not all(
        isinstance(entry, Mapping) for entry in entries.values()
    ):
        raise UserError(f"{file} has no mapping 'stages'; restore it (`git checkout -- {file}`)")
    return entries


def body(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body of a stage, which is below `do` if the stage iterates over a mapping (`foreach`)."""
    return entry.get("do", entry)


def outs(entry: Mapping[str, Any]) -> Iterator[Out]:
    """The outputs of a stage, including metrics and plots."""
    for kind in ("outs", "metrics", "plots"):
        for given in body(entry).get(kind, ()):
            path, options = next(iter(given.items())) if isinstance(given, Mapping) else (given, {})
            cached = (options or {}).get("cache", True)
            yield Out(str(path), cached, cached and (options or {}).get("push", True))

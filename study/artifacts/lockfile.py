"""dvc.lock, read without DVC.

DVC writes it in a fixed layout, so inputs and outputs are read line by line (10 ms for half a
megabyte; a YAML parser takes a second). Nested values and other layouts are parsed on demand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.artifacts.dvc_yaml import checked_path
from study.reading import parse_yaml, quoted, read_text
from study.settings import UserError

FIELD = re.compile(r" {4}(?:- |  )(\w+): (.*)")


@dataclass(frozen=True)
class Locked:
    """One stage as it last ran: the lines of its `cmd`, `deps`, `params` and `outs`."""

    sections: dict[str, list[str]]

    def paths(self, name: str) -> list[dict[str, str]]:
        """Every path of `deps` or `outs`: path, md5, size, nfiles, as text.

        Raises UserError for entries without a path, paths that no file can have, and sizes that are
        not numbers.
        """
        found = self._paths(name)
        for item in found:
            sizes = [item.get(key, "0") for key in ("size", "nfiles")]
            if "path" not in item or not all(re.fullmatch(r"[0-9]{1,18}", size) for size in sizes):
                raise UserError(f"dvc.lock: {name} holds {quoted(item)}; {_restore('dvc.lock')}")
            try:
                checked_path(item["path"])
            except ValueError as error:
                raise UserError(f"dvc.lock: {name}: {error}; {_restore('dvc.lock')}") from None
        return found

    def _paths(self, name: str) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        for line in self.sections.get(name, ())[1:]:
            match = FIELD.fullmatch(line)
            if match is None:  # another writer's layout
                items = self.value(name) or []
                if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
                    items = [{"entries": items}]
                return [{str(k): str(v) for k, v in item.items()} for item in items]
            if line.startswith("    - ") or not found:
                found.append({})
            found[-1][match[1]] = match[2].strip("'\"")
        return found

    def params(self) -> dict[str, dict[str, Any]]:
        """Parameter file -> dotted key -> value. Raises UserError for other layouts."""
        found = self.value("params")
        found = {} if found is None else found
        if not isinstance(found, dict) or not all(isinstance(v, dict) for v in found.values()):
            raise UserError(f"dvc.lock: params holds {quoted(found)}; {_restore('dvc.lock')}")
        return found

    def value(self, name: str) -> Any:
        """`cmd` or `params`; None if absent. Raises UserError if it is not valid YAML."""
        lines = self.sections.get(name)
        content = parse_yaml("\n".join(lines), "dvc.lock", fast=True) if lines else None
        return content.get(name) if isinstance(content, Mapping) else None


def read_lock(file: Path) -> dict[str, Locked]:
    """stage -> its record; empty before the first run. Raises UserError for a file that is not a
    dvc.lock, or has conflict marks.
    """
    if not file.is_file():
        return {}
    lines = read_text(file).splitlines()
    if any(line.startswith(("<<<<<<<", ">>>>>>>")) for line in lines):
        raise UserError(f"{file} has an unfinished merge; finish it (`git status`) first")
    if "stages:" not in lines and "stages: {}" not in lines:
        raise UserError(f"{file} has no stages; {_restore(file)}")
    found: dict[str, Locked] = {}
    stage, section = Locked({}), []
    for line in lines[lines.index("stages:") + 1 :] if "stages:" in lines else ():
        indent = len(line) - len(line.lstrip())
        if indent == 2 and line.endswith(":"):
            stage = found[line.strip(" :").strip("'\"")] = Locked({})
        elif indent == 4 and not line.startswith("    - "):
            section = stage.sections.setdefault(line.strip().partition(":")[0], [])
            section.append(line.strip())
        else:
            section.append(line)
    return found


def _restore(file: Path | str) -> str:
    return f"restore it with `git checkout -- {file}`"

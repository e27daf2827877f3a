"""dvc.lock, read without DVC.

DVC writes it in one fixed layout, so inputs and outputs are read line by line (half a megabyte: 10
ms; a YAML parser: a second). What is nested or written otherwise is parsed when asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.params import UserError

FIELD = re.compile(r" {4}(?:- |  )(\w+): (.*)")


@dataclass(frozen=True)
class Locked:
    """One stage as it last ran: the lines of its `cmd`, `deps`, `params` and `outs`."""

    sections: dict[str, list[str]]

    def paths(self, name: str) -> list[dict[str, str]]:
        """Every path of `deps` or `outs`: path, md5, size, nfiles, as text."""
        found: list[dict[str, str]] = []
        for line in self.sections.get(name, ())[1:]:
            match = FIELD.fullmatch(line)
            if match is None:  # another writer's layout
                return [{k: str(v) for k, v in item.items()} for item in self.value(name) or ()]
            if line.startswith("    - "):
                found.append({})
            found[-1][match[1]] = match[2].strip("'\"")
        return found

    def value(self, name: str) -> Any:
        """`cmd` or `params`; None where it has none. Raises UserError where it is no YAML."""
        from ruamel.yaml import YAML, YAMLError

        lines = self.sections.get(name)
        try:
            return YAML(typ="safe").load("\n".join(lines))[name] if lines else None
        except YAMLError as error:
            told = " ".join(str(error).split())[:120]
            raise UserError(f"dvc.lock is no valid YAML ({told}); {_restore('dvc.lock')}") from None


def read_lock(file: Path) -> dict[str, Locked]:
    """stage -> what was recorded of it; empty before the first run.

    Raises UserError for a file that is no dvc.lock, or one with the marks of an unfinished merge.
    """
    if not file.is_file():
        return {}
    try:
        lines = file.read_text().splitlines()
    except UnicodeDecodeError:
        raise UserError(f"{file} is no text; {_restore(file)}") from None
    if any(line.startswith(("<<<<<<<", ">>>>>>>")) for line in lines):
        raise UserError(f"{file} holds an unfinished merge; finish it (`git status`) first")
    if "stages:" not in lines and "stages: {}" not in lines:
        raise UserError(f"{file} holds no stages; {_restore(file)}")
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

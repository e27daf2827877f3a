"""`study findings --readme`: the verdict table of the README, from findings.json."""

from __future__ import annotations

from pathlib import Path

from study.evidence.readme import with_verdicts
from study.params import UserError
from study.runs import read_json, write_text


def write_readme(root: Path) -> str:
    """The verdict table of README.md from findings.json. Raises UserError without its markers."""
    findings, file = read_json(root / "findings.json"), root / "README.md"
    if findings is None or not file.is_file():
        raise UserError(
            f"the verdict table needs {root / 'findings.json'} and {file}; run `dvc repro` in the "
            "root of the study"
        )
    write_text(file, with_verdicts(file.read_text(encoding="utf-8"), findings))
    return f"{file}: {len(findings['claims'])} verdicts"

"""`study findings --readme`: the verdict list of the README, from findings.json."""

from __future__ import annotations

from pathlib import Path

from study.evidence.claim_words import with_verdicts
from study.evidence.staleness import current_findings
from study.reading import read_text
from study.runs import write_text
from study.settings import UserError


def write_readme(root: Path) -> str:
    """Write the verdict list of README.md from findings.json; returns a summary.

    Raises UserError if README.md, its markers or the findings are missing.
    """
    file = root / "README.md"
    if not file.is_file():
        raise UserError(f"{file} does not exist; run in the root of the study")
    findings = current_findings(root)
    write_text(file, with_verdicts(read_text(file), findings))
    return f"{file}: {len(findings.headline)} verdicts, {len(findings.claims)} claims counted"

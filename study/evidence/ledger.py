"""findings.json as a file: its version, and whether it still rests on the evidence that is here.

*Stale* is computed on reading and stored nowhere: running the stage again would hide it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.evidence.arms import sha256
from study.evidence.claims import load_claims
from study.params import UserError
from study.runs import read_json

# 2: margins with units, second objects, needs, groups of recorded arms. History reads on from 1.
FORMAT = 2
READ = (1, 2)


def read_findings(root: Path) -> dict[str, Any] | None:
    """findings.json of the pipeline folder `root`; None when it is absent or torn.

    Raises UserError for a version that this code does not know.
    """
    found = read_json(root / "findings.json")
    if found is not None:
        check_format(found, str(root / "findings.json"))
    return found


def current_findings(root: Path) -> dict[str, Any]:
    """findings.json of the pipeline folder `root`, in the version that is written today.

    Raises UserError when it is absent, torn or of another version.
    """
    found = read_findings(root)
    if found is None or found["format"] != FORMAT:
        state = "is absent or torn" if found is None else f"has the format {found['format']}"
        raise UserError(f"{root / 'findings.json'} {state}; write it with `dvc repro findings`")
    return found


def check_format(findings: Any, where: str) -> None:
    """Raise UserError unless `findings`, which stand in `where`, have a known version."""
    version = findings.get("format") if isinstance(findings, Mapping) else None
    if isinstance(version, bool) or version not in READ:
        raise UserError(
            f"{where} has format {version!r}; this code reads {' and '.join(map(str, READ))} and "
            f"writes {FORMAT}: use the code that wrote it, or restore the file (`git checkout`)"
        )


def stale(findings: Mapping[str, Any], root: Path) -> dict[str, list[str]]:
    """What changed since the findings were written: claim id -> sentences, empty when fresh.

    `root` is the pipeline folder. A run artifact that is not here was not pulled, which is no
    change; results lie in git, so a missing one is. Raises UserError for a broken claims.yaml.
    """
    claims = {claim.id: claim.sha256 for claim in load_claims(root / "claims.yaml").claims}
    changed: dict[str, list[str]] = {}
    for claim_id, entry in findings["claims"].items():
        sentences = [s for item in entry["evidence"] if (s := _moved(item, root))]
        if claims.get(claim_id) != entry["claim_sha256"]:
            sentences.append("the claim itself changed in claims.yaml")
        if sentences:
            changed[claim_id] = sentences
    return changed


def _moved(item: Mapping[str, Any], root: Path) -> str | None:
    file = root / item["file"]
    if not file.is_file():
        return f"{item['file']} is gone" if item["in_git"] else None
    return None if sha256(file) == item["sha256"] else f"{item['file']} changed"

"""findings.json as a file: its version, and whether it still agrees with the stored evidence.

Staleness is computed when the file is read and not stored, since running the stage again would
hide it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.evidence.claim_finding import Evidence
from study.evidence.claims import load_claims
from study.evidence.model import FORMAT, Findings, parse
from study.evidence.packing import unpacked
from study.reading import hash_of_file, is_inside, quoted, read_mapping
from study.settings import UserError

READ = (1, 2, FORMAT)


def read_findings(root: Path) -> Findings | None:
    """findings.json of the pipeline folder `root`; None if it does not exist.

    Raises UserError for a damaged file or a different version.
    """
    file, content = root / "findings.json", earlier_findings(root)
    if content is None:
        return None
    if content["format"] != FORMAT:
        raise UserError(
            f"{file} has the format {content['format']}; write it with `dvc repro findings`"
        )
    return parse(content, file)


def current_findings(root: Path) -> Findings:
    """Like `read_findings`, but raises UserError if the file does not exist."""
    found = read_findings(root)
    if found is None:
        raise UserError(f"{root / 'findings.json'} is absent; write it with `dvc repro findings`")
    return found


def earlier_findings(root: Path) -> dict[str, Any] | None:
    """The content of findings.json in any version that `findings.build` can continue; None if it
    does not exist. Only the version is checked. Raises UserError for an unknown version."""
    file = root / "findings.json"
    content = read_mapping(file)
    if content is not None:
        check_format(content, str(file))
        content = unpacked(content, str(file)) if content["format"] == FORMAT else content
    return content


def check_format(findings: Any, where: str) -> None:
    """Raise UserError unless `findings`, from the file `where`, have a known version."""
    version = findings.get("format") if isinstance(findings, Mapping) else None
    if isinstance(version, bool) or version not in READ:
        raise UserError(
            f"{where} has format {version!r}; this code reads {' and '.join(map(str, READ))} and "
            f"writes {FORMAT}: use the code that wrote it, or restore the file (`git checkout`)"
        )


def stale(findings: Findings, root: Path) -> dict[str, list[str]]:
    """Changes since the findings were written: claim id -> sentences, empty if up to date.

    `root`: the pipeline folder. A missing run artifact may simply not have been pulled and is not a
    change, but a missing result, which should be in git, is. Raises UserError for an invalid
    claims.yaml.
    """
    claims = {claim.id: claim.sha256 for claim in load_claims(root / "claims.yaml").claims}
    changed: dict[str, list[str]] = {}
    for claim_id, entry in findings.claims.items():
        sentences = [s for item in entry.evidence if (s := _moved(item, root))]
        if claims.get(claim_id) != entry.claim_sha256:
            sentences.append("the claim itself changed in claims.yaml")
        if sentences:
            changed[claim_id] = sentences
    return changed


def _moved(item: Evidence, root: Path) -> str | None:
    if not is_inside(item.file):
        raise UserError(
            f"{root / 'findings.json'} names {quoted(item.file)} as evidence; accepted: paths "
            "below this folder, without `..`; write it again with `dvc repro findings`"
        )
    file = root / item.file
    if not file.is_file():
        return f"{item.file} is gone" if item.in_git else None
    return None if hash_of_file(file) == item.sha256 else f"{item.file} changed"

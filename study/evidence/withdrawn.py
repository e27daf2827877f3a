"""Claims that were removed from claims.yaml, according to git.

If findings listed only current claims, a claim could be dropped after seeing its result. All
versions of claims.yaml that are reachable from HEAD count, including merged branches. The limits of
this method are in docs/evidence.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from study.evidence.claim_finding import Withdrawn
from study.evidence.claims import ClaimBook
from study.reading import parse_yaml, quoted, read_yaml
from study.runs.environment import git
from study.settings import UserError, nearest

RAW = re.compile(r":\d+ \d+ ([0-9a-f]+) ([0-9a-f]+) ")
Fate = Literal["removed", "renamed", "replaced", "archived"]
Entries = Mapping[str, Any]


def withdrawn(book: ClaimBook) -> list[Withdrawn] | None:
    """Claims of earlier versions that are not in `book`, sorted by id; None if the history is
    incomplete (no repository, or a shallow clone).

    Raises UserError if `superseded` names a claim that never existed.
    """
    root = book.path.parent
    if (git("rev-parse", "--is-shallow-repository", root=root) or "").strip() != "false":
        return None
    now = {claim.id for claim in book.claims}
    last: dict[str, tuple[Entries, Entries, str, str]] = {}  # latest removal by claim
    stood: dict[str, Any] = {}
    for commit, date, old, new in _changes(root, book.path.name):
        before, after = _entries(root, old), _entries(root, new)
        for claim_id in before.keys() - after.keys():
            last.setdefault(claim_id, (before, after, commit, date))
        stood = {**before, **after, **stood}
    if wrong := sorted(set(book.superseded) - set(stood)):
        raise UserError(
            f"{book.path}: superseded: no earlier version of the file has a claim "
            f"{quoted(wrong[0])}{nearest(wrong[0], stood)}"
        )
    archived = _archived(root)
    found = []
    for claim_id in sorted(stood.keys() - now):
        before, after, commit, date = last.get(claim_id, (stood, {}, None, None))
        committed = claim_id not in _entries(root, _head(root, book.path.name))
        fate, by, reason = _fate(claim_id, before, after, book, archived)
        text = before[claim_id].get("text") if isinstance(before[claim_id], Mapping) else None
        found.append(
            Withdrawn(
                id=claim_id,
                text=str(text or ""),
                fate=fate,
                by=by,
                reason=reason,
                commit=commit if committed else None,
                date=date if committed else None,
            )
        )
    return found


def _fate(
    claim_id: str, before: Entries, after: Entries, book: ClaimBook, archived: Mapping[str, str]
) -> tuple[Fate, str | None, str | None]:
    for claim in book.claims:
        if claim_id in claim.replaces:
            return "replaced", claim.id, claim.replaces[claim_id]
    content = _asked(before[claim_id])
    for other in after.keys() - before.keys():
        if _asked(after[other]) == content:
            return "renamed", other, None
    if claim_id in archived:
        return "archived", archived[claim_id], None
    return "removed", None, book.superseded.get(claim_id)


def _asked(entry: Any) -> Any:
    """The content of an entry of claims.yaml without its text."""
    if not isinstance(entry, Mapping):
        return entry
    return {key: value for key, value in entry.items() if key not in ("text", "replaces")}


def _changes(root: Path, name: str) -> Iterator[tuple[str, str, str, str]]:
    """(commit, date, old blob, new blob) of each change of a file relative to each parent, newest
    first."""
    # --sparse keeps merges that took the file from one parent and dropped changes of the other.
    options = ("--topo-order", "--full-history", "--sparse", "-m", "--raw", "--no-abbrev")
    log = git("log", *options, "--no-renames", "--format=%H %cI", "HEAD", "--", name, root=root)
    commit = date = ""
    for line in (log or "").splitlines():
        if match := RAW.match(line):
            yield commit, date, match[1], match[2]
        elif line:
            commit, _, date = line.partition(" ")


def _head(root: Path, name: str) -> str:
    return (git("rev-parse", "--verify", "--quiet", f"HEAD:./{name}", root=root) or "").strip()


@lru_cache(maxsize=256)
def _entries(root: Path, blob: str) -> Entries:
    """The claims of one stored version; empty if it does not exist or is not readable."""
    text = git("cat-file", "blob", blob, root=root) if blob.strip("0") else None
    try:
        content = None if text is None else parse_yaml(text, "claims.yaml", fast=True)
    except UserError:
        return {}
    claims = content.get("claims") if isinstance(content, Mapping) else None
    return {str(key): value for key, value in claims.items()} if isinstance(claims, Mapping) else {}


def _archived(root: Path) -> dict[str, str]:
    """Claim id -> the folder in archived/ that contains it with its arm."""
    found: dict[str, str] = {}
    for file in sorted(root.glob("archived/*/arm.yaml")):
        content = read_yaml(file)
        claims = content.get("claims") if isinstance(content, Mapping) else None
        for claim_id in claims if isinstance(claims, Mapping) else ():
            found[str(claim_id)] = f"archived/{file.parent.name}"
    return found

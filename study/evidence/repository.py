"""What git knows: was a claim there, unchanged, before the runs that decide it?

A claim is confirmatory when it and its whole family were committed, as they stand now, before any
run with the seeds of its evidence was committed, and when every run started from that commit or a
later one with a clean tree. Repeating such runs later changes nothing: what counts is which came
first, claim or seed. A later commit is one that descends from the claim's: a branch that leaves the
history before the seeds were committed and is merged afterwards brings no claim that came first.
Without git nothing is confirmatory.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from study.environment import git
from study.evidence.claims import Claim, ClaimBook, parse_claims
from study.params import UserError

# Results name their commit; what is no hash would reach git as an option.
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def not_confirmatory(
    claim: Claim, book: ClaimBook, runs: Sequence[tuple[int, str | None, bool | None]]
) -> str | None:
    """Why the claim's evidence is exploratory, or None when it is confirmatory.

    `runs`: (seed, commit, dirty) of every run of the evidence, as environment.json has them.
    """
    if claim.kind == "exploratory":
        return "the claim asks for no more"
    if not runs:
        return "no run yet"
    if any(commit is None for _, commit, _ in runs):
        return "without git nothing shows that the claim came before its runs"
    if any(dirty is not False for _, _, dirty in runs):
        return "a run started from a tree with uncommitted changes"
    root = book.path.parent
    if (git("rev-parse", "--is-shallow-repository", root=root) or "").strip() != "false":
        return "the history is not whole (no repository, or a shallow clone)"
    fixed: dict[str, str] = {}
    for commit in sorted({commit for _, commit, _ in runs if commit}):
        if not COMMIT.fullmatch(commit) or git("cat-file", "-e", commit, root=root) is None:
            return f"commit {commit[:12]} of a run is not in this repository"
        since = unchanged_since(book, claim.family, commit)
        if since is None:
            return f"commit {commit[:12]} of a run does not hold the claim's family unchanged"
        fixed[commit] = since
    seeds = sorted({seed for seed, _, _ in runs})
    seen = [s for s in seeds if any(seed_seen(root, *pair, s) for pair in fixed.items())]
    if seen:
        return f"results of seed {', '.join(map(str, seen))} were committed before the claim"
    return None


def unchanged_since(book: ClaimBook, family: str, commit: str) -> str | None:
    """The first commit from which the family stands as in `book`, up to `commit`; None if not."""
    history = git("log", "--format=%H", commit, "--", book.path.name, root=book.path.parent)
    since = None
    for past in (history or "").split():
        old = claims_at(book.path, past)
        if old is None or not _same(old.families.get(family), book.families[family]):
            break
        since = past
    return since


def _same(old: Sequence[Claim] | None, new: Sequence[Claim]) -> bool:
    """The same claims word for word; their order does not matter.

    A second object may be named later: it is asked of a verdict that stands, and can only take it
    away.
    """

    def decisive(claims: Sequence[Claim] | None) -> dict[str, Claim]:
        return {c.id: c.model_copy(update={"second_object": None}) for c in claims or ()}

    return decisive(old) == decisive(new)


@lru_cache(maxsize=256)
def claims_at(path: Path, commit: str) -> ClaimBook | None:
    """claims.yaml as it was in a commit; None when it was not there or held no valid claims."""
    text = git("show", f"{commit}:./{path.name}", root=path.parent)
    if text is None:
        return None
    try:
        return parse_claims(YAML(typ="safe", pure=True).load(text), path)
    except (UserError, YAMLError):
        return None


@lru_cache(maxsize=1024)
def seed_seen(root: Path, commit: str, since: str, seed: int) -> bool:
    """Whether the history of `commit` holds a result of any run with this seed that was not
    committed after `since`."""
    pattern = f":(top,glob)**/seeds/s{seed}.json"
    log = ("log", "--full-history", "--format=%H", commit, "--", pattern)
    return not set((git(*log, root=root) or "").split()) <= _after(root, commit, since)


@lru_cache(maxsize=64)
def _after(root: Path, commit: str, since: str) -> frozenset[str]:
    """The commits between the two that descend from `since`."""
    found = git("rev-list", "--ancestry-path", f"{since}..{commit}", root=root)
    return frozenset((found or "").split())

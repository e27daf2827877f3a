"""What git knows: was a claim there, unchanged, before the runs that decide it?

A claim is confirmatory when it and its whole family were committed, as they stand now, before any
run with the seeds of its evidence was committed, and when every run started from that commit or a
later one with a clean tree. Repeating such runs later changes nothing: what counts is which came
first, claim or seed. Without git nothing is confirmatory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from study.environment import git
from study.evidence.claims import Claim, ClaimBook, parse_claims
from study.params import UserError


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
    fixed: set[str] = set()
    for commit in sorted({commit for _, commit, _ in runs if commit}):
        since = unchanged_since(book, claim.family, commit)
        if since is None:
            return f"commit {commit[:12]} of a run does not hold the claim's family unchanged"
        fixed.add(since)
    seeds = sorted({seed for seed, _, _ in runs})
    seen = [seed for seed in seeds if any(seed_seen(root, c, seed) for c in fixed)]
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
    """The same claims word for word; their order does not matter."""
    return {claim.id: claim for claim in old or ()} == {claim.id: claim for claim in new}


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
def seed_seen(root: Path, commit: str, seed: int) -> bool:
    """Whether a result of any run with this seed was committed in `commit` or before it."""
    pattern = f":(top,glob)**/seeds/s{seed}.json"
    return bool(git("log", "-1", "--format=%H", commit, "--", pattern, root=root))

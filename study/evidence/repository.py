"""What git knows: was a claim there, unchanged, before the runs that decide it?

A claim is confirmatory when it and its whole family were committed, as they stand now, before any
run with the seeds of its evidence was committed, and when every run started from that commit or a
later one with a clean tree. Repeating such runs later changes nothing: what counts is which came
first, claim or seed. A later commit is one that descends from the claim's: a branch that leaves the
history before the seeds were committed and is merged afterwards brings no claim that came first.
A seed whose result was committed after the claim stays part of it: left out later, or exchanged for
another, it would be a choice made after a look. Without git nothing is confirmatory.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

from ruamel.yaml import YAML, YAMLError

from study.environment import git
from study.evidence.claims import Claim, ClaimBook, parse_claims
from study.evidence.wording import listed
from study.params import UserError

# Results name their commit; what is no hash would reach git as an option.
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def not_confirmatory(
    claim: Claim,
    book: ClaimBook,
    runs: Sequence[tuple[int, str | None, bool | None]],
    judged: Mapping[str, Collection[int]],
) -> str | None:
    """Why the claim's evidence is exploratory, or None when it is confirmatory.

    `runs`: (seed, commit, dirty) of every run of the evidence, as environment.json has them.
    `judged`: the arms that draw seeds, and those of each that the verdict rests on.
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
    return _chosen(root, fixed, {seed for seed, _, _ in runs}, judged)


def _chosen(
    root: Path,
    fixed: Mapping[str, str],
    seeds: Collection[int],
    judged: Mapping[str, Collection[int]],
) -> str | None:
    """Which seeds were known when they, or others for them, were chosen; None for none.

    `fixed`: commit of a run -> the commit since which the claim stands.
    """
    if seen := [s for s in sorted(seeds) if any(seed_seen(root, *f, s) for f in fixed.items())]:
        return f"results of seed {listed(seen)} were committed before the claim"
    for arm, kept in judged.items():
        later = {seed for since in fixed.values() for seed in seeds_since(root, since, arm)}
        if dropped := sorted(later - set(kept)):
            return (
                f"results of {arm} seed {listed(dropped)} were committed after the claim and are "
                "judged no longer"
            )
    return None


def unchanged_since(book: ClaimBook, family: str, commit: str) -> str | None:
    """The first commit from which the family stands as in `book`, up to `commit`; None if not."""
    history = git("log", "--format=%H", commit, "--", book.path.name, root=book.path.parent)
    since = None
    for past in (history or "").split():
        old = claims_at(book.path, past)
        now = book.families[family]
        if old is None or not _same(book.path.parent, old.families.get(family), now):
            break
        since = past
    return since


def _same(root: Path, old: Sequence[Claim] | None, new: Sequence[Claim]) -> bool:
    """The same claims word for word; their order does not matter.

    A second object may be named later: it is asked of a verdict that stands, and makes none. Once
    both of its arms have results it stays: whoever could take it back would keep what pleases.
    """
    before = {claim.id: claim for claim in old or ()}
    return set(before) == {claim.id for claim in new} and all(
        before[c.id].model_copy(update={"second_object": c.second_object}) == c
        and (before[c.id].second_object == c.second_object or not _looked(root, before[c.id]))
        for c in new
    )


def _looked(root: Path, claim: Claim) -> bool:
    """Whether results of both arms of a claim's second object were ever committed."""
    pair = claim.second_object
    if pair is None:
        return False
    log = ("log", "-1", "--full-history", "--format=%H", "HEAD", "--")
    names = (pair.treatment, pair.control)
    return all(git(*log, _seeds_folder(name), root=root) for name in names)


def _seeds_folder(arm: str) -> str:
    return f"{'recorded' if '/' in arm else 'results'}/{arm}/seeds"


@lru_cache(maxsize=256)
def seeds_since(root: Path, since: str, arm: str) -> frozenset[int]:
    """Seeds of an arm whose first result was committed after `since`."""
    log = ("log", "--ancestry-path", "--full-history", "--diff-filter=A", "--no-renames")
    words = (*log, "--name-only", "--format=", f"{since}..HEAD", "--", _seeds_folder(arm))
    names = (git(*words, root=root) or "").split()
    return frozenset(int(n) for name in names if (n := Path(name).stem[1:]).isdigit())


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

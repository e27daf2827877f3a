"""Whether a claim was committed, unchanged, before the runs that decide it, according to git.

A claim is confirmatory if it and its whole family were committed in their current form before any
run with the seeds of its evidence was committed, and if all runs started from that commit or a
later one with a clean tree. Repeating such runs later does not matter: only the order of claim and
seeds counts. A later commit is one that descends from the commit of the claim: a claim on a branch
that was merged after the seeds were committed does not count as earlier.

A seed whose result was committed after the claim must remain part of it: omitting or replacing it
later would be a choice made after seeing the result. Without git no claim is confirmatory.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from study.evidence.arms import SEED_FILE
from study.evidence.claims import Claim, ClaimBook, parse_claims
from study.evidence.format import join_words
from study.reading import parse_yaml
from study.runs.environment import git
from study.runs.recorded import results_of
from study.settings import UserError

# Results name their commit; a string that is not a hash could be interpreted by git as an option.
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def not_confirmatory(
    claim: Claim,
    book: ClaimBook,
    runs: Sequence[tuple[int, str | None, bool | None]],
    judged: Mapping[str, Collection[int]],
) -> str | None:
    """Why the evidence of the claim is exploratory, or None if it is confirmatory.

    `runs`: (seed, commit, dirty) of all runs of the evidence, from their provenance. `judged`: arm
    -> seeds on which the verdict is based.
    """
    if claim.kind == "exploratory":
        return "the claim is registered as exploratory"
    if not runs:
        return "no run yet"
    if any(commit is None for _, commit, _ in runs):
        return "without git nothing shows that the claim came before its runs"
    if any(dirty is not False for _, _, dirty in runs):
        return "a run started from a tree with uncommitted changes"
    root = book.path.parent
    if (git("rev-parse", "--is-shallow-repository", root=root) or "").strip() != "false":
        return "the history is incomplete (no repository, or a shallow clone)"
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
    """Why the choice of seeds may depend on results; None if it cannot.

    `fixed`: commit of a run -> the commit since which the claim is unchanged; `seeds`: seeds of the
    evidence; `judged`: arm -> seeds on which the verdict is based.
    """
    if seen := [s for s in sorted(seeds) if any(seed_seen(root, *f, s) for f in fixed.items())]:
        return f"results of seed {join_words(seen)} were committed before the claim"
    for arm, kept in judged.items():
        later = {seed for since in fixed.values() for seed in seeds_since(root, since, arm)}
        if dropped := sorted(later - set(kept)):
            return (
                f"results of {arm} seed {join_words(dropped)} were committed after the claim but "
                "are no longer judged"
            )
    return None


def unchanged_since(book: ClaimBook, family: str, commit: str) -> str | None:
    """The commit since which, up to `commit`, the family is equal to that in `book`; or None."""
    history = git("log", "--format=%H", commit, "--", book.path.name, root=book.path.parent)
    since = None
    for past in (history or "").split():
        old = claims_at(book.path, past)
        now = book.families[family]
        if old is None or not _same(old.families.get(family), now):
            break
        since = past
    return since


def _same(old: Sequence[Claim] | None, new: Sequence[Claim]) -> bool:
    """Whether the claims are identical, in any order."""
    return {claim.id: claim for claim in old or ()} == {claim.id: claim for claim in new}


def _seeds_folders(arm: str) -> list[str]:
    """Folders with committed results of an arm; earlier versions copied those of `<study>/<arm>` to
    recorded/."""
    now = (results_of(Path(), arm) / "seeds").as_posix()
    return [now, f"recorded/{arm}/seeds"] if "/" in arm else [now]


@lru_cache(maxsize=256)
def seeds_since(root: Path, since: str, arm: str) -> frozenset[int]:
    """Seeds of an arm whose first result was committed after `since`."""
    log = ("log", "--ancestry-path", "--full-history", "--diff-filter=A", "--no-renames")
    words = (*log, "--name-only", "--format=", f"{since}..HEAD", "--")
    later, earlier = (
        frozenset(
            int(seed[1])
            for name in (names or "").split()
            if (seed := SEED_FILE.fullmatch(Path(name).name))
        )
        for names in (
            git(*words, *_seeds_folders(arm), root=root),
            git("ls-tree", "-r", "--name-only", since, "--", *_seeds_folders(arm), root=root),
        )
    )
    return later - earlier


@lru_cache(maxsize=256)
def claims_at(path: Path, commit: str) -> ClaimBook | None:
    """claims.yaml in a commit; None if it did not exist or was invalid."""
    text = git("show", f"{commit}:./{path.name}", root=path.parent)
    if text is None:
        return None
    try:
        return parse_claims(_without_second_objects(parse_yaml(text, path)), path)
    except UserError:
        return None


def _without_second_objects(content: Any) -> Any:
    """Remove the key `second_object` of earlier versions of claims.yaml, which does not matter for
    the question whether a claim was registered before its runs."""
    if isinstance(content, Mapping) and isinstance(content.get("claims"), Mapping):
        for entry in content["claims"].values():
            if isinstance(entry, dict):
                entry.pop("second_object", None)
    return content


@lru_cache(maxsize=1024)
def seed_seen(root: Path, commit: str, since: str, seed: int) -> bool:
    """Whether the history of `commit` contains a result of any run with this seed that was not
    committed after `since`."""
    pattern = f":(top,glob)**/seeds/s{seed}.json"
    log = ("log", "--full-history", "--format=%H", commit, "--", pattern)
    return not set((git(*log, root=root) or "").split()) <= _after(root, commit, since)


@lru_cache(maxsize=64)
def _after(root: Path, commit: str, since: str) -> frozenset[str]:
    """The ancestors of `commit` that descend from `since`."""
    found = git("rev-list", "--ancestry-path", f"{since}..{commit}", root=root)
    return frozenset((found or "").split())

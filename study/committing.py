"""Commit what a new arm wrote, so that its runs start from a tree that anyone can go back to.

A run whose tree was not clean counts for no claim (study/evidence/trial.py): an arm that is added
and started in one go has to be committed in between.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from study import environment
from study.params import UserError

# For this checkout: --global would write to a home that a container loses.
NOBODY = (
    "git commit failed: git does not know who you are. Type in this checkout "
    'git config user.name "Your Name" and git config user.email you@example.org, then commit'
)


def unclean(root: Path) -> tuple[str, ...] | None:
    """Files, as seen from `root`, that a run started now would be called unclean for.

    None where there is no git.
    """
    said = environment.changes(root)
    if said is None:
        return None
    top = environment.checkout(root)
    return tuple(os.path.relpath(top / line[3:].strip('"'), root) for line in said.splitlines())


def commit(root: Path, names: Sequence[str], message: str) -> str:
    """Commit these files of `root` alone, whatever else is staged; returns the short hash.

    Raises UserError with git's own words when it refuses; without an identity (a container, a new
    machine), with the commands that give one.
    """
    if not _identified(root):
        raise UserError(f"{NOBODY} {' and '.join(names)}")
    _git(root, "add", "--intent-to-add", "--", *names)  # else git does not know a new file
    _git(root, "commit", "--quiet", "--only", "--message", message, "--", *names)
    return _git(root, "rev-parse", "--short", "HEAD").strip()


def _identified(root: Path) -> bool:
    """Whether git knows who commits; where git itself fails, its own words say more."""
    here = environment.git("rev-parse", "--git-dir", root=root) is not None
    roles = ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")
    return not here or all(environment.git("var", role, root=root) for role in roles)


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ("git", *arguments), cwd=root, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise UserError("git is not installed; install it, or leave the commit out") from None
    if done.returncode:
        words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        reason = next((w for w in words if w.startswith(("fatal:", "error:"))), " ".join(words[:2]))
        raise UserError(f"git {arguments[0]} failed: {reason or done.stdout.strip()[:200]}")
    return done.stdout

"""Commit a new arm, so that its runs start from a commit that others can check out.

Claims exclude runs from an unclean tree (`study/evidence/comparability.py`,
`study/evidence/preregistration.py`), so an arm that is added and started in one command is
committed in between.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from study.runs import children, environment
from study.settings import UserError

# For this checkout: --global would write to the home folder, which a container loses.
NOBODY = (
    "git has no name and address for commits. Run in this checkout "
    'git config user.name "Your Name" and git config user.email you@example.org'
)
LIMIT_S = 120.0  # hooks may run linters or tests; a prompt cannot be answered
GRACE_S = 5.0  # for git to remove its lock files


def unclean(root: Path) -> tuple[str, ...] | None:
    """Files, relative to `root`, that would make a run started now unclean. None without git."""
    changed = environment.changes(root)
    if changed is None:
        return None
    top = environment.checkout(root)
    return tuple(os.path.relpath(top / line[3:].strip('"'), root) for line in changed.splitlines())


def commit(root: Path, names: Sequence[str], message: str) -> str:
    """Commit only these files of `root`, whatever else is staged; returns the short hash. If they
    are committed already, the hash is that of their last commit. Raises UserError with git's
    message if git refuses; without a name and address (a container, a new machine), with the
    commands that set them.
    """
    if not _git(root, "status", "--porcelain", "--", *names).strip():
        return _git(root, "log", "-1", "--format=%h", "--", *names).strip()
    if not _identified(root):
        raise UserError(NOBODY)
    new = [name for name in names if not _git(root, "ls-files", "--", name).strip()]
    try:
        if new:
            _git(root, "add", "--intent-to-add", "--", *new)  # otherwise git does not know them
        _git(root, "commit", "--quiet", "--only", "--message", message, "--", *names)
    except UserError:
        if new:  # such an entry would block `git merge --abort`, for example
            with contextlib.suppress(UserError):
                _git(root, "reset", "--quiet", "--", *new)
        raise
    return _git(root, "rev-parse", "--short", "HEAD").strip()


def committed_text(root: Path, name: str) -> str | None:
    """The content of a file of `root` in the last commit, as a checkout would write it; None if
    absent."""
    return environment.git("cat-file", "--filters", f"HEAD:./{name}", root=root)


def _identified(root: Path) -> bool:
    """Whether git has a name and address; other failures of git are reported later."""
    here = environment.git("rev-parse", "--git-dir", root=root) is not None
    roles = ("GIT_AUTHOR_IDENT", "GIT_COMMITTER_IDENT")
    return not here or all(environment.git("var", role, root=root) for role in roles)


def _git(root: Path, *arguments: str) -> str:
    """Output of a non-interactive git command with a time limit.

    Raises UserError when it fails or takes too long.
    """
    quiet = {key: value for key, value in os.environ.items() if key != "GPG_TTY"}
    try:
        # In its own session it has no terminal for prompts, and its hooks can be ended with it.
        process = children.start(
            ("git", *arguments),
            root,
            subprocess.PIPE,
            err=subprocess.PIPE,
            environment={**quiet, "GIT_TERMINAL_PROMPT": "0"},
            text=True,
            errors="replace",
        )
    except FileNotFoundError:
        raise UserError("git is not installed; install it, or omit the commit") from None
    try:
        out, err = process.communicate(timeout=LIMIT_S)
    except subprocess.TimeoutExpired:
        _end(process)
        raise UserError(
            f"git {arguments[0]} took more than {LIMIT_S:.0f} s and was ended: a hook is slow, or "
            "a passphrase was asked for, which is impossible here"
        ) from None
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        words = [line.strip() for line in err.splitlines() if line.strip()]
        reason = next((w for w in words if w.startswith(("fatal:", "error:"))), " ".join(words[:2]))
        raise UserError(f"git {arguments[0]} failed: {reason or out.strip()[:200]}")
    return out


def _end(process: subprocess.Popen[str]) -> None:
    """End git and its hooks, first with a signal that lets git remove its lock files."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=GRACE_S)
            return

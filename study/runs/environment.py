"""The environment of a run: commit, versions, machine; recorded once, when the run starts."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from study.reading import UserError
from study.runs import children

PACKAGES = ("torch", "lightning", "numpy", "scipy", "scikit-image", "h5py", "dvc", "pandas")
# dvc.lock, data.dvc and outputs change during a run. If these change, the run is not clean.
CLEAN_PATHS = (
    "study",
    "app",
    "params.yaml",
    ":(glob)*/params.yaml",  # of the other pipelines
    "claims.yaml",
    "requirements.lock",
    "requirements-cpu.txt",
)
# Far above what they take: git reads metadata, `dvc add` hashes data sets of gigabytes.
GIT_S, DVC_S = 600.0, 6 * 3600.0
# Memory limit of a control group: version 2 names no controller, version 1 does.
LIMIT_FILES = {"": "memory.max", "memory": "memory.limit_in_bytes"}


def git(*arguments: str, root: Path = Path()) -> str | None:
    """Output of a git command in `root`; None without git, without a repository, or if it fails.

    Raises UserError for a command that does not end.
    """
    return _output(arguments, root, text=True)


def git_bytes(*arguments: str, root: Path = Path()) -> bytes | None:
    """Like `git`, for content that need not be text."""
    return _output(arguments, root, text=False)


def _output(arguments: tuple[str, ...], root: Path, *, text: bool) -> Any:
    with _ended("git", arguments, root):
        try:
            done = children.run(("git", *arguments), root, text=text, limit_s=GIT_S)
        except FileNotFoundError:
            return None
    return done.stdout if done.returncode == 0 else None


def dvc(*arguments: str, root: Path, show: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a dvc command of this installation in `root`; `show`: do not capture its output, and let
    the user end it. Raises UserError for another command that does not end.
    """
    command = (sys.executable, "-m", "dvc", *arguments)
    with _ended("dvc", arguments, root):
        return children.run(command, root, show=show, limit_s=None if show else DVC_S)


@contextlib.contextmanager
def _ended(program: str, arguments: Sequence[str], root: Path) -> Iterator[None]:
    """Name a command that was stopped at its time limit."""
    try:
        yield
    except subprocess.TimeoutExpired as error:
        raise UserError(
            f"`{program} {' '.join(arguments[:3])}` in {Path(root).resolve()} did not end within "
            f"{error.timeout:.0f} s and was stopped; run it by hand to see what it waits for (a "
            "slow disk, or another program that holds a lock), then try again"
        ) from None


def checkout(root: Path = Path()) -> Path:
    """Top folder of the checkout that holds `root`; `root` itself outside git."""
    top = git("rev-parse", "--show-toplevel", root=root)
    return Path(top.strip()) if top else Path(root)


def describe(root: Path, device: str) -> dict[str, Any]:
    """The content of environment.json. `dirty` is None without git."""
    commit = git("rev-parse", "HEAD", root=root)
    changed = changes(root)
    return {
        "commit": commit.strip() if commit else None,
        "commit_date": (git("show", "-s", "--format=%cI", "HEAD", root=root) or "").strip() or None,
        "dirty": None if changed is None else bool(changed.strip()),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "cores": cores(),
        "device": device,
        "versions": {name: version(name) for name in PACKAGES},
    }


def changes(root: Path) -> str | None:
    """Output of `git status` for the paths that must be clean; None without git."""
    return git("status", "--porcelain", "--", *CLEAN_PATHS, root=checkout(root))


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def cores() -> int:
    """Cores that this process may use (a container or a cluster job may have fewer)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory(root: Path = Path("/")) -> int:
    """Bytes that this process may use: the free memory, or less if its control group has a lower
    limit. `root`: folder of proc and sys.
    """
    return min(psutil.virtual_memory().available, *_group_limits(root), sys.maxsize)


def _group_limits(root: Path) -> list[int]:
    """Memory limits of the control groups (versions 1 and 2) of this process."""
    member = root / "proc/self/cgroup"
    limits = []
    for line in member.read_text().splitlines() if member.is_file() else ():
        _, controller, name = line.split(":", 2)
        if controller in LIMIT_FILES:
            # The limits of all parent groups apply too; in a container the mount itself is the
            # group.
            group = Path(name.lstrip("/"))
            mount = root / "sys/fs/cgroup" / controller
            files = (mount / place / LIMIT_FILES[controller] for place in (group, *group.parents))
            limits += [file.read_text().strip() for file in files if file.is_file()]
    return [int(limit) for limit in limits if limit != "max"]


def processor() -> str:
    """Model name of the CPU, as reported by the system."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

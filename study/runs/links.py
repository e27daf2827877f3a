"""Refuse symbolic links in the path of a file that is written.

Git stores links, so the author of a commit chooses where its links point, and a writer that follows
one could change files outside the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

from filelock import BaseFileLock, FileLock

from study.reading import UserError, real_path
from study.runs import environment

# Folders that git ignores; users link them to a larger disk.
OWN = ("build", "data", "runs", "work")


def refuse_links(path: Path) -> None:
    """Raise UserError when writing below `path` would follow a link out of its checkout.

    Links to places inside the checkout are followed, and so are the links of OWN in a pipeline
    folder unless git tracks them. A path outside any checkout is accepted.
    """
    whole = Path.cwd() / path
    for link in (whole, *whole.parents):
        if link.is_symlink() and _leads_out(link):
            raise UserError(
                f"{link} is a symbolic link to {link.readlink()}, outside this checkout or in "
                "its .git folder; nothing is written there. Replace it with a folder. Links to a "
                f"larger disk: {', '.join(OWN)}, if git does not track them"
            )


def make_folder(folder: Path) -> None:
    """Make a folder and its parents. Raises OSError, and UserError as `refuse_links` does."""
    refuse_links(folder)
    folder.mkdir(parents=True, exist_ok=True)


def open_log(file: Path, truncate: bool = False) -> BinaryIO:
    """Open a log for appending, for the output of a child; `truncate` empties it first. Raises
    OSError, also for a pipe without a reader, and UserError as `refuse_links` does.
    """
    refuse_links(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NONBLOCK
    return open(os.open(file, flags | (os.O_TRUNC if truncate else 0), 0o644), "ab")  # noqa: PTH123


def lock_at(file: Path, timeout_s: float = -1) -> BaseFileLock:
    """The lock `file`, not yet taken; -1: wait without limit. Raises as `make_folder` does."""
    refuse_links(file)
    make_folder(file.parent)
    return FileLock(file, timeout=timeout_s)


def _leads_out(link: Path) -> bool:
    home = real_path(link.parent)
    pipeline = next((one for one in (home, *home.parents) if _is_pipeline(one)), None)
    if pipeline is None:
        return False
    above = (pipeline, *pipeline.parents)
    top = next((one for one in above if (one / ".git").exists()), pipeline)
    real = real_path(link)
    if real.is_relative_to(top):
        return ".git" in real.relative_to(top).parts
    own = link.name in OWN and home == pipeline
    return not own or bool(environment.git("ls-files", "--", link.name, root=home))


def _is_pipeline(folder: Path) -> bool:
    return (folder / "params.yaml").is_file() or (folder / ".dvc").is_dir()

"""The embedded remote: a folder of this user, outside every checkout, shared between the clones.

`make setup` writes it to .dvc/config.local, so that a fresh clone has a working remote, offline and
without an account. It is the default only if no other default is configured. Since config.local
takes precedence over the committed .dvc/config, it gives up being the default as soon as another
default is configured.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from study.reading import open_regular, real_path

NAME = "armature-store"
PLACE = "ARMATURE_STORE"  # environment variable: another folder, or empty for none
OTHERS = ("system", "global", "repo")


def folder() -> Path | None:
    """Folder of the embedded remote of this user; None if it is disabled."""
    given = os.environ.get(PLACE)
    if given is not None:
        return real_path(Path(given).expanduser()) if given.strip() else None
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "armature" / "store"


def settle(top: Path) -> str | None:
    """Create the embedded remote, as the default if there is no other. Returns a sentence if
    something was changed. Raises OSError if the folder cannot be created.
    """
    config = read_config(top)
    place = folder()
    local = config.read("local")
    before = local["remote"].get(NAME)
    if place is None:
        return step_back(top) if before is None else _forget(top)
    message = step_back(top)
    place.mkdir(parents=True, exist_ok=True)
    wanted = {"url": str(place), "verify": True}
    taken = _chosen(config) or config.read("local")["core"].get("remote")
    if before and str(before.get("url")) == str(place) and taken:
        return message
    with edited_config(top, "local") as edited:
        edited["remote"][NAME] = wanted
        if not taken:
            edited["core"]["remote"] = NAME
    default = ", the default remote" if not taken or taken == NAME else ""
    return f"embedded remote {NAME!r}{default}: {place}"


def step_back(top: Path) -> str | None:
    """Stop being the default if the user or the project configured another one."""
    config = read_config(top)
    chosen = _chosen(config)
    if chosen is None or config.read("local")["core"].get("remote") != NAME:
        return None
    with edited_config(top, "local") as edited:
        del edited["core"]["remote"]
    return f"the default remote is {chosen!r} now, no longer the embedded one"


def _forget(top: Path) -> str:
    with edited_config(top, "local") as edited:
        del edited["remote"][NAME]
        if edited["core"].get("remote") == NAME:
            del edited["core"]["remote"]
    return f"the embedded remote {NAME!r} is disabled ({PLACE} is empty)"


def _chosen(config: Any) -> str | None:
    """The default remote configured for this machine or this project."""
    for level in reversed(OTHERS):
        if level in config.files and (name := config.read(level)["core"].get("remote")):
            return str(name)
    return None


def check_config(top: Path) -> None:
    """Raise UserError unless DVC's configuration files are regular files, since DVC would block on
    a pipe."""
    for name in ("config", "config.local"):
        with contextlib.suppress(FileNotFoundError):
            open_regular(top / ".dvc" / name).close()


def read_config(top: Path) -> Any:
    from dvc.config import Config

    check_config(top)
    return Config(str(top / ".dvc"), validate=False)


@contextlib.contextmanager
def edited_config(top: Path, level: Literal["repo", "local"]) -> Iterator[Any]:
    """One level of DVC's configuration, to be changed by the caller; then the file is replaced.

    DVC truncates the file before it writes it, and a kill in between would lose every remote and
    key. So DVC writes a copy, in a folder beside .dvc, where relative addresses mean the same.
    The local file holds keys and is readable by its owner only. Raises OSError.
    """
    from dvc.config import Config

    # Here, since the check of listings, which reads the configuration, needs nothing of `runs`.
    from study.runs.links import lock_at
    from study.runs.temporary import sync, temporary_folder

    name = {"repo": "config", "local": "config.local"}[level]
    with lock_at(top / ".dvc" / "tmp" / "config.lock"), temporary_folder(top / ".dvc") as copy:
        check_config(top)
        for each in ("config", "config.local"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(top / ".dvc" / each, copy / each)
        if level == "local":
            (copy / name).touch(mode=0o600)
            (copy / name).chmod(0o600)
        with Config(str(copy), validate=False).edit(level) as edited:
            yield edited
        sync(copy / name)
        (copy / name).replace(real_path(top / ".dvc" / name))


if __name__ == "__main__":  # `make setup`
    note = settle(Path(sys.argv[1]))
    if note:
        print(f"setup: {note}")  # noqa: T201

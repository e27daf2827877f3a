"""Kills `study import` at its file-system operations, and runs the same command again.

    python -m stages.import_crashes FOLDER STEP     at every STEP-th of them

FOLDER holds scan.npz. Every attempt is a fork of this process, whose modules are loaded already.
Prints one JSON line: how many points there were, and what was wrong after the second command.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from formats import hostile

from study.formats.dataset import verify_dataset
from study.runs import environment
from study.runs.temporary import abandoned
from study.stages.importing import import_file

EVENTS = ("open", "os.", "shutil.", "subprocess.")


def imitate_dvc(*arguments: str, root: Path) -> subprocess.CompletedProcess[str]:
    """What `dvc add` does to a folder: every file goes to the cache and comes back as a copy."""
    folder = root / arguments[-1]
    cache = root / "cache"
    cache.mkdir(exist_ok=True)
    for path in sorted(folder.iterdir()):
        cached = cache / path.name
        shutil.copy(path, cached.with_suffix(".part"))
        cached.with_suffix(".part").replace(cached)
        path.unlink()
        half = path.with_name(f".{path.name}.x7.tmp")
        shutil.copy(cached, half)
        half.rename(path)
    (root / f"{arguments[-1]}.dvc").write_text("outs: ...")
    return subprocess.CompletedProcess(arguments, 0, "", "")


def kill_at(point: int, root: Path) -> Callable[[str, tuple[Any, ...]], None]:
    """An audit hook that kills this process before its `point`-th operation below `root`."""
    seen = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if event.startswith(EVENTS) and str(root) in str(arguments):
            seen += 1
            if seen > point:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook


def attempt(root: Path, point: int | None) -> int:
    """Run the command in a fork, killed at `point`; its wait status."""
    child = os.fork()
    if child == 0:
        if point is not None:
            sys.addaudithook(kill_at(point, root))
        try:
            import_file(
                root, root / "scan.npz", "mine", None, hostile.known(Path("scan.npz")), track=True
            )
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def snapshot(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in root.joinpath("imported").rglob("*")
        if path.is_file()
    }


def main(folder: Path, step: int) -> None:
    environment.dvc = imitate_dvc
    scan, wrong, point, expected = folder / "scan.npz", [], 0, None
    while True:
        root = folder / f"at{point}"
        root.mkdir()
        shutil.copy(scan, root)
        killed = os.WIFSIGNALED(attempt(root, None if expected is None else point))
        if expected is None:
            expected = snapshot(root)
            shutil.rmtree(root)
            continue
        if not killed:
            break
        if attempt(root, None) != 0:
            wrong.append(f"{point}: refused")
        elif snapshot(root) != expected or abandoned(root / "imported"):
            wrong.append(f"{point}: {sorted(snapshot(root))}")
        else:
            verify_dataset(root / "imported" / "mine")
        shutil.rmtree(root)
        point += step
    print(json.dumps({"points": point, "wrong": wrong}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

"""Where a run is found again, and how an arm's runs come together under runs/<arm>.

`work/<hash>` holds live runs; `runs/<arm>` is the one cached output of the arm. The stage keeps it
(`persist`) while it works, so a run that is collected, or was pulled, is not trained again.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from study.runs import RunFolder, plain

LIVE_ONLY = ("checkpoint*.pt", "*.tmp")


def settled_run(live: Path, collected: Path, origin: Mapping[str, Any]) -> RunFolder | None:
    """The settled run of this origin: the live one, else the collected one, else None."""
    for folder in (live, collected):
        run = RunFolder(folder)
        if run.settled and run.status().get("manifest") == plain(origin):
            return run
    return None


def collect(found: Iterable[tuple[int, RunFolder]], out: Path) -> None:
    """Copy settled runs to `out`/s<seed>, whole: built beside it, then renamed.

    Under a lock: `dvc repro` and the supervisor may come to the end of one arm together.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(out.with_name(f".{out.name}.lock")):
        _collect(found, out)


def _collect(found: Iterable[tuple[int, RunFolder]], out: Path) -> None:
    building = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    for seed, run in found:
        target = building / f"s{seed}"
        shutil.copytree(run.path, target, ignore=shutil.ignore_patterns(*LIVE_ONLY))
    replaced = out.with_name(f".{out.name}.old")
    shutil.rmtree(replaced, ignore_errors=True)
    if out.exists():
        out.rename(replaced)
    building.rename(out)
    shutil.rmtree(replaced, ignore_errors=True)

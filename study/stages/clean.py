"""`study clean`: what can go without losing anything, and how much it frees."""

import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from study.artifacts.listings import cache_folder, top_of
from study.runs import RunFolder
from study.runs.collect import LIVE_ONLY, collecting, provenance_of
from study.runs.temporary import NAME as TEMPORARY
from study.runs.temporary import abandoned, remove_abandoned, remove_tree, restore_folder, set_aside

UNSEARCHED = (".git", ".venv", ".dvc", "node_modules", "__pycache__")


def clean_checkout(root: Path, dry: bool) -> list[str]:
    """Remove live folders of settled runs that are collected, build output, and what killed
    writers left.

    What is unfinished or alive stays: it would be work lost. Returns lines with sizes before and
    after.
    """
    before = shutil.disk_usage(root).free
    lines = []
    if not dry:
        finish_collecting(root)
    for path in removable(root):
        size = size_mb(path)
        if dry or remove(path):
            lines.append(f"{'would remove' if dry else 'removed'} {path} ({size:.1f} MB)")
    if (root / "build").is_symlink():
        lines.append(f"kept {root / 'build'}, a link to {(root / 'build').readlink()}")
    after = shutil.disk_usage(root).free
    lines.append(f"free on this disk: {before / 1e9:.2f} GB before, {after / 1e9:.2f} GB after")
    lines.append("DVC's cache: `dvc gc --workspace` removes what this commit does not use")
    return lines


def finish_collecting(root: Path) -> None:
    """Put back, or remove, what a killed exchange of runs/ARM left aside."""
    for out in set_aside(root / "runs"):
        with collecting(out):
            restore_folder(out)


def removable(root: Path) -> Iterator[Path]:
    """Deletable paths: live folders of collected runs with their locks, build output, leftovers."""
    known = collected(root)
    going: set[Path] = set()
    for folder in visible(root.glob("work/*/")):
        run = RunFolder(folder)
        if run.settled and not run.alive() and any(same_run(run, copy) for copy in known):
            going.add(folder)
            yield folder
    # After its run; and a lock without a run is what a killed `study clean` left.
    for lock in visible(root.glob("work/*.lock")):
        if lock.with_suffix("") in going or not lock.with_suffix("").exists():
            yield lock
    yield from visible(root.glob("build"))
    yield from leftovers(root)


def leftovers(root: Path) -> Iterator[Path]:
    """Temporary files and folders whose writer is gone, here and in the DVC cache."""
    for folder, names, _ in os.walk(root):
        found = abandoned(Path(folder))
        gone = {path.name for path in found}
        names[:] = sorted({*names} - {*UNSEARCHED} - gone)
        yield from found
    top = top_of(root.resolve())
    if top is not None:
        yield from abandoned(cache_folder(top))


def remove(path: Path) -> bool:
    """Remove one item of `removable`; False when another process holds it."""
    if TEMPORARY.fullmatch(path.name):
        return remove_abandoned(path)
    if path.name == "build":
        remove_tree(path)
        return True
    try:
        with FileLock(path if path.suffix == ".lock" else f"{path}.lock", timeout=0):
            path.unlink() if path.suffix == ".lock" else remove_tree(path)
    except Timeout:
        return False
    return True


def visible(paths: Iterable[Path]) -> list[Path]:
    """Without those that are still being written or removed (a name with a dot), and without links:
    what they lead to may be used by others."""
    return sorted(p for p in paths if not p.name.startswith(".") and not p.is_symlink())


def collected(root: Path) -> list[RunFolder]:
    """Runs under runs/ARM."""
    return [RunFolder(seed) for arm in visible(root.glob("runs/*/")) for seed in arm.glob("s*/")]


def has_provenance(live: RunFolder, copy: RunFolder) -> bool:
    """Whether nothing about how the run was computed is in its live folder only."""
    if not (live.path / "environment.json").is_file():
        return True
    inside = (copy.path / "environment.json").is_file()  # of an earlier version
    return inside or provenance_of(copy.path.parent, copy.status()["seed"]).is_file()


def same_run(live: RunFolder, copy: RunFolder) -> bool:
    """The same arm, seed and origin, every file of the live run but the live-only ones, and how it
    was computed."""
    keys = ("arm", "seed", "manifest")
    if any(live.status().get(key) != copy.status().get(key) for key in keys):
        return False
    if not has_provenance(live, copy):
        return False
    names = [path.name for path in live.path.iterdir()]
    kept = {*names} - shutil.ignore_patterns(*LIVE_ONLY)(str(live.path), names)
    return kept <= {path.name for path in copy.path.iterdir()}


def size_mb(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6

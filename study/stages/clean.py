"""`study clean`: remove files that are not needed, and show how much space this frees."""

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
    """Remove folders in work/ of settled and collected runs, build output, and leftovers of killed
    processes.

    Unfinished and active runs are kept. `dry`: only report. Returns lines to print, with sizes and
    the free space before and after.
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
    lines.append("DVC's cache: `dvc gc --workspace` removes objects that this commit does not use")
    return lines


def finish_collecting(root: Path) -> None:
    """Restore or remove folders that an interrupted replacement of runs/ARM set aside."""
    for out in set_aside(root / "runs"):
        with collecting(out):
            restore_folder(out)


def removable(root: Path) -> Iterator[Path]:
    """Paths that can be deleted: work/ folders of collected runs with their locks, build output and
    leftovers."""
    known = collected(root)
    going: set[Path] = set()
    for folder in visible(root.glob("work/*/")):
        run = RunFolder(folder)
        if run.settled and not run.alive() and any(same_run(run, copy) for copy in known):
            going.add(folder)
            yield folder
    # After its run; a lock without a run is a leftover of a killed `study clean`.
    for lock in visible(root.glob("work/*.lock")):
        if lock.with_suffix("") in going or not lock.with_suffix("").exists():
            yield lock
    yield from visible(root.glob("build"))
    yield from leftovers(root)


def leftovers(root: Path) -> Iterator[Path]:
    """Temporary files and folders of processes that no longer run, here and in the DVC cache."""
    for folder, names, _ in os.walk(root):
        found = abandoned(Path(folder))
        gone = {path.name for path in found}
        names[:] = sorted({*names} - {*UNSEARCHED} - gone)
        yield from found
    top = top_of(root.resolve())
    if top is not None:
        yield from abandoned(cache_folder(top))


def remove(path: Path) -> bool:
    """Remove one item of `removable`; returns False if another process holds its lock."""
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
    """Sorted paths, without those still being written or removed (whose name starts with a dot) and
    without links, whose targets may be used elsewhere."""
    return sorted(p for p in paths if not p.name.startswith(".") and not p.is_symlink())


def collected(root: Path) -> list[RunFolder]:
    """All runs in runs/ARM."""
    return [RunFolder(seed) for arm in visible(root.glob("runs/*/")) for seed in arm.glob("s*/")]


def has_provenance(live: RunFolder, copy: RunFolder) -> bool:
    """Whether the provenance of a run is also stored outside its folder in work/."""
    if not (live.path / "environment.json").is_file():
        return True
    if (copy.path / "environment.json").is_file():  # of an earlier version
        return True
    seed = copy.status().get("seed")
    return seed is not None and provenance_of(copy.path.parent, seed).is_file()


def same_run(live: RunFolder, copy: RunFolder) -> bool:
    """Whether `copy` has the same arm, seed and manifest as the run in work/, its provenance, and
    all of its files that are collected."""
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

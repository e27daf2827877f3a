"""`study clean`: what can go without losing anything, and how much it frees."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from study.runs import RunFolder
from study.stages.collect import LIVE_ONLY


def clean_checkout(root: Path, dry: bool) -> list[str]:
    """Remove live folders of settled runs that are collected, and build output.

    What is unfinished or alive stays: it would be work lost. Returns lines with sizes before and
    after.
    """
    before = shutil.disk_usage(root).free
    lines = []
    for path in removable(root):
        lines.append(f"{'would remove' if dry else 'removed'} {path} ({size_mb(path):.1f} MB)")
        if not dry:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    after = shutil.disk_usage(root).free
    lines.append(f"free on this disk: {before / 1e9:.2f} GB before, {after / 1e9:.2f} GB after")
    lines.append("DVC's own cache: `dvc gc --workspace` drops what this commit does not use")
    return lines


def removable(root: Path) -> Iterator[Path]:
    for folder in sorted(root.glob("work/*/")):
        run = RunFolder(folder)
        if run.settled and not run.alive() and any(same_run(run, c) for c in collected(root)):
            yield folder
            yield from folder.parent.glob(f"{folder.name}.lock")
    yield from sorted(path for path in (root / "build",) if path.exists())


def collected(root: Path) -> list[RunFolder]:
    """Runs under runs/ARM; a copy that is still being built (a name with a dot) is none."""
    folders = sorted(root.glob("runs/*/s*/"))
    return [RunFolder(folder) for folder in folders if not folder.parent.name.startswith(".")]


def same_run(live: RunFolder, copy: RunFolder) -> bool:
    """The same arm, seed and origin, and every file of the live run but the live-only ones."""
    keys = ("arm", "seed", "manifest")
    if any(live.status().get(key) != copy.status().get(key) for key in keys):
        return False
    names = [path.name for path in live.path.iterdir()]
    kept = {*names} - shutil.ignore_patterns(*LIVE_ONLY)(str(live.path), names)
    return kept <= {path.name for path in copy.path.iterdir()}


def size_mb(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6

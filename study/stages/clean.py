"""`study clean`: what can go without losing anything, and how much it frees."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from study.runs import RunFolder


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
    collected = {
        (status.get("arm"), status.get("seed"), str(status.get("manifest")))
        for status in (RunFolder(path).status() for path in root.glob("runs/*/s*"))
    }
    for folder in sorted(root.glob("work/*/")):
        run = RunFolder(folder)
        status = run.status()
        key = (status.get("arm"), status.get("seed"), str(status.get("manifest")))
        if run.settled and key in collected and not run.alive():
            yield folder
    yield from sorted(path for path in (root / "build",) if path.exists())


def size_mb(path: Path) -> float:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files) / 1e6

"""`study doctor`: describe this installation and what is missing, one line per item."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from study.artifacts.cache import is_object
from study.artifacts.listings import cache_folder
from study.artifacts.remote import check
from study.runs import environment
from study.runs.seed_folders import dataset_folders, held_seeds
from study.settings import UserError, load_study

Line = tuple[str, bool]  # text to print, and whether this part of the installation works


def examine(root: Path) -> Iterator[Line]:
    """Lines about versions, device, disk, data, cache and remote.

    A missing remote, GPU or data set is only reported; a package that cannot be imported counts as
    broken.
    """
    facts = environment.describe(root, "cpu")
    yield f"python {facts['python']} on {facts['processor']}, {facts['cores']} cores", True
    yield from packages()
    yield device()
    free = shutil.disk_usage(root).free / 1e9
    yield f"disk: {free:.1f} GB free", True
    yield from checkout(root, facts)
    yield remote(root)


def packages() -> Iterator[Line]:
    for package in environment.PACKAGES:
        module = {"scikit-image": "skimage"}.get(package, package)
        try:
            importlib.import_module(module)
        except (ImportError, OSError) as error:
            yield f"{package}: cannot be imported ({error}); run `make setup`", False
        else:
            yield f"{package} {environment.version(package)}", True


def device() -> Line:
    try:
        import torch
    except (ImportError, OSError):
        return "device: unknown, torch cannot be imported", False

    if not torch.cuda.is_available():
        return "device: CPU only (no CUDA device is visible to torch)", True
    free, total = torch.cuda.mem_get_info()
    name = torch.cuda.get_device_name()
    return f"device: {name}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free", True


def checkout(root: Path, facts: dict[str, object]) -> Iterator[Line]:
    if facts["commit"] is None:
        yield "git: no commit, so no finding can be confirmatory", True
    else:
        yield f"git: {facts['commit']}{' with changes' if facts['dirty'] else ', clean'}", True
    try:
        study = load_study(root / "params.yaml")
    except UserError as error:
        yield f"params.yaml: {error}", True
        return
    yield f"params.yaml: {len(study.arms)} arms, {len(study.data)} data sets", True
    for name in sorted({row.data for row in study.arms.values()}):
        parts = dataset_folders(root / name)
        there = all((part / "manifest.json").is_file() for part in parts)
        how = f"present{f', {len(parts)} seeds' if held_seeds(root / name) else ''}"
        yield f"{name}: {how if there else 'absent; run `dvc repro` or `make pull`'}", True
    cache = cache_folder(environment.checkout(root).resolve())
    yield f"cache: {sum(is_object(cache, path) for path in cache.glob('??/*'))} objects", True


def remote(root: Path) -> Line:
    """Test a round trip with the default remote; a failure is only reported."""
    try:
        return f"remote: {check(root)}", True
    except UserError as error:
        return f"remote: {error}", True

"""`study verify --cache`: checks that every object of the DVC cache matches its hash.

DVC does not check read-only objects, although root (or a failing disk) can change them; files
checked out from them are then wrong without a warning.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from study.artifacts.listings import cache_folder, md5, read_listing
from study.artifacts.outputs import Output, all_outputs, place
from study.settings import UserError

Line = tuple[str, bool]  # what to print, and whether it is in order
OBJECT = re.compile(r"[0-9a-f]{2}/[0-9a-f]{30}(\.dir)?")


def cache_lines(root: Path) -> Iterator[Line]:
    """One line for every object whose hash differs from its name, and a summary. Raises UserError
    for a dvc.lock that cannot be read.
    """
    top, _ = place(root)
    cache = cache_folder(top)
    files = sorted(path for path in cache.glob("??/*") if is_object(cache, path))
    corrupted = [path for path in files if md5(path) != oid(path)[:32]]
    owners = belongings(cache, all_outputs(top)) if corrupted else {}
    for path in corrupted:
        yield _describe(path, top, owners.get(oid(path), [])), False
    unusable = 0
    for path in files:
        if path.suffix == ".dir" and path not in corrupted:
            try:
                read_listing(path)
            except UserError as error:
                unusable += 1
                yield f"{error}; remove it from the cache: rm -f {path}", False
    size = sum(path.stat().st_size for path in files) / 1e6
    message = f"cache: {len(files)} objects, {size:.1f} MB, {len(corrupted)} corrupted"
    yield message, not corrupted and not unusable


def _describe(path: Path, top: Path, owners: list[tuple[Output, str]]) -> str:
    shown = path.relative_to(top) if path.is_relative_to(top) else path
    if not owners:
        return f"{shown} is corrupted; not used by this commit: rm -f {shown}"
    output, file = owners[0]
    more = f" and {len(owners) - 1} more" if owners[1:] else ""
    where = f"{output.pipeline}/{output.path}" if output.pipeline else output.path
    inside = f"{where}/{file}" if file else f"the listing of {where}"
    computed = "dvc repro" if output.name.endswith("data") else f"dvc repro -f -s {output.address}"
    return (
        f"{shown} is corrupted: {inside}{more}. To repair it: rm -f {shown} && rm -rf {where} && "
        f"study pull {output.name} (computed again, without a remote: {computed})"
    )


def belongings(cache: Path, outputs: list[Output]) -> dict[str, list[tuple[Output, str]]]:
    """object id -> the outputs that use it, with the path inside."""
    found: dict[str, list[tuple[Output, str]]] = {}
    for output in (item for item in outputs if item.push):
        found.setdefault(output.md5, []).append((output, ""))
        if output.md5.endswith(".dir"):
            # A listing that is absent, damaged or refused has no files; a refused one is reported
            # separately.
            with contextlib.suppress(OSError, UserError):
                files = read_listing(cache / output.md5[:2] / output.md5[2:])
                for relpath, md5_of_file in files.items():
                    found.setdefault(md5_of_file, []).append((output, relpath))
    return found


def is_object(cache: Path, path: Path) -> bool:
    return OBJECT.fullmatch(path.relative_to(cache).as_posix()) is not None and path.is_file()


def oid(path: Path) -> str:
    return path.parent.name + path.name

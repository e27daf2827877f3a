"""Check that the small results in git are those that the pipeline computed, by the md5 in dvc.lock.

Results are plain files in git, so editing one leaves no trace in the DVC cache. However, each is an
output of a stage (`cache: false`), and dvc.lock has its md5. Results of other pipelines that the
findings use are compared with recorded.json. provenance/ is not an output; each of its files must
describe the outputs from which its result was scored. Only outputs are checked: a changed
dependency means that a stage is outdated, not that a number is wrong.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from study.artifacts.listings import md5
from study.artifacts.lockfile import read_lock
from study.artifacts.outputs import pipelines, uncached
from study.evidence.arms import provenance_of
from study.reading import is_inside
from study.runs import provenance, read_json
from study.runs.environment import git, git_bytes
from study.runs.recorded import FILE, Recorded, all_recorded, check
from study.settings import UserError

Line = tuple[str, bool]  # what to print, and whether it is in order
MOST_COMMITS = 50  # that are searched for the content that dvc.lock means
Listing = Mapping[str, str]  # path below a folder -> md5; "" for a single file


def integrity_lines(root: Path) -> Iterator[Line]:
    """A line for every pipeline in `root` and below it, and for every recorded.json, and one for
    every file that differs from them.

    Raises UserError for a dvc.lock or dvc.yaml that cannot be read.
    """
    folders = [root / name for name in pipelines(root)]
    for folder in folders:
        lock = folder / "dvc.lock"
        # Another pipeline may have been cloned without results; recorded.json lists the missing
        # ones.
        if lock.is_file() and (folder == root or (folder / "results").is_dir()):
            yield from _summed(_name(lock, root), *locked_problems(folder, root))
    for name, listed in all_recorded(root).items():
        yield from _summed(f"{name}/{FILE}", *recorded_problems(root, name, listed))
    for results in (folder / "results" for folder in folders):
        count, problems = provenance_problems(results, root)
        yield from ((problem, False) for problem in problems)
        if count and not problems:
            yield f"{_name(results, root)}: {count} results have their provenance", True


def changed_files(root: Path) -> list[str]:
    """The lines of `integrity_lines` about files that are not in order."""
    return [line for line, fine in integrity_lines(root) if not fine]


def _summed(name: str, count: int, problems: list[str]) -> Iterator[Line]:
    yield from ((problem, False) for problem in problems)
    if not problems:
        yield f"{name}: {count} small results agree with the recorded hashes", True


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


# --- against dvc.lock -------------------------------------------------------------------------


def locked_problems(folder: Path, root: Path) -> tuple[int, list[str]]:
    """The number of uncached outputs in the dvc.lock of a pipeline folder, and a sentence for every
    file that differs. Paths in the sentences are relative to `root`."""
    wanted = uncached(folder)
    count, problems = 0, []
    for stage, locked in read_lock(folder / "dvc.lock").items():
        for item in locked.paths("outs"):
            if item["path"] not in wanted.get(stage, ()) or "md5" not in item:
                continue
            if not is_inside(item["path"]):
                raise UserError(
                    f"{folder / 'dvc.lock'} names the output {item['path']!r:.100}; accepted: "
                    "paths below its folder, without `..`"
                )
            count += 1
            problems += _differing(folder / item["path"], item["md5"], root)
    return count, problems


def _differing(path: Path, wanted: str, root: Path) -> list[str]:
    """A sentence for every file of one output that differs from its md5."""
    name = _name(path, root)
    if not path.exists():
        return [f"{name} is missing; dvc.lock has it with md5 {wanted}"]
    here = listing_of(path)
    if content_md5(here) == wanted:
        return []
    message = f"dvc.lock has md5 {wanted}, found {content_md5(here)}"
    then = None if path.is_file() else _committed_listing(path, wanted)
    if then is None:  # the md5 of a folder does not show which file differs
        return [f"{name} differs from the output of the pipeline: {message}"]
    return [
        f"{name}/{file} {_moved(here.get(file), then.get(file))} ({message} for the folder)"
        for file in sorted({*here, *then})
        if here.get(file) != then.get(file)
    ]


def _moved(here: str | None, then: str | None) -> str:
    if here is None:
        return "is missing"
    return "was added" if then is None else "was changed"


def listing_of(path: Path) -> Listing:
    """md5 of a file, or of all files below a folder."""
    if path.is_file():
        return {"": md5(path)}
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return {_name(file, path): md5(file) for file in files}


def content_md5(listing: Listing) -> str:
    """The md5 of a file or folder with this content, as in dvc.lock."""
    if set(listing) == {""}:
        return listing[""]
    entries = [{"md5": digest, "relpath": name} for name, digest in sorted(listing.items())]
    content = json.dumps(entries, sort_keys=True).encode()
    return f"{hashlib.md5(content, usedforsecurity=False).hexdigest()}.dir"


def _committed_listing(folder: Path, wanted: str) -> Listing | None:
    """The content of a folder in the newest commit in which it had the md5 `wanted`; None if there
    is none."""
    log = git("log", f"-{MOST_COMMITS}", "--format=%H", "HEAD", "--", ".", root=folder)
    for commit in (log or "").split():
        names = git("ls-tree", "-r", "--name-only", "-z", commit, root=folder) or ""
        found: dict[str, str] = {}
        for name in filter(None, names.split("\0")):
            content = git_bytes("cat-file", "blob", f"{commit}:./{name}", root=folder) or b""
            found[name] = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if content_md5(found) == wanted:
            return found
    return None


# --- recorded.json ----------------------------------------------------------------------------


def recorded_problems(root: Path, pipeline: str, listed: Recorded) -> tuple[int, list[str]]:
    """The number of files in the recorded.json of a pipeline folder, and a sentence for every file
    that differs from it and for every result that it does not list."""
    folder, problems = root / pipeline, []
    for name in sorted(listed.files):
        try:
            check(folder, name, listed)
        except UserError as error:
            problems.append(str(error))
    arms = {name.partition("/")[0] for name in listed.files if "/seeds/" in name}
    known = ("seeds", "history.csv", "images.png")
    for file in sorted((folder / "results").rglob("*")):
        parts = file.relative_to(folder / "results").parts
        mine = len(parts) > 1 and parts[0] in arms and parts[1] in known and file.is_file()
        if mine and "/".join(parts) not in listed.files:
            problems.append(
                f"{_name(file, root)} is not in {pipeline}/{FILE}; "
                f"`study record {pipeline}` adds it"
            )
    return len(listed.files), problems


# --- provenance -------------------------------------------------------------------------------


def provenance_problems(results: Path, root: Path) -> tuple[int, list[str]]:
    """The number of results of a results/ folder that need a provenance file (those of an earlier
    version name their commit themselves), and a sentence for each of them that has no matching one.
    Paths in the sentences are relative to `root`."""
    count, problems = 0, []
    for file in sorted(results.glob("*/seeds/s*.json")):
        content = read_json(file)
        code = content.get("code") if isinstance(content, dict) else None
        if not isinstance(code, dict) or "commit" in code:  # of an earlier version
            continue
        count += 1
        try:
            known = provenance_of(file, content)
        except UserError as error:
            problems.append(str(error))
            continue
        if known is None:
            name = _name(provenance.file_of(file), root)
            found = f"is missing or describes outputs other than {_name(file, root)}"
            problems.append(f"{name} {found}")
    return count, problems

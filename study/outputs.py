"""What a pipeline stores in the DVC cache, and which of it is not here: read from dvc.lock alone.

No dvc import, no remote asked: the app calls this on every page. dvc.yaml says which of the outputs
the cache holds, since dvc.lock does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study import environment
from study.lockfile import read_lock
from study.params import UserError, nearest, read_yaml

PIPELINES = ("", "studies", "full")  # the root's own has no name
MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")
CACHE = Path(".dvc/cache/files/md5")


@dataclass(frozen=True)
class Output:
    """One output that the cache holds: an arm's runs, the data sets, an imported set."""

    name: str  # how a user calls it: control, studies/better, data, imported/siemens
    pipeline: str  # folder below the checkout; "" for the root
    path: str  # as dvc.lock names it, from the pipeline's folder
    address: str  # how DVC calls it, from the checkout: studies/dvc.yaml:train@better
    md5: str
    size: int  # bytes
    files: int
    push: bool  # whether it belongs on a remote

    def folder(self, top: Path) -> Path:
        return top / self.pipeline / self.path


def outputs(top: Path, pipeline: str = "") -> list[Output]:
    """The recorded outputs of one pipeline of the checkout `top`; empty before its first run.

    Raises UserError for a dvc.lock or a .dvc file that is none (conflict marks of a merge, say).
    """
    folder = top / pipeline
    found = [*_of_stages(folder, pipeline), *_of_files(folder, pipeline)]
    for item in found:
        if not MD5.fullmatch(item.md5):
            raise UserError(f"{folder}: the record of {item.path} holds {item.md5!r}, no md5")
    return found


def all_outputs(top: Path) -> list[Output]:
    return [item for pipeline in PIPELINES for item in outputs(top, pipeline)]


def chosen(top: Path, pipeline: str, names: tuple[str, ...], everything: bool) -> list[Output]:
    """The outputs that a user means: named ones, all pipelines, or one pipeline whole.

    A name is an arm, `data` or an imported set of `pipeline`, or of another one behind its folder.
    Raises UserError for a name that no dvc.lock records.
    """
    if not names:
        return all_outputs(top) if everything else outputs(top, pipeline)
    known = {item.name: item for item in all_outputs(top) if item.push}
    own = [item for item in known.values() if item.pipeline == pipeline]
    table = known | {item.name.removeprefix(f"{pipeline}/"): item for item in own}
    for name in names:
        if name not in table:
            raise UserError(
                f"dvc.lock records no stored runs of {name!r} (what has not run yet, `dvc repro` "
                f"computes){nearest(name, table)}"
            )
    return [table[name] for name in dict.fromkeys(names)]


def missing(top: Path, everything: bool = False) -> list[Output]:
    """Recorded outputs that are not in this checkout: what a pull would bring."""
    found = all_outputs(top) if everything else outputs(top)
    return [item for item in found if item.push and not item.folder(top).exists()]


def place(root: Path) -> tuple[Path, str]:
    """(top of the checkout, name of the pipeline) of the folder that a command runs in.

    Raises UserError for a pipeline that is none of PIPELINES: what is pushed would be the root's.
    """
    top = environment.checkout(root).resolve()
    relative = root.resolve().relative_to(top).as_posix()
    if relative in PIPELINES:
        return top, relative
    if relative != "." and (root / "dvc.yaml").is_file():
        raise UserError(
            f"{relative} has a dvc.yaml and is no pipeline that is known here "
            f"({', '.join(filter(None, PIPELINES))}, and the root); docs/scaling.md says where to "
            "name it"
        )
    return top, ""


# --- reading ----------------------------------------------------------------------------------


def _of_stages(folder: Path, pipeline: str) -> Iterator[Output]:
    file = folder / "dvc.yaml"
    declared = read_yaml(file).get("stages", {}) if file.is_file() else {}
    for stage, locked in read_lock(folder / "dvc.lock").items():
        definition, _, key = stage.partition("@")
        cached = _cached(declared.get(definition) or {}, key)
        for item in locked.paths("outs"):
            if item["path"] in cached:
                push = cached[item["path"]]
                name = key if definition == "train" and key else item["path"]
                address = f"{pipeline}/dvc.yaml:{stage}" if pipeline else stage
                yield _output(name, pipeline, address, item, push)


def _of_files(folder: Path, pipeline: str) -> Iterator[Output]:
    for file in [folder / "data.dvc", *sorted((folder / "imported").glob("*.dvc"))]:
        content = read_yaml(file) if file.is_file() else {}
        for item in content.get("outs", []):
            if "md5" in item:  # absent before the first run
                below = file.parent.relative_to(folder)
                named = {**item, "path": (below / item["path"]).as_posix()}
                address = (Path(pipeline) / below / file.name).as_posix()
                yield _output(named["path"], pipeline, address, named, item.get("push", True))


def _output(name: str, pipeline: str, address: str, item: Mapping[str, Any], push: bool) -> Output:
    return Output(
        name=f"{pipeline}/{name}" if pipeline else name,
        pipeline=pipeline,
        path=str(item["path"]),
        address=address,
        md5=str(item.get("md5")),
        size=int(item.get("size", 0)),
        files=int(item.get("nfiles", 1)),
        push=push,
    )


def _cached(stage: Mapping[str, Any], key: str) -> dict[str, bool]:
    """path -> whether it is pushed, for the outputs of a stage that the cache holds."""
    found = {}
    for given in stage.get("do", stage).get("outs", []):
        path, options = next(iter(given.items())) if isinstance(given, Mapping) else (given, {})
        if options.get("cache", True):
            found[path.replace("${key}", key)] = options.get("push", True)
    return found

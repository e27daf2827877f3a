"""The outputs that a pipeline stores in the DVC cache.

This only reads dvc.lock and dvc.yaml, without importing DVC or querying a remote, since the app
calls it on every page. dvc.yaml is needed because dvc.lock does not contain which outputs are
cached.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.artifacts import dvc_yaml
from study.artifacts.dvc_yaml import read_dvc_file
from study.artifacts.lockfile import read_lock
from study.reading import is_inside
from study.runs import environment
from study.settings import UserError, nearest, read_yaml

MD5 = re.compile(r"[0-9a-f]{32}(\.dir)?")


@dataclass(frozen=True)
class Output:
    """One cached output: the runs of an arm, the data sets, or an imported data set."""

    name: str  # name for users: control, studies/better, data, imported/siemens
    pipeline: str  # folder below the checkout; "" for the root
    path: str  # path in dvc.lock, from the pipeline's folder
    address: str  # name for DVC, from the checkout: studies/dvc.yaml:train@better
    md5: str
    size: int  # bytes
    files: int
    push: bool  # whether it belongs on a remote

    def folder(self, top: Path) -> Path:
        return top / self.pipeline / self.path


def outputs(top: Path, pipeline: str = "") -> list[Output]:
    """The recorded outputs of one pipeline of the checkout `top`; empty before its first run.

    Raises UserError for a damaged dvc.lock or .dvc file (e.g. with conflict marks).
    """
    folder = top / pipeline
    found = [*_of_stages(folder, pipeline), *_of_files(folder, pipeline)]
    for item in found:
        if not is_inside(item.path):
            raise UserError(
                f"{folder}: a stored output has the path {item.path!r:.100}; accepted: paths below "
                "this folder, without `..`"
            )
        if not MD5.fullmatch(item.md5):
            raise UserError(
                f"{folder}: the record of {item.path} has {item.md5!r}, which is not an md5"
            )
    return found


def pipelines(top: Path) -> tuple[str, ...]:
    """The pipeline of the root, "", and the folders of the checkout `top` with a dvc.yaml."""
    return ("", *sorted(file.parent.name for file in top.glob("*/dvc.yaml")))


def all_outputs(top: Path) -> list[Output]:
    return [item for pipeline in pipelines(top) for item in outputs(top, pipeline)]


def chosen(top: Path, pipeline: str, names: tuple[str, ...], everything: bool) -> list[Output]:
    """The outputs that a user selects: by name, all pipelines, or one whole pipeline. A name is an
    arm, `data` or an imported data set of `pipeline`, or FOLDER/NAME of another pipeline. Raises
    UserError for a name that no dvc.lock records.
    """
    if not names:
        return all_outputs(top) if everything else outputs(top, pipeline)
    known = {item.name: item for item in all_outputs(top) if item.push}
    own = [item for item in known.values() if item.pipeline == pipeline]
    table = known | {item.name.removeprefix(f"{pipeline}/"): item for item in own}
    for name in names:
        if name not in table:
            raise UserError(
                f"dvc.lock records no stored runs of {name!r} (`dvc repro` computes missing "
                f"runs){nearest(name, table)}"
            )
    return [table[name] for name in dict.fromkeys(names)]


def place(root: Path) -> tuple[Path, str]:
    """(top of the checkout, name of the pipeline) of the folder that a command runs in.

    Raises UserError for a pipeline below another folder, since a push would send the root's
    outputs.
    """
    top = environment.checkout(root).resolve()
    relative = root.resolve().relative_to(top).as_posix()
    if relative in pipelines(top):
        return top, relative
    if relative != "." and (root / "dvc.yaml").is_file():
        known = ", ".join(filter(None, pipelines(top))) or "none yet"
        raise UserError(
            f"{relative} has a dvc.yaml and is not directly below the checkout, where pipelines "
            f"are found ({known}); move the folder there"
        )
    return top, ""


# --- reading ----------------------------------------------------------------------------------


def _of_stages(folder: Path, pipeline: str) -> Iterator[Output]:
    declared = dvc_yaml.declared(folder)
    for stage, locked in read_lock(folder / "dvc.lock").items():
        definition, _, key = stage.partition("@")
        found = _written(declared, definition, key)
        for item in locked.paths("outs"):
            out = found.get(item["path"])
            if out is not None and out.cached:
                name = key if definition == "train" and key else item["path"]
                address = f"{pipeline}/dvc.yaml:{stage}" if pipeline else stage
                yield _output(name, pipeline, address, item, out.pushed)


def uncached(folder: Path) -> dict[str, set[str]]:
    """Stage in dvc.lock -> its outputs that are in git instead of the cache (`outs`,
    `metrics` and `plots` with `cache: false`). Raises UserError as `outputs` does."""
    declared = dvc_yaml.declared(folder)
    settings = folder / "params.yaml"
    params = read_yaml(settings) if settings.is_file() else {}
    found: dict[str, set[str]] = {}
    for stage in read_lock(folder / "dvc.lock"):
        definition, _, key = stage.partition("@")
        entry = declared.get(definition)
        if key and params and key not in _keys(entry and entry.foreach, params):
            continue  # DVC keeps the entries of arms that were archived
        plain = {
            path for path, out in _written(declared, definition, key).items() if not out.cached
        }
        if plain:
            found[stage] = plain
    return found


def _written(
    declared: Mapping[str, dvc_yaml.Stage], definition: str, key: str
) -> dict[str, dvc_yaml.Out]:
    """Path -> output of a stage for one key of its `foreach`."""
    entry = declared.get(definition)
    outs = [] if entry is None else entry.body.written
    return {out.path.replace("${key}", key): out for out in outs}


def _keys(foreach: Any, params: Any) -> Any:
    """The keys over which a stage with `foreach: ${a.b}` iterates: those of that mapping in
    `params`."""
    for part in str(foreach).removeprefix("${").removesuffix("}").split("."):
        params = params.get(part) if isinstance(params, Mapping) else None
    return params or ()


def _of_files(folder: Path, pipeline: str) -> Iterator[Output]:
    for file in [folder / "data.dvc", *sorted((folder / "imported").glob("*.dvc"))]:
        if ":" in file.name:
            raise UserError(f"{file}: DVC cannot address a name with a colon; rename the data set")
        for item in read_dvc_file(file).outs if file.is_file() else ():
            if item.md5:  # "" before the first run
                below = file.parent.relative_to(folder)
                path = (below / item.path).as_posix()
                address = (Path(pipeline) / below / file.name).as_posix()
                named = {**item.model_dump(), "path": path}
                yield _output(path, pipeline, address, named, item.push)


def _output(name: str, pipeline: str, address: str, item: Mapping[str, Any], push: bool) -> Output:
    """`item`: path, md5, size and nfiles, which their reader has checked."""
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

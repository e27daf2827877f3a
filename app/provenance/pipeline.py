"""Stages declared in dvc.yaml and .dvc files of a pipeline folder, read without DVC.

The pipelines use a small subset of DVC's syntax: plain stages, `foreach` over a mapping in
params.yaml, `${key}` and `${item.NAME}`. Any other syntax is reported as an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from study.artifacts import dvc_yaml
from study.artifacts.dvc_yaml import Out, read_dvc_file
from study.settings import UserError

REFERENCE = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True)
class Stage:
    """One stage. `kind`: its name in dvc.yaml; `key`: its foreach key ("" for a plain stage).

    `params`: (file, dotted key). `file`: the .dvc file that declares the stage, or None.
    """

    kind: str
    key: str
    cmd: str
    deps: tuple[str, ...]
    params: tuple[tuple[str, str], ...]
    outs: tuple[Out, ...]
    file: str | None = None

    @property
    def name(self) -> str:
        """The name of the stage for `dvc repro`."""
        if self.file:
            return self.file
        return f"{self.kind}@{self.key}" if self.key else self.kind


def stages(folder: Path, params: Mapping[str, Any]) -> list[Stage]:
    """All stages in dvc.yaml, data.dvc and imported/*.dvc; empty if there is no pipeline.

    `params`: content of params.yaml. Raises UserError for damaged files or unsupported syntax.
    """
    file = folder / "dvc.yaml"
    found = [
        stage
        for kind, entry in dvc_yaml.declared(folder).items()
        for stage in _expanded(kind, entry, params, file)
    ]
    return [*found, *_files(folder)]


def _files(folder: Path) -> Iterator[Stage]:
    for file in [folder / "data.dvc", *sorted((folder / "imported").glob("*.dvc"))]:
        if file.is_file():
            content = read_dvc_file(file)
            name = file.relative_to(folder).as_posix()
            outs = tuple(
                Out((Path(name).parent / item.path).as_posix(), True, True) for item in content.outs
            )
            deps = tuple(item.path for item in content.deps)
            kind = "data" if name == "data.dvc" else "imported"
            yield Stage(kind, "" if kind == "data" else file.stem, "", deps, (), outs, name)


def _expanded(
    kind: str, entry: dvc_yaml.Stage, params: Mapping[str, Any], file: Path
) -> Iterator[Stage]:
    if not entry.iterates:
        yield _stage(kind, "", entry.body, params, file)
        return
    over = _looked_up(str(entry.foreach), params, file)
    if not isinstance(over, Mapping):
        raise UserError(f"{file}: foreach of {kind} must name a mapping in params.yaml")
    for key, item in over.items():
        yield _stage(kind, str(key), entry.body, {**params, "key": str(key), "item": item}, file)


def _stage(kind: str, key: str, body: dvc_yaml.Body, names: Mapping[str, Any], file: Path) -> Stage:
    fill = partial(_filled, names=names, file=file)
    return Stage(
        kind=kind,
        key=key,
        cmd=fill(body.cmd),
        deps=tuple(map(fill, body.deps)),
        params=tuple(
            (name, fill(key)) for each in body.params for name, keys in each.items() for key in keys
        ),
        outs=tuple(out._replace(path=fill(out.path)) for out in body.written),
    )


def _filled(text: str, names: Mapping[str, Any], file: Path) -> str:
    return REFERENCE.sub(lambda match: str(_looked_up(match[0], names, file)), text)


def _looked_up(text: str, names: Mapping[str, Any], file: Path) -> Any:
    match = REFERENCE.fullmatch(text)
    value: Any = names
    for part in match[1].split(".") if match else ():
        value = value.get(part) if isinstance(value, Mapping) else None
    if not match or value is None:
        raise UserError(f"{file}: {text} is not supported here; use `dvc status`")
    return value


def value_at(content: Any, key: str) -> Any:
    """The value under a dotted key. Raises KeyError if there is none."""
    for part in key.split("."):
        if not isinstance(content, Mapping) or part not in content:
            raise KeyError(key)
        content = content[part]
    return content


# --- the graph --------------------------------------------------------------------------------


def touches(dep: str, out: str) -> bool:
    """Whether a dependency and an output overlap: the same path, or one inside the other."""
    return dep == out or dep.startswith(f"{out}/") or out.startswith(f"{dep}/")


def upstream(found: list[Stage]) -> dict[str, tuple[str, ...]]:
    """Stage name -> names of the stages whose outputs it reads."""
    by_top: dict[str, list[tuple[str, str]]] = {}
    for stage in found:
        for out in stage.outs:
            by_top.setdefault(out.path.partition("/")[0], []).append((out.path, stage.name))
    return {
        stage.name: tuple(
            dict.fromkeys(
                name
                for dep in stage.deps
                for out, name in by_top.get(dep.partition("/")[0], ())
                if name != stage.name and touches(dep, out)
            )
        )
        for stage in found
    }


def kinds(found: list[Stage]) -> dict[str, tuple[str, ...]]:
    """Kind -> kinds that it reads directly, without those also reached through another of them."""
    kind_of = {stage.name: stage.kind for stage in found}
    reads: dict[str, set[str]] = {stage.kind: set() for stage in found}
    for name, sources in upstream(found).items():
        reads[kind_of[name]] |= {kind_of[source] for source in sources} - {kind_of[name]}
    above = {kind: _ancestors(kind, reads) for kind in reads}
    return {
        kind: tuple(
            source
            for source in reads
            if source in direct and not any(source in above[other] for other in direct)
        )
        for kind, direct in reads.items()
    }


def _ancestors(kind: str, reads: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    waiting = list(reads[kind])
    while waiting:
        source = waiting.pop()
        if source not in found:
            found.add(source)
            waiting += reads[source]
    return found

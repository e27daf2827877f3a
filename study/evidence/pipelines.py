"""Declarations of other pipelines: rows and groups in <study>/params.yaml, for recorded arms.

<study>/recorded.json lists the runs; <study>/params.yaml declares the requested seeds, so that a
seed removed from the list is reported as missing. Without params.yaml only the results are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.settings import NAME, DataParams, Row, Study, UserError, parse_study, read_yaml


@dataclass(frozen=True)
class Group:
    """One question of a study and the arms that answer it, as `<study>/<arm>`.

    `study`: "" for the root study; `asks`: the question.
    """

    study: str
    name: str
    asks: str
    arms: tuple[str, ...]

    @property
    def stem(self) -> str:
        """The name in a form that is suitable for file names."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.name).strip("_")


@dataclass(frozen=True)
class Declared:
    """All rows and data sets that are declared in a params.yaml, named as in the findings:
    `control`, `studies/control`, `data/quick`, `studies/data/quick`."""

    rows: Mapping[str, Row]
    groups: tuple[Group, ...]
    data: Mapping[str, DataParams]


def declared(root: Path, study: Study, pipelines: Iterable[str]) -> Declared:
    """The rows of `study` and, as `<name>/<arm>`, those of the pipeline folders `root`/<name>.

    Raises UserError for a params.yaml that cannot be read.
    """
    rows: dict[str, Row] = dict(study.arms)
    data = {f"data/{name}": params for name, params in study.data.items()}
    groups: list[Group] = []
    for name in sorted(set(pipelines)):
        file = root / name / "params.yaml"
        if not NAME.fullmatch(name) or not file.is_file():
            continue
        given = read_yaml(file)
        other = _study(given, file)
        rows |= _rows(name, other.arms)
        data |= {f"{name}/data/{key}": params for key, params in other.data.items()}
        groups += groups_of(name, file)
    return Declared(rows, tuple(groups), data)


def _study(given: Any, file: Path) -> Study:
    known = given
    if isinstance(given, Mapping):
        known = {key: value for key, value in given.items() if key in Study.model_fields}
    return parse_study(known, str(file))


def _rows(pipeline: str, arms: Mapping[str, Row]) -> dict[str, Row]:
    """Rows with the prefix of their pipeline, also in `versus`."""
    return {
        f"{pipeline}/{name}": row
        if row.versus is None
        else row.model_copy(update={"versus": f"{pipeline}/{row.versus}"})
        for name, row in arms.items()
    }


def groups_of(pipeline: str, file: Path) -> list[Group]:
    """The questions under `studies` in a params.yaml; none if the file does not exist.

    Raises UserError for invalid YAML or an invalid `studies` section.
    """
    given = (read_yaml(file) if file.is_file() else None) or {}
    try:
        return [
            Group(pipeline, str(name), str(entry["asks"]), tuple(f"{pipeline}/{a}" for a in arms))
            for name, entry in (given.get("studies") or {}).items()
            for arms in [entry["arms"]]
        ]
    except (AttributeError, KeyError, TypeError):
        raise UserError(f"{file}: studies takes NAME: {{asks: TEXT, arms: [NAMES]}}") from None


def pipelines_of(names: Iterable[str]) -> set[str]:
    """The pipelines in names such as `<study>/<arm>`; arms of the root pipeline are skipped."""
    return {name.partition("/")[0] for name in names if "/" in name}

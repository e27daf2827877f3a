"""Declarations of other pipelines: rows and groups of <study>/params.yaml, for recorded arms.

<study>/recorded.json lists what ran; <study>/params.yaml says what was asked for, so that a seed
that was taken from the list is missing and not forgotten. A study without params.yaml has its
results only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.settings import NAME, DataParams, Row, Study, UserError, parse_study, read_yaml


@dataclass(frozen=True)
class Group:
    """One question of a study and the arms that answer it, as `<study>/<arm>`; the root's study has
    no name."""

    study: str
    name: str
    asks: str
    arms: tuple[str, ...]

    @property
    def stem(self) -> str:
        """The name as part of a file's name."""
        return "".join(letter if letter.isalnum() else "_" for letter in self.name).strip("_")


@dataclass(frozen=True)
class Declared:
    """Every row and data set that some params.yaml declares, by the name it has in the findings:
    `control`, `studies/control`, `data/quick`, `studies/data/quick`."""

    rows: Mapping[str, Row]
    groups: tuple[Group, ...]
    data: Mapping[str, DataParams]


def declared(root: Path, study: Study, pipelines: Iterable[str]) -> Declared:
    """The rows of `study` and, as `<name>/<arm>`, of every pipeline folder `root`/<name>.

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
    """`versus` names an arm of the same pipeline."""
    return {
        f"{pipeline}/{name}": row
        if row.versus is None
        else row.model_copy(update={"versus": f"{pipeline}/{row.versus}"})
        for name, row in arms.items()
    }


def groups_of(pipeline: str, file: Path) -> list[Group]:
    """The questions under `studies` of a params.yaml; none where there is no such file.

    Raises UserError for a file that is not valid YAML, or where `studies` is something else.
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
    """The pipelines of `<study>/<arm>` names; the root's own arms have none."""
    return {name.partition("/")[0] for name in names if "/" in name}

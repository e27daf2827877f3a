"""Stored results as objects: one arm with its seeds, read from results/ and recorded/.

results/<arm>/seeds/s<seed>.json                 arm name `<arm>`
recorded/<study>/<arm>/seeds/s<seed>.json        arm name `<study>/<arm>`
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from study.params import Arm, Reference, Row, Scalar, UserError, diff
from study.runs import read_json

SEED_FILE = re.compile(r"s(\d+)\.json")
OUTCOMES = ("ok", "failed", "collapsed")


@dataclass(frozen=True)
class ArmResults:
    """Every stored seed of one arm: its JSON and the file it stands in.

    `announced`: seeds of which a recorded arm has an environment, and so had a run.
    """

    name: str
    seeds: Mapping[int, Mapping[str, Any]]
    files: Mapping[int, Path]
    announced: tuple[int, ...] = ()

    @cached_property
    def known_seeds(self) -> tuple[int, ...]:
        """Seeds with a result or with the trace of one."""
        return tuple(sorted({*self.seeds, *self.announced}))

    @cached_property
    def numbers(self) -> Mapping[int, Mapping[str, float]]:
        """Every number of every seed, by dotted path."""
        return {seed: numbers_of(content) for seed, content in self.seeds.items()}

    def values(self, path: str) -> dict[int, float]:
        """The number at `path` of every seed that has one."""
        return {seed: found[path] for seed, found in self.numbers.items() if path in found}

    def with_outcome(self, outcome: str) -> list[int]:
        return [seed for seed, content in self.seeds.items() if content["outcome"] == outcome]

    def facts(self, *keys: str) -> list[Any]:
        """The different values of a nested entry over the seeds, in the order of the seeds."""
        found = [lookup(content, keys) for content in self.seeds.values()]
        return [value for i, value in enumerate(found) if value not in found[:i]]

    @cached_property
    def data_sha256(self) -> str | None:
        """Hash of the arm's data set; None when seeds differ in it or there are none."""
        hashes = self.facts("data", "sha256")
        return hashes[0] if len(hashes) == 1 else None

    @cached_property
    def label(self) -> str | None:
        return next(iter(self.facts("label")), None)

    @cached_property
    def row(self) -> Row | None:
        """The settings that ran, when all seeds agree in them.

        Raises UserError for settings that this version of the code does not know.
        """
        settings = self.facts("settings")
        if len(settings) != 1:
            return None
        try:
            return row_of(settings[0])
        except ValidationError as error:
            told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise UserError(
                f"the stored settings of {self.name} do not fit this version of the code ({told}); "
                "compute the arm again, or read its results with the code that made them"
            ) from None


def lookup(content: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """Nested entry, or None where a part of the path is absent."""
    value: Any = content
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def numbers_of(content: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a seed's JSON by dotted path; nulls are left out.

    `gap.<path>` is last minus best. A reference has one reconstruction, checkpoint `only`: it
    answers for best and for last, and it has no gap.
    """
    flat = {
        f"{name}.{path}": value
        for name in ("best", "last", "training")
        for path, value in _leaves(block(content, name) or {})
    }
    if content["label"] == "arm":
        both = [
            path[5:] for path in flat if path.startswith("last.") and f"best.{path[5:]}" in flat
        ]
        flat |= {f"gap.{path}": flat[f"last.{path}"] - flat[f"best.{path}"] for path in both}
    return flat


def _leaves(content: Mapping[str, Any]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            found += [(f"{key}.{path}", item) for path, item in _leaves(value)]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((key, float(value)))
    return found


def block(content: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """`best`, `last` or `training` of a seed's JSON; both checkpoints of a reference are `only`."""
    if name == "last" and lookup(content, ("best", "checkpoint")) == "only":
        return content["best"]
    return content.get(name)


def load_arms(results: Path, prefix: str = "") -> dict[str, ArmResults]:
    """Every arm under `results`, by name. Raises UserError for a file that is no JSON of ours."""
    folders = sorted(folder for folder in results.glob("*/seeds") if folder.is_dir())
    arms = (load_arm(folder, f"{prefix}{folder.parent.name}") for folder in folders)
    return {arm.name: arm for arm in arms if arm.seeds}


def load_arm(folder: Path, name: str) -> ArmResults:
    files = _by_seed(folder)
    announced = _by_seed(folder.parent / "environment")
    seeds = {seed: read_seed(file) for seed, file in files.items()}
    return ArmResults(name, seeds, files, tuple(announced))


def _by_seed(folder: Path) -> dict[int, Path]:
    """The files s<seed>.json of a folder; none where there is no folder."""
    matches = ((SEED_FILE.fullmatch(file.name), file) for file in folder.glob("s*.json"))
    return dict(sorted((int(match[1]), file) for match, file in matches if match))


def read_seed(file: Path) -> Mapping[str, Any]:
    """One seed's JSON. Raises UserError when it is torn or something else."""
    content = read_json(file)
    if not isinstance(content, dict) or content.get("outcome") not in OUTCOMES:
        raise UserError(f"{file} is no result of a seed; score the arm again (`study evaluate`)")
    return content


def load_all(results: Path, recorded: Path) -> dict[str, ArmResults]:
    """The arms of this pipeline and, as `<study>/<arm>`, those that others recorded."""
    arms = load_arms(results)
    for folder in sorted(path for path in recorded.glob("*") if path.is_dir()):
        arms.update(load_arms(folder, f"{folder.name}/"))
    return arms


def sha256(file: Path) -> str:
    """Hash of a file's bytes. Raises FileNotFoundError."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# --- settings ---------------------------------------------------------------------------------


def row_of(settings: Mapping[str, Scalar]) -> Row:
    """The row whose `params.leaves` are `settings`; prose and seeds do not act and are blank."""
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        *parents, last = key.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    prose = {"asks": "-", "versus": None, "changes": ()}
    if "source" in nested:
        return Reference.model_validate({**nested, **prose})
    return Arm.model_validate({**nested, **prose, "seeds": (0,)})


def factors(control: Row, treatment: Row) -> dict[str, tuple[Scalar, Scalar]]:
    """What differs: name -> (control's value, treatment's value).

    A network against a reference is one factor, `method`, whatever else each of them sets.
    """
    if type(control) is type(treatment):
        return diff(control, treatment)
    method = {"method": (_method(control), _method(treatment))}
    data = {"data": (control.data, treatment.data)} if control.data != treatment.data else {}
    return {**method, **data}


def _method(row: Row) -> str:
    return row.source.name if isinstance(row, Reference) else row.generator.name

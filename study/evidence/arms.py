"""Stored results as objects: one arm with its seeds.

results/<arm>/seeds/s<seed>.json             arm name `<arm>`
<study>/results/<arm>/seeds/s<seed>.json     arm name `<study>/<arm>`, if <study>/recorded.json
                                             lists it (`study record`)

Scores and settings are in these files; commit, machine and seconds are in provenance/
(`study.runs.provenance`). `read_seed` combines both. Files of earlier versions contain everything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from study.evidence.metric_catalog import CHECKPOINTS, NYQUIST
from study.evidence.shapes import SeedFile, checked
from study.reading import read_mapping
from study.runs import provenance
from study.runs.recorded import FILE, Recorded, check, read_recorded
from study.settings import Arm, Reference, Row, Scalar, UserError, diff, explain

# Timings of a run, which are in its provenance.
COSTS = ("seconds", "reconstruct_seconds")
SEED_FILE = re.compile(r"s([0-9]{1,18})\.json")
OUTCOMES = ("ok", "failed", "collapsed")
NOT_CROSSED = "not crossed"  # of study.metrics.frc


@dataclass(frozen=True)
class ArmResults:
    """All stored seeds of one arm, with their JSON and the file it was read from.

    `announced`: seeds with stored provenance, which therefore had a run.
    """

    name: str
    seeds: Mapping[int, Mapping[str, Any]]
    files: Mapping[int, Path]
    announced: tuple[int, ...] = ()

    @cached_property
    def known_seeds(self) -> tuple[int, ...]:
        """Seeds with a result or with stored provenance."""
        return tuple(sorted({*self.seeds, *self.announced}))

    @cached_property
    def numbers(self) -> Mapping[int, Mapping[str, float]]:
        """All numbers of all seeds, by dotted path."""
        return {seed: numbers_of(content) for seed, content in self.seeds.items()}

    def values(self, path: str) -> dict[int, float]:
        """The number at `path` for each seed that has one."""
        return {seed: found[path] for seed, found in self.numbers.items() if path in found}

    def with_outcome(self, outcome: str) -> list[int]:
        return [seed for seed, content in self.seeds.items() if content["outcome"] == outcome]

    def facts(self, *keys: str) -> list[Any]:
        """The distinct values of a nested entry over the seeds, in the order of the seeds."""
        found = [lookup(content, keys) for content in self.seeds.values()]
        return [value for i, value in enumerate(found) if value not in found[:i]]

    @cached_property
    def data_sha256(self) -> str | None:
        """Hash of the arm's data set; None if seeds differ in it or there are no seeds."""
        hashes = self.facts("data", "sha256")
        return hashes[0] if len(hashes) == 1 else None

    @cached_property
    def objects_differ(self) -> bool:
        """Whether each seed has its own objects, so that images of two seeds cannot be compared."""
        return self.facts("data", "seed_sha256") not in ([], [None])

    @cached_property
    def label(self) -> str | None:
        return next(iter(self.facts("label")), None)

    @cached_property
    def row(self) -> Row | None:
        """The settings with which the arm ran; None if they differ between seeds.

        Raises UserError for settings that are not valid in this version of the code.
        """
        settings = self.facts("settings")
        if len(settings) != 1:
            return None
        try:
            return row_of(settings[0])
        except ValidationError as error:
            problems = explain(error, _nested(settings[0]), "settings", Arm)
            raise UserError(
                f"the settings of {self.name} do not fit this version of the code ({problems}); "
                "compute the arm again, or read its results with the code that made them"
            ) from None


def lookup(content: Mapping[str, Any], keys: Sequence[str]) -> Any:
    """A nested entry, or None if a part of the path does not exist."""
    value: Any = content
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def numbers_of(content: Mapping[str, Any]) -> dict[str, float]:
    """The numbers in a seed's JSON by dotted path; nulls are omitted.

    `gap.<path>` is last minus best. The single reconstruction of a reference (checkpoint `only`)
    is used for best and for last, and there is no gap. An FRC that never falls below 0.5 has no
    crossing; it is replaced by its upper limit, the Nyquist frequency.
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
    return _uncrossed(content) | flat


def _uncrossed(content: Mapping[str, Any]) -> dict[str, float]:
    """The Nyquist frequency for all resolutions without a crossing."""
    return {
        f"{name}.{path}": NYQUIST
        for name in CHECKPOINTS
        for path, reason in (lookup(block(content, name) or {}, ("reasons",)) or {}).items()
        if reason == NOT_CROSSED and path.startswith("standard.")
    }


def _leaves(content: Mapping[str, Any]) -> list[tuple[str, float]]:
    found: list[tuple[str, float]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            found += [(f"{key}.{path}", item) for path, item in _leaves(value)]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            found.append((key, float(value)))
    return found


def block(content: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """`best`, `last` or `training` of a seed's JSON; `best` is also the `last` of a reference."""
    if name == "last" and lookup(content, ("best", "checkpoint")) == "only":
        return content["best"]
    return content.get(name)


def load_arms(results: Path, problems: list[str] | None = None) -> dict[str, ArmResults]:
    """All arms in `results`, by name.

    Raises UserError for a damaged file; if `problems` is given, the arm is omitted instead and the
    message is appended to it.
    """
    folders = sorted(folder for folder in results.glob("*/seeds") if folder.is_dir())
    files = {folder.parent.name: _by_seed(folder.glob("s*.json")) for folder in folders}
    return _loaded(results, "", files, problems)


def load_recorded(
    root: Path, pipeline: str, problems: list[str] | None = None
) -> dict[str, ArmResults]:
    """The recorded arms of a pipeline folder below `root`, as `<study>/<arm>`; none if there is no
    recorded.json. Files that differ from their record are treated as damaged (see `load_arms`)."""
    listed = read_recorded(root / pipeline)
    if listed is None:
        return {}
    results = root / pipeline / "results"
    seeds: dict[str, list[Path]] = {}
    for name in listed.files:
        arm, _, seed = name.partition("/seeds/")
        if seed:
            seeds.setdefault(arm, []).append(results / name)
    files = {arm: _by_seed(seeds[arm]) for arm in sorted(seeds)}
    return _loaded(results, f"{pipeline}/", files, problems, listed)


def _loaded(
    results: Path,
    prefix: str,
    files: Mapping[str, Mapping[int, Path]],
    problems: list[str] | None,
    listed: Recorded | None = None,
) -> dict[str, ArmResults]:
    arms: dict[str, ArmResults] = {}
    for name, seeds in files.items():
        kept = _by_seed((provenance.folder_of(results) / name).glob("s*.json"))
        try:
            if listed is not None:
                for file in seeds.values():
                    check(results.parent, file.relative_to(results).as_posix(), listed)
            contents = {seed: read_seed(file) for seed, file in seeds.items()}
        except UserError as error:
            if problems is None:
                raise
            problems.append(str(error))
            continue
        if contents:
            arms[f"{prefix}{name}"] = ArmResults(f"{prefix}{name}", contents, seeds, tuple(kept))
    return arms


def _by_seed(files: Iterable[Path]) -> dict[int, Path]:
    """Files named s<seed>.json, by seed."""
    matches = ((SEED_FILE.fullmatch(file.name), file) for file in files)
    return dict(sorted((int(match[1]), file) for match, file in matches if match))


def read_scores(file: Path) -> Mapping[str, Any]:
    """One seed's JSON as stored. Raises UserError if it is damaged or has a wrong format."""
    content = read_mapping(file)
    return checked(content, SeedFile, file, "score the arm again (`study evaluate`)")


def scores_only(content: Mapping[str, Any]) -> dict[str, Any]:
    """One seed's JSON without the provenance that earlier versions stored in it (a copy)."""
    kept = {key: value for key, value in content.items() if key not in ("device", "cores")}
    kept["code"] = {"fingerprint": content["code"]["fingerprint"]}
    evidence = content["evidence"].items()
    kept["evidence"] = {k: v for k, v in evidence if Path(k).name != "environment.json"}
    if content["training"] is not None:
        kept["training"] = {k: v for k, v in content["training"].items() if k not in COSTS}
    return kept


def read_seed(file: Path) -> Mapping[str, Any]:
    """One seed's JSON with its provenance: `code`, `device`, `cores`, `training.seconds`.

    These are None if there is no provenance for the stored outputs. The complete environment of the
    run is in `environment`, which is None for files of earlier versions.

    Raises UserError if one of the two files is damaged.
    """
    content = read_scores(file)
    if "commit" in content["code"]:  # of an earlier version
        return {**content, "environment": None}
    known = provenance_of(file, content)
    environment = {} if known is None else known.environment.model_dump()
    commit = {key: environment.get(key) for key in ("commit", "commit_date", "dirty")}
    training = content["training"]
    if training is not None:
        costs = {key: None if known is None else getattr(known, key) for key in COSTS}
        training = {**training, **costs}
    return {
        **content,
        "code": {**content["code"], **commit},
        "device": environment.get("device"),
        "cores": environment.get("cores"),
        "training": training,
        "environment": environment or None,
    }


def provenance_of(file: Path, content: Mapping[str, Any]) -> provenance.Provenance | None:
    """The provenance of one seed's JSON; None if there is none for these outputs.

    Raises UserError if it is damaged.
    """
    known = provenance.read_provenance(provenance.file_of(file))
    outputs = {"/".join(Path(name).parts[3:]): sha for name, sha in content["evidence"].items()}
    return known if known is not None and known.describes(outputs) else None


def environment_of(
    root: Path, arm: str, seed: int, content: Mapping[str, Any]
) -> tuple[Path, Mapping[str, Any]] | None:
    """The environment of a run (`provenance.Environment`) and the file that contains it; None if it
    is not stored here.

    `content`: as returned by `read_seed`. For results of earlier versions, the environment is in
    environment.json of the run or in recorded.json. Raises UserError for damaged files.
    """
    if content.get("environment") is not None:
        return provenance.seed_file(root, arm, seed), content["environment"]
    pipeline, _, name = arm.rpartition("/")
    file = root / pipeline / "runs" / name / f"s{seed}" / "environment.json"
    found = provenance.read_environment(file)
    if found is not None:
        return file, found.model_dump()
    listed = read_recorded(root / pipeline) if pipeline else None
    kept = listed.environment(name, seed) if listed else None
    return None if kept is None else (root / pipeline / FILE, kept)


def load_all(root: Path, problems: list[str] | None = None) -> dict[str, ArmResults]:
    """The arms of the pipeline folder `root` and, as `<study>/<arm>`, the recorded ones below it.

    Damaged files are treated as in `load_arms`.
    """
    arms = load_arms(root / "results", problems)
    for file in sorted(root.glob(f"*/{FILE}")):
        try:
            arms |= load_recorded(root, file.parent.name, problems)
        except UserError as error:
            if problems is None:
                raise
            problems.append(str(error))
    return arms


# --- settings ---------------------------------------------------------------------------------


def row_of(settings: Mapping[str, Scalar]) -> Row:
    """The row whose `study.settings.leaves` are `settings`; texts and seeds, which have no effect,
    are placeholders. Raises ValidationError for invalid settings."""
    nested = _nested(settings)
    prose = {"asks": "-", "versus": None, "changes": ()}
    if "source" in nested:
        return Reference.model_validate({**nested, **prose})
    return Arm.model_validate({**nested, **prose, "seeds": (0,)})


def _nested(settings: Mapping[str, Scalar]) -> dict[str, Any]:
    """Dotted keys as nested mappings."""
    nested: dict[str, Any] = {}
    for key, value in settings.items():
        *parents, last = key.split(".")
        node = nested
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value
    return nested


def factors(control: Row, treatment: Row) -> dict[str, tuple[Scalar, Scalar]]:
    """Differing factors: name -> (control's value, treatment's value).

    Between a network and a reference, the only factors are `method` and, if different, `data`.
    """
    if type(control) is type(treatment):
        return diff(control, treatment)
    method = {"method": (_method(control), _method(treatment))}
    data = {"data": (control.data, treatment.data)} if control.data != treatment.data else {}
    return {**method, **data}


def _method(row: Row) -> str:
    return row.source.name if isinstance(row, Reference) else row.generator.name

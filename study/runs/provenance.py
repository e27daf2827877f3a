"""How a result was computed, stored apart from the result: provenance/<arm>/s<seed>.json, in git.

    provenance/<arm>/s<seed>.json     of runs/<arm>/s<seed> and results/<arm>/seeds/s<seed>.json
    provenance/<name>.json            of another small result, results/<name>.json

Design choices
- Outputs of the pipeline contain only what settings, data, seed and type of processor determine, so
  that a repetition gives the same bytes. Commit, machine, versions, dates, seconds and memory are
  kept here, and no DVC stage reads or writes this folder.
- A file contains the hashes of the outputs that it describes. A repetition with the same outputs
  keeps it, so that a result keeps its first commit; a repetition with other outputs replaces it.
- Results of earlier versions contain these facts themselves and are still read.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from study.reading import UserError, hash_of_file, read_mapping
from study.runs.folder import RunFolder, read_json, read_lines, write_json
from study.settings.errors import explain

FOLDER = "provenance"


class Environment(BaseModel):
    """environment.json of a run (`study.runs.environment.describe`); null where unknown."""

    model_config = ConfigDict(extra="allow", strict=True, frozen=True)
    commit: str | None = None
    commit_date: str | None = None
    dirty: bool | None = None
    device: str | None = None
    cores: int | None = None
    versions: dict[str, str | None] = {}


class Provenance(BaseModel):
    """The content of one file.

    `outputs`: SHA-256 of every described file, by its path inside the run folder. `started`,
    `ended`: ISO 8601, UTC. `seconds`: wall time of the training epochs, or of the whole run of a
    reference. `reconstruct_seconds`: from counts to the stitched object, of the last weights or the
    baseline; CPU time of the process, on CUDA wall clock. `peak_memory_mib`: MiB, of the tensors on
    CUDA, of the process on a CPU. `resumed`: how often the run continued from a checkpoint.
    """

    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)
    outputs: dict[str, str]
    environment: Environment
    started: str | None = None
    ended: str | None = None
    seconds: float | None = None
    reconstruct_seconds: float | None = None
    peak_memory_mib: float | None = None
    resumed: int = 0

    def describes(self, outputs: Mapping[str, str]) -> bool:
        """Whether it describes each of these files (path inside the run folder -> SHA-256)."""
        return all(self.outputs.get(name) == digest for name, digest in outputs.items())


Content = TypeVar("Content", bound=BaseModel)


# --- places -----------------------------------------------------------------------------------


def seed_file(root: Path, arm: str, seed: int) -> Path:
    """The file of one run of `arm` (`<study>/<arm>` for another pipeline's), below `root`."""
    pipeline, _, name = arm.rpartition("/")
    return root / pipeline / FOLDER / name / f"s{seed}.json"


def folder_of(results: Path) -> Path:
    """The folder that belongs to results/ of the same pipeline."""
    return results.parent / FOLDER


def file_of(scores: Path) -> Path:
    """The file that belongs to <results>/<arm>/seeds/s<seed>.json."""
    return folder_of(scores.parents[2]) / scores.parents[1].name / scores.name


# --- reading ----------------------------------------------------------------------------------


def read_provenance(file: Path) -> Provenance | None:
    """The content of a file; None if absent. Raises UserError if it is damaged."""
    return _read(file, Provenance)


def read_environment(file: Path) -> Environment | None:
    """environment.json of a run; None if absent. Raises UserError if it is damaged."""
    return _read(file, Environment)


def _read(file: Path, model: type[Content]) -> Content | None:
    content = read_mapping(file)
    if content is None:
        return None
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise UserError(
            f"{file}: {explain(error, content, '', model)}; restore it from git, "
            "or remove it to continue without it"
        ) from None


# --- writing ----------------------------------------------------------------------------------


def facts_of(run: RunFolder) -> dict[str, Any] | None:
    """How a run was computed, from its folder; None without environment.json.

    Raises UserError for a damaged timing.csv.
    """
    environment = read_json(run.path / "environment.json")
    if not isinstance(environment, Mapping):
        return None
    status, timing = run.status(), run.timing()
    # A reference has no epochs; its duration is in status.json.
    seconds = status.get("seconds")
    if seconds is None and "seconds" in timing:
        seconds = float(timing["seconds"].sum())
    memory = timing["peak_memory_mib"].max() if "peak_memory_mib" in timing else None
    return {
        "environment": environment,
        "started": _date(status.get("started")),
        "ended": _date(status.get("ended")),
        "seconds": seconds,
        "reconstruct_seconds": status.get("reconstruct_seconds"),
        "peak_memory_mib": memory,
        "resumed": sum('"kind": "resumed"' in line for line in read_lines(run.events_file)),
    }


def keep(file: Path, facts: Mapping[str, Any], outputs: Mapping[str, str]) -> None:
    """Write how `outputs` (path -> SHA-256) were computed, unless `file` describes exactly these.

    `facts`: the other fields of `Provenance`. A damaged file is replaced.
    """
    known = read_json(file)
    if not isinstance(known, Mapping) or known.get("outputs") != dict(outputs):
        write_json(file, {**facts, "outputs": dict(outputs)})


def keep_result(file: Path, results: Path, facts: Mapping[str, Any]) -> None:
    """`keep` for another small result: `file` below the folder `results`."""
    keep(folder_of(results) / file.relative_to(results), facts, {file.name: hash_of_file(file)})


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a run folder, by path."""
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): hash_of_file(file) for file in files}


def _date(seconds: float | None) -> str | None:
    """Seconds since 1970 as a date; None for an invalid value."""
    try:
        date = None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return None if date is None else date.isoformat(timespec="seconds")

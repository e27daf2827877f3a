"""What work costs before it starts: minutes from measured runs, memory from shapes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from study import environment
from study.arms import Draft, planned
from study.formats.dataset import load_manifest
from study.params import Arm, Row, Study, UserError, find_row, load_study
from study.runs import read_json
from study.stages.simulate import check_disk, data_bytes


def check_arm(root: Path, name: str) -> dict[str, Any]:
    """Facts about one arm: parameters, channels, memory, patterns, estimated seconds.

    Raises UserError for everything that cannot work.
    """
    study = load_study(root / "params.yaml")
    seconds = measured_seconds(root, name)
    return {"arm": name, **_facts(root, study, find_row(study, name), seconds)}


def check_draft(root: Path, draft: Draft) -> dict[str, Any]:
    """The same facts about an arm that is not written yet, and what it changes.

    Seconds are those measured on its base, in proportion to the epochs. Raises UserError for
    everything that cannot work; another arm with equal settings is told as `twin`.
    """
    study = load_study(root / "params.yaml")
    plan = planned(study, draft, takes())
    base = study.arms[draft.base]
    seconds = measured_seconds(root, draft.base)
    if seconds is not None and isinstance(base, Arm) and isinstance(plan.row, Arm):
        seconds *= plan.row.epochs / base.epochs
    facts = _facts(root, study, plan.row, seconds)
    changes = {key: list(pair) for key, pair in plan.changes.items()}
    return {"arm": draft.name, **facts, "changes": changes, "twin": plan.twin}


def _facts(root: Path, study: Study, row: Row, seconds: float | None) -> dict[str, Any]:
    from study import generators, training

    n, channels = geometry(root, study, row.data)
    minutes = None if seconds is None else seconds * rounds(len(row.seeds)) / 60
    facts: dict[str, Any] = {
        "data": row.data,
        "data_here": (root / row.data / "manifest.json").is_file(),
        "n": n,
        "group_size": channels,
        "seeds": len(row.seeds),
        "seconds_per_run": None if seconds is None else round(seconds, 1),
        "minutes": None if minutes is None else round(minutes, 2),
        "cores": environment.cores(),
    }
    if isinstance(row, Arm):
        training.check(row, n, channels)
        _check_truth(root, row)
        size = generators.size(row.generator, n, channels)
        facts |= {
            "parameters": size.parameters,
            "channels": list(size.channels_per_level),
            "memory_mb": round(size.training_bytes(row.batch_size) / 1e6, 1),
        }
    return facts


def _check_truth(root: Path, row: Arm) -> None:
    """Raise UserError for a supervised loss on data that is here and has no truth."""
    folder = root / row.data
    if row.loss.name != "supervised" or not (folder / "manifest.json").is_file():
        return
    if load_manifest(folder).kind != "simulated":
        raise UserError(
            f"loss supervised needs the true patches, which {row.data} does not have; choose mae "
            "or poisson, or simulated data"
        )


def takes() -> dict[str, list[str]]:
    """Names of the options of every network."""
    from study.generators import GENERATORS

    return {name: list(cls.options.model_fields) for name, cls in GENERATORS.items()}


def networks() -> dict[str, Any]:
    """The options of every network as JSON schemas: types, choices and bounds, for a form."""
    from study.generators import GENERATORS

    return {name: cls.options.model_json_schema() for name, cls in GENERATORS.items()}


def geometry(root: Path, study: Study, data: str) -> tuple[int, int]:
    """Window size and group size of a data set, from its parameters or its manifest."""
    room, _, name = data.partition("/")
    if room == "data":
        return study.data[name].n, study.data[name].group_size
    manifest = load_manifest(root / data)
    return manifest.n, manifest.group_size


def measured_seconds(root: Path, name: str) -> float | None:
    """Seconds a run of this arm took, the mean over the committed seeds; None if never measured."""
    files = sorted((root / "results" / name / "seeds").glob("*.json"))
    seconds = [(read_json(file) or {}).get("training", {}).get("seconds") for file in files]
    known = [value for value in seconds if isinstance(value, (int, float))]
    return sum(known) / len(known) if known else None


SETUP_SECONDS = 60  # simulate, fingerprints and findings
STAGE_SECONDS = 4  # of start-up, each for training and scoring an arm


def plan_lines(root: Path) -> list[str]:
    """Minutes and disk that `make repro` would take from an empty cache; refuses a full disk.

    Raises UserError when the disk has too little room.
    """
    study = load_study(root / "params.yaml")
    # A data set lies there as built, in the cache, and checked out.
    disk = 3 * sum(data_bytes(params) for params in study.data.values())
    runs = sum(len(row.seeds) for row in study.arms.values())
    disk += runs * 12_000_000  # weights twice, objects, diagnostics; kept live and cached
    check_disk(root, disk)
    seconds = [(measured_seconds(root, name), row) for name, row in study.arms.items()]
    # All arms' runs share the cores (`study train --all`); by themselves arms take longer.
    known = [taken * len(row.seeds) for taken, row in seconds if taken is not None]
    unknown = sum(taken is None for taken, _ in seconds)
    lines = [f"{len(study.arms)} arms, {runs} runs, {environment.cores()} cores"]
    if known:
        stages = SETUP_SECONDS + 2 * STAGE_SECONDS * len(study.arms)
        minutes = (sum(known) / environment.cores() + stages) / 60
        lines.append(
            f"about {math.ceil(minutes)} min in all from an empty cache, at the speed of the "
            "committed runs; what is there already is skipped"
        )
    if unknown:
        lines.append(f"{unknown} arms have never been measured: no estimate for them")
    lines.append(f"about {disk / 1e9:.2f} GB of disk")
    return lines


def rounds(seeds: int) -> int:
    """How often all cores are filled once to run `seeds` side by side."""
    return math.ceil(seeds / environment.cores())

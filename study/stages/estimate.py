"""Cost estimates: minutes from measured runs or steps, memory from shapes."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from study.artifacts.listings import check_cached
from study.editing.arms import Draft, planned
from study.evidence.arms import read_seed
from study.evidence.decidability import assessed
from study.evidence.format import counted
from study.formats.dataset import load_manifest
from study.runs import environment
from study.runs.seed_folders import dataset_folders
from study.settings import Arm, DataParams, Row, Study, UserError, find_row, load_study
from study.stages.simulate import check_disk, data_bytes, patterns


def check_arm(root: Path, name: str) -> dict[str, Any]:
    """Facts about one arm: geometry, parameters, channels, memory, estimated run time.

    Raises UserError for settings that cannot work.
    """
    study = load_study(root / "params.yaml")
    seconds = measured_seconds(root, name)
    return {"arm": name, **_facts(root, study, find_row(study, name), seconds)}


def check_draft(root: Path, draft: Draft) -> dict[str, Any]:
    """The same facts about a draft of an arm, with its changes and its `twin` (or None).

    The run time is that measured on its base, scaled with the number of epochs. `twin`: another arm
    with equal settings. Raises UserError for settings that cannot work.
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
        "data_here": (dataset_folders(root / row.data)[0] / "manifest.json").is_file(),
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
    """Raise UserError for a supervised loss on stored data without true objects."""
    folder = dataset_folders(root / row.data)[0]
    if row.loss.name != "supervised" or not (folder / "manifest.json").is_file():
        return
    if load_manifest(folder).kind != "simulated":
        raise UserError(
            f"loss supervised needs the true patches, which {row.data} does not contain; choose "
            "mae or poisson, or simulated data"
        )


def takes() -> dict[str, list[str]]:
    """Network name -> names of its options."""
    from study.generators import GENERATORS

    return {name: list(cls.options.model_fields) for name, cls in GENERATORS.items()}


def networks() -> dict[str, Any]:
    """Network name -> JSON schema of its options (types, choices and bounds), used by forms."""
    from study.generators import GENERATORS

    return {name: cls.options.model_json_schema() for name, cls in GENERATORS.items()}


def geometry(root: Path, study: Study, data: str) -> tuple[int, int]:
    """Pattern size n (px) and group size of a data set, from its parameters or its manifest."""
    room, _, name = data.partition("/")
    if room == "data":
        return study.data[name].n, study.data[name].group_size
    manifest = load_manifest(root / data)
    return manifest.n, manifest.group_size


def measured_seconds(root: Path, name: str) -> float | None:
    """Mean seconds per run of this arm over the stored seeds; None if never measured."""
    files = sorted((root / "results" / name / "seeds").glob("*.json"))
    seconds = [(read_seed(file)["training"] or {}).get("seconds") for file in files]
    known = [value for value in seconds if isinstance(value, (int, float))]
    return sum(known) / len(known) if known else None


def minutes_of(root: Path, name: str, runs: int) -> int | None:
    """Estimated minutes for `runs` runs of an arm on this machine; None if never measured."""
    seconds = measured_seconds(root, name)
    return None if seconds is None else math.ceil(seconds * rounds(runs) / 60)


SETUP_SECONDS = 60  # simulate, fingerprints and findings
STAGE_SECONDS = 4  # start-up time of each stage (training and scoring) per arm
TIMED_STEPS = 3
# A validation step has no backward pass and no optimiser.
VALIDATION_SHARE = 1 / 3


def plan_lines(root: Path, names: Sequence[str] = ()) -> list[str]:
    """Estimated time and disk space for all arms, or for `names`, with an empty cache.

    Arms without stored results are timed now over a few training steps on simulated data of the
    same pattern size; survival arms are assumed to run all epochs. Raises UserError for an unknown
    arm, for insufficient disk space, and for a folder listing in the DVC cache with which
    `dvc repro` would write outside its outputs.
    """
    study = load_study(root / "params.yaml")
    check_cached(root)
    rows = {name: find_row(study, name) for name in names} or study.arms
    # A data set needs space three times: as built, in the cache, and checked out.
    used = {row.data.partition("/")[2] for row in rows.values()}
    disk = 3 * sum(data_bytes(params) for name, params in study.data.items() if name in used)
    runs = sum(len(row.seeds) for row in rows.values())
    disk += runs * 12_000_000  # weights twice, objects, diagnostics; kept live and cached
    check_disk(root, disk)
    known = {name: measured_seconds(root, name) for name in rows}
    timed = time_arms(study, {name: row for name, row in rows.items() if known[name] is None})
    seconds = {name: known[name] if known[name] is not None else timed.get(name) for name in rows}
    lines = [
        ", ".join(
            (counted(len(rows), "arm"), counted(runs, "run"), counted(environment.cores(), "core"))
        )
    ]
    # All runs share the cores (`study train --all`); each arm by itself takes longer.
    total = sum(taken * len(rows[name].seeds) for name, taken in seconds.items() if taken)
    if total:
        stages = SETUP_SECONDS + 2 * STAGE_SECONDS * len(rows)
        minutes = (total / environment.cores() + stages) / 60
        lines.append(
            f"about {_duration(minutes)} in total with an empty cache{_source(rows, timed)}"
        )
    lines += [
        f"  {name}: {_duration(taken / 60)} per run at most, {len(rows[name].seeds)} runs"
        for name, taken in timed.items()
    ]
    if unknown := [name for name, taken in seconds.items() if taken is None]:
        lines.append(f"not measured and not timed: {', '.join(unknown)}")
    lines.append(f"about {disk / 1e9:.2f} GB of disk")
    return lines + _claim_lines(root, list(rows))


def _claim_lines(root: Path, names: Sequence[str]) -> list[str]:
    """The claims about these arms that the runs cannot decide or have little power to decide."""
    found = [a for a in assessed(root, names) if a.problems]
    lines = (
        [f"{counted(len(found), 'claim')} that these runs are unlikely to decide:"] if found else []
    )
    for a in found:
        state = f"not refused: {a.exempt}" if a.exempt else "refused"
        lines.append(f"  {a.sentence} ({state})")
    return lines


def _source(rows: Mapping[str, Row], timed: Mapping[str, float]) -> str:
    words = "" if len(timed) == len(rows) else ", at the speed of the committed runs"
    if timed:
        words += f"; timed over {TIMED_STEPS} steps: {counted(len(timed), 'arm')} without runs"
    return f"{words}; finished runs are skipped"


def _duration(minutes: float) -> str:
    return f"{math.ceil(minutes)} min" if minutes < 180 else f"{minutes / 60:.1f} h"


def time_arms(study: Study, rows: Mapping[str, Row]) -> dict[str, float]:
    """Seconds per run of trained arms on simulated data, from a few timed steps of each kind.

    Arms with the same network, loss, batch size, precision and data set share one timing.
    """
    step_seconds: dict[str, float] = {}
    found = {}
    for name, row in rows.items():
        room, _, data = row.data.partition("/")
        if not isinstance(row, Arm) or room != "data":
            continue
        params = study.data[data]
        kind = repr((row.generator, row.loss, row.batch_size, row.precision, params.n, row.data))
        if kind not in step_seconds:
            step_seconds[kind] = _timed_step(row, params)
        train, validation = (
            -(-patterns(params, split) // row.batch_size) for split in ("train", "validation")
        )
        found[name] = row.epochs * (train + VALIDATION_SHARE * validation) * step_seconds[kind]
    return found


def _timed_step(row: Arm, params: DataParams) -> float:
    """Seconds per training step of the arm on this machine: the fastest, without the first one."""
    import torch

    from study.simulate import simulate
    from study.stages.fingerprint import tiny_data
    from study.training import process
    from study.training.setup import build_run

    process.settle()
    small = simulate("timing", tiny_data(params, params.n))
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    module = build_run(row, small, row.seeds[0], device).module
    # On a CPU use process time, so that other work on the machine does not affect the estimate.
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    taken = []
    for batch in itertools.islice(itertools.cycle(module.batches()), 1 + TIMED_STEPS):
        began = clock()
        float(module.step(batch)[0])  # reading the loss waits for the device
        if len(batch.amplitude) == row.batch_size:
            taken.append(clock() - began)
    return min(taken[1:])


def rounds(seeds: int) -> int:
    """Number of rounds needed to run `seeds` seeds in parallel, one per core."""
    return math.ceil(seeds / environment.cores())

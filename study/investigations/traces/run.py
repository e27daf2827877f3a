"""Stage `trace`: runs followed step by step, so that a collapse is read at its first bad step.

    traces.yaml, params.yaml arms, data/ -> results/traces.json

traces.yaml says which runs, in full:

    traces:
      - {arm: NAME, seeds: [SEED, ...], steps: STEPS}

The file is written whole, when all runs are there; facts and sentences are computed from its own
rounded numbers, so that a reader finds the same ones.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from study.formats.dataset import Dataset, load_dataset
from study.formats.requests import check_request
from study.investigations.traces.results import (
    FORMAT,
    RULES,
    arm_sentences,
    facts,
    replay_facts,
    replay_sentence,
    rounded,
    sentence,
)
from study.runs import RunFolder, environment, plain, provenance, write_text
from study.runs.seed_folders import seed_folder
from study.settings import (
    Arm,
    Count,
    Model,
    Seeds,
    Study,
    UserError,
    explain,
    find_row,
    load_study,
    nearest,
    read_yaml,
)
from study.stages.pool import stop_on_signals
from study.stages.progress import Steps


class Traced(Model):
    """The runs of one arm that are followed, and for how many steps."""

    arm: str
    seeds: Seeds
    steps: Count


class Traces(Model):
    """The whole of traces.yaml; a run is in it once."""

    traces: Annotated[tuple[Traced, ...], Field(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _once_each(self) -> Traces:
        runs = [(one.arm, seed) for one in self.traces for seed in one.seeds]
        twice = next((run for run, times in Counter(runs).items() if times > 1), None)
        if twice is not None:
            raise ValueError(f"arm {twice[0]} with seed {twice[1]} stands twice; keep one of them")
        return self


def run_traces(root: Path) -> list[str]:
    """Trace all runs of traces.yaml and write results/traces.json; returns lines of a summary.

    Raises UserError for settings that cannot work and for absent or other data, before any run,
    and KeyboardInterrupt after a stop, which leaves the old file.
    """
    from study.training import process

    study = load_study(root / "params.yaml")
    settings = load_settings(root / "traces.yaml", study)
    sets = data_sets(root, study, settings)
    process.settle()
    began = time.monotonic()
    traces = all_traces(root, study, settings, sets)
    write_traces(root, {"traces": traces, "arms": arm_sentences(traces), **inputs(sets)})
    seconds = time.monotonic() - began
    message = f"results/traces.json: {len(traces)} runs traced in {seconds:.0f} s"
    return [message, *arm_sentences(traces).values()]


# --- what is asked for ------------------------------------------------------------------------


def load_settings(file: Path, study: Study) -> Traces:
    """traces.yaml, checked against the arms of params.yaml.

    Raises UserError with the nearest name for an unknown key, arm or seed.
    """
    given = read_yaml(file)
    try:
        settings = Traces.model_validate(given)
    except ValidationError as error:
        raise UserError(f"{file}: {explain(error, given, '', Traces)}") from None
    for i, traced in enumerate(settings.traces):
        _check(f"{file}: traces.{i}", traced, study)
    return settings


def _check(where: str, traced: Traced, study: Study) -> None:
    row = study.arms.get(traced.arm)
    if not isinstance(row, Arm):
        trained = [name for name, other in study.arms.items() if isinstance(other, Arm)]
        raise UserError(
            f"{where}.arm is {traced.arm!r}, not a trained arm{nearest(traced.arm, trained)}"
        )
    for seed in traced.seeds:
        if seed not in row.seeds:
            known = nearest(str(seed), row.seeds)
            raise UserError(f"{where}.seeds has {seed}, which {traced.arm} does not run{known}")


def data_sets(root: Path, study: Study, settings: Traces) -> dict[str, Dataset]:
    """The data of the traced runs by folder (`part_of`), each long enough for the steps asked."""
    from study.investigations.traces.follow import check_steps
    from study.training import check

    sets: dict[str, Dataset] = {}
    for traced in settings.traces:
        arm = arm_of(study, traced)
        room, _, name = arm.data.partition("/")
        for seed in traced.seeds:
            part = part_of(root, arm, seed)
            if part not in sets:
                sets[part] = load_dataset(root / part, ("train", "validation"))
                if room == "data":
                    check_request(sets[part].manifest, study.data[name].of_seed(seed))
            manifest = sets[part].manifest
            check(arm, manifest.n, manifest.group_size)
            check_steps(arm, sets[part], traced.steps)
    return sets


def part_of(root: Path, arm: Arm, seed: int) -> str:
    """Folder of the data of one run, relative to `root`."""
    return seed_folder(root / arm.data, seed).relative_to(root).as_posix()


def arm_of(study: Study, traced: Traced) -> Arm:
    row = study.arms[traced.arm]
    assert isinstance(row, Arm), "checked when the settings were read"
    return row


# --- doing it ---------------------------------------------------------------------------------


def all_traces(
    root: Path, study: Study, settings: Traces, sets: Mapping[str, Dataset]
) -> list[dict[str, Any]]:
    """Every trace with its facts and its sentence, in the order of the settings."""
    from study.investigations.traces.follow import trace_run

    runs = [(traced, seed) for traced in settings.traces for seed in traced.seeds]
    found = []
    with stop_on_signals(), Steps("trace: runs", len(runs)) as progress:
        for traced, seed in runs:
            arm = arm_of(study, traced)
            seen = trace_run(arm, sets[part_of(root, arm, seed)], seed, traced.steps)
            found.append(describe({"arm": traced.arm, "data": arm.data, **rounded(plain(seen))}))
            progress.advance()
    return found


def replay_run(root: Path, folder: Path, after: int, steps: int | None) -> Path:
    """Repeat the steps of a traced survival run that follow its checkpoint of epoch `after`.

    `folder`: the live run folder, work/HASH; `steps` None: one epoch. Writes
    results/replays/ARM_sSEED_after_EPOCH.json and returns its path. Raises UserError for a folder
    without such a run or checkpoint, and KeyboardInterrupt after a stop, which writes nothing.
    """
    from study.investigations.traces.follow import replay
    from study.training import process
    from study.training.checkpoints import kept_checkpoint, read_state

    process.settle()
    run, study = RunFolder(folder), load_study(root / "params.yaml")
    status = run.status()
    row = find_row(study, str(status.get("arm")))
    if not isinstance(row, Arm):
        raise UserError(f"{folder} holds a run of {status.get('arm')}, which is not trained")
    file = kept_checkpoint(run, after)
    if not file.is_file():
        kept = sorted(path.stem for path in file.parent.glob("epoch_*.pt"))
        raise UserError(
            f"{file} does not exist; kept are {', '.join(kept) or 'none'} (the traced_seed of a "
            "survival arm keeps its last ones)"
        )
    part = part_of(root, row, status["seed"])
    dataset = load_dataset(root / part, ("train", "validation"))
    state = read_state(file)
    steps = steps or -(-len(dataset.splits["train"].counts) // row.batch_size)
    with stop_on_signals():
        seen = replay(row, dataset, status["seed"], state, steps)
    trace = describe({"arm": status["arm"], "data": row.data, **rounded(plain(seen))})
    trace = {**trace, "replay": rounded(replay_facts(trace)), "answer": replay_sentence(trace)}
    name = f"{status['arm']}_s{status['seed']}_after_{after:03d}.json"
    out = root / "results" / "replays" / name
    write_text(out, _line({"traces": [trace], **inputs({part: dataset})}) + "\n")
    provenance.keep_result(
        out, root / "results", {"environment": environment.describe(root, "cpu")}
    )
    return out


def describe(trace: dict[str, Any]) -> dict[str, Any]:
    """A trace with what it shows."""
    trace = {**trace, "facts": rounded(facts(trace))}
    return {**trace, "sentence": sentence(trace)}


def inputs(sets: Mapping[str, Dataset]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "rules": RULES,
        "inputs": {"data": {name: found.manifest.content_sha256 for name, found in sets.items()}},
    }


def write_traces(root: Path, content: dict[str, Any]) -> None:
    """Write results/traces.json, one trace per line."""
    traces = ",\n".join(_line(trace) for trace in content["traces"])
    rest = _line({key: value for key, value in content.items() if key != "traces"})
    text = f'{rest[:-1]},"traces":[\n{traces}\n]}}\n'
    file = root / "results" / "traces.json"
    write_text(file, text)
    provenance.keep_result(file, file.parent, {"environment": environment.describe(root, "cpu")})


def _line(value: Any) -> str:
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)

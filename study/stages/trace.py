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
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, model_validator

from study import environment
from study.evidence.traces import FORMAT, RULES, arm_sentences, facts, rounded, sentence
from study.formats.dataset import Dataset, check_request, load_dataset
from study.params import (
    Arm,
    Count,
    Model,
    Seed,
    Study,
    UserError,
    load_study,
    nearest,
    read_yaml,
)
from study.runs import plain, write_text
from study.stages.pool import stop_on_signals
from study.stages.progress import Steps


class Traced(Model):
    """The runs of one arm that are followed, and for how many steps."""

    arm: str
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    steps: Count


class Traces(Model):
    """The whole of traces.yaml; a run stands in it once."""

    traces: Annotated[tuple[Traced, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _once_each(self) -> Traces:
        runs = [(one.arm, seed) for one in self.traces for seed in one.seeds]
        twice = next((run for i, run in enumerate(runs) if run in runs[:i]), None)
        if twice is not None:
            raise ValueError(f"arm {twice[0]} with seed {twice[1]} stands twice; keep one of them")
        return self


def run_traces(root: Path) -> list[str]:
    """Trace all runs of traces.yaml and write results/traces.json; lines that say what was done.

    Raises UserError for settings that cannot work and for absent or other data, before any run,
    and KeyboardInterrupt after a stop, which leaves the old file.
    """
    from study.training import process

    study = load_study(root / "params.yaml")
    settings = load_settings(root / "traces.yaml", study)
    sets = data_sets(root, study, settings)
    process.settle()
    began = time.monotonic()
    traces = all_traces(study, settings, sets)
    write_traces(root, {"traces": traces, "arms": arm_sentences(traces), **inputs(root, sets)})
    seconds = time.monotonic() - began
    said = f"results/traces.json: {len(traces)} runs traced in {seconds:.0f} s"
    return [said, *arm_sentences(traces).values()]


# --- what is asked for ------------------------------------------------------------------------


def load_settings(file: Path, study: Study) -> Traces:
    """traces.yaml, checked against the arms of params.yaml.

    Raises UserError with the nearest name for an unknown key, arm or seed.
    """
    given = read_yaml(file)
    try:
        settings = Traces.model_validate(given)
    except ValidationError as error:
        told = dict.fromkeys(_told(item) for item in error.errors())
        raise UserError(f"{file}: {'; '.join(told)}") from None
    for i, traced in enumerate(settings.traces):
        _check(f"{file}: traces.{i}", traced, study)
    return settings


def _told(item: Any) -> str:
    keys = [str(key) for key in item["loc"]]
    path = ".".join(keys) or "the file"
    if item["type"] == "extra_forbidden":
        model = Traces if len(keys) == 1 else Traced
        return f"unknown key {path}{nearest(keys[-1], model.model_fields)}"
    if item["type"] == "missing":
        return f"{path} is missing; a trace is {{arm: NAME, seeds: [SEED, ...], steps: STEPS}}"
    if item["type"] == "value_error":
        return str(item["ctx"]["error"])
    return f"{path}: {item['msg']}; got {item['input']!r}"


def _check(where: str, traced: Traced, study: Study) -> None:
    row = study.arms.get(traced.arm)
    if not isinstance(row, Arm):
        trained = [name for name, other in study.arms.items() if isinstance(other, Arm)]
        raise UserError(
            f"{where}.arm is {traced.arm!r}, which is no trained arm{nearest(traced.arm, trained)}"
        )
    for seed in traced.seeds:
        if seed not in row.seeds:
            known = nearest(str(seed), row.seeds)
            raise UserError(f"{where}.seeds has {seed}, which {traced.arm} does not run{known}")


def data_sets(root: Path, study: Study, settings: Traces) -> dict[str, Dataset]:
    """The data sets of the traced arms, each long enough for the steps that are asked of it."""
    from study.training import check
    from study.training.trace import check_steps

    sets: dict[str, Dataset] = {}
    for traced in settings.traces:
        arm = arm_of(study, traced)
        if arm.data not in sets:
            sets[arm.data] = load_dataset(root / arm.data, ("train", "validation"))
            room, _, name = arm.data.partition("/")
            if room == "data":
                check_request(sets[arm.data].manifest, study.data[name])
        manifest = sets[arm.data].manifest
        check(arm, manifest.n, manifest.group_size)
        check_steps(arm, sets[arm.data], traced.steps)
    return sets


def arm_of(study: Study, traced: Traced) -> Arm:
    row = study.arms[traced.arm]
    assert isinstance(row, Arm), "checked when the settings were read"
    return row


# --- doing it ---------------------------------------------------------------------------------


def all_traces(study: Study, settings: Traces, sets: Mapping[str, Dataset]) -> list[dict[str, Any]]:
    """Every trace with its facts and its sentence, in the order of the settings."""
    from study.training.trace import trace_run

    runs = [(traced, seed) for traced in settings.traces for seed in traced.seeds]
    found = []
    with stop_on_signals(), Steps("trace: runs", len(runs)) as progress:
        for traced, seed in runs:
            arm = arm_of(study, traced)
            seen = trace_run(arm, sets[arm.data], seed, traced.steps)
            found.append(told({"arm": traced.arm, "data": arm.data, **rounded(plain(seen))}))
            progress.advance()
    return found


def told(trace: dict[str, Any]) -> dict[str, Any]:
    """A trace with what it shows."""
    trace = {**trace, "facts": rounded(facts(trace))}
    return {**trace, "sentence": sentence(trace)}


def inputs(root: Path, sets: Mapping[str, Dataset]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "rules": RULES,
        "inputs": {"data": {name: found.manifest.content_sha256 for name, found in sets.items()}},
        "environment": environment.describe(root, "cpu"),
    }


def write_traces(root: Path, content: dict[str, Any]) -> None:
    """Write results/traces.json, a trace a line: columns of numbers are for machines."""
    traces = ",\n".join(_line(trace) for trace in content["traces"])
    rest = _line({key: value for key, value in content.items() if key != "traces"})
    text = f'{rest[:-1]},"traces":[\n{traces}\n]}}\n'
    write_text(root / "results" / "traces.json", text)


def _line(value: Any) -> str:
    return json.dumps(plain(value), sort_keys=True, separators=(",", ":"), allow_nan=False)

"""`study record`: the small results of another pipeline, as plain files in git for the findings."""

import shutil
from pathlib import Path

from study.evidence.regimes import load_regimes, recorded
from study.evidence.traces import load_traces
from study.evidence.wording import counted
from study.params import UserError
from study.runs import write_json, write_text


def record_results(pipeline: Path, out: Path) -> list[str]:
    """Copy results/ARM (json, csv) and each run's environment.json to `out`/NAME/ARM.

    A regime map goes to `out`/NAME/regimes.json, with its sentences, and traces to traces.json. A
    target is replaced whole. Environments of runs that are not here (not pulled) stay as they were
    recorded. Returns a line per arm. Raises UserError when `pipeline` has no results.
    """
    arms = sorted(path for path in (pipeline / "results").glob("*") if path.is_dir())
    if not arms:
        raise UserError(
            f"{pipeline / 'results'} holds no results; run the pipeline first: "
            f"cd {pipeline} && dvc repro"
        )
    lines = []
    place = out / pipeline.resolve().name
    for arm in arms:
        target = place / arm.name
        # Not below `out`: what a stop leaves there would be read as an arm.
        building = out.absolute().with_name(f".{out.name}.tmp")
        _record(arm, pipeline / "runs" / arm.name, target, building)
        lines.append(f"{target}: {len(list((target / 'seeds').glob('*.json')))} seeds")
    regimes = pipeline / "results" / "regimes.json"
    if regimes.is_file():
        write_json(place / "regimes.json", recorded(load_regimes(regimes)))
        lines.append(f"{place / 'regimes.json'}: the regime map")
    traces = pipeline / "results" / "traces.json"
    if traces.is_file():
        count = len(load_traces(traces)["traces"])
        write_text(place / "traces.json", traces.read_text())
        lines.append(f"{place / 'traces.json'}: {counted(count, 'traced run')}")
    return lines


def _record(results: Path, runs: Path, target: Path, building: Path) -> None:
    """Replace `target` by the arm's results and environments: built at `building`, then renamed."""
    shutil.rmtree(building, ignore_errors=True)
    shutil.copytree(results, building)
    there = {f"{file.parent.name}.json": file for file in runs.glob("s*/environment.json")}
    before = {} if runs.is_dir() else {f.name: f for f in (target / "environment").glob("s*.json")}
    if there or before:
        (building / "environment").mkdir()
    for name, file in sorted({**before, **there}.items()):
        shutil.copy(file, building / "environment" / name)
    shutil.rmtree(target, ignore_errors=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    building.rename(target)

"""`study record`: the small results of other pipelines that the findings use."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from study import investigations
from study.reading import parse_json, read_bytes, read_mapping
from study.runs import provenance, read_json, write_text
from study.runs.environment import git_bytes
from study.runs.links import refuse_links
from study.runs.recorded import (
    FILE,
    Environments,
    Recorded,
    Stored,
    read_recorded,
    stored,
    write_recorded,
)
from study.runs.temporary import replace_folder, restore_folder, sweep, temporary_folder
from study.settings import UserError, load_study

Files = dict[str, bytes]  # content by path below results/


def record_results(pipeline: Path, root: Path) -> list[str]:
    """List the results of a pipeline folder (json, csv, png) in recorded.json of `root`/NAME.

    Results and provenance of a pipeline that is elsewhere are copied to `root`/NAME first, each arm
    whole; what is recorded of other arms stays. Seeds that the arm still declares, that another
    machine recorded, and that ran with the same settings, data and behaviour stay too, and so do
    the environments of runs that are not here. Returns a line per arm and file. Raises UserError
    when `pipeline` has no results.
    """
    arms = sorted(path.parent.name for path in (pipeline / "results").glob("*/seeds"))
    if not arms:
        raise UserError(
            f"{pipeline / 'results'} has no results; run the pipeline first: "
            f"cd {pipeline} && dvc repro"
        )
    place = root / pipeline.resolve().name
    refuse_links(place / "results")
    (place / "results").mkdir(parents=True, exist_ok=True)
    sweep(place)
    before = read_recorded(place) or Recorded(files={})
    settings = pipeline / "params.yaml"
    declared = load_study(settings).arms if settings.is_file() else {}
    files, lines = {}, []
    for arm in arms:
        seeds = declared[arm].seeds if arm in declared else ()
        found = _with_others(
            arm, _read(pipeline, f"{arm}/**/*"), _contents(place, arm, before), seeds
        )
        _place(place, arm, found)
        files |= {name: stored(content) for name, content in found.items()}
        count = sum(name.startswith(f"{arm}/seeds/") for name in found)
        lines.append(f"{place / 'results' / arm}: {count} seeds")
    _keep_provenance(pipeline / provenance.FOLDER, place / provenance.FOLDER)
    for part in investigations.parts("results"):
        found = _of_investigation(part, pipeline)
        for name, content in found.items():
            write_text(place / "results" / name, content.decode())
        files |= {name: stored(content) for name, content in found.items()}
        lines += [str(place / "results" / name) for name in found]
    files = _untouched(place, before, arms) | files
    environments = _environments(pipeline, place, files, before)
    write_recorded(place, Recorded(files=files, environments=environments))
    return [*lines, f"{place / FILE}: {len(files)} files"]


def _read(pipeline: Path, pattern: str) -> Files:
    results = pipeline / "results"
    found = sorted(file for file in results.glob(pattern) if file.is_file())
    return {file.relative_to(results).as_posix(): read_bytes(file) for file in found}


def _of_investigation(part: Any, pipeline: Path) -> Files:
    """The files of an investigation, once it has read them."""
    files = {
        name: data for pattern in part.FILES for name, data in _read(pipeline, pattern).items()
    }
    for name in files:
        part.load(pipeline / "results" / name)
    return files


def _place(place: Path, arm: str, files: Files) -> None:
    """Replace the arm's results, unless they are these."""
    target = place / "results" / arm
    restore_folder(target)
    if _read(place, f"{arm}/**/*") == files:
        return
    with temporary_folder(place / "arm") as building:  # below results/ it would be read as an arm
        for name, content in files.items():
            file = building / Path(name).relative_to(arm)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        replace_folder(building, target)


def _keep_provenance(theirs: Path, ours: Path) -> None:
    if theirs.resolve() == ours.resolve():
        return
    for file in sorted(theirs.rglob("*.json")):
        write_text(ours / file.relative_to(theirs), file.read_text())


# --- what other machines recorded -------------------------------------------------------------


def _contents(place: Path, arm: str, before: Recorded) -> Files:
    """The arm's files as they were recorded: those here, or else those of the last commit."""
    found: Files = {}
    for name in before.under(arm):
        file = place / "results" / name
        content = read_bytes(file) if file.is_file() else None
        if content is None or stored(content) != before.files[name]:
            content = git_bytes("cat-file", "blob", f"HEAD:./results/{name}", root=place)
        if content is not None and stored(content) == before.files[name]:
            found[name] = content
    return found


def _with_others(arm: str, here: Files, before: Files, declared: Sequence[int]) -> Files:
    """`here` with the recorded seeds that this machine did not run, if they are of the same arm."""
    seeds = {name: content for name, content in here.items() if name.startswith(f"{arm}/seeds/")}
    origins = [_origin(parse_json(content, name)) for name, content in seeds.items()]
    kept, numbers = {}, []
    for name, content in before.items():
        if not name.startswith(f"{arm}/seeds/") or name in here:
            continue
        old = parse_json(content, name)
        if old["seed"] in declared and _origin(old) in origins:
            kept[name] = content
            numbers.append(str(old["seed"]))
    history = f"{arm}/history.csv"
    if kept and history in before and history in here:
        old, new = (
            pandas.read_csv(io.BytesIO(side[history]), dtype=str, keep_default_na=False)
            for side in (before, here)
        )
        rows = pandas.concat([old.loc[old["seed"].isin(numbers)], new])
        rows = rows.sort_values("seed", key=lambda seed: seed.astype(int), kind="stable")
        kept[history] = rows.to_csv(index=False).encode()
    return {**here, **kept}


def _untouched(place: Path, before: Recorded, arms: Sequence[str]) -> dict[str, Stored]:
    """Records of other arms whose files are present."""
    names = [name for name in before.files if name.partition("/")[0] not in arms]
    return {
        name: before.files[name]
        for name in names
        if (file := place / "results" / name).is_file()
        and stored(read_bytes(file)) == before.files[name]
    }


def _origin(content: Mapping[str, Any]) -> tuple[Any, ...]:
    """What a seed ran with, the seed itself left out."""
    data, code = content.get("data", {}), content.get("code", {})
    return content.get("settings"), data.get("sha256"), code.get("fingerprint")


def _environments(
    pipeline: Path, place: Path, files: Mapping[str, Stored], before: Recorded
) -> list[Environments]:
    """environment.json of the runs of these results that have no provenance, each content once."""
    contents: dict[str, dict[str, list[int]]] = {}
    for name in sorted(files):
        arm, _, seed = name.partition("/seeds/s")
        if not seed.removesuffix(".json").isdigit():
            continue
        number = int(seed.removesuffix(".json"))
        if read_mapping(place / provenance.FOLDER / arm / f"s{number}.json") is not None:
            continue
        run = read_json(pipeline / "runs" / arm / f"s{number}" / "environment.json")
        environment = run if isinstance(run, Mapping) else before.environment(arm, number)
        if environment is not None:
            key = json.dumps(environment, sort_keys=True)
            contents.setdefault(key, {}).setdefault(arm, []).append(number)
    return [Environments(environment=json.loads(key), runs=runs) for key, runs in contents.items()]

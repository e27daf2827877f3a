"""`study record`: record the small results of other pipelines that the findings use."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas

from study import investigations
from study.evidence.arms import SEED_FILE
from study.evidence.shapes import SeedFile, checked
from study.reading import parse_json, parse_table, quoted, read_bytes, read_mapping, real_path
from study.runs import provenance, write_text
from study.runs.environment import git_bytes
from study.runs.links import make_folder, refuse_links
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
from study.settings import UserError, check_name, load_study

SUFFIXES = (".csv", ".json", ".png")
# Folders of every pipeline; git ignores some of them, and `study clean` removes others.
RESERVED = (
    *("archived", "build", "data", "fingerprints", "imported"),
    *("provenance", "results", "runs", "work"),
)
Files = dict[str, bytes]  # content by path below results/


def record_results(pipeline: Path, root: Path) -> list[str]:
    """List the results of a pipeline folder (json, csv, png) in recorded.json of `root`/NAME.

    Results and provenance of a pipeline in another place are first copied to `root`/NAME, each arm
    as a whole; records of other arms are kept. Also kept are seeds recorded on another machine if
    the arm declares them and they ran with the same settings, data and fingerprint, and the
    environments of runs that are not stored here.

    Returns one line per arm and file. Raises UserError, before anything is written, if `pipeline`
    has no results, if these include links or other types of files, and if `root`/NAME is not a
    pipeline folder.
    """
    arms = sorted(path.parent.name for path in (pipeline / "results").glob("*/seeds"))
    if not arms:
        raise UserError(
            f"{pipeline / 'results'} has no results; run the pipeline first: "
            f"cd {pipeline} && dvc repro"
        )
    place = root / check_name(real_path(pipeline).name)
    refuse_links(place / "results")
    _check_place(place)
    before = read_recorded(place) or Recorded(files={})
    settings = pipeline / "params.yaml"
    declared = load_study(settings).arms if settings.is_file() else {}
    by_arm: dict[str, Files] = {}
    for arm in arms:
        seeds = declared[arm].seeds if arm in declared else ()
        here = _read(pipeline, f"{arm}/**/*")
        by_arm[arm] = _with_others(arm, here, _contents(place, arm, before), seeds)
    kept = _provenance(pipeline, place)
    asked = [_of_investigation(part, pipeline) for part in investigations.parts("results")]
    contents = {name: data for part in (*by_arm.values(), *asked) for name, data in part.items()}
    files = {name: stored(data) for name, data in contents.items()}
    files = _untouched(place, before, arms) | files
    environments = _environments(pipeline, place, files, (before, kept))

    make_folder(place / "results")
    sweep(place)
    lines = []
    for arm, found in by_arm.items():
        _place(place, arm, found)
        count = sum(name.startswith(f"{arm}/seeds/") for name in found)
        lines.append(f"{place / 'results' / arm}: {count} seeds")
    for name, content in kept.items():
        write_text(place / provenance.FOLDER / name, content.decode())
    for name, content in ((n, data) for found in asked for n, data in found.items()):
        write_text(place / "results" / name, content.decode())
        lines.append(str(place / "results" / name))
    write_recorded(place, Recorded(files=files, environments=environments))
    return [*lines, f"{place / FILE}: {len(files)} files"]


def _check_place(place: Path) -> None:
    """Raise UserError for a folder with other content, such as study/."""
    known = any((place / name).exists() for name in ("params.yaml", FILE, "results"))
    if place.name in RESERVED or (place.exists() and not known and any(place.iterdir())):
        raise UserError(
            f"{place} cannot be used for recorded results, because it has another purpose here; "
            "rename the pipeline folder"
        )


def _read(pipeline: Path, pattern: str) -> Files:
    results = pipeline / "results"
    found = sorted(path for path in results.glob(pattern) if path.is_file() or path.is_symlink())
    return {
        file.relative_to(results).as_posix(): _content(pipeline, file)
        for file in found
        if not file.name.startswith(".")  # incomplete files of killed processes
    }


def _content(pipeline: Path, file: Path) -> bytes:
    """Read a file of a pipeline folder.

    Raises UserError for links, which may point to private files, and for other types of files.
    """
    if real_path(file) != real_path(pipeline) / file.relative_to(pipeline):
        raise UserError(f"{file} is a link or behind one; replace it with the file itself")
    if file.suffix not in SUFFIXES:
        raise UserError(f"{file} is not a result ({', '.join(SUFFIXES)}); move it elsewhere")
    return read_bytes(file)


def _of_investigation(part: Any, pipeline: Path) -> Files:
    """The files of an investigation, after a check that it can read them."""
    files = {
        name: data for pattern in part.FILES for name, data in _read(pipeline, pattern).items()
    }
    for name in files:
        part.load(pipeline / "results" / name)
    return files


def _place(place: Path, arm: str, files: Files) -> None:
    """Replace the arm's results unless they are already equal."""
    target = place / "results" / arm
    restore_folder(target)
    if _read(place, f"{arm}/**/*") == files:
        return
    with temporary_folder(place / "arm") as building:  # in results/ it would be read as an arm
        for name, content in files.items():
            file = building / Path(name).relative_to(arm)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        replace_folder(building, target)


def _provenance(pipeline: Path, place: Path) -> Files:
    """Provenance of a pipeline in another place, by path below provenance/. Raises UserError for
    damaged files."""
    theirs, found = pipeline / provenance.FOLDER, Files()
    if real_path(theirs) == real_path(place / provenance.FOLDER):
        return found
    for file in sorted(theirs.rglob("*.json")):
        content = _content(pipeline, file)
        if not isinstance(parse_json(content, file), dict):
            raise UserError(f"{file} is not the provenance of a run; restore or remove it")
        found[file.relative_to(theirs).as_posix()] = content
    return found


# --- records of other machines ----------------------------------------------------------------


def _contents(place: Path, arm: str, before: Recorded) -> Files:
    """The arm's files as recorded, from this folder or otherwise from the last commit."""
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
    """`here` with recorded seeds that this machine did not run, if declared and of equal origin."""
    origins = [_origin(_scored(content, name)) for name, content in _of_seeds(here, arm).items()]
    kept, numbers = {}, []
    for name, content in _of_seeds(before, arm).items():
        seed = _of_seed(name)
        if name not in here and seed in declared and _origin(_scored(content, name)) in origins:
            kept[name] = content
            numbers.append(str(seed))
    history = f"{arm}/history.csv"
    if kept and history in before and history in here:
        old, new = (_epochs(side[history], history) for side in (before, here))
        rows = pandas.concat([old.loc[old["seed"].isin(numbers)], new])
        rows = rows.sort_values("seed", key=lambda seed: seed.astype(int), kind="stable")
        kept[history] = rows.to_csv(index=False).encode()
    return {**here, **kept}


def _of_seeds(files: Files, arm: str) -> Files:
    return {name: data for name, data in files.items() if name.startswith(f"{arm}/seeds/")}


def _of_seed(name: str) -> int | None:
    """The seed that a file is named after."""
    match = SEED_FILE.fullmatch(Path(name).name)
    return int(match[1]) if match else None


def _scored(content: bytes, name: str) -> Mapping[str, Any]:
    """The scores of one seed. Raises UserError when they are damaged."""
    where = f"results/{name}"
    remedy = "score the arm again (`study evaluate`), or restore the file from git"
    return checked(parse_json(content, where), SeedFile, where, remedy)


def _epochs(content: bytes, name: str) -> Any:
    """history.csv of all seeds, as text. Raises UserError when it is damaged."""
    where = f"results/{name}"
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise UserError(f"{where} is not UTF-8 text; restore it from git") from None
    table = parse_table(text, where, needed=("seed",), as_text=True)
    wrong = next((cell for cell in table.get("seed", ()) if not cell.isdecimal()), None)
    if wrong is not None:
        raise UserError(
            f"{where}: column 'seed' holds {quoted(wrong)}; accepted are whole numbers; score the "
            "arm again (`study evaluate`), or restore the file from git"
        )
    return table


def _untouched(place: Path, before: Recorded, arms: Sequence[str]) -> dict[str, Stored]:
    """Records of other arms whose files are present and unchanged."""
    names = [name for name in before.files if name.partition("/")[0] not in arms]
    return {
        name: before.files[name]
        for name in names
        if (file := place / "results" / name).is_file()
        and stored(read_bytes(file)) == before.files[name]
    }


def _origin(content: Mapping[str, Any]) -> tuple[Any, ...]:
    """Settings, data hash and fingerprint with which a seed ran."""
    data, code = content["data"] or {}, content["code"] or {}
    return content.get("settings"), data.get("sha256"), code.get("fingerprint")


def _environments(
    pipeline: Path, place: Path, files: Mapping[str, Stored], known: tuple[Recorded, Files]
) -> list[Environments]:
    """Environments of runs without provenance, each distinct content once.

    `known`: the earlier record, and provenance that is copied from another place.
    """
    before, kept = known
    contents: dict[str, dict[str, list[int]]] = {}
    for name in sorted(files):
        arm, _, seed = name.partition("/seeds/")
        match = SEED_FILE.fullmatch(seed)
        if match is None:
            continue
        number = int(match[1])
        name = f"{arm}/s{number}.json"
        if name in kept or read_mapping(place / provenance.FOLDER / name) is not None:
            continue
        file = pipeline / "runs" / arm / f"s{number}" / "environment.json"
        run = parse_json(_content(pipeline, file), file) if file.is_file() else None
        environment = run if isinstance(run, Mapping) else before.environment(arm, number)
        if environment is not None:
            key = json.dumps(environment, sort_keys=True)
            contents.setdefault(key, {}).setdefault(arm, []).append(number)
    return [Environments(environment=json.loads(key), runs=runs) for key, runs in contents.items()]

"""The loader of the app: stored artifacts of the checkout in which it was started.

Everything is read from files and cached by their state (path, size, time), so a changed file is
read again, and a reload, a second browser or a killed app changes nothing. Names from a URL are
looked up among existing names and never joined to a path.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas
import streamlit as st

from study import jobs as job_queue
from study.evidence import pipelines
from study.evidence.arms import ArmResults, load_all
from study.evidence.claims import Claim, load_claims
from study.evidence.model import Findings
from study.evidence.staleness import read_findings, stale
from study.formats.dataset import Dataset, Manifest, load_dataset, load_manifest
from study.formats.reconstruction import Reconstruction, load_reconstruction
from study.jobs.local import Local
from study.reading import read_table
from study.runs import environment, provenance, recorded
from study.runs.seed_folders import dataset_folders, seed_folder
from study.settings import Row, Study, UserError, load_study

ROOT = Path()
Stamp = int  # valid only in this process, since Python salts the hashes of strings


def stamp(*places: Path) -> Stamp:
    """The state of `places` (files, or folders with their content), as a key for caches: path, size
    and time of every file. Sums would not detect a replaced file.
    """
    return hash(tuple(sorted(facts for place in places for facts in _facts(place))))


def _facts(place: Path) -> Iterable[tuple[str, int, int]]:
    """Files that vanish while a folder is read are left out: runs are collected, DVC checks out."""
    for item in _files(place):
        try:
            found = item.stat()
        except FileNotFoundError:
            continue
        yield os.fspath(item), found.st_size, found.st_mtime_ns


def _files(place: Path) -> Iterable[os.DirEntry[str] | Path]:
    if place.is_file():
        yield place
    elif place.is_dir():
        yield from _walk(place)


def _walk(folder: Path | str) -> Iterable[os.DirEntry[str]]:
    try:
        entries = os.scandir(folder)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path)
            elif entry.is_file():
                yield entry


# --- settings and results ---------------------------------------------------------------------


def result_places() -> list[Path]:
    """Folders that `results` is read from."""
    kept = ("results", provenance.FOLDER, recorded.FILE)
    return [ROOT / folder / name for folder in pipeline_names() for name in kept]


def study() -> Study:
    """The settings of this checkout. Raises UserError for a params.yaml that cannot be read."""
    return _study(stamp(ROOT / "params.yaml"))


@st.cache_resource(show_spinner=False, max_entries=2)
def _study(key: Stamp) -> Study:
    return load_study(ROOT / "params.yaml")


def pipeline_names() -> list[str]:
    """Folders of the pipelines, the root's own ("") first."""
    return ["", *sorted(file.parent.name for file in ROOT.glob("*/params.yaml"))]


def pipeline_study(pipeline: str) -> Study | None:
    """The settings of one of `pipeline_names`, or None without a params.yaml.

    Raises UserError for a params.yaml that cannot be read.
    """
    file = ROOT / pipeline / "params.yaml"
    return _pipeline_study(pipeline, stamp(file)) if file.is_file() else None


@st.cache_resource(show_spinner=False, max_entries=6)
def _pipeline_study(pipeline: str, key: Stamp) -> Study:
    return load_study(ROOT / pipeline / "params.yaml")


def results() -> Mapping[str, ArmResults]:
    """Every arm with stored results: this pipeline's by name, recorded ones as `<study>/<arm>`.

    Arms with a damaged file are left out; `problems` names it. Shared between sessions; do not
    modify.
    """
    return _results(stamp(*result_places()))[0]


@st.cache_resource(show_spinner=False, max_entries=2)
def _results(key: Stamp) -> tuple[Mapping[str, ArmResults], tuple[str, ...]]:
    problems: list[str] = []
    arms = load_all(ROOT, problems)
    return arms, tuple(problems)


def problems() -> tuple[str, ...]:
    """One sentence for every damaged file that pages can do without."""
    found = list(_results(stamp(*result_places()))[1])
    try:
        declared()
    except UserError as error:
        found.append(str(error))
    return tuple(found)


def rows() -> Mapping[str, Row]:
    """The declared rows of all arms, by the names of `results`; empty if params.yaml is damaged,
    which `problems` reports."""
    try:
        return declared().rows
    except UserError:
        return {}


def declared() -> pipelines.Declared:
    """Rows and groups of every params.yaml of this checkout. Raises UserError for a broken one."""
    places = [ROOT / "params.yaml", *ROOT.glob("*/params.yaml")]
    return _declared(stamp(*places))


@st.cache_resource(show_spinner=False, max_entries=2)
def _declared(key: Stamp) -> pipelines.Declared:
    others = [file.parent.name for file in ROOT.glob("*/params.yaml")]
    return pipelines.declared(ROOT, study(), others)


def history(arm: str) -> pandas.DataFrame:
    """Every epoch of every seed of an arm in `results` (column `seed`); empty when not stored.

    Raises UserError for a damaged table.
    """
    file = history_file(arm)
    return _table(str(file), stamp(file)) if file.is_file() else pandas.DataFrame()


def history_file(arm: str) -> Path:
    return recorded.results_of(ROOT, arm) / "history.csv"


@st.cache_data(show_spinner=False, max_entries=200)
def _table(file: str, key: Stamp) -> pandas.DataFrame:
    return read_table(Path(file), needed=("seed", "epoch"))


def findings() -> Findings | None:
    """findings.json, or None when it is absent. Raises UserError when it cannot be used."""
    return _findings(stamp(ROOT / "findings.json"))


@st.cache_resource(show_spinner=False, max_entries=2)
def _findings(key: Stamp) -> Findings | None:
    return read_findings(ROOT)


def stale_claims() -> dict[str, list[str]]:
    """Claims whose evidence changed since the verdict; computed on reading and not stored."""
    places = (ROOT / "findings.json", ROOT / "claims.yaml", *result_places())
    return _stale(stamp(*places, ROOT / "runs"))


@st.cache_data(show_spinner=False, max_entries=2)
def _stale(key: Stamp) -> dict[str, list[str]]:
    found = findings()
    return {} if found is None else stale(found, ROOT)


def pending_claims() -> list[Claim]:
    """Claims that are not yet in the findings. Raises UserError for a broken claims.yaml."""
    places = (ROOT / "findings.json", ROOT / "claims.yaml")
    return _pending(stamp(*places)) if places[1].is_file() else []


@st.cache_data(show_spinner=False, max_entries=2)
def _pending(key: Stamp) -> list[Claim]:
    found = findings()
    judged = {} if found is None else found.claims
    return [claim for claim in load_claims(ROOT / "claims.yaml").claims if claim.id not in judged]


# --- runs and data sets -----------------------------------------------------------------------


def run_folder(arm: str, seed: int) -> Path:
    """The folder of the collected run of an arm in `results`, if it is here."""
    pipeline, _, name = arm.rpartition("/")
    return ROOT / pipeline / "runs" / name / f"s{seed}"


def reconstruction(arm: str, seed: int, checkpoint: str) -> Reconstruction | None:
    """The stored object of a run, best or last (a reference has one); None when not pulled.

    Raises UserError for a damaged file.
    """
    folder = run_folder(arm, seed)
    for name in (checkpoint, "best", "last"):
        file = folder / f"object_{name}.npz"
        if file.is_file():
            return _reconstruction(str(file), stamp(file))
    return None


@st.cache_resource(show_spinner=False, max_entries=64)
def _reconstruction(file: str, key: Stamp) -> Reconstruction:
    return load_reconstruction(Path(file))


def data_folder(arm: str, seed: int) -> Path | None:
    """Folder of the data that a run of an arm in `results` had, if it is here."""
    pipeline, _, _ = arm.rpartition("/")
    paths = results()[arm].facts("data", "path")
    if not paths:
        return None
    try:
        folder = seed_folder(ROOT / pipeline / paths[0], seed)
    except UserError:  # the stored data set does not contain this seed
        return None
    return folder if (folder / "manifest.json").is_file() else None


def manifest(folder: Path) -> Manifest:
    """Raises UserError when the file is not a manifest of this project."""
    return _manifest(str(folder), stamp(folder / "manifest.json"))


@st.cache_resource(show_spinner=False, max_entries=32)
def _manifest(folder: str, key: Stamp) -> Manifest:
    return load_manifest(Path(folder))


def dataset(folder: Path, *splits: str) -> Dataset:
    """Some splits of a data set. Raises UserError for a damaged one."""
    return _dataset(str(folder), splits or ("test",), stamp(folder))


@st.cache_resource(show_spinner=False, max_entries=8)
def _dataset(folder: str, splits: tuple[str, ...], key: Stamp) -> Dataset:
    return load_dataset(Path(folder), splits)


# --- where we stand ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Standing:
    """Content of the status strip. `dirty`: changes since the commit; `jobs`: number by state.

    `data`: name and short hash of the first arm's data set, None where it is not here.
    """

    commit: str
    dirty: str
    data: str | None
    device: str
    jobs: Mapping[str, int]
    busy: bool


def standing() -> Standing:
    working = busy()
    counts = _counts() if working else {}
    return Standing(commit(), _changes(), _data(), _device(), counts, working)


def busy() -> bool:
    """Whether something is queued or running, so that pages must be refreshed."""
    return job_queue.active(ROOT)


def jobs() -> tuple[job_queue.Job, ...]:
    """Every job of this checkout, oldest first, including new requests."""
    return job_queue.jobs(ROOT)


def run_rows() -> tuple[job_queue.RunRow, ...]:
    """One row for every arm and seed that has a run or a job. Raises UserError."""
    return job_queue.run_rows(ROOT)


def not_started(rows: Sequence[job_queue.RunRow]) -> tuple[job_queue.RunRow, ...]:
    """The arms and seeds that have neither a run nor a job in `rows`, nor a result.

    Empty if params.yaml cannot be read, which is reported elsewhere.
    """
    try:
        return job_queue.not_started(ROOT, rows)
    except UserError:
        return ()


def served() -> bool:
    """Whether a supervisor is running."""
    word = job_queue.supervisor_state(ROOT)
    return word is not None and word.running


def job_state(job: job_queue.Job, rows: Iterable[job_queue.RunRow], is_served: bool) -> str:
    """The state of a job on pages; without supervisor and trainer it is stopped."""
    at_work = job.state in ("preparing", "running", "committing")
    if is_served or not at_work or any(r.state == "running" and r.job == job.id for r in rows):
        return job.state
    return "stopped"


def _counts() -> dict[str, int]:
    """Number of arms by state: active jobs, and runs without a job (`dvc repro` by hand)."""
    working, rows, is_served = [job for job in jobs() if not job.over], run_rows(), served()
    arms = {job.arm for job in working}
    alone = {row.arm for row in rows if row.state == "running"} - arms
    states = [job_state(job, rows, is_served) for job in working]
    counts = Counter([*states, *("running" for _ in alone)])
    return {state: counts[state] for state in ORDER if counts[state]}


ORDER = ("queued", "preparing", "running", "committing", "stopped")


@st.cache_data(ttl=5, show_spinner=False)
def commit() -> str:
    """Short commit of the checkout, or a word if there is none."""
    return (environment.git("rev-parse", "--short", "HEAD", root=ROOT) or "no git").strip()


@st.cache_data(ttl=5, show_spinner=False)
def _changes() -> str:
    names = [line[3:] for line in (environment.changes(ROOT) or "").splitlines()]
    return f"not as committed: {', '.join(names[:5])}" if names else ""


def _data() -> str | None:
    """Of the arm that all others are compared with, which is the first of params.yaml."""
    try:
        path = next(iter(study().arms.values())).data
        folder = dataset_folders(ROOT / path)[0]
        found = manifest(folder) if (folder / "manifest.json").is_file() else None
    except UserError:  # the page itself reports the damage
        return None
    return f"{Path(path).name} {found.set_sha256[:8]}" if found is not None else None


@st.cache_data(ttl=300, show_spinner=False)
def _device() -> str:
    """The devices for runs started here, as counted by the supervisor, without importing torch."""
    return Local().slots()

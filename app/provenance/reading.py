"""Cached information on pipelines, runs and this machine; updated when the files change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from app import load
from app.provenance import environments, lock, machine
from app.provenance.disk import Disk, file_md5
from app.provenance.pipeline import Stage, stages
from app.provenance.state import Judged, judge
from study.runs import environment
from study.runs.reread import Reread
from study.settings import read_yaml


@st.cache_resource(show_spinner=False)
def _hashes() -> Reread[str]:
    """Hashes kept while the app runs: an unchanged file is hashed only once."""
    return Reread(file_md5)


def _settings(pipeline: str) -> Any:
    file = load.ROOT / pipeline / "params.yaml"
    return _yaml(str(file), load.stamp(file)) if file.is_file() else {}


@st.cache_resource(show_spinner=False, max_entries=6)
def _yaml(file: str, key: load.Stamp) -> Any:
    return read_yaml(Path(file))


def declared(pipeline: str) -> list[Stage]:
    """The declared stages of a pipeline. Raises UserError for files that cannot be read."""
    folder = load.ROOT / pipeline
    files = [folder / "dvc.yaml", folder / "data.dvc", folder / "params.yaml"]
    return _declared(pipeline, load.stamp(*files, *folder.glob("imported/*.dvc")))


@st.cache_resource(show_spinner=False, max_entries=6)
def _declared(pipeline: str, key: load.Stamp) -> list[Stage]:
    return stages(load.ROOT / pipeline, _settings(pipeline) or {})


@st.cache_resource(show_spinner="Reading dvc.lock …", max_entries=6)
def _records(pipeline: str, key: load.Stamp) -> dict[str, lock.Record]:
    return lock.records(load.ROOT / pipeline)


def judged(pipeline: str, contents: bool) -> dict[str, Judged]:
    """All stages of a pipeline by name, with their states.

    `contents`: compare runs and data sets by content. Raises UserError for files that cannot be
    read.
    """
    folder = load.ROOT / pipeline
    found = declared(pipeline)
    tops = {path for s in found for path in (*s.deps, *(out.path for out in s.outs))}
    key = load.stamp(
        *(folder / path for path in sorted(tops)),
        *(folder / name for name in ("dvc.yaml", "dvc.lock", "data.dvc", "params.yaml")),
    )
    return _judged(pipeline, contents, key)


@st.cache_resource(show_spinner="Comparing with dvc.lock …", max_entries=12)
def _judged(pipeline: str, contents: bool, key: load.Stamp) -> dict[str, Judged]:
    folder = load.ROOT / pipeline
    files = [folder / "dvc.lock", folder / "data.dvc", *folder.glob("imported/*.dvc")]
    records = _records(pipeline, load.stamp(*files))
    params = {"params.yaml": _settings(pipeline)}
    return judge(declared(pipeline), records, params, Disk(folder, _hashes()), contents)


def runs(pipeline: str) -> list[environments.Run]:
    """The stored results of a pipeline. Raises UserError for a damaged result."""
    places = [*load.result_places(), load.ROOT / pipeline / "runs"]
    return _runs(pipeline, load.stamp(*places))


@st.cache_resource(show_spinner=False, max_entries=6)
def _runs(pipeline: str, key: load.Stamp) -> list[environments.Run]:
    return environments.of(pipeline, load.results())


def history() -> environments.History:
    """The git history; updated when the commit or the branch of HEAD changes."""
    return _history(environment.git("rev-parse", "HEAD", "--abbrev-ref", "HEAD", root=load.ROOT))


@st.cache_resource(show_spinner=False, max_entries=4)
def _history(head: str | None) -> environments.History:
    return environments.history(load.ROOT)


def packages() -> machine.Packages | None:
    """Installed packages compared with the lock; updated at least every five minutes."""
    return _packages(load.stamp(*load.ROOT.glob("requirements*")))


@st.cache_data(show_spinner=False, ttl=300)
def _packages(key: load.Stamp) -> machine.Packages | None:
    return machine.packages(load.ROOT)

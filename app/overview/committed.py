"""How the results on disk relate to the committed ones, with two git calls for all files.

`study.evidence.table.committed_results` asks git once a file, which a page cannot wait for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

from app import load
from study.environment import git
from study.evidence.arms import SEED_FILE, ArmResults
from study.evidence.table import Comparison, compare_arms

FILES_A_CALL = 500


def comparison() -> Mapping[str, Comparison]:
    """Arm of this pipeline -> identical, reproduced, differs, new or missing.

    Empty without git, and where nothing is committed.
    """
    commit = (git("rev-parse", "HEAD", root=load.ROOT) or "").strip()
    return _comparison(commit, load.stamp(load.ROOT / "results")) if commit else {}


@st.cache_resource(show_spinner=False, max_entries=4)
def _comparison(commit: str, key: load.Stamp) -> Mapping[str, Comparison]:
    committed = committed_arms(load.ROOT, commit)
    here = {name: arm for name, arm in load.results().items() if "/" not in name}
    return compare_arms(here, committed) if committed else {}


def committed_arms(root: Path, commit: str) -> dict[str, ArmResults]:
    """The arms as committed under results/ of the pipeline folder `root`."""
    blobs = dict(_blobs(root, commit))
    contents = _contents(root, list(dict.fromkeys(blobs.values())))
    arms: dict[str, dict[int, Any]] = {}
    for (arm, seed), blob in blobs.items():
        arms.setdefault(arm, {})[seed] = contents[blob]
    return {name: ArmResults(name, dict(sorted(seeds.items())), {}) for name, seeds in arms.items()}


def _blobs(root: Path, commit: str) -> Iterator[tuple[tuple[str, int], str]]:
    """(arm, seed) -> blob of every committed result of a seed."""
    for line in (git("ls-tree", "-r", commit, "--", "results", root=root) or "").splitlines():
        facts, _, name = line.partition("\t")
        path = Path(name)
        match = SEED_FILE.fullmatch(path.name)
        if match and len(path.parts) == 4:
            yield (path.parts[1], int(match[1])), facts.split()[2]


def _contents(root: Path, blobs: list[str]) -> dict[str, Any]:
    """Blob -> its JSON. `git show` of several blobs writes one after the other."""
    found: list[Any] = []
    for start in range(0, len(blobs), FILES_A_CALL):
        found += _documents(git("show", *blobs[start : start + FILES_A_CALL], root=root) or "")
    return dict(zip(blobs, found, strict=True))


def _documents(text: str) -> Iterator[Any]:
    decoder, at = json.JSONDecoder(), 0
    while (at := _skip_blanks(text, at)) < len(text):
        document, at = decoder.raw_decode(text, at)
        yield document


def _skip_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at

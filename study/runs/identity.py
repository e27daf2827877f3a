"""The identity of a run: data, behaviour and settings that it starts from.

The identity decides whether stored results still belong to an arm. `study.stages.train` uses the
same three facts; a test compares both.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.runs.folder import SETTLED, RunFolder, plain, read_json
from study.runs.reread import Reread
from study.runs.seed_folders import seed_folder
from study.settings import DataParams, Row, Study, UserError, find_row, leaves, load_study, run_hash


@dataclass(frozen=True)
class RunIdentity:
    """The current state of one arm of params.yaml. `fingerprint` None: not computed yet."""

    root: Path
    arm: str
    row: Row
    fingerprint: str | None

    def facts(self, seed: int) -> dict[str, Any] | None:
        """The facts that a run of this seed starts from; None if data or fingerprint are
        missing."""
        try:
            manifest = read_json(seed_folder(self.root / self.row.data, seed) / "manifest.json")
        except UserError:  # the data set was made before this seed was added
            return None
        if self.fingerprint is None or not isinstance(manifest, dict):
            return None
        if "content_sha256" not in manifest:
            return None
        return {
            "data_sha256": manifest["content_sha256"],
            "fingerprint": self.fingerprint,
            "settings": plain(leaves(self.row)),
        }

    def live(self, seed: int) -> RunFolder | None:
        """The folder in work/ where this seed is trained."""
        facts = self.facts(seed)
        if facts is None:
            return None
        name = run_hash(self.row, seed, facts["data_sha256"], facts["fingerprint"])
        return RunFolder(self.root / "work" / name)

    def collected(self, seed: int) -> bool:
        """Whether runs/<arm> contains this seed, settled, with exactly these facts."""
        status = RunFolder(self.root / "runs" / self.arm / f"s{seed}").status()
        facts = self.facts(seed)
        settled = status.get("state") in SETTLED
        return settled and facts is not None and status.get("manifest") == facts

    def epochs_done(self, seeds: tuple[int, ...]) -> int:
        """Finished epochs over some seeds; a settled run counts one more."""
        done = 0
        for run in filter(None, map(self.live, seeds)):
            status = run.status()
            done += int(status.get("epoch") or 0) + (status.get("state") in SETTLED)
        return done

    @property
    def settings(self) -> str:
        """Hash of the settings that affect a run."""
        return hashlib.sha256(json.dumps(leaves(self.row), sort_keys=True).encode()).hexdigest()

    def data_missing(self, study: Study) -> bool:
        """Whether `dvc repro data.dvc` must first make the data set of this arm."""
        room, _, name = self.row.data.partition("/")
        if room != "data":
            return False
        return not all(
            _made_from(study.data[name].of_seed(seed), self.root / self.row.data, seed)
            for seed in self.row.seeds
        )


def _made_from(wanted: DataParams, folder: Path, seed: int) -> bool:
    """Whether the data of one seed exist and were made from `wanted`."""
    try:
        manifest = read_json(seed_folder(folder, seed) / "manifest.json")
    except UserError:
        return False
    have = manifest.get("request") if isinstance(manifest, dict) else None
    return _within(wanted.model_dump(mode="json"), have)


def _within(wanted: Any, have: Any) -> bool:
    """Whether a data set was made from these parameters; it may record more, such as the hash of a
    file."""
    if isinstance(wanted, dict) and isinstance(have, dict):
        return all(key in have and _within(wanted[key], have[key]) for key in wanted)
    return plain(wanted) == have


_load = Reread(load_study)


def study_of(root: Path) -> Study:
    """The settings of a folder, read again if the file has changed. Raises UserError like
    load_study.

    The supervisor needs them five times per second, and reading the file takes longer.
    """
    path = Path(root) / "params.yaml"
    return _load(path) if path.is_file() else load_study(path)  # which raises a UserError


def identity_of(root: Path, arm: str) -> RunIdentity:
    """The identity of an arm. Raises UserError if params.yaml is invalid or has no such arm."""
    row = find_row(study_of(root), arm)
    file = root / "fingerprints" / f"{arm}.json"
    taken = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
    return RunIdentity(root, arm, row, taken)

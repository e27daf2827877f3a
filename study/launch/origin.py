"""What a run of an arm starts from now, and whether what was computed still belongs to that.

The same three facts as in `study.stages.train`: data, behaviour, settings. A test holds both equal.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.params import Row, Study, find_row, leaves, load_study, run_hash
from study.runs import SETTLED, RunFolder, plain, read_json


@dataclass(frozen=True)
class Origin:
    """One arm of params.yaml as it is now. `facts` None: its data or fingerprint is not there."""

    root: Path
    arm: str
    row: Row
    facts: dict[str, Any] | None

    def live(self, seed: int) -> RunFolder | None:
        """The folder in work/ in which this seed is trained."""
        if self.facts is None:
            return None
        name = run_hash(self.row, seed, self.facts["data_sha256"], self.facts["fingerprint"])
        return RunFolder(self.root / "work" / name)

    def collected(self, seed: int) -> bool:
        """Whether runs/<arm> holds this seed, settled, from exactly this origin."""
        status = RunFolder(self.root / "runs" / self.arm / f"s{seed}").status()
        settled = status.get("state") in SETTLED
        return settled and self.facts is not None and status.get("manifest") == self.facts

    def epochs_done(self, seeds: tuple[int, ...]) -> int:
        """Finished epochs over some seeds; a settled run counts one more."""
        done = 0
        for run in filter(None, map(self.live, seeds)):
            status = run.status()
            done += int(status.get("epoch") or 0) + (status.get("state") in SETTLED)
        return done

    @property
    def settings(self) -> str:
        """Hash of the settings that act."""
        return hashlib.sha256(json.dumps(leaves(self.row), sort_keys=True).encode()).hexdigest()

    def data_missing(self, study: Study) -> bool:
        """Whether `dvc repro data.dvc` has to make this arm's set first."""
        room, _, name = self.row.data.partition("/")
        if room != "data":
            return False
        manifest = read_json(self.root / self.row.data / "manifest.json")
        if not isinstance(manifest, dict):
            return True
        return not _within(study.data[name].model_dump(mode="json"), manifest.get("request"))


def _within(wanted: Any, have: Any) -> bool:
    """Whether a set was made from these parameters; it may record more (the hash of a file)."""
    if isinstance(wanted, dict) and isinstance(have, dict):
        return all(key in have and _within(wanted[key], have[key]) for key in wanted)
    return plain(wanted) == have


_studies: dict[str, tuple[tuple[int, int, int], Study]] = {}


def study_of(root: Path) -> Study:
    """The settings of a folder, read again when the file changed. Raises UserError like load_study.

    The supervisor asks five times a second, and reading the file takes longer than that.
    """
    path = Path(root) / "params.yaml"
    if not path.is_file():
        return load_study(path)  # which says what is wrong
    facts = path.stat()
    key = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
    known = _studies.get(str(path))
    if known is None or known[0] != key:
        known = _studies[str(path)] = (key, load_study(path))
    return known[1]


def origin_of(root: Path, arm: str) -> Origin:
    """Raises UserError when params.yaml is broken or has no such arm."""
    row = find_row(study_of(root), arm)
    manifest = read_json(root / row.data / "manifest.json")
    fingerprint = root / "fingerprints" / f"{arm}.json"
    facts = None
    if isinstance(manifest, dict) and "content_sha256" in manifest and fingerprint.is_file():
        facts = {
            "data_sha256": manifest["content_sha256"],
            "fingerprint": hashlib.sha256(fingerprint.read_bytes()).hexdigest(),
            "settings": plain(leaves(row)),
        }
    return Origin(root, arm, row, facts)

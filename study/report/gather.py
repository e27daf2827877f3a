"""What the report reads, and a list of every file that it read.

    findings.json                     arms, claims, published table
    results/, recorded/<pipeline>/    seeds' scores and histories
    studies/params.yaml               `studies:` groups of arms
    requirements.lock                 named by its hash; may be absent
    recorded/studies/regimes.json     when is a network worth it
    recorded/studies/traces.json      runs followed step by step
    [<pipeline>/]runs/<arm>/s<seed>/  reconstructions, environments; may be absent
    [<pipeline>/]data/<name>/         truth and test patterns; may be absent

A stored object is shown only when its hash is that of the object that was scored.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas

from study.environment import git
from study.evidence.arms import ArmResults, load_all, sha256
from study.evidence.ledger import current_findings
from study.evidence.pipelines import Group, groups_of
from study.evidence.regimes import load_regimes
from study.evidence.statistics import mean_interval
from study.evidence.summary import against
from study.evidence.traces import load_traces
from study.formats.dataset import Dataset, load_dataset
from study.formats.reconstruction import Reconstruction, load_reconstruction
from study.params import UserError
from study.runs import read_json

ROOT_STUDY = "root"
STUDIES = "studies"
ERROR = "last.standard.amplitude.mae"
NAMED = ("findings.json", "claims.yaml", "params.yaml", "studies/params.yaml", "requirements.lock")


def not_here(what: str, why: str = "") -> str:
    """The sentence in place of what was not pulled and not computed."""
    more = f" ({why})" if why else ""
    return f"{what}: not stored here; `study pull --all` or `make repro-all`{more}."


@dataclass
class Inputs:
    """Everything that was found; files that are read later are added to `used`."""

    root: Path
    findings: Mapping[str, Any]
    arms: Mapping[str, ArmResults]
    groups: tuple[Group, ...]
    versus: Mapping[str, str]
    regimes: Mapping[str, Any] | None
    traces: Mapping[str, Any] | None
    used: set[Path] = field(default_factory=set)
    _data: dict[Path, Dataset | None] = field(default_factory=dict)
    _histories: dict[str, pandas.DataFrame] = field(default_factory=dict)

    def entry(self, arm: str) -> Mapping[str, Any]:
        """The arm as findings.json has it."""
        return self.findings["arms"].get(arm) or {}

    def facts(self, arm: str, path: str) -> Mapping[str, Any] | None:
        """Estimate, interval, n, values and id of one number of an arm, or None.

        As in findings.json; computed for the numbers of recorded arms that do not stand there.
        """
        stored = self.entry(arm).get("numbers", {}).get(path)
        if stored or arm not in self.arms:
            return stored
        values = self.arms[arm].values(path)
        if not values:
            return None
        return {
            "id": f"{arm}/mean/{path}",
            **asdict(mean_interval(list(values.values()))),
            "values": {f"s{seed}": value for seed, value in values.items()},
        }

    def difference(self, arm: str, path: str) -> Mapping[str, Any] | None:
        """The arm minus its `versus`, paired by seed; None where there is no such pair."""
        stored = self.entry(arm).get("difference", {}).get(path)
        control = self.versus.get(arm)
        if stored or control is None or control not in self.arms or arm not in self.arms:
            return stored
        return against(self.arms[arm], self.arms[control], [path]).get(path)

    def stored(self, names: Sequence[str], label: str | None = None) -> list[str]:
        """Those of `names` that have results, of one `label` (arm, floor, ...) or of any."""
        there = [name for name in names if name in self.arms]
        return [name for name in there if label in (None, self.arms[name].label)]

    def ordered(self, names: Sequence[str]) -> list[str]:
        """Those with results: what the others are compared with, trained arms, then references."""
        return sorted(
            self.stored(names), key=lambda n: (self.arms[n].label != "arm", n in self.versus)
        )

    def group(self, name: str) -> Group | None:
        return next((group for group in self.groups if group.name == name), None)

    @property
    def main(self) -> str:
        """Prefix of the arms that the question is answered with: the studies' where recorded."""
        return f"{STUDIES}/" if f"{STUDIES}/better" in self.arms else ""

    # -- files

    def folder(self, arm: str) -> Path:
        """Where the small results of an arm lie."""
        return self.root / ("recorded" if "/" in arm else "results") / arm

    def runs(self, arm: str, seed: int) -> Path:
        pipeline, _, name = arm.rpartition("/")
        return self.root / pipeline / "runs" / name / f"s{seed}"

    def history(self, arm: str) -> pandas.DataFrame:
        """Every epoch of every seed (column `seed`); empty when none is stored."""
        if arm not in self._histories:
            file = self.folder(arm) / "history.csv"
            self._histories[arm] = pandas.read_csv(io.StringIO(self._text(file) or "seed,epoch\n"))
        return self._histories[arm]

    def _text(self, file: Path) -> str | None:
        if not file.is_file():
            return None
        self.used.add(file)
        return file.read_text()

    def reconstruction(self, arm: str, seed: int) -> Reconstruction | str:
        """The scored object of one seed, last weights, or why there is none (end of a sentence)."""
        checkpoint = "last" if self.arms[arm].label == "arm" else "best"
        file = self.runs(arm, seed) / f"object_{checkpoint}.npz"
        if not file.is_file():
            return "not stored here"
        name = "/".join(file.relative_to(file.parents[3]).parts)
        if sha256(file) != self.arms[arm].seeds[seed]["evidence"].get(name):
            return "not the object that was scored"
        self.used.add(file)
        try:
            return load_reconstruction(file)
        except UserError as error:
            return f"unreadable ({error})"

    def dataset(self, arm: str) -> Dataset | None:
        """Test split and probe of the data that the arm ran on; None when they are not here."""
        facts = next(iter(self.arms[arm].facts("data")), None)
        folder = self.root / arm.rpartition("/")[0] / (facts or {}).get("path", "-")
        if folder not in self._data:
            self._data[folder] = self._load(folder, (facts or {}).get("sha256"))
        return self._data[folder]

    def _load(self, folder: Path, digest: str | None) -> Dataset | None:
        files = (folder / "manifest.json", folder / "test.cxi")
        if not all(file.is_file() for file in files):
            return None
        dataset = load_dataset(folder, ("test",))
        if dataset.manifest.content_sha256 != digest:
            return None
        self.used.update(files)
        return dataset

    def environments(self) -> list[tuple[Mapping[str, Any], list[str]]]:
        """Different environments of the runs, without commits, each with its runs."""
        found: list[tuple[Mapping[str, Any], list[str]]] = []
        for arm, results in self.arms.items():
            for seed in results.seeds:
                environment = self._environment(arm, seed)
                kept = {k: v for k, v in environment.items() if "commit" not in k and k != "dirty"}
                same = next((runs for known, runs in found if known == kept), None)
                if same is not None:
                    same.append(f"{arm} s{seed}")
                elif kept:
                    found.append((kept, [f"{arm} s{seed}"]))
        return found

    def _environment(self, arm: str, seed: int) -> Mapping[str, Any]:
        places = (
            self.runs(arm, seed) / "environment.json",
            self.folder(arm) / "environment" / f"s{seed}.json",
        )
        for file in places:
            if file.is_file():
                self.used.add(file)
                return read_json(file) or {}
        return {}

    # -- which commit, which day

    @property
    def newest(self) -> tuple[str, str]:
        """Commit date and commit of the newest run; dashes without git."""
        codes = [c["code"] for arm in self.arms.values() for c in arm.seeds.values()]
        dated = [(c["commit_date"], c["commit"]) for c in codes if c["commit_date"]]
        return max(dated, key=lambda pair: (pandas.Timestamp(pair[0]), pair[1]), default=("–", "–"))

    @property
    def commit(self) -> str | None:
        """Commit of the checkout that writes the report."""
        found = git("rev-parse", "HEAD", root=self.root)
        return found.strip() if found else None


def gather(root: Path) -> Inputs:
    """Read the pipeline folder `root`. Raises UserError without findings or for torn results."""
    findings = current_findings(root)
    arms = load_all(root / "results", root / "recorded")
    versus = {name: arm["versus"] for name, arm in findings["arms"].items() if arm["versus"]}
    groups = _groups(findings, groups_of(STUDIES, root / STUDIES / "params.yaml"))
    regimes = root / "recorded" / STUDIES / "regimes.json"
    found = load_regimes(regimes) if regimes.is_file() else None
    traces = root / "recorded" / STUDIES / "traces.json"
    followed = load_traces(traces) if traces.is_file() else None
    inputs = Inputs(root, findings, arms, groups, versus, found, followed)
    inputs.used |= {root / name for name in NAMED if (root / name).is_file()}
    inputs.used |= {file for arm in arms.values() for file in arm.files.values()}
    inputs.used |= {regimes} if inputs.regimes is not None else set()
    inputs.used |= {traces} if inputs.traces is not None else set()
    return inputs


def _groups(findings: Mapping[str, Any], declared: Sequence[Group]) -> tuple[Group, ...]:
    """The root study, the named studies, and arms that others recorded, one group a pipeline."""
    names = list(findings["arms"])
    found = [
        Group(
            "",
            ROOT_STUDY,
            "What does every arm of params.yaml reach?",
            tuple(name for name in names if "/" not in name),
        )
    ]
    found += declared
    told = {arm for group in found for arm in group.arms}
    rest: dict[str, list[str]] = {}
    for name in names:
        if name not in told:
            rest.setdefault(name.rpartition("/")[0], []).append(name)
    for pipeline, arms in rest.items():
        asks = f"What do the other arms recorded from {pipeline}/ reach?"
        found.append(Group(pipeline, f"{pipeline} (recorded)", asks, tuple(arms)))
    return tuple(group for group in found if group.arms)


def median_seed(results: ArmResults, path: str = ERROR) -> int:
    """The seed in the middle by `path` (the lower one of two), else the first seed."""
    values = sorted((value, seed) for seed, value in results.values(path).items())
    return values[(len(values) - 1) // 2][1] if values else min(results.seeds)

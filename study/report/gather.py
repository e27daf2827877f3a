"""Inputs of the report, and a list of every file that was read.

    findings.json                     arms, claims, published table
    results/, <pipeline>/results/     scores and histories of the seeds
    studies/params.yaml               `studies:` groups of arms
    requirements.lock                 only its hash is shown; may be absent
    <pipeline>/results/...            other results, read by the investigations
    [<pipeline>/]runs/<arm>/s<seed>/  reconstructions, environments; may be absent
    [<pipeline>/]data/<name>/         truth and test patterns; may be absent

A stored reconstruction is shown only if its hash is that of the scored one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pandas

from study.evidence.arms import ArmResults, environment_of, load_all
from study.evidence.cells import Cell, cell
from study.evidence.estimates import Difference
from study.evidence.model import Findings
from study.evidence.pipelines import Group, groups_of
from study.evidence.staleness import current_findings
from study.evidence.summary import against, summarise
from study.formats.dataset import Dataset, load_dataset
from study.formats.reconstruction import Reconstruction, load_reconstruction
from study.reading import hash_of_file, read_table
from study.runs.environment import git
from study.runs.recorded import check_arm, recorded_files, results_of
from study.runs.seed_folders import seed_folder
from study.settings import UserError

ROOT_STUDY = "root"
Content = TypeVar("Content")
_NO_HISTORY = pandas.DataFrame({"seed": [], "epoch": []})
STUDIES = "studies"
ERROR = "last.standard.amplitude.mae"
NAMED = ("findings.json", "claims.yaml", "params.yaml", "studies/params.yaml", "requirements.lock")


def not_here(what: str, why: str = "") -> str:
    """The sentence that replaces artifacts that were neither pulled nor computed."""
    more = f" ({why})" if why else ""
    return f"{what}: not stored here; run `study pull --all` or `make repro-all`{more}."


@dataclass
class Inputs:
    """All available inputs; files that are read later are added to `used`."""

    root: Path
    findings: Findings
    arms: Mapping[str, ArmResults]
    groups: tuple[Group, ...]
    versus: Mapping[str, str]
    used: set[Path] = field(default_factory=set)
    _data: dict[Path, Dataset | None] = field(default_factory=dict)
    _histories: dict[str, pandas.DataFrame] = field(default_factory=dict)

    def cell(self, arm: str, path: str) -> Cell:
        """One number of an arm from findings.json; computed if it is not stored there, as for
        recorded arms."""
        entry = self.findings.arms.get(arm)
        if entry is None or path not in entry.numbers:
            entry = summarise(arm, None, self.arms.get(arm), [path])
        return cell(entry, path)

    def missing(self, arm: str) -> int:
        """The number of declared seeds without a result."""
        entry = self.findings.arms.get(arm)
        return 0 if entry is None else len(entry.seeds.missing)

    def difference(self, arm: str, path: str) -> Difference | None:
        """The arm minus its `versus`, paired by seed; None without such pairs."""
        entry, control = self.findings.arms.get(arm), self.versus.get(arm)
        stored = None if entry is None else entry.difference.get(path)
        if stored or control is None or control not in self.arms or arm not in self.arms:
            return stored
        return against(self.arms[arm], self.arms[control], [path]).get(path)

    def stored(self, names: Sequence[str], label: str | None = None) -> list[str]:
        """The arms of `names` with results and this `label` (arm, floor, ...; None: any label)."""
        there = [name for name in names if name in self.arms]
        return [name for name in there if label in (None, self.arms[name].label)]

    def ordered(self, names: Sequence[str]) -> list[str]:
        """The arms with results: first trained arms without a `versus`, then other trained arms,
        then references."""
        return sorted(
            self.stored(names), key=lambda n: (self.arms[n].label != "arm", n in self.versus)
        )

    def group(self, name: str) -> Group | None:
        return next((group for group in self.groups if group.name == name), None)

    @property
    def main(self) -> str:
        """Prefix of the main arms: `studies/` if its results are recorded, otherwise ""."""
        return f"{STUDIES}/" if f"{STUDIES}/better" in self.arms else ""

    def runs_of(self, arms: Iterable[str]) -> int:
        """The number of runs (seeds) of these arms with results."""
        return sum(len(self.arms[arm].seeds) for arm in arms)

    # -- files

    def place(self, arm: str) -> str:
        """The folder of an arm's small results, relative to the root."""
        return self.folder(arm).relative_to(self.root).as_posix()

    def hashes(self) -> dict[str, str]:
        """sha256 of the files of `NAMED` that exist."""
        return {
            name: hash_of_file(self.root / name) for name in NAMED if (self.root / name).is_file()
        }

    def recorded(self, pattern: str, load: Callable[[Path], Content]) -> Iterator[Content]:
        """The result of `load` for each recorded file <pipeline>/results/`pattern`, ordered by
        name."""
        for file in recorded_files(self.root, pattern):
            self.used.add(file)
            yield load(file)

    def folder(self, arm: str) -> Path:
        """Folder of the small results of an arm."""
        return results_of(self.root, arm)

    def runs(self, arm: str, seed: int) -> Path:
        pipeline, _, name = arm.rpartition("/")
        return self.root / pipeline / "runs" / name / f"s{seed}"

    def history(self, arm: str) -> pandas.DataFrame:
        """All epochs of all seeds (columns `seed`, `epoch`, ...); empty if none are stored."""
        if arm not in self._histories:
            file = self.folder(arm) / "history.csv"
            check_arm(self.root, arm, "history.csv")
            table = read_table(file, needed=("seed", "epoch"))
            if file.is_file():
                self.used.add(file)
            self._histories[arm] = table if len(table.columns) else _NO_HISTORY
        return self._histories[arm]

    def reconstruction(self, arm: str, seed: int) -> Reconstruction | str:
        """The scored reconstruction of one seed (last weights), or why there is none, as a clause.

        References have only one reconstruction, stored as `best`.
        """
        checkpoint = "last" if self.arms[arm].label == "arm" else "best"
        file = self.runs(arm, seed) / f"object_{checkpoint}.npz"
        if not file.is_file():
            return "not stored here"
        name = "/".join(file.relative_to(file.parents[3]).parts)
        if hash_of_file(file) != self.arms[arm].seeds[seed]["evidence"].get(name):
            return "different from the reconstruction that was scored"
        self.used.add(file)
        try:
            return load_reconstruction(file)
        except UserError as error:
            return f"unreadable ({error})"

    def dataset(self, arm: str, seed: int) -> Dataset | None:
        """Test split and probe of a run's data set; None if they are not stored here."""
        facts = self.arms[arm].seeds[seed]["data"] or {}
        try:
            place = self.root / arm.rpartition("/")[0] / facts.get("path", "-")
            folder = seed_folder(place, seed)
        except UserError:  # the stored data set does not contain this seed
            return None
        if folder not in self._data:
            self._data[folder] = self._load(folder, facts.get("seed_sha256", facts.get("sha256")))
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
        """The distinct environments of the runs (without commits), each with its runs."""
        found: list[tuple[Mapping[str, Any], list[str]]] = []
        for arm, results in self.arms.items():
            for seed, content in results.seeds.items():
                stored = environment_of(self.root, arm, seed, content)
                if stored is None:
                    continue
                file, environment = stored
                self.used.add(file)
                kept = {k: v for k, v in environment.items() if "commit" not in k and k != "dirty"}
                same = next((runs for known, runs in found if known == kept), None)
                if same is not None:
                    same.append(f"{arm} s{seed}")
                else:
                    found.append((kept, [f"{arm} s{seed}"]))
        return found

    # -- commits and dates

    @property
    def newest(self) -> tuple[str, str]:
        """Commit date and commit of the newest run; dashes if none is known."""
        codes = [c["code"] for arm in self.arms.values() for c in arm.seeds.values()]
        dated = [(c["commit_date"], c["commit"]) for c in codes if c["commit_date"]]
        return max(dated, key=lambda pair: (pandas.Timestamp(pair[0]), pair[1]), default=("–", "–"))

    @property
    def commit(self) -> str | None:
        """Commit of the checkout that writes the report."""
        found = git("rev-parse", "HEAD", root=self.root)
        return found.strip() if found else None


def gather(root: Path) -> Inputs:
    """Read the pipeline folder `root`. Raises UserError for missing findings or damaged results."""
    findings = current_findings(root)
    arms = load_all(root)
    versus = {name: arm.versus for name, arm in findings.arms.items() if arm.versus}
    groups = _groups(findings, groups_of(STUDIES, root / STUDIES / "params.yaml"))
    inputs = Inputs(root, findings, arms, groups, versus)
    inputs.used |= {root / name for name in NAMED if (root / name).is_file()}
    inputs.used |= {file for arm in arms.values() for file in arm.files.values()}
    return inputs


def _groups(findings: Findings, declared: Sequence[Group]) -> tuple[Group, ...]:
    """The root study, the named studies, and arms recorded from other pipelines, one group per
    pipeline."""
    names = list(findings.arms)
    found = [
        Group(
            "",
            ROOT_STUDY,
            "What are the results of the arms in params.yaml?",
            tuple(name for name in names if "/" not in name),
        )
    ]
    found += declared
    named = {arm for group in found for arm in group.arms}
    rest: dict[str, list[str]] = {}
    for name in names:
        if name not in named:
            rest.setdefault(name.rpartition("/")[0], []).append(name)
    for pipeline, arms in rest.items():
        asks = f"What are the results of the other arms recorded from {pipeline}/?"
        found.append(Group(pipeline, f"{pipeline} (recorded)", asks, tuple(arms)))
    return tuple(group for group in found if group.arms)


def median_seed(results: ArmResults, path: str = ERROR) -> int:
    """The seed with the median value of `path` (of two, the lower); the first seed without any."""
    values = sorted((value, seed) for seed, value in results.values(path).items())
    return values[(len(values) - 1) // 2][1] if values else min(results.seeds)

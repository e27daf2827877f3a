"""The environment of each stored result (commit, versions, machine), and how runs differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app import load
from study.evidence.arms import ArmResults, environment_of, lookup
from study.runs import environment
from study.settings import UserError

LEFT_OUT = ("commit", "commit_date", "dirty")  # shown in the table of commits


@dataclass(frozen=True)
class Run:
    """One stored result. `facts`: its flattened environment; None if that is not stored here."""

    arm: str
    seed: int
    commit: str | None
    dirty: bool | None
    device: str | None
    facts: Mapping[str, str] | None


def of(pipeline: str, results: Mapping[str, ArmResults]) -> list[Run]:
    """All stored results of a pipeline ("" for the root pipeline), one per seed."""
    return [
        _run(name, seed, content)
        for name, arm in results.items()
        if name.rpartition("/")[0] == pipeline
        for seed, content in arm.seeds.items()
    ]


def _run(arm: str, seed: int, content: Mapping[str, Any]) -> Run:
    try:
        stored = environment_of(load.ROOT, arm, seed, content)
    except UserError:  # a damaged environment is treated as not stored
        stored = None
    return Run(
        arm=arm,
        seed=seed,
        commit=lookup(content, ("code", "commit")),
        dirty=lookup(content, ("code", "dirty")),
        device=content.get("device"),
        facts=None if stored is None else dict(_flat(stored[1])),
    )


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in content.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from _flat(value, "" if key == "versions" else f"{name}.")
        elif name not in LEFT_OUT:
            yield name, "absent" if value is None else str(value)


@dataclass(frozen=True)
class Difference:
    """An entry in which runs differ: (value, number of runs), most common first."""

    what: str
    values: tuple[tuple[str, int], ...]


def compared(runs: Iterable[Run]) -> tuple[dict[str, str], list[Difference]]:
    """(entries equal in all runs, entries that differ); runs without facts are skipped."""
    known = [run.facts for run in runs if run.facts is not None]
    same, differing = {}, []
    for key in dict.fromkeys(key for facts in known for key in facts):
        values = Counter(facts.get(key, "not recorded") for facts in known).most_common()
        if len(values) == 1:
            same[key] = values[0][0]
        else:
            differing.append(Difference(key, tuple(values)))
    return same, differing


# --- commits ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class History:
    """The commits of this checkout as hash -> (date, subject). `whole`: not a shallow clone."""

    head: str | None
    branch: str | None
    commits: Mapping[str, tuple[str, str]]
    whole: bool


def history(root: Path) -> History:
    """The git history of HEAD; without git, no commits and `whole` False."""
    listed = environment.git("log", "--format=%H%x09%cs%x09%s", "HEAD", root=root) or ""
    lines = [line.split("\t", 2) for line in listed.splitlines()]
    shallow = environment.git("rev-parse", "--is-shallow-repository", root=root) or ""
    branch = environment.git("rev-parse", "--abbrev-ref", "HEAD", root=root)
    return History(
        head=lines[0][0] if lines else None,
        branch=branch.strip() if branch else None,
        commits={commit: (date, subject) for commit, date, subject in lines},
        whole=shallow.strip() == "false",
    )


def standing(commit: str | None, known: History) -> tuple[str, str]:
    """(state, text): whether the commit of a result is in the history of this checkout."""
    if commit is None:
        return "unknown", "made without git"
    if commit in known.commits:
        return "ok", "in this history"
    if not known.whole:
        return "unknown", "unknown: no git history, or a shallow clone"
    return "differs", "not in this history"


def by_commit(runs: Iterable[Run]) -> dict[str | None, list[Run]]:
    """Runs grouped by commit, largest group first."""
    found: dict[str | None, list[Run]] = {}
    for run in runs:
        found.setdefault(run.commit, []).append(run)
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))

"""Users of a data set: the arms that name it, their questions, and results for its content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app import load
from app.dataset.sets import Entry, study_of
from study.evidence.arms import ArmResults
from study.settings import mentions


@dataclass(frozen=True)
class Consumer:
    """One arm, named as in the results.

    `seeds`: number of requested seeds. `ran`: whether its results are for this content of the data
    set, as text; `state`: the same as a word of app.states.
    """

    arm: str
    asks: str
    seeds: int
    ran: str
    state: str


def consumers(entry: Entry, sha256: str | None) -> list[Consumer]:
    """The arms that use a data set, in the order of params.yaml of its pipeline.

    `sha256`: content of the stored data set, or None if it is not stored.
    """
    study = study_of(entry)
    if study is None:
        return []
    results = load.results()
    rows = {name: row for name, row in study.arms.items() if row.data == entry.path}
    prefix = f"{entry.pipeline}/" if entry.pipeline else ""
    return [
        Consumer(
            f"{prefix}{name}", row.asks, len(row.seeds), *_ran(results.get(prefix + name), sha256)
        )
        for name, row in rows.items()
    ]


def _ran(arm: ArmResults | None, sha256: str | None) -> tuple[str, str]:
    if arm is None or not arm.seeds:
        return "no results here", "missing"
    seeds = f"{len(arm.seeds)} seed{'s' * (len(arm.seeds) != 1)}"
    if sha256 is None or arm.data_sha256 is None:
        return f"{seeds}, content not compared", "unknown"
    if arm.data_sha256 == sha256:
        return f"{seeds} on this content", "ok"
    return f"{seeds} on different content ({arm.data_sha256[:12]})", "differs"


def questions(entry: Entry, arms: Mapping[str, object]) -> dict[str, tuple[str, list[str]]]:
    """Study name -> (its question, its arms that are in `arms`, named as in the results)."""
    study = study_of(entry)
    if study is None:
        return {}
    prefix = f"{entry.pipeline}/" if entry.pipeline else ""
    found = {
        name: (question.asks, [a for a in map(prefix.__add__, question.arms) if a in arms])
        for name, question in study.studies.items()
    }
    return {name: (asks, names) for name, (asks, names) in found.items() if names}


def sections(entry: Entry) -> dict[str, int]:
    """Section of params.yaml read by an investigation -> how often it names the data set."""
    study = study_of(entry)
    found = study.sections if study else {}
    counts = {
        key: sum(1 for _ in mentions(section.model_dump(), ("data",), entry.path))
        for key, section in found.items()
    }
    return {key: count for key, count in counts.items() if count}

"""One arm's row of one metric: cells as text, the values of its seeds, ids, and reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app import load
from study.evidence.arms import ArmResults
from study.evidence.cells import Cell, bounds, cell
from study.evidence.estimates import Difference, Estimate
from study.evidence.evaluable import NOT_EVALUABLE, why_absent
from study.evidence.format import counted, fmt, join_words
from study.evidence.metric_catalog import KNOWN, Column
from study.evidence.model import ArmFinding
from study.evidence.statistics import median
from study.evidence.summary import against, summarise

# Numbers of a reconstruction without their checkpoint, then those of the whole run.
METRICS: Mapping[str, Column] = {
    **{
        path.removeprefix("last."): column
        for path, column in KNOWN.items()
        if path.startswith("last.") and path != "last.epoch"
    },
    **{path: column for path, column in KNOWN.items() if path.startswith("training.")},
}
MOST_NAMED = 4  # seeds in a cell or a note
PARTS = {"best": "best", "last": "last", "gap": "last minus best"}


@dataclass(frozen=True)
class Settings:
    """`against`: the arm that differences are taken to; None for each arm's own `versus`."""

    checkpoint: str
    against: str | None


@dataclass(frozen=True)
class RowOf:
    """`cell`: the number for the selected weights; `lost`: s<seed> -> why it is missing. `texts`:
    content of the table by column, `ids`: its number ids. `entries`: the numbers for a file."""

    arm: str
    path: str
    cell: Cell
    lost: Mapping[str, str]
    outcomes: Mapping[str, str]
    texts: Mapping[str, str]
    ids: Mapping[str, str]
    seeds: str
    note: str
    entries: Sequence[Mapping[str, Any]]

    @property
    def mean_id(self) -> str:
        return f"{self.arm}/mean/{self.path}"


def title_of(metric: str) -> str:
    set_name = metric.partition(".")[0]
    message = " (published set)" if set_name == "published" else ""
    return f"{METRICS[metric].title}{message}"


def row_of(arm: str, metric: str, settings: Settings) -> RowOf:
    results, whole_run = load.results()[arm], metric.startswith("training.")
    paths = {"last": metric} if whole_run else {c: f"{c}.{metric}" for c in PARTS}
    path = metric if whole_run else paths[settings.checkpoint]
    facts = summarise(arm, load.rows().get(arm), results, [*paths.values(), "best.epoch"])
    cells = {PARTS[part]: cell(facts, full) for part, full in paths.items()}
    shown = cell(facts, path)
    lost = lost_seeds(results, shown)
    target, effect = difference(results, path, settings)
    texts = {name: _text(found, results) for name, found in cells.items()}
    texts |= {} if whole_run else {"best at epoch": epochs(facts)}
    if not facts.trained:
        texts |= {"best": "", "last minus best": "", "best at epoch": ""}
    texts["difference"] = plus(effect) if effect else target
    ids = {name: found.id for name, found in cells.items() if found.id}
    if effect and settings.against in (None, facts.versus):
        ids["difference"] = effect.id
    entries = [
        entry(arm, found.column.path, found.id, found.facts)
        for found in cells.values()
        if found.facts is not None
    ]
    entries += [entry(arm, path, effect.id, effect, f"minus {target}")] if effect else []
    entries += [
        {"arm": arm, "metric": path, "what": seed, "id": f"{arm}/{seed}/{path}", "estimate": value,
         "n": 1}
        for seed, value in shown.values.items()
    ]  # fmt: skip
    outcomes = {f"s{seed}": content["outcome"] for seed, content in results.seeds.items()}
    seeds, note = _seeds(facts, shown), _note(facts, outcomes, lost)
    return RowOf(arm, path, shown, lost, outcomes, texts, ids, seeds, note, entries)


def entry(
    arm: str, path: str, number_id: str, facts: Estimate, what: str = "mean"
) -> dict[str, Any]:
    kept = facts.model_dump(include={"estimate", "low", "high", "level", "n"})
    return {"arm": arm, "metric": path, "what": what, "id": number_id, **kept}


def lost_seeds(results: ArmResults, shown: Cell) -> dict[str, str]:
    """Why seeds do not have the number of the cell."""
    return {
        f"s{seed}": f"{NOT_EVALUABLE}: {shown.reasons[f's{seed}']}"
        if f"s{seed}" in shown.reasons
        else why_absent(content, shown.column.path)
        for seed, content in results.seeds.items()
        if f"s{seed}" not in shown.values
    }


def _text(found: Cell, results: ArmResults) -> str:
    if found.status != NOT_EVALUABLE:
        return found.bounded(3)
    reasons = join_words(f"{NOT_EVALUABLE}: {why}" for why in sorted({*found.reasons.values()}))
    if len(results.seeds) == 1:
        return reasons
    return f"{reasons} ({seeds_text(list(found.reasons), len(results.seeds))})"


def seeds_text(names: Sequence[str], of: int) -> str:
    """Names of some of `of` seeds, for a narrow place: `all 12 seeds`, or the first few."""
    if 1 < of == len(names):
        return f"all {of} seeds"
    more = len(names) - MOST_NAMED
    return join_words([*names[:MOST_NAMED], *([f"{more} more"] if more > 0 else [])])


def lost_text(lost: Mapping[str, str], of: int) -> str:
    """Seeds by the reason why they have no number: `s3 and s4: not evaluable: constant phase`."""
    by_reason: dict[str, list[str]] = {}
    for seed, reason in lost.items():
        by_reason.setdefault(reason, []).append(seed)
    return "; ".join(f"{seeds_text(seeds, of)}: {why}" for why, seeds in by_reason.items())


def plus(facts: Estimate) -> str:
    sign = "+" if facts.estimate > 0 else ""
    return f"{sign}{fmt(facts.estimate, 3)}{bounds(facts, 3)}, n = {facts.n}"


def versus_of(arm: str) -> str | None:
    """The arm that params.yaml compares it with."""
    row = load.rows().get(arm)
    return None if row is None else row.versus


def difference(results: ArmResults, path: str, settings: Settings) -> tuple[str, Difference | None]:
    """(the other arm, paired difference), or (a dash or a reason, None)."""
    found = load.results()
    other = settings.against or versus_of(results.name)
    if other is None or other == results.name or other not in found:
        return "–", None
    sides = (results, found[other])
    mixed = [side.name for side in sides if side.data_sha256 is None]
    if mixed:
        return f"the seeds of {join_words(mixed)} ran on different data", None
    if found[other].data_sha256 != results.data_sha256:
        return f"{other} ran on other data", None
    cells = [cell(summarise(side.name, None, side, [path]), path) for side in sides]
    if any(one.status == NOT_EVALUABLE for one in cells):
        return NOT_EVALUABLE, None
    effect = against(*sides, [path]).get(path)
    return (other, effect) if effect else (_no_pair(sides), None)


def _no_pair(sides: tuple[ArmResults, ArmResults]) -> str:
    """Why two arms on one data set have no paired difference."""
    ours, theirs = sides
    shared = sorted(set(ours.seeds) & set(theirs.seeds))
    if not shared:
        return f"no seed shared with {theirs.name}"
    return f"no shared seed has the number in both arms (shared: {join_words(shared)})"


def epochs(facts: ArmFinding) -> str:
    """Median of the seeds' best epochs, and their range."""
    found = sorted(cell(facts, "best.epoch").values.values())
    if not found:
        return "–"
    middle = fmt(median(found))
    return middle if found[0] == found[-1] else f"{middle} ({found[0]:g}–{found[-1]:g})"


def _seeds(facts: ArmFinding, shown: Cell) -> str:
    if not facts.trained:
        words = {"floor": "floor: constant on purpose", "ceiling": "ceiling"}
        usual = counted(len(shown.values), "run") if shown.values else "–"
        return words.get(str(facts.label), usual)
    return f"{len(shown.values)} of {counted(facts.seeds.known, 'seed')}"


def _note(facts: ArmFinding, outcomes: Mapping[str, str], lost: Mapping[str, str]) -> str:
    """What went wrong, by seed."""
    words = [f"{seed} {outcome}" for seed, outcome in outcomes.items() if outcome != "ok"]
    silent = {seed: why for seed, why in lost.items() if outcomes[seed] == "ok"}
    words += [lost_text(silent, len(outcomes))] if silent else []
    missing = [f"s{seed}" for seed in facts.seeds.missing]
    return "; ".join([*words, *([f"{join_words(missing)} not stored"] if missing else [])])

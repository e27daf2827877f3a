"""One arm's row of one metric: cells as text, the values of its seeds, ids, and reasons.

A degenerate object has no score: its cell says "not evaluable" and why, in every metric set. The
floor of the table is a constant on purpose; its standard scores are shown, and called so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from app import load
from study.evidence.arms import ArmResults, block, lookup
from study.evidence.columns import KNOWN, Column
from study.evidence.statistics import mean_interval, median
from study.evidence.summary import against
from study.evidence.wording import counted, fmt, listed

# Numbers of a reconstruction without their checkpoint, then those of the whole run.
METRICS: Mapping[str, Column] = {
    **{
        path.removeprefix("last."): column
        for path, column in KNOWN.items()
        if path.startswith("last.") and path != "last.epoch"
    },
    **{path: column for path, column in KNOWN.items() if path.startswith("training.")},
}


@dataclass(frozen=True)
class Settings:
    """`against`: the arm that differences are taken to; None for each arm's own `versus`."""

    checkpoint: str
    against: str | None


@dataclass(frozen=True)
class RowOf:
    """`values`: of the chosen checkpoint by seed; `lost`: seed -> why it has none. `ids`: column
    -> number id. `entries`: the numbers for a file. `interval`: of the mean, where there is one."""

    arm: str
    path: str
    cells: Mapping[str, str]
    ids: Mapping[str, str]
    values: Mapping[int, float]
    lost: Mapping[int, str]
    outcomes: Mapping[int, str]
    interval: Mapping[str, Any] | None
    seeds: str
    note: str
    entries: Sequence[Mapping[str, Any]] = field(default=())

    @property
    def mean_id(self) -> str:
        return f"{self.arm}/mean/{self.path}"


def title_of(metric: str) -> str:
    set_name = metric.partition(".")[0]
    told = " (published set)" if set_name == "published" else ""
    return f"{METRICS[metric].title}{told}"


def row_of(arm: str, metric: str, settings: Settings) -> RowOf:
    results = load.results()[arm]
    whole_run = metric.startswith("training.")
    path = metric if whole_run else f"{settings.checkpoint}.{metric}"
    parts = {"last": metric} if whole_run else {c: f"{c}.{metric}" for c in ("best", "last", "gap")}
    names = {"best": "best", "last": "last", "gap": "last minus best"}
    means = {names[part]: (full, mean(results, full)) for part, full in parts.items()}
    values, lost = seed_values(results, path)
    target, effect = difference(results, path, settings)
    texts = {name: said(facts, results, full) for name, (full, facts) in means.items()}
    ids = {name: f"{arm}/mean/{full}" for name, (full, facts) in means.items() if facts}
    if effect and settings.against in (None, versus_of(arm)):
        ids["difference"] = effect["id"]
    if not whole_run:
        texts["best at epoch"] = epochs(results)
    if results.label != "arm":
        texts |= {"best": "", "last minus best": "", "best at epoch": ""}
    texts["difference"] = plus(effect) if effect else target
    found = [entry(arm, full, facts) for full, facts in means.values() if facts]
    found += [entry(arm, path, effect, f"minus {target}")] if effect else []
    found += [
        {"arm": arm, "metric": path, "what": f"s{seed}", "id": f"{arm}/s{seed}/{path}",
         "estimate": value, "n": 1}
        for seed, value in values.items()
    ]  # fmt: skip
    return RowOf(
        arm=arm, path=path, cells=texts, ids=ids, values=values, lost=lost,
        outcomes={s: c["outcome"] for s, c in results.seeds.items()},
        interval=mean(results, path), seeds=how_many(results, values), note=note(results, lost),
        entries=found,
    )  # fmt: skip


def entry(arm: str, path: str, facts: Mapping[str, Any], what: str = "mean") -> dict[str, Any]:
    kept = {key: facts[key] for key in ("estimate", "low", "high", "level", "n")}
    return {"arm": arm, "metric": path, "what": what, "id": facts["id"], **kept}


def seed_values(results: ArmResults, path: str) -> tuple[dict[int, float], dict[int, str]]:
    """The number of every seed that may have one, and why the others have none."""
    values, lost = {}, {}
    for seed, content in results.seeds.items():
        reason = degenerate(content, path)
        value = results.numbers[seed].get(path)
        if reason is None and value is not None:
            values[seed] = value
        else:
            lost[seed] = reason or why_none(content, path)
    return values, lost


def degenerate(content: Mapping[str, Any], path: str) -> str | None:
    """Why a score of this run would describe the truth and not the object, or None."""
    channel = KNOWN[path].channel
    if channel is None or (content["label"] == "floor" and ".standard." in path):
        return None
    checkpoints = ("best", "last") if path.startswith("gap.") else (path.partition(".")[0],)
    for checkpoint in checkpoints:
        gate = lookup(block(content, checkpoint) or {}, ("gate", channel))
        if gate and not gate["evaluable"]:
            return f"not evaluable: {gate['reason']}"
    return None


def why_none(content: Mapping[str, Any], path: str) -> str:
    checkpoint, _, number = path.partition(".")
    reason = lookup(block(content, checkpoint) or {}, ("reasons", number))
    if reason is None and content["cause"]:
        return f"{content['outcome']}: {content['cause']}"
    return str(reason or "the run has no such number")


def mean(results: ArmResults, path: str) -> dict[str, Any] | None:
    """Mean over the seeds that have the number, with its interval, or None."""
    values, _ = seed_values(results, path)
    if not values or spoilt(results, path):
        return None
    return {"id": f"{results.name}/mean/{path}", **asdict(mean_interval(list(values.values())))}


def spoilt(results: ArmResults, path: str) -> bool:
    """Whether the stored mean holds scores of degenerate objects: the published set gives them."""
    return ".published." in path and any(
        degenerate(content, path) for content in results.seeds.values()
    )


def said(facts: Mapping[str, Any] | None, results: ArmResults, path: str) -> str:
    if facts is not None:
        return bounded(facts)
    _, lost = seed_values(results, path)
    blank = sorted({reason for reason in lost.values() if reason.startswith("not evaluable")})
    if blank:
        which = [f"s{seed}" for seed, reason in lost.items() if reason in blank]
        return f"{listed(blank)} ({listed(which)})" if len(results.seeds) > 1 else listed(blank)
    return "–"


def bounded(facts: Mapping[str, Any]) -> str:
    """`0.153 [0.140, 0.166]`."""
    if facts["low"] is None:
        return fmt(facts["estimate"], 3)
    return f"{fmt(facts['estimate'], 3)} [{fmt(facts['low'], 3)}, {fmt(facts['high'], 3)}]"


def plus(facts: Mapping[str, Any]) -> str:
    sign = "+" if facts["estimate"] > 0 else ""
    return f"{sign}{bounded(facts)}, n = {facts['n']}"


def versus_of(arm: str) -> str | None:
    row = load.rows().get(arm)
    return None if row is None else row.versus


def difference(
    results: ArmResults, path: str, settings: Settings
) -> tuple[str, dict[str, Any] | None]:
    """(the other arm, paired difference); (a dash or a reason, None) where there is none."""
    other = settings.against or versus_of(results.name)
    found = load.results()
    if other is None or other == results.name or other not in found:
        return "–", None
    sides = (results, found[other])
    mixed = [side.name for side in sides if side.data_sha256 is None]
    if mixed:
        return f"the seeds of {listed(mixed)} ran on different data", None
    if found[other].data_sha256 != results.data_sha256:
        return f"{other} ran on other data", None
    if any(spoilt(side, path) for side in sides):
        return "not evaluable", None
    effect = against(*sides, [path]).get(path)
    return (other, effect) if effect else (f"no seed shared with {other}", None)


def epochs(results: ArmResults) -> str:
    """Median of the seeds' best epochs, and their range."""
    found = sorted(int(epoch) for epoch in results.values("best.epoch").values())
    if not found:
        return "–"
    middle = fmt(median([float(epoch) for epoch in found]))
    return middle if found[0] == found[-1] else f"{middle} ({found[0]}–{found[-1]})"


def how_many(results: ArmResults, values: Mapping[int, float]) -> str:
    if results.label != "arm":
        return {"floor": "floor: constant on purpose", "ceiling": "ceiling"}.get(
            str(results.label), "one run"
        )
    return f"{len(values)} of {counted(len(asked_for(results)), 'seed')}"


def asked_for(results: ArmResults) -> list[int]:
    """Seeds that params.yaml declares and those that are known to have run."""
    row = load.rows().get(results.name)
    return sorted({*results.known_seeds, *(() if row is None else row.seeds)})


def note(results: ArmResults, lost: Mapping[int, str]) -> str:
    """What went wrong, by seed."""
    told = [
        f"s{seed} {content['outcome']}"
        for seed, content in results.seeds.items()
        if content["outcome"] != "ok"
    ]
    known = {seed for seed, content in results.seeds.items() if content["outcome"] != "ok"}
    told += [f"s{seed} {reason}" for seed, reason in lost.items() if seed not in known]
    missing = [f"s{seed}" for seed in asked_for(results) if seed not in results.seeds]
    told += [f"{listed(missing)} not stored"] if missing else []
    return "; ".join(told)

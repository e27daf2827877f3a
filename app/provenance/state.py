"""The state of each stage: its record compared with the declaration and the files on disk.

Small inputs (code, settings, results in git) are compared by content. Runs and data sets are
compared by size in bytes and number of files, unless comparison by content is requested. For a
missing input, the record of the stage that produces it is compared instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.provenance.disk import Disk
from app.provenance.lock import Content, Record
from app.provenance.pipeline import Stage, upstream, value_at

STATES = ("fresh", "stale", "not pulled", "missing")


@dataclass(frozen=True)
class Judged:
    """A stage with its state, one of STATES.

    `reasons`: why it would run again; `absent`: missing outputs; `behind`: upstream stages that
    would run again; `not_here`: missing inputs; `size`: recorded size of its outputs in bytes.
    """

    stage: Stage
    state: str
    reasons: tuple[str, ...]
    absent: tuple[str, ...]
    behind: tuple[str, ...]
    not_here: tuple[str, ...]
    size: int


def judge(
    stages: list[Stage],
    records: Mapping[str, Record],
    params: Mapping[str, Any],
    disk: Disk,
    contents: bool = False,
) -> dict[str, Judged]:
    """The state of each stage by name.

    `params`: content of the parameter files by file name. `contents`: compare cached outputs by
    content instead of by size and number of files.
    """
    heavy = {out.path for stage in stages for out in stage.outs if out.cached}
    made = {path: held.md5 for record in records.values() for path, held in record.outs.items()}
    look = _Look(disk, heavy, made, contents)
    first = {stage.name: _judge(stage, records.get(stage.name), params, look) for stage in stages}
    return _with_upstream(stages, first)


@dataclass(frozen=True)
class _Look:
    disk: Disk
    heavy: set[str]  # outputs in the DVC cache
    made: Mapping[str, str]  # path -> recorded md5 of the outputs
    contents: bool

    def same(self, path: str, recorded: Content) -> bool | None:
        heavy = path in self.heavy or any(path.startswith(f"{out}/") for out in self.heavy)
        return self.disk.same(path, recorded, self.contents or not heavy)


def _judge(stage: Stage, record: Record | None, params: Mapping[str, Any], look: _Look) -> Judged:
    if record is None:
        return Judged(stage, "missing", ("never run: it has no record",), (), (), (), 0)
    inputs = {path: _input(path, held, look) for path, held in record.deps.items()}
    reasons = [
        *_declared(stage, record),
        *(reason for reason in inputs.values() if reason and reason != NOT_HERE),
        *_settings(stage, record, params),
    ]
    outs = {path: look.same(path, held) for path, held in record.outs.items()}
    reasons += [
        f"{path} differs from the recorded output" for path, same in outs.items() if same is False
    ]
    absent = tuple(path for path, same in outs.items() if same is None)
    size = sum(held.size for held in record.outs.values())
    not_here = tuple(path for path, reason in inputs.items() if reason == NOT_HERE)
    state = "stale" if reasons else _absence(stage, absent)
    return Judged(stage, state, tuple(reasons), absent, (), not_here, size)


NOT_HERE = "not here"


def _absence(stage: Stage, absent: tuple[str, ...]) -> str:
    """The state of a stage without `reasons`.

    Missing outputs that are cached but never pushed do not count: they are regenerated on demand.
    """
    missed = [out for out in stage.outs if out.path in absent and (out.pushed or not out.cached)]
    if not missed:
        return "fresh"
    return "not pulled" if all(out.pushed for out in missed) else "missing"


def _declared(stage: Stage, record: Record) -> Iterator[str]:
    if stage.cmd != record.cmd:
        yield f"its command is now {stage.cmd!r}"
    for path in stage.deps:
        if path not in record.deps:
            yield f"{path} is a new input"
    for path in record.deps:
        if path not in stage.deps:
            yield f"{path} is no longer an input"
    for out in stage.outs:
        if out.path not in record.outs:
            yield f"{out.path} is a new output"


def _input(path: str, held: Content, look: _Look) -> str | None:
    """Why an input makes the stage run again, or None; NOT_HERE if its state is unknown."""
    same = look.same(path, held)
    if same is None:
        made = look.made.get(path)
        return NOT_HERE if made in (None, held.md5) else f"{path} was regenerated and is missing"
    return None if same else f"{path} changed"


def _settings(stage: Stage, record: Record, params: Mapping[str, Any]) -> Iterator[str]:
    for file, key in stage.params:
        old = record.params.get(file) or {}
        try:
            now = value_at(params.get(file), key)
        except KeyError:
            yield f"{file} no longer has {key}"
            continue
        if key not in old:
            yield f"{key} is a new setting"
        elif old[key] != now:
            changed = list(differences(old[key], now, key))
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            yield "; ".join(changed[:3]) + more


def differences(old: Any, now: Any, key: str) -> Iterator[str]:
    """Settings that differ, as `KEY: OLD, now NEW`."""
    if isinstance(old, Mapping) and isinstance(now, Mapping):
        for part in {**old, **now}:
            yield from differences(old.get(part), now.get(part), f"{key}.{part}")
    elif old != now:
        yield f"{key}: {_short(old)}, now {_short(now)}"


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return "a block"
    text = "absent" if value is None else str(value)
    return text if len(text) <= 40 else text[:40] + "…"


def _with_upstream(stages: list[Stage], first: Mapping[str, Judged]) -> dict[str, Judged]:
    """Add to each stage all stale stages upstream of it, direct or indirect."""
    before = upstream(stages)
    memory: dict[str, tuple[str, ...]] = {}

    def behind(name: str, path: frozenset[str] = frozenset()) -> tuple[str, ...]:
        if name not in memory:
            found: dict[str, None] = {}
            for source in before[name]:
                if source in path:
                    continue
                if first[source].reasons:
                    found[source] = None
                found |= dict.fromkeys(behind(source, path | {name}))
            memory[name] = tuple(found)
        return memory[name]

    return {
        name: Judged(j.stage, j.state, j.reasons, j.absent, behind(name), j.not_here, j.size)
        for name, j in first.items()
    }

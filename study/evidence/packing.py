"""The compact form of findings.json: `Findings.content` without derivable parts.

    packed(findings)          the content as stored in the file
    unpacked(stored, where)   the full content; parts that are not packed are unchanged

- A number of an arm is a list with the values of its seeds, in the order of the seeds that ran, and
  null for missing values; mean, median, interval, n and id are derived. So are differences from
  `versus`; if they cannot be derived, each is stored as [estimate, low, high, n].
- `evidence` lists each file once as [run, file, sha256], and `data` each data set as [path, sha256,
  kind]; claims and arms contain indices into these lists.
- `degenerate` contains a list of seeds per reason. Lists of similar objects are stored as {columns,
  rows}. In the published comparison, command and id are null if they follow from the arm.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from study.evidence.estimates import Difference, MeanOfArm
from study.evidence.format import reproduce
from study.evidence.model import ArmFinding, Findings
from study.evidence.statistics import ALPHA, mean_interval, median, paired_interval
from study.reading import UserError

LISTS = ("flags", "scale_flags", "withdrawn", "fences", "groups")

Content = dict[str, Any]


def mean_of_arm(arm: str, path: str, values: Mapping[str, float]) -> MeanOfArm:
    """The statistics of a number of an arm. `values`: s<seed> -> value."""
    numbers = list(values.values())
    return MeanOfArm.of(
        mean_interval(numbers),
        id=f"{arm}/mean/{path}",
        median=median(numbers),
        values=values,
    )


def difference(arm: str, path: str, ours: Mapping[str, float], theirs: Mapping[str, float]) -> Any:
    """The difference of a number from that of the arm's `versus`, paired by seed; None if there is
    no pair. `ours`, `theirs`: s<seed> -> value."""
    shared = sorted(ours.keys() & theirs.keys())
    if not shared:
        return None
    interval = paired_interval([ours[s] for s in shared], [theirs[s] for s in shared])
    return Difference.of(interval, id=f"{arm}/difference/{path}")


def differences(arms: Mapping[str, ArmFinding], name: str) -> dict[str, Difference]:
    """The differences of an arm from its `versus` that can be derived from the numbers of both."""
    control = arms.get(arms[name].versus or "")
    if control is None:
        return {}
    found = {
        path: difference(name, path, facts.values, control.numbers[path].values)
        for path, facts in arms[name].numbers.items()
        if path in control.numbers
    }
    return {path: facts for path, facts in found.items() if facts is not None}


def packed(findings: Findings) -> Content:
    """The content of findings.json as it is stored."""
    content = findings.content()
    files: dict[tuple[str, str, str], int] = {}
    claims = {}
    for name, claim in sorted(content["claims"].items()):
        places = [_place(item, files) for item in claim["evidence"]]
        history = _columns(claim["history"])
        claims[name] = {**claim, "evidence": places, "history": history}
    arms, sets = {}, {}
    for name, arm in sorted(content["arms"].items()):
        keys = [(item["path"], item["sha256"], item.get("kind")) for item in arm["data"]]
        places = [sets.setdefault(key, len(sets)) for key in keys]
        arms[name] = {**_pack_arm(name, arm), "data": places}
        if findings.arms[name].difference == differences(findings.arms, name):
            arms[name].pop("difference", None)
    gone = {
        name: {**entry, "history": _columns(entry["history"])}
        for name, entry in content["superseded"].items()
    }
    evidence = [list(row) for row in files]
    stored = {**content, "arms": arms, "claims": claims, "superseded": gone, "evidence": evidence}
    stored["data"] = [list(row) for row in sets]
    stored |= {key: _columns(content[key]) for key in LISTS if content.get(key)}
    if published := content.get("published"):
        entries = [_short(entry) for entry in published["entries"]]
        stored["published"] = {**published, "entries": _columns(entries)}
    return stored


def unpacked(stored: Mapping[str, Any], where: str) -> Content:
    """The inverse of `packed`. Raises UserError for inconsistent content."""
    try:
        return _unpacked(stored)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise UserError(
            f"{where} is inconsistent ({type(error).__name__}: {str(error)[:200]}); restore "
            "it with `git checkout -- findings.json`"
        ) from None


def _unpacked(stored: Mapping[str, Any]) -> Content:
    content = {key: value for key, value in stored.items() if key not in ("evidence", "data")}
    files, sets = stored.get("evidence", []), stored.get("data", [])
    numbers = {name: _numbers(name, arm) for name, arm in stored["arms"].items()}
    content["arms"] = {
        name: _unpack_arm(name, arm, numbers) for name, arm in stored["arms"].items()
    }
    for arm in content["arms"].values():
        arm["data"] = [_data_set(item, sets) for item in arm["data"]]
    for part in ("claims", "superseded"):
        content[part] = {
            name: {**entry, "history": _rows(entry["history"])}
            for name, entry in stored[part].items()
        }
    for claim in content["claims"].values():
        claim["evidence"] = [_evidence(item, files) for item in claim["evidence"]]
    content |= {key: _rows(stored[key]) for key in LISTS if stored.get(key)}
    if published := stored.get("published"):
        entries = [_long(entry) for entry in _rows(published["entries"])]
        content["published"] = {**published, "entries": entries}
    return content


# --- arms -------------------------------------------------------------------------------------


def _seeds(arm: Mapping[str, Any]) -> list[str]:
    """The seeds that ran, as s<seed>."""
    seeds = arm["seeds"]
    return [f"s{seed}" for seed in sorted([*seeds["ok"], *seeds["failed"], *seeds["collapsed"]])]


def _pack_arm(name: str, arm: Mapping[str, Any]) -> Content:
    seeds = _seeds(arm)
    short = {
        **arm,
        "numbers": {
            path: [facts["values"].get(seed) for seed in seeds]
            for path, facts in arm["numbers"].items()
        },
        "difference": {
            path: [facts[key] for key in ("estimate", "low", "high", "n")]
            for path, facts in arm.get("difference", {}).items()
        },
        "degenerate": {part: _by_reason(why) for part, why in arm["degenerate"].items()},
    }
    derived = {"reproduce": reproduce([name]), "degenerate": {}, "causes": {}}
    return {key: value for key, value in short.items() if derived.get(key, _ABSENT) != value}


_ABSENT = object()


def _numbers(name: str, arm: Mapping[str, Any]) -> dict[str, Any]:
    """Path -> the full statistics of the number."""
    seeds, found = _seeds(arm), {}
    for path, facts in arm["numbers"].items():
        if isinstance(facts, Mapping):
            found[path] = facts
        else:
            pairs = zip(seeds, facts, strict=True)
            there = {seed: value for seed, value in pairs if value is not None}
            found[path] = mean_of_arm(name, path, there).model_dump()
    return found


def _unpack_arm(
    name: str, arm: Mapping[str, Any], numbers: Mapping[str, Mapping[str, Any]]
) -> Content:
    """The full content of an arm. `numbers`: unpacked numbers of all arms."""
    stored = arm.get("difference")
    if stored is None:
        theirs = numbers.get(arm["versus"] or "", {})
        found = {
            path: difference(name, path, facts["values"], theirs[path]["values"])
            for path, facts in numbers[name].items()
            if path in theirs
        }
        stored = {path: facts.model_dump() for path, facts in found.items() if facts is not None}
    return {
        "reproduce": reproduce([name]),
        "causes": {},
        **arm,
        "numbers": numbers[name],
        "difference": {
            path: facts if isinstance(facts, Mapping) else _difference(name, path, facts)
            for path, facts in stored.items()
        },
        "degenerate": {part: _by_seed(why) for part, why in arm.get("degenerate", {}).items()},
    }


def _difference(name: str, path: str, facts: Sequence[Any]) -> Content:
    estimate, low, high, n = facts
    found = {"estimate": estimate, "low": low, "high": high, "n": n, "level": 1 - ALPHA}
    return Difference(**found, id=f"{name}/difference/{path}").model_dump()


def _by_reason(why: Mapping[str, str]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for seed, reason in why.items():
        found.setdefault(reason, []).append(int(seed[1:]))
    return {reason: sorted(seeds) for reason, seeds in found.items()}


def _by_seed(why: Mapping[str, Any]) -> dict[str, str]:
    if all(isinstance(reason, str) for reason in why.values()):
        return dict(why)
    return {f"s{seed}": reason for reason, seeds in why.items() for seed in seeds}


# --- evidence and tables ----------------------------------------------------------------------


def _place(item: Mapping[str, Any], files: dict[tuple[str, str, str], int]) -> int:
    return files.setdefault((item["run"], item["file"], item["sha256"]), len(files))


def _evidence(item: Any, files: Sequence[Sequence[str]]) -> Any:
    if not isinstance(item, int):
        return item
    if not 0 <= item < len(files):
        raise ValueError(f"evidence {item} of {len(files)}")
    run, file, digest = files[item]
    # Artifacts of runs are in the DVC cache, results in git.
    return {"run": run, "file": file, "sha256": digest, "in_git": not file.startswith("runs/")}


def _data_set(item: Any, sets: Sequence[Sequence[Any]]) -> Any:
    if not isinstance(item, int):
        return item
    if not 0 <= item < len(sets):
        raise ValueError(f"data set {item} of {len(sets)}")
    return dict(zip(("path", "sha256", "kind"), sets[item], strict=True))


def _columns(rows: Sequence[Mapping[str, Any]]) -> Any:
    names = list(rows[0]) if rows else []
    if any(list(row) != names for row in rows):
        return rows
    return {"columns": names, "rows": [list(row.values()) for row in rows]}


def _rows(table: Any) -> Any:
    if not isinstance(table, Mapping):
        return table
    return [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]


def _short(entry: Mapping[str, Any]) -> Content:
    """A published number without entries that can be derived from its arm."""
    return {key: None if value == _derived(entry, key) else value for key, value in entry.items()}


def _long(entry: Mapping[str, Any]) -> Content:
    return {k: _derived(entry, k) if value is None else value for k, value in entry.items()}


def _derived(entry: Mapping[str, Any], key: str) -> str | None:
    arm, path = entry.get("arm"), entry.get("compared")
    if arm is None or path is None or key not in ("id", "reproduce"):
        return None
    return reproduce([arm]) if key == "reproduce" else f"{arm}/mean/{path}"


# --- text -------------------------------------------------------------------------------------


def text_of(stored: Mapping[str, Any]) -> str:
    """Sorted JSON, with objects and lists of scalars, and rows of tables, on one line each."""
    return "".join(_lines(stored, 0, False)) + "\n"


def _lines(value: Any, depth: int, row: bool) -> Iterator[str]:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if row or not any(isinstance(part, (dict, list)) for part in parts):
        yield json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":"))
        return
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    yield opening
    items = sorted(value.items()) if isinstance(value, dict) else [(None, v) for v in value]
    for count, (key, item) in enumerate(items):
        yield f"{',' if count else ''}\n{' ' * min(depth + 1, 2)}"
        if key is not None:
            yield f"{json.dumps(key)}:"
        yield from _lines(item, depth + 1, isinstance(value, list))
    yield f"\n{' ' * min(depth, 2)}{closing}"

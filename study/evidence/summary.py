"""One arm over its seeds: estimate, interval and n of every number, and each seed's outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from study.evidence import statistics
from study.evidence.arms import OUTCOMES, ArmResults, block, factors
from study.evidence.columns import CHECKPOINTS, SHOWN
from study.params import Row

DIGITS = 6


def summarise(
    name: str, row: Row | None, results: ArmResults | None, paths: Sequence[str] = SHOWN
) -> dict[str, Any]:
    """An arm as the tables show it, with its numbers at `paths`.

    `row` is None for arms that no params.yaml declares, `results` before any run.
    """
    seeds = {} if results is None else results.seeds
    known = () if results is None else results.known_seeds
    declared = list(known if row is None else row.seeds)
    counts = {o: [] if results is None else results.with_outcome(o) for o in OUTCOMES}
    return {
        "label": None if results is None else results.label,
        "asks": None if row is None else row.asks,
        "versus": None if row is None else row.versus,
        "seeds": {
            "declared": declared,
            **counts,
            "missing": [seed for seed in declared if seed not in seeds],
        },
        "causes": {f"s{s}": content["cause"] for s, content in seeds.items() if content["cause"]},
        "degenerate": degenerate(seeds),
        "data": [] if results is None else results.facts("data"),
        "commits": [] if results is None else results.facts("code", "commit"),
        "numbers": {} if results is None else numbers(name, results, paths),
    }


def numbers(name: str, results: ArmResults, paths: Sequence[str]) -> dict[str, Any]:
    """path -> mean, median, t interval, n and the value of every seed; only paths with values."""
    found = {path: results.values(path) for path in paths}
    return {
        path: {
            "id": f"{name}/mean/{path}",
            **asdict(statistics.mean_interval(list(values.values()))),
            "median": statistics.median(list(values.values())),
            "values": {f"s{seed}": value for seed, value in values.items()},
        }
        for path, values in found.items()
        if values
    }


def tolerance(name: str) -> float:
    """Relative error of the numbers stored of an arm against what `study explain` computes."""
    return 0.5 * 10.0 ** (1 - DIGITS) if "/" in name else 0.0


def stored_digits(name: str, value: Any) -> Any:
    """Numbers as they are stored: whole of the root's arms, 6 significant digits of recorded."""
    if not tolerance(name):
        return value
    if isinstance(value, Mapping):
        return {key: stored_digits(name, item) for key, item in value.items()}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def degenerate(seeds: Mapping[int, Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """checkpoint.channel -> seed -> why it is not evaluable."""
    found: dict[str, dict[str, str]] = {}
    for checkpoint in CHECKPOINTS:
        for seed, content in seeds.items():
            for channel, gate in ((block(content, checkpoint) or {}).get("gate") or {}).items():
                if not gate["evaluable"]:
                    key = f"{checkpoint}.{channel}"
                    found.setdefault(key, {})[f"s{seed}"] = gate["reason"]
    return found


def against(treatment: ArmResults, control: ArmResults, paths: Sequence[str]) -> dict[str, Any]:
    """Differences to another arm, paired by seed, with their 95 % intervals.

    A description, not a test: what is claimed stands in claims.yaml. Empty for different data.
    """
    if treatment.data_sha256 is None or treatment.data_sha256 != control.data_sha256:
        return {}
    differences: dict[str, Any] = {}
    for path in paths:
        left, right = treatment.values(path), control.values(path)
        shared = sorted(set(left) & set(right))
        if shared:
            pairs = [left[s] for s in shared], [right[s] for s in shared]
            effect = asdict(statistics.paired_interval(*pairs))
            differences[path] = {"id": f"{treatment.name}/difference/{path}", **effect}
    return differences


def changed_factors(treatment: ArmResults, control: ArmResults) -> list[str] | None:
    """Names of the settings that differ, None when an arm's seeds do not agree in them."""
    left, right = control.row, treatment.row
    return None if left is None or right is None else sorted(factors(left, right))


def fences(arms: Mapping[str, ArmResults]) -> list[dict[str, Any]]:
    """Arms by data set. Across a fence nothing is compared and no test is computed."""
    groups: dict[str | None, list[str]] = {}
    for name, results in arms.items():
        groups.setdefault(results.data_sha256, []).append(name)
    return [
        {
            "sha256": sha,
            "paths": sorted({d["path"] for n in names for d in arms[n].facts("data")}),
            "arms": names,
        }
        for sha, names in groups.items()
    ]

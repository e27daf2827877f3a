"""One arm over its seeds: estimate, interval and n of each number, and outcomes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from study.evidence import statistics
from study.evidence.arms import OUTCOMES, ArmResults, factors
from study.evidence.estimates import Difference, MeanOfArm
from study.evidence.evaluable import degenerate
from study.evidence.format import reproduce
from study.evidence.metric_catalog import SHOWN
from study.evidence.model import ArmFinding, DataOfArm, Fence, SeedsOfArm
from study.evidence.packing import mean_of_arm
from study.settings import Row

DIGITS = 8


def summarise(
    name: str,
    row: Row | None,
    results: ArmResults | None,
    paths: Sequence[str] = SHOWN,
    control: ArmResults | None = None,
) -> ArmFinding:
    """An arm with its numbers at `paths`, and their differences from `control`.

    `row`: None for an arm that is not declared in a params.yaml; `results`: None before any run.
    """
    seeds = {} if results is None else results.seeds
    known = () if results is None else results.known_seeds
    declared = list(known if row is None else row.seeds)
    compared = None if results is None or control is None else (results, control)
    return ArmFinding(
        label=None if results is None else results.label,
        asks=None if row is None else row.asks,
        versus=None if row is None else row.versus,
        seeds=SeedsOfArm(
            declared=declared,
            **{o: [] if results is None else results.with_outcome(o) for o in OUTCOMES},
            missing=[seed for seed in declared if seed not in seeds],
        ),
        causes={f"s{s}": content["cause"] for s, content in seeds.items() if content["cause"]},
        degenerate=degenerate(seeds),
        data=[] if results is None else _data(results),
        commits=[] if results is None else results.facts("code", "commit"),
        numbers={} if results is None else numbers(results, paths),
        changed=changed_factors(*compared) if compared else None,
        difference=against(*compared, paths) if compared else {},
        reproduce=reproduce([name]),
    )


def _data(results: ArmResults) -> list[DataOfArm]:
    """The distinct data sets of the seeds, regardless of objects drawn per seed."""
    found = ({k: data[k] for k in ("path", "sha256", "kind")} for data in results.facts("data"))
    return [DataOfArm(**data) for data in {tuple(one.values()): one for one in found}.values()]


def numbers(results: ArmResults, paths: Sequence[str]) -> dict[str, MeanOfArm]:
    """Path -> mean, median, t interval, n and the values of the seeds; only paths with values."""
    found = {path: results.values(path) for path in paths}
    return {
        path: mean_of_arm(results.name, path, {f"s{seed}": v for seed, v in values.items()})
        for path, values in found.items()
        if values
    }


# Relative error of the stored numbers compared with `study explain`.
TOLERANCE = 0.5 * 10.0 ** (1 - DIGITS)


def as_stored(name: str, arm: ArmFinding) -> ArmFinding:
    """The arm with its numbers as stored: values of seeds with 8 significant digits, and statistics
    derived from these."""
    values = {path: _rounded(facts.values) for path, facts in arm.numbers.items()}
    differences = {path: _rounded(facts.model_dump()) for path, facts in arm.difference.items()}
    return arm.model_copy(
        update={
            "numbers": {path: mean_of_arm(name, path, found) for path, found in values.items()},
            "difference": {path: Difference(**facts) for path, facts in differences.items()},
        }
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def against(
    treatment: ArmResults, control: ArmResults, paths: Sequence[str]
) -> dict[str, Difference]:
    """Differences from another arm, paired by seed, with their 95 % intervals.

    These are descriptive; only claims are tested. Empty for different data.
    """
    if treatment.data_sha256 is None or treatment.data_sha256 != control.data_sha256:
        return {}
    differences: dict[str, Difference] = {}
    for path in paths:
        left, right = treatment.values(path), control.values(path)
        shared = sorted(set(left) & set(right))
        if shared:
            pairs = [left[s] for s in shared], [right[s] for s in shared]
            where = f"{treatment.name}/difference/{path}"
            differences[path] = Difference.of(statistics.paired_interval(*pairs), id=where)
    return differences


def changed_factors(treatment: ArmResults, control: ArmResults) -> list[str] | None:
    """Names of the settings that differ; None if settings differ between the seeds of an arm."""
    left, right = control.row, treatment.row
    return None if left is None or right is None else sorted(factors(left, right))


def fences(arms: Mapping[str, ArmResults]) -> list[Fence]:
    """Arms grouped by data set; arms in different groups are not compared."""
    groups: dict[str | None, list[str]] = {}
    for name, results in arms.items():
        groups.setdefault(results.data_sha256, []).append(name)
    return [
        Fence(
            sha256=sha,
            paths=sorted({d["path"] for n in names for d in arms[n].facts("data")}),
            arms=names,
        )
        for sha, names in groups.items()
    ]

"""Cells that several tables share: a number with its interval, seeds by outcome, an exact rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from study.evidence import statistics
from study.evidence.arms import OUTCOMES
from study.evidence.columns import OUTCOME, find_column
from study.evidence.wording import fmt, listed, percent
from study.report.document import Line, Number, number
from study.report.gather import Inputs

NOT_EVALUABLE = "not evaluable"
FLOOR = "A floor is a constant on purpose: what nothing scores."
SECONDS = "Seconds are wall clock under whatever else ran; not comparable between arms."


def score(inputs: Inputs, arm: str, path: str, digits: int = 3) -> Line:
    """Mean over seeds with its interval; the gate's word where there is nothing to score.

    Where fewer seeds have the number than ran, their count stands behind it.
    """
    facts = inputs.facts(arm, path)
    if facts is None:
        return (NOT_EVALUABLE if _degenerate(inputs, arm, path) else "–",)
    line = number(facts, digits)
    ran = len(inputs.arms[arm].seeds) if arm in inputs.arms else facts["n"]
    return line if facts["n"] == ran else (*line, f" n = {facts['n']}")


def _degenerate(inputs: Inputs, arm: str, path: str) -> bool:
    place = f"{path.partition('.')[0]}.{find_column(path).channel}"
    return ".standard." in path and place in inputs.entry(arm).get("degenerate", {})


def delta(inputs: Inputs, arm: str, path: str) -> Line:
    """The arm minus the one it is compared with, paired by seed."""
    return number(inputs.difference(arm, path))


def effect(entry: Mapping[str, Any]) -> Line:
    """The effect of a claim, or why there is none; a level only where there is an interval."""
    found, test = entry["effect"], entry["test"]
    if found is None:
        return (entry["reason"],)
    unit = f" {entry['unit']}" if entry["unit"] else ""
    margin = f", margin {fmt(entry['margin'])}"
    if found["low"] is None:
        p = (
            f", exact p\u00a0=\u00a0{fmt(test['p'], 2)}"
            if test and test.get("p") is not None
            else ""
        )
        kind = ("difference of rates ",) if entry["metric"] == OUTCOME else ()
        return (*kind, *number(found), f"{unit}{p}{margin}")
    return (*number(found), f"{unit}, {percent(found['level'])}{margin}")


def outcomes(inputs: Inputs, arm: str) -> Line:
    """ok / failed / collapsed of all seeds that ran, and how many are missing."""
    results = inputs.arms[arm]
    counts = {name: len(results.with_outcome(name)) for name in OUTCOMES}
    missing = len(inputs.entry(arm).get("seeds", {}).get("missing", []))
    text = " / ".join(str(count) for count in counts.values())
    told = f" ({missing} missing)" if missing else ""
    return (Number(text, f"outcome in {_folder(inputs, arm)}/seeds", explained=False), told)


def _folder(inputs: Inputs, arm: str) -> str:
    return inputs.folder(arm).relative_to(inputs.root).as_posix()


def deaths(inputs: Inputs, arm: str) -> Mapping[str, Any]:
    """Runs that failed or collapsed: count, n, exact 95 % interval, and how they are written."""
    results = inputs.arms[arm]
    died = sum(len(results.with_outcome(name)) for name in ("failed", "collapsed"))
    n = len(results.seeds)
    rate = statistics.clopper_pearson(died, n)
    assert rate.low is not None and rate.high is not None, "n is at least 1"
    where = f"outcome in {_folder(inputs, arm)}/seeds, Clopper-Pearson"
    cell = Number(
        f"{died} of {n}", where, f"[{rounded(rate.low)}, {rounded(rate.high)}]", explained=False
    )
    return {"died": died, "n": n, "low": rate.low, "high": rate.high, "cell": cell}


def rounded(share: float) -> str:
    return percent(float(fmt(share, 3)))


def named(inputs: Inputs, arm: str) -> Line:
    """The arm's name without its pipeline; what it is where it is no trained arm."""
    label = inputs.arms[arm].label if arm in inputs.arms else None
    return (short(arm),) if label in ("arm", None) else (f"{short(arm)} ({label})",)


def pipeline(arms: Sequence[str]) -> str:
    """Where the arms of a table come from, as a sentence."""
    places = sorted({arm.rpartition("/")[0] for arm in arms})
    told = [f"recorded from {place}/" if place else "of the root study" for place in places]
    return f"Arms {listed(told)}."


def short(arm: str) -> str:
    return arm.rpartition("/")[2]

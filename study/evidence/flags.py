"""Defects that the numbers show, independent of claims.

Two arms with the same result: usually a setting that never reached the run. The earlier work drew
conclusions from settings that were lost on the way. So equal scores (to three digits) or identical
histories of two arms with one seed raise a flag. It has a reason when the numbers show one; without
a reason it is an error, and `lost_setting` keeps it from a verdict.

A simulated object of the wrong brightness: loss and simulation know one probe, so the amplitude
scale of a healthy network is 1 within a few percent, and more is a defect of the scales.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

from study.evidence.arms import ArmResults, lookup
from study.evidence.evaluable import gate_of, is_constant
from study.evidence.format import fmt, join_words, percent
from study.evidence.metric_catalog import CHECKPOINTS
from study.evidence.model import Flag, ScaleFlag
from study.evidence.summary import changed_factors
from study.reading import read_table

SCALE = "standard.extra.amplitude_scale"
SCALE_LIMIT = 0.05

# The published set prints numbers for degenerate objects too.
SIGNATURE = tuple(
    f"last.published.{channel}.{metric}"
    for channel in ("amplitude", "phase")
    for metric in ("ssim", "mae")
)


def identical_arms(arms: Mapping[str, ArmResults]) -> list[Flag]:
    """A flag for every two arms, on one data set, that share a result in any seed.

    Only arms with a common signature are compared: arms without one have no common result.
    """
    flags = (identity(arms[left], arms[right]) for left, right in _alike(arms))
    return [flag for flag in flags if flag]


def _alike(arms: Mapping[str, ArmResults]) -> list[tuple[str, str]]:
    """Names of every two arms that share a signature of a seed, in order of name."""
    buckets: dict[tuple[Any, ...], list[str]] = {}
    for name in sorted(arms):
        for key in _signatures(arms[name]):
            buckets.setdefault(key, []).append(name)
    return sorted({pair for names in buckets.values() for pair in combinations(names, 2)})


def _signatures(arm: ArmResults) -> set[tuple[Any, ...]]:
    """What two runs of one seed must share to be flagged: the scores, or the history's hash."""
    found: set[tuple[Any, ...]] = set()
    for seed, content in arm.seeds.items():
        found.add((seed, "scores", _digits(arm.numbers[seed])))
        found.add((seed, "history", _history(content)))
    return {(arm.data_sha256, *key) for key in found if key[-1]}


def identity(left: ArmResults, right: ArmResults) -> Flag | None:
    """The flag of two arms, or None if they differ in every shared seed."""
    if left.data_sha256 is None or left.data_sha256 != right.data_sha256:
        return None
    shared = sorted(set(left.seeds) & set(right.seeds))
    digits = {seed: (_digits(left.numbers[seed]), _digits(right.numbers[seed])) for seed in shared}
    hashes = {seed: (_history(left.seeds[seed]), _history(right.seeds[seed])) for seed in shared}
    scores = [seed for seed, (one, other) in digits.items() if one and one == other]
    histories = [seed for seed, (one, other) in hashes.items() if one and one == other]
    seeds = sorted({*scores, *histories})
    if not seeds:
        return None
    reason = _reason(left, right, seeds, scores)
    return Flag(
        arms=[left.name, right.name],
        same_scores=scores,
        same_histories=histories,
        reason=reason,
        is_error=reason is None,
    )


def lost_setting(left: ArmResults, right: ArmResults) -> str | None:
    """Why the setting in which two arms differ seems not to have acted, or None.

    That is an unexplained flag with an identical history in any seed or with equal scores in all
    shared ones. Three equal digits in some seeds alone are chance: the others show that it acted.
    """
    flag = identity(left, right)
    if flag is None or not flag.is_error:
        return None
    everywhere = set(flag.same_scores) == set(left.seeds) & set(right.seeds)
    return flag.words if flag.same_histories or everywhere else None


def scale_defects(arms: Mapping[str, ArmResults]) -> list[ScaleFlag]:
    """A flag for every trained arm and checkpoint whose amplitude scale is off 1.

    Simulated data and runs that are `ok` with an object that passes the gate: a constant has
    whatever scale it has.
    """
    flags = []
    for arm in (arm for arm in arms.values() if arm.label == "arm"):
        for checkpoint in CHECKPOINTS:
            scales = arm.values(f"{checkpoint}.{SCALE}")
            off = {
                f"s{seed}": scale
                for seed, scale in scales.items()
                if abs(scale - 1) > SCALE_LIMIT and _is_scaled(arm.seeds[seed], checkpoint)
            }
            if off:
                reason = _scale_words(arm.name, checkpoint, off)
                flags.append(
                    ScaleFlag(arm=arm.name, checkpoint=checkpoint, scales=off, reason=reason)
                )
    return flags


def _is_scaled(run: Mapping[str, Any], checkpoint: str) -> bool:
    """Whether an amplitude scale is meaningful for this run's object."""
    gate = gate_of(run, checkpoint, "amplitude")
    simulated = lookup(run, ("data", "kind")) == "simulated"
    return run["outcome"] == "ok" and simulated and gate is not None and gate["evaluable"]


def _scale_words(name: str, checkpoint: str, off: Mapping[str, float]) -> str:
    seeds = join_words(f"{seed} {fmt(scale)}" for seed, scale in off.items())
    limit = f"more than {percent(SCALE_LIMIT)} off 1"
    return f"{name}, {checkpoint}: amplitude scale {limit}, a defect: {seeds}"


def _digits(numbers: Mapping[str, float]) -> tuple[tuple[str, str], ...]:
    """The scores that distinguish two runs, to three digits; empty without scores."""
    return tuple((path, f"{numbers[path]:.3g}") for path in SIGNATURE if path in numbers)


def _history(content: Mapping[str, Any]) -> str | None:
    return lookup(content, ("training", "history_sha256"))


def _reason(
    left: ArmResults, right: ArmResults, seeds: list[int], same_scores: list[int]
) -> str | None:
    """The explanation from the numbers, or None."""
    changed = changed_factors(left, right)
    if changed == []:
        return "no setting differs between them"
    runs = [arm.seeds[seed] for arm in (left, right) for seed in seeds]
    if all(is_constant(run, "last") for run in runs):
        return "both are constant objects, and any constant has these scores"
    path = "training.clipped_fraction"
    clipped = [arm.numbers[seed].get(path) for arm in (left, right) for seed in seeds]
    if changed and all(name.startswith("clip.") for name in changed) and set(clipped) == {0.0}:
        return "the clipped fraction is 0 in both: the clip in which they differ never acted"
    if changed and all(name.startswith("schedule.") for name in changed):
        rates = {rate for arm in (left, right) for rate in _learning_rates(arm, seeds)}
        if len(rates) == 1:
            return (
                "one learning rate throughout both: the schedule in which they differ never acted"
            )
    if not same_scores and all(_differ(left.numbers[s], right.numbers[s]) for s in seeds):
        return (
            "the histories are identical, the scores differ: the setting acts after training only"
        )
    return None


def _learning_rates(arm: ArmResults, seeds: Sequence[int]) -> set[str]:
    """Every learning rate that history.csv names for these seeds; two different placeholders
    if the file is missing."""
    file = next((f.parent.parent / "history.csv" for f in arm.files.values()), None)
    if file is None or not file.is_file():
        return {"", "unknown"}
    rows = read_table(file, needed=("seed",), as_text=True).to_dict("records")
    kept = {str(seed) for seed in seeds}
    return {row.get("learning_rate") or "" for row in rows if row["seed"] in kept}


def _differ(left: Mapping[str, float], right: Mapping[str, float]) -> bool:
    """Whether any number of the last objects differs."""
    shared = [path for path in left if path.startswith("last.") and path in right]
    return any(left[path] != right[path] for path in shared)

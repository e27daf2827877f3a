"""Defects that are visible in the numbers, independent of claims.

Two arms with the same result usually indicate a setting that had no effect on the run; the earlier
work drew conclusions from settings that were lost. Therefore equal scores (to three digits) or
identical histories of two arms for the same seed raise a flag. If the numbers explain it, the flag
has a reason; otherwise it is an error, and `lost_setting` prevents a verdict.

A wrong amplitude scale of a reconstruction from simulated data: since loss and simulation use the
same probe, the amplitude scale of a working network is 1 within a few percent; a larger deviation
indicates a scaling error.
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

# The published metric set has numbers for degenerate objects, too.
SIGNATURE = tuple(
    f"last.published.{channel}.{metric}"
    for channel in ("amplitude", "phase")
    for metric in ("ssim", "mae")
)


def identical_arms(arms: Mapping[str, ArmResults]) -> list[Flag]:
    """A flag for each pair of arms on the same data set that share a result for any seed.

    Only arms with a common signature are compared; others cannot have a common result.
    """
    flags = (identity(arms[left], arms[right]) for left, right in _alike(arms))
    return [flag for flag in flags if flag]


def _alike(arms: Mapping[str, ArmResults]) -> list[tuple[str, str]]:
    """Names of all pairs of arms that share a signature of a seed, sorted."""
    buckets: dict[tuple[Any, ...], list[str]] = {}
    for name in sorted(arms):
        for key in _signatures(arms[name]):
            buckets.setdefault(key, []).append(name)
    return sorted({pair for names in buckets.values() for pair in combinations(names, 2)})


def _signatures(arm: ArmResults) -> set[tuple[Any, ...]]:
    """Signatures of an arm's runs: data, seed and either scores or hash of the history."""
    found: set[tuple[Any, ...]] = set()
    for seed, content in arm.seeds.items():
        found.add((seed, "scores", _digits(arm.numbers[seed])))
        found.add((seed, "history", _history(content)))
    return {(arm.data_sha256, *key) for key in found if key[-1]}


def identity(left: ArmResults, right: ArmResults) -> Flag | None:
    """The flag of two arms, or None if they differ for every common seed."""
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
    """Why the setting in which two arms differ seems to have had no effect, or None.

    This is an unexplained flag with an identical history for any seed or with equal scores for all
    common seeds. Three equal digits for only some seeds are chance: the other seeds show an effect.
    """
    flag = identity(left, right)
    if flag is None or not flag.is_error:
        return None
    everywhere = set(flag.same_scores) == set(left.seeds) & set(right.seeds)
    return flag.words if flag.same_histories or everywhere else None


def scale_defects(arms: Mapping[str, ArmResults]) -> list[ScaleFlag]:
    """A flag for each trained arm and checkpoint whose amplitude scale differs from 1.

    Only for simulated data and `ok` runs whose object passes the gate, since the scale of a
    constant object is meaningless.
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
    """An explanation of equal results from the numbers, or None."""
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
    """All learning rates in history.csv for these seeds; two placeholders if the file is missing,
    so that rates count as different."""
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

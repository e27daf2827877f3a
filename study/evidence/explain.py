"""A number's value, its inputs with their hashes, its meaning, and the command that gives it again.

control/s3/last.standard.amplitude.mae      one seed
control/mean/last.standard.amplitude.mae    over the seeds; also median
agc/difference/last.val_loss                against the arm's `versus`, paired by seed
AGC-001/effect                              of a claim
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from study.evidence.arms import ArmResults, block, load_all, lookup, sha256
from study.evidence.columns import Column, find_column
from study.evidence.ledger import read_findings
from study.evidence.pipelines import declared, pipelines_of
from study.evidence.statistics import mean_interval, median
from study.evidence.summary import against
from study.evidence.wording import counted, fmt, percent, reproduce
from study.params import UserError, load_study, nearest

PAIRED = {
    "seed": "paired by seed",
    "none": "not paired",
    "one fixed value": "against one fixed value, not paired",
}
KINDS = ("mean", "median", "difference")
FORM = "ARM/s1/PATH, ARM/mean/PATH, ARM/median/PATH, ARM/difference/PATH or CLAIM/effect"


@dataclass(frozen=True)
class Explanation:
    """`value` in `unit`, None with a `note`; `interval` (low, high) where there is one."""

    id: str
    value: float | None
    unit: str
    interval: tuple[float, float] | None
    definition: str
    note: str
    inputs: tuple[tuple[str, str], ...]
    command: str

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        value = "null" if self.value is None else f"{self.value!r}{unit}"
        bounds = f" [{fmt(self.interval[0])}, {fmt(self.interval[1])}]" if self.interval else ""
        lines = [f"{self.id} = {value}{bounds}", f"  is       {self.definition}"]
        lines += [f"  note     {self.note}"] if self.note else []
        lines += [f"  input    {file}  sha256 {digest}" for file, digest in self.inputs]
        return "\n".join([*lines, f"  again    {self.command}"])


def explain(number_id: str, root: Path) -> Explanation:
    """Explain the number `number_id` of the pipeline folder `root`.

    Raises UserError, with what is known, for an id that names nothing.
    """
    head, _, path = number_id.rpartition("/")
    if path == "effect":
        return _claim_effect(number_id, head, root)
    arm_name, _, kind = head.rpartition("/")
    if not arm_name or (kind not in KINDS and not re.fullmatch(r"s\d+", kind)):
        raise UserError(f"{number_id!r} is no number's id; accepted: {FORM}")
    column = find_column(path)
    arms = load_all(root / "results", root / "recorded")
    arm = _find(arm_name, arms)
    if kind in KINDS:
        return _over_seeds(number_id, arm, kind, column, arms, root)
    return _one_seed(number_id, arm, int(kind[1:]), column, root)


def _find(name: str, arms: Mapping[str, ArmResults]) -> ArmResults:
    if name not in arms:
        raise UserError(f"no results of an arm {name!r}{nearest(name, arms)}")
    return arms[name]


def _one_seed(
    number_id: str, arm: ArmResults, seed: int, column: Column, root: Path
) -> Explanation:
    if seed not in arm.seeds:
        raise UserError(f"no results of {arm.name} seed {seed}; there are {list(arm.seeds)}")
    content, checkpoint = arm.seeds[seed], column.path.partition(".")[0]
    reason = lookup(block(content, checkpoint) or {}, ("reasons", column.path.partition(".")[2]))
    value = arm.numbers[seed].get(column.path)
    artifacts = tuple(sorted(content["evidence"].items()))
    return Explanation(
        id=number_id,
        value=value,
        unit=column.unit,
        interval=None,
        definition=_words(column, content),
        note=""
        if value is not None
        else reason or content["cause"] or "the run has no such number",
        inputs=(_input(arm, seed, root), *artifacts),
        command=_again(number_id, arm.name),
    )


def _over_seeds(
    number_id: str,
    arm: ArmResults,
    kind: str,
    column: Column,
    arms: Mapping[str, ArmResults],
    root: Path,
) -> Explanation:
    values, used = arm.values(column.path), [arm]
    if kind == "difference":
        used, facts = _difference(arm, column, arms, root)
    elif values:
        facts = asdict(mean_interval(list(values.values())))
    else:
        facts = {}
    if kind == "median" and values:
        facts |= {"estimate": median(list(values.values())), "low": None, "level": None}
    return Explanation(
        id=number_id,
        value=facts.get("estimate"),
        unit=column.unit,
        interval=None if facts.get("low") is None else (facts["low"], facts["high"]),
        definition=f"{kind} over {counted(facts.get('n', 0), 'seed')} of: {_words(column, {})}",
        note=_interval_note(facts),
        inputs=tuple(_input(a, seed, root) for a in used for seed in a.seeds),
        command=_again(number_id, *(a.name for a in used)),
    )


def _difference(
    arm: ArmResults, column: Column, arms: Mapping[str, ArmResults], root: Path
) -> tuple[list[ArmResults], dict[str, Any]]:
    """The two arms and the paired difference, treatment minus control."""
    study = load_study(root / "params.yaml")
    row = declared(root, study, pipelines_of([arm.name])).rows.get(arm.name)
    if row is None or row.versus is None:
        raise UserError(f"{arm.name} is compared with no arm (`versus` in params.yaml)")
    control = _find(row.versus, arms)
    return [arm, control], against(arm, control, [column.path]).get(column.path, {})


def _claim_effect(number_id: str, claim_id: str, root: Path) -> Explanation:
    findings = read_findings(root)
    if findings is None:
        raise UserError(
            f"{root / 'findings.json'} does not exist; write it with `dvc repro findings`"
        )
    if claim_id not in findings["claims"]:
        raise UserError(f"no claim {claim_id!r}{nearest(claim_id, findings['claims'])}")
    entry = findings["claims"][claim_id]
    effect = entry["effect"] or {}
    return Explanation(
        id=number_id,
        value=effect.get("estimate"),
        unit=entry["unit"],
        interval=None if effect.get("low") is None else (effect["low"], effect["high"]),
        definition=f"{entry['contrast']['treatment']} minus {entry['contrast']['control']}, "
        f"{PAIRED[entry['pairing']]}: {entry['title']} ({entry['metric']})",
        note=f"{entry['status']} ({entry['standing']}): {entry['reason']}",
        inputs=tuple((item["file"], item["sha256"]) for item in entry["evidence"]),
        command=f"{entry['reproduce']} && study explain {number_id}",
    )


def _words(column: Column, content: Mapping[str, Any]) -> str:
    checkpoint = column.path.partition(".")[0]
    stored = lookup(block(content, checkpoint) or {}, ("checkpoint",))
    where = {"best": "weights of the best epoch", "last": "weights of the last epoch"}
    place = "the only reconstruction" if stored == "only" else where.get(checkpoint, "")
    return f"{column.title}: {column.definition}" + (f"; {place}" if place else "")


def _interval_note(facts: Mapping[str, Any]) -> str:
    if not facts:
        return "no seed has this number, or the arms ran on different data"
    return f"{percent(facts['level'])} t interval" if facts.get("level") else ""


def _input(arm: ArmResults, seed: int, root: Path) -> tuple[str, str]:
    file = arm.files[seed]
    return file.relative_to(root).as_posix(), sha256(file)


def _again(number_id: str, *arms: str) -> str:
    return f"{reproduce(arms)} && study explain {number_id}"

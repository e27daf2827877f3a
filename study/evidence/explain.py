"""Explain a number: value, definition, inputs with their hashes, and the command to recompute it.

control/s3/last.standard.amplitude.mae      one seed
control/mean/last.standard.amplitude.mae    mean over the seeds; also median
agc/difference/last.val_loss                difference from the arm's `versus`, paired by seed
AGC-001/effect                              effect of a claim
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.evidence.arms import ArmResults, block, load_all, lookup
from study.evidence.cells import bounds
from study.evidence.estimates import Estimate
from study.evidence.evaluable import why_absent
from study.evidence.format import counted, percent, reproduce
from study.evidence.metric_catalog import Column, find_column
from study.evidence.pipelines import declared, pipelines_of
from study.evidence.staleness import current_findings
from study.evidence.summary import against, numbers
from study.reading import hash_of_file, quoted
from study.runs import provenance
from study.settings import UserError, load_study, nearest

PAIRED = {
    "seed": "paired by seed",
    "none": "not paired",
    "one fixed value": "against one fixed value, not paired",
}
KINDS = ("mean", "median", "difference")
FORM = "ARM/s1/PATH, ARM/mean/PATH, ARM/median/PATH, ARM/difference/PATH or CLAIM/effect"


LONGEST_ID = 500


@dataclass(frozen=True)
class Explanation:
    """An explained number.

    `value`: in `unit`, or None, with the reason in `note`; `facts`: the estimate with its interval
    for a number over seeds; `inputs`: (file, sha256).
    """

    id: str
    value: float | None
    unit: str
    facts: Estimate | None
    definition: str
    note: str
    inputs: tuple[tuple[str, str], ...]
    command: str

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        value = "null" if self.value is None else f"{self.value!r}{unit}"
        lines = [f"{self.id} = {value}{bounds(self.facts)}", f"  is       {self.definition}"]
        lines += [f"  note     {self.note}"] if self.note else []
        lines += [f"  input    {file}  sha256 {digest}" for file, digest in self.inputs]
        return "\n".join([*lines, f"  again    {self.command}"])


def explain(number_id: str, root: Path) -> Explanation:
    """Explain the number `number_id` of the pipeline folder `root`.

    Raises UserError, with similar names, for an invalid id.
    """
    if len(number_id) > LONGEST_ID:
        raise UserError(f"{quoted(number_id)} is not a number's id; accepted: {FORM}")
    head, _, path = number_id.rpartition("/")
    if path == "effect":
        return _claim_effect(number_id, head, root)
    arm_name, _, kind = head.rpartition("/")
    if not arm_name or (kind not in KINDS and not re.fullmatch(r"s[0-9]{1,18}", kind)):
        raise UserError(f"{number_id!r} is not a number's id; accepted: {FORM}")
    column = find_column(path)
    arms = load_all(root)
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
    content, value = arm.seeds[seed], arm.numbers[seed].get(column.path)
    artifacts = tuple(sorted(content["evidence"].items()))
    return Explanation(
        id=number_id,
        value=value,
        unit=column.unit,
        facts=None,
        definition=_words(column, content),
        note=why_absent(content, column.path) if value is None else _bound(column, value),
        inputs=(*_inputs(arm, seed, column, root), *artifacts),
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
    mean, used = numbers(arm, [column.path]).get(column.path), [arm]
    facts: Estimate | None = mean
    if kind == "difference":
        used, facts = _difference(arm, column, arms, root)
    elif kind == "median" and mean is not None:
        facts = Estimate(estimate=mean.median, low=None, high=None, level=mean.level, n=mean.n)
    n = 0 if facts is None else facts.n
    return Explanation(
        id=number_id,
        value=None if facts is None else facts.estimate,
        unit=column.unit,
        facts=facts,
        definition=f"{kind} over {counted(n, 'seed')} of: {_words(column, {})}",
        note=_interval_note(facts),
        inputs=tuple(i for a in used for s in a.seeds for i in _inputs(a, s, column, root)),
        command=_again(number_id, *(a.name for a in used)),
    )


def _difference(
    arm: ArmResults, column: Column, arms: Mapping[str, ArmResults], root: Path
) -> tuple[list[ArmResults], Estimate | None]:
    """The two arms and the paired difference, treatment minus control. Raises UserError if the arm
    has no `versus`."""
    study = load_study(root / "params.yaml")
    row = declared(root, study, pipelines_of([arm.name])).rows.get(arm.name)
    if row is None or row.versus is None:
        raise UserError(f"{arm.name} is compared with no arm (`versus` in params.yaml)")
    control = _find(row.versus, arms)
    return [arm, control], against(arm, control, [column.path]).get(column.path)


def _claim_effect(number_id: str, claim_id: str, root: Path) -> Explanation:
    claims = current_findings(root).claims
    if claim_id not in claims:
        raise UserError(f"no claim {claim_id!r}{nearest(claim_id, claims)}")
    claim = claims[claim_id]
    return Explanation(
        id=number_id,
        value=None if claim.effect is None else claim.effect.estimate,
        unit=claim.unit,
        facts=claim.effect,
        definition=f"{claim.contrast.treatment} minus {claim.contrast.control}, "
        f"{PAIRED[claim.pairing]}: {claim.title} ({claim.metric})",
        note=f"{claim.status} ({claim.standing}): {claim.reason}",
        inputs=tuple((item.file, item.sha256) for item in claim.evidence),
        command=f"{claim.reproduce} && study explain {number_id}",
    )


def _words(column: Column, content: Mapping[str, Any]) -> str:
    checkpoint = column.path.partition(".")[0]
    stored = lookup(block(content, checkpoint) or {}, ("checkpoint",))
    where = {"best": "weights of the best epoch", "last": "weights of the last epoch"}
    place = "the only reconstruction" if stored == "only" else where.get(checkpoint, "")
    return f"{column.title}: {column.definition}" + (f"; {place}" if place else "")


def _bound(column: Column, value: float) -> str:
    return "a lower bound: the FRC never falls below 0.5" if value == column.limit else ""


def _interval_note(facts: Estimate | None) -> str:
    if facts is None:
        return "no seed has this number, or the arms ran on different data"
    return "" if facts.low is None else f"{percent(facts.level)} t interval"


def _inputs(arm: ArmResults, seed: int, column: Column, root: Path) -> Iterator[tuple[str, str]]:
    """The file of a seed's result and, for numbers from its provenance, also that file."""
    files = [arm.files[seed]]
    if column.path == "training.seconds" and arm.seeds[seed]["environment"] is not None:
        files.append(provenance.file_of(files[0]))
    for file in files:
        yield file.relative_to(root).as_posix(), hash_of_file(file)


def _again(number_id: str, *arms: str) -> str:
    return f"{reproduce(arms)} && study explain {number_id}"

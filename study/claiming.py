"""A new arm together with the claim that it is run for: both are written, or neither.

A claim is fixed before its runs (study/evidence/claims.py says what it holds). Its block goes to
the end of claims.yaml in the style of that file; every other line stays as it is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError
from ruamel.yaml.comments import CommentedMap, CommentedSeq

from study import arms
from study.arms import Draft, Takes
from study.committing import commit
from study.evidence.claims import parse_claims
from study.evidence.columns import OUTCOME, find_column
from study.params import Row, UserError
from study.runs import write_text

PARAMS, CLAIMS = "params.yaml", "claims.yaml"
WIDTH = 92


@dataclass(frozen=True)
class ClaimDraft:
    """What a person decides about a claim on a new arm; the rest follows from the arm.

    `margin` is in the unit of `metric`.
    """

    id: str
    text: str
    metric: str
    direction: str
    margin: float
    family: str
    needed_seeds: int


def entry_of(claim: ClaimDraft, arm: str, base: str, changes: Collection[str]) -> dict[str, Any]:
    """The claim as claims.yaml has it: `arm` against `base`; a bundle if several factors changed.

    Raises UserError for an unknown metric.
    """
    rate = claim.metric == OUTCOME
    unit = "1" if rate else find_column(claim.metric).margin_unit
    return {
        "text": claim.text,
        "kind": "bundle" if len(changes) > 1 else "confirmatory",
        "family": claim.family,
        "arms": {"treatment": arm, "control": base},
        "metric": claim.metric,
        "direction": claim.direction,
        "margin": {"value": claim.margin, "unit": 1 if unit == "1" else unit},
        "needed_seeds": claim.needed_seeds,
        "changes": sorted(changes),
        "evidence": "failure_rate" if rate else "mean_difference",
    }


def add(
    root: Path,
    draft: Draft,
    claim: ClaimDraft | None = None,
    takes: Takes | None = None,
    seen: Row | None = None,
) -> Row:
    """Write the arm, and its claim where there is one, into the pipeline folder `root`.

    Raises UserError as `study.arms.new_arm` does and for a claim that claims.yaml cannot take;
    then, and when the disk fails, both files are as they were.
    """
    params, claims = root / PARAMS, root / CLAIMS
    with arms.lock(params):
        row, longer = arms.with_arm(params, draft, takes, seen)
        if claim is None:
            write_text(params, longer)
            return row
        before, claimed = params.read_text(), with_claim(claims, claim, draft, row.changes)
        # The arm first: a claim about an arm that is not there would be an error of the study.
        write_text(params, longer)
        try:
            write_text(claims, claimed)
        except BaseException:
            write_text(params, before)
            raise
    return row


def committed(root: Path, draft: Draft, claim: ClaimDraft | None) -> str:
    """Commit what `add` wrote; returns the short hash. Raises UserError when git refuses.

    Other changes of the same files go with it: a file is committed whole.
    """
    names = [PARAMS] if claim is None else [PARAMS, CLAIMS]
    message = f"Add arm {draft.name}" + (f" and claim {claim.id}" if claim else "")
    return commit(root, names, message)


def command(draft: Draft, claim: ClaimDraft | None, commits: bool = False) -> list[str]:
    """The words of the command line that do the same."""
    words = [*arms.command(draft), *(["--commit"] if commits else [])]
    if claim is None:
        return words
    fields = {
        "--claim": claim.id,
        "--claim-text": claim.text,
        "--metric": claim.metric,
        "--direction": claim.direction,
        "--margin": f"{claim.margin:g}",
        "--family": claim.family,
        "--needed-seeds": str(claim.needed_seeds),
    }
    return [*words, *(word for pair in fields.items() for word in pair)]


def with_claim(claims: Path, claim: ClaimDraft, draft: Draft, changes: Collection[str]) -> str:
    """The whole of claims.yaml with the new claim at its end. Raises UserError for a bad one."""
    text = claims.read_text() if claims.is_file() else "claims:\n"
    before = parse_claims(_loaded(text, claims), claims)
    if any(other.id == claim.id for other in before.claims):
        raise UserError(f"claim {claim.id!r} exists already; choose another id")
    entry = entry_of(claim, draft.name, draft.base, changes)
    parse_claims({"claims": {claim.id: entry}}, claims)  # this one alone: the sentence names it
    longer = appended(text, {claim.id: entry})
    book = parse_claims(_loaded(longer, claims), claims)
    if book.claims[:-1] != before.claims or book.claims[-1].arms.treatment != draft.name:
        raise UserError(f"{claims} cannot be extended without changing it; add the claim by hand")
    return longer


def appended(text: str, entries: Mapping[str, Mapping[str, Any]]) -> str:
    """claims.yaml with more claims at its end, each a block in the style of the file."""
    lines = text.rstrip("\n").split("\n")
    lines = ["claims:" if line.replace(" ", "") == "claims:{}" else line for line in lines]
    for claim_id, entry in entries.items():
        first = lines[-1].rstrip() == "claims:"
        lines += [] if first else [""]
        lines += [f"  {line}" for line in arms.dumped({claim_id: _styled(entry)}, width=10**6)]
    return "\n".join(lines) + "\n"


def _styled(entry: Mapping[str, Any]) -> CommentedMap:
    """Contrasts, margins and short lists on one line each, as the file has them."""
    styled = CommentedMap(entry)
    for key, value in entry.items():
        if isinstance(value, Mapping):
            styled[key] = CommentedMap(value)
            styled[key].fa.set_flow_style()
        elif isinstance(value, (list, tuple)):
            styled[key] = CommentedSeq(value)
            if sum(len(str(item)) + 2 for item in value) + len(key) < WIDTH - 8:
                styled[key].fa.set_flow_style()
    return styled


def _loaded(text: str, path: Path) -> Any:
    try:
        return YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise UserError(f"{path} is no valid YAML: {' '.join(str(error).split())}") from None

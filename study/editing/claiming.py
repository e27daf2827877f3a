"""Write a new arm together with its claim.

Every step can be repeated: if a command was killed, or git refused its commit, repeating it
completes the work. What is already written is recognised and kept.

A claim is fixed before its runs (`study/evidence/claims.py` has its fields). Its block is appended
to claims.yaml in the style of that file; every other line is kept.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from ruamel.yaml.comments import CommentedMap, CommentedSeq

from study.editing import arms, yaml_file
from study.editing.arms import Draft, Takes
from study.editing.committing import commit, committed_text
from study.evidence import decidability
from study.evidence.arms import ArmResults
from study.evidence.claims import parse_claims
from study.evidence.metric_catalog import OUTCOME, find_column
from study.evidence.registered import claims_on, registered_seeds
from study.reading import parse_yaml, read_yaml_text
from study.runs.environment import git
from study.settings import Arm, Row, Study, UserError, load_study

PARAMS, CLAIMS = "params.yaml", "claims.yaml"
NO_CLAIMS = "claims:\n"
WIDTH = 92


@dataclass(frozen=True)
class ClaimDraft:
    """The user's part of a claim on a new arm; the rest follows from the arm.

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
    commits: bool = False,
) -> Row:
    """Write the arm, and its claim where there is one, into the pipeline folder `root`.

    Entries that already exist with the same content are kept. `commits`: the caller calls
    `committed` next, so other uncommitted edits of the same files are refused here, before anything
    is written. Raises UserError as `study.editing.arms.with_arm` does, for a claim that claims.yaml
    cannot take and for one that cannot be decided; then, and when the disk fails, both files are as
    they were.
    """
    params, claims = root / PARAMS, root / CLAIMS
    with yaml_file.lock(params):
        before = yaml_file.read(params)[0]
        row, longer = arms.with_arm(params, draft, takes, seen)
        claimed = None if claim is None else with_claim(claims, claim, draft, row.changes)
        if commits:
            _refuse_other_edits(root, draft, claim, takes, longer, claimed)
        if claim is not None and claimed is not None:
            check_decidable(root, claimed, claim.id, _study_with(params, draft.name, row))
        # The arm first: a claim about a missing arm would make the study invalid.
        yaml_file.write_changed(params, longer)
        if claimed is None:
            return row
        try:
            yaml_file.write_changed(claims, claimed)
        except BaseException:
            with contextlib.suppress(OSError):  # the first error is reported
                yaml_file.write_changed(params, before)
            raise
    return row


def proposed_seeds(
    root: Path, study: Study, draft: Draft, row: Row, claim: ClaimDraft
) -> tuple[int, ...]:
    """The seeds derived for the draft's data set with its claim registered; empty for an arm
    without seeds (`study/evidence/registered.py` has the derivation). `study`: content of
    params.yaml in `root`; `row`: the arm of the draft. Raises UserError for a claim that cannot be
    written.
    """
    if not isinstance(row, Arm):
        return ()
    entry = entry_of(claim, draft.name, draft.base, row.changes)
    parsed = parse_claims({"claims": {claim.id: entry}}, root / CLAIMS).claims[0]
    others = claims_on(root, {**study.arms, draft.name: row}, row.data)
    registered = [parsed, *(other for other in others if other.id != claim.id)]
    return registered_seeds(registered, row.data, claim.needed_seeds)


def seeded(root: Path, draft: Draft, proposed: Collection[int]) -> Draft:
    """The draft with the proposed seeds if its base has them too, otherwise without seeds.

    Runs are compared seed by seed: an arm with other seeds than its base could not be compared. An
    existing arm keeps its seeds.
    """
    known = load_study(root / PARAMS).arms
    row, base = known.get(draft.name), known.get(draft.base)
    if isinstance(row, Arm):
        return replace(draft, seeds=row.seeds)
    if isinstance(base, Arm) and proposed and set(proposed) <= set(base.seeds):
        return replace(draft, seeds=tuple(proposed))
    return draft


def check_decidable(
    root: Path,
    text: str,
    claim_id: str,
    study: Study,
    arms: Mapping[str, ArmResults] | None = None,
) -> None:
    """Raise UserError when a claim of `text`, a claims.yaml for the pipeline folder `root`, cannot
    be decided (`study/evidence/decidability.py` has the rules). `study`: with the claim's arms;
    `arms`: the stored results, if they were read already.
    """
    book = parse_claims(_loaded(text, root / CLAIMS), root / CLAIMS)
    claim = next(claim for claim in book.claims if claim.id == claim_id)
    known = decidability.known_of(root, [claim], study, decidability.exemptions(book), arms)
    decidability.refuse_claims([decidability.assess(claim, book, known)])


def _study_with(params: Path, name: str, row: Row) -> Study:
    study = load_study(params)
    return study.model_copy(update={"arms": {**study.arms, name: row}})


def committed(
    root: Path, draft: Draft, claim: ClaimDraft | None, takes: Takes | None = None
) -> str:
    """Commit what `add` wrote; returns the short hash, even if it was committed before.

    Raises UserError when git refuses, and when the files hold other uncommitted edits: a file is
    committed whole. The arm then stays written, as the message states.
    """
    names = [PARAMS] if claim is None else [PARAMS, CLAIMS]
    message = f"Add arm {draft.name}" + (f" and claim {claim.id}" if claim else "")
    files = [os.path.relpath(yaml_file.write_target(root / name), root) for name in names]
    with yaml_file.lock(root / PARAMS):  # until the files are committed
        row, longer = arms.with_arm(root / PARAMS, draft, takes)
        claimed = claim and with_claim(root / CLAIMS, claim, draft, row.changes)
        try:
            _refuse_other_edits(root, draft, claim, takes, longer, claimed)
            return commit(root, files, message)
        except UserError as error:
            added = f"holds {draft.name}" if claim is None else f"hold {draft.name} and {claim.id}"
            raise UserError(
                f"{' and '.join(names)} {added} now, but this is not committed: {error}. "
                f"Then run the same command again, or `git commit {' '.join(files)}`"
            ) from None


def _refuse_other_edits(
    root: Path,
    draft: Draft,
    claim: ClaimDraft | None,
    takes: Takes | None,
    params: str,
    claims: str | None,
) -> None:
    """Raise UserError unless `params` and `claims` are the last commit with this arm added."""
    if git("rev-parse", "--git-dir", root=root) is None:
        raise UserError("this folder is not in a git repository, or git is not installed")
    was = committed_text(root, os.path.relpath(yaml_file.write_target(root / PARAMS), root))
    edits = _edits(PARAMS, was, params, lambda text: _arm_added(text, root, draft, takes))
    if claim is not None and claims is not None:
        file, row = root / CLAIMS, arms.with_arm(root / PARAMS, draft, takes)[0]
        was = committed_text(root, os.path.relpath(yaml_file.write_target(file), root)) or NO_CLAIMS
        added = partial(claim_added, file=file, claim=claim, draft=draft, changes=row.changes)
        edits += _edits(CLAIMS, was, claims, added)
    if edits:
        raise UserError(
            f"uncommitted edits that are not part of {draft.name} would be committed with it: "
            f"{'; '.join(edits)}. Commit or undo them first"
        )


def _arm_added(text: str, root: Path, draft: Draft, takes: Takes | None) -> str:
    file = root / PARAMS
    return arms.extended(text, yaml_file.loaded(text, file), file, draft, takes)[1]


def _edits(name: str, was: str | None, now: str, added: Callable[[str], str]) -> list[str]:
    """The changes of `now` beyond `added(was)`, in words."""
    if was is None:
        return [f"{name} is not in git yet"]
    try:
        wanted = added(was)
    except UserError:  # for example, the last commit does not contain the base arm
        wanted = None
    if wanted == now:
        return []
    old, new = _entries(wanted or was, name), _entries(now, name)
    changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
    listed = ", ".join(changed[:6]) + (f" and {len(changed) - 6} more" if changed[6:] else "")
    return [f"{name} ({listed or 'comments or layout'})"]


def _entries(text: str, name: str) -> dict[str, Any]:
    """The entries of the sections of a file: `arms.control` -> its content."""
    sections = _loaded(text, Path(name))
    if not isinstance(sections, Mapping):
        return {}
    return {
        f"{section}.{key}": value
        for section, entries in sections.items()
        for key, value in (entries if isinstance(entries, Mapping) else {"": entries}).items()
    }


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
    """The text of claims.yaml with the new claim at its end. Raises UserError for an invalid claim.
    The text is unchanged if it contains exactly this claim already.
    """
    text = read_yaml_text(claims) if claims.is_file() else NO_CLAIMS
    return claim_added(text, claims, claim, draft, changes)


def claim_added(
    text: str, file: Path, claim: ClaimDraft, draft: Draft, changes: Collection[str]
) -> str:
    """`text`, the content of `file`, with the claim. Raises as `with_claim`."""
    before = parse_claims(_loaded(text, file), file)
    known = next((other for other in before.claims if other.id == claim.id), None)
    entry = entry_of(claim, draft.name, draft.base, changes)
    if known is not None and known.arms.treatment != draft.name:
        raise UserError(f"claim {claim.id!r} already exists; choose another id")
    # Check this claim only, so that the message names it.
    requested = parse_claims({"claims": {claim.id: entry}}, file).claims[0]
    if known == requested:
        return text
    if known is not None:
        raise UserError(f"claim {claim.id!r} already exists with other content; choose another id")
    longer = appended(text, {claim.id: entry})
    book = parse_claims(_loaded(longer, file), file)
    if book.claims[:-1] != before.claims or book.claims[-1].arms.treatment != draft.name:
        raise UserError(f"{file} cannot be extended without changing it; add the claim by hand")
    return longer


def appended(text: str, entries: Mapping[str, Mapping[str, Any]]) -> str:
    """claims.yaml with claims appended, each as a block in the style of the file."""
    lines = text.rstrip("\n").split("\n")
    lines = ["claims:" if line.replace(" ", "") == "claims:{}" else line for line in lines]
    for claim_id, entry in entries.items():
        first = lines[-1].rstrip() == "claims:"
        lines += [] if first else [""]
        lines += [f"  {line}" for line in yaml_file.dumped({claim_id: _styled(entry)}, width=10**6)]
    return "\n".join(lines) + "\n"


def _styled(entry: Mapping[str, Any]) -> CommentedMap:
    """Write contrasts, margins and short lists on one line each, as in the file."""
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
    return parse_yaml(text, path)

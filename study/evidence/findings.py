"""findings.json: statistics of all arms over their seeds and the verdicts on all claims.

Design choices
- A function of its inputs only, independent of time and machine. Dates are the commit dates of the
  runs. Equal inputs give equal bytes; the earlier findings are one of the inputs.
- Conclusions are not written manually: all sentences are generated from numbers, claims.yaml and
  params.yaml.
- The key `status` is used only for verdicts on claims; runs have a `state` and an `outcome`.
- There are many recorded arms: for these, only numbers in their table and those used by claims are
  included. `study explain` computes all numbers in full.
- Nothing is deleted: earlier verdicts are kept in `history` and claims removed from claims.yaml in
  `superseded`. `withdrawn` lists removed claims from the git history, independently of the earlier
  findings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from study import investigations
from study.evidence.arms import ArmResults, load_all
from study.evidence.claims import SPECIAL, ClaimBook, check_arms
from study.evidence.comparison import make_comparison
from study.evidence.decidability import exemptions
from study.evidence.expected_power import Background
from study.evidence.flags import identical_arms, scale_defects
from study.evidence.judgement import make_finding
from study.evidence.markdown import render
from study.evidence.metric_catalog import RECORDED, SHOWN
from study.evidence.model import FORMAT, ArmFinding, ArmGroup, Findings, Tolerance, earlier_claims
from study.evidence.packing import differences
from study.evidence.pipelines import Declared, declared, pipelines_of
from study.evidence.staleness import check_format
from study.evidence.summary import TOLERANCE, as_stored, fences, summarise
from study.evidence.verdicts import STATUSES, judge
from study.evidence.withdrawn import withdrawn
from study.runs import plain
from study.settings import Row, Study

__all__ = ["build", "render"]


def build(
    root: Path,
    claims: ClaimBook,
    study: Study,
    previous: Mapping[str, Any] | None,
) -> Findings:
    """The findings of the checkout `root`.

    `previous`: content of the previous findings.json, or None. Raises UserError for a claim about
    an unknown arm, for results that cannot be read, and for previous findings of an unknown
    version.
    """
    if previous is not None:
        check_format(previous, "the earlier findings.json")
    arms = load_all(root)
    known = declared(root, study, pipelines_of([*arms, *_named(claims)]))
    check_arms(claims, study, {*arms, *known.rows})
    names = dict.fromkeys([*study.arms, *arms])
    comparisons = {claim.id: make_comparison(claim, arms, known.rows) for claim in claims.claims}
    judged = {
        claim.id: verdict
        for family in claims.families.values()
        for claim, verdict in zip(
            family, judge([comparisons[claim.id] for claim in family]), strict=True
        )
    }
    background = Background(arms, known, exemptions(claims))
    before = earlier_claims(previous or {})
    entries = {
        claim_id: make_finding(
            comparison,
            *judged[claim_id],
            claims,
            background,
            before[claim_id].history if claim_id in before else (),
            root,
        )
        for claim_id, comparison in comparisons.items()
    }
    return Findings(
        format=FORMAT,
        arms=_arms(names, arms, known.rows, claims),
        groups=_groups(known, arms),
        fences=fences(arms),
        flags=identical_arms(arms),
        scale_flags=scale_defects(arms),
        **_of_investigations(arms, root),
        claims=entries,
        headline=list(claims.headline),
        counts={s: sum(e.status == s for e in entries.values()) for s in STATUSES},
        superseded={i: e for i, e in sorted(before.items()) if i not in entries},
        withdrawn=withdrawn(claims),
        reproduce="make repro-all" if any("/" in name for name in arms) else "dvc repro",
        numbers=Tolerance(
            command="study explain ID",
            relative_tolerance=TOLERANCE,
        ),
    )


def _of_investigations(arms: Mapping[str, ArmResults], root: Path) -> dict[str, Any]:
    """The keys added by investigations."""
    parts = [part.facts(arms, root) for part in investigations.parts("findings")]
    return {key: plain(content) for part in parts for key, content in part.items()}


def _named(claims: ClaimBook) -> list[str]:
    """All arms that are named by claims."""
    return [name for claim in claims.claims for name in claim.arm_names]


def _groups(known: Declared, arms: Mapping[str, ArmResults]) -> list[ArmGroup]:
    """The recorded arms by question; arms without a question in one group per study."""
    groups = [
        ArmGroup(study=g.study, name=g.name, asks=g.asks, arms=[a for a in g.arms if a in arms])
        for g in known.groups
    ]
    grouped = {name for group in groups for name in group.arms}
    for pipeline in sorted(pipelines_of(arms)):
        rest = [n for n in arms if n.startswith(f"{pipeline}/") and n not in grouped]
        groups.append(ArmGroup(study=pipeline, name=None, asks=None, arms=rest))
    return [group for group in groups if group.arms]


def _paths(name: str, claims: ClaimBook) -> tuple[str, ...]:
    """Paths of the numbers of an arm that are included in the findings."""
    if "/" not in name:
        return SHOWN
    used = [c.metric for c in claims.claims if c.metric not in SPECIAL and name in c.arm_names]
    return tuple(dict.fromkeys([*RECORDED, *used]))


def _arms(
    names: Iterable[str],
    arms: Mapping[str, ArmResults],
    rows: Mapping[str, Row],
    claims: ClaimBook,
) -> dict[str, ArmFinding]:
    """All arms of the table. Differences are computed from the rounded numbers where possible."""
    found = {name: _arm(name, arms, rows, claims) for name in names}
    for name, arm in found.items():
        follow = differences(found, name) if arm.difference else {}
        known = {path: facts for path, facts in follow.items() if path in arm.difference}
        found[name] = arm.model_copy(update={"difference": {**arm.difference, **known}})
    return found


def _arm(
    name: str, arms: Mapping[str, ArmResults], rows: Mapping[str, Row], claims: ClaimBook
) -> ArmFinding:
    """An arm of the table, with its difference from its `versus` arm."""
    row = rows.get(name)
    control = arms.get(row.versus) if row is not None and row.versus else None
    found = summarise(name, row, arms.get(name), _paths(name, claims), control)
    return as_stored(name, found)

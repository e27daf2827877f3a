"""findings.json: the arms over their seeds and the verdict of every claim, from stored numbers.

Design choices
- A function of its inputs: no clock, no machine. Dates are the commit dates of the runs. Equal
  input gives equal bytes, with the earlier findings as one of the inputs.
- No typed conclusion: every sentence is put together from numbers, claims.yaml and params.yaml.
- The key `status` is used for verdicts alone (a claim's, and its second object's); runs have a
  `state` and an `outcome`.
- Recorded arms are many: of them stand here the columns of their table and those that claims use,
  to 6 digits. `study explain` computes every number in full.
- Nothing is deleted: a verdict that changed stays in `history`, a claim that left claims.yaml stays
  under `superseded`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from study.evidence import decision, published, statistics
from study.evidence.arms import ArmResults, load_all, sha256
from study.evidence.claims import Claim, ClaimBook, check_arms
from study.evidence.columns import CHECKPOINTS, OUTCOME, RECORDED, SHOWN
from study.evidence.flags import identical_arms, scale_defects
from study.evidence.ledger import FORMAT, check_format
from study.evidence.needs import needs_of
from study.evidence.pipelines import Declared, declared, pipelines_of
from study.evidence.report import render
from study.evidence.repository import not_confirmatory
from study.evidence.summary import (
    against,
    changed_factors,
    fences,
    stored_digits,
    summarise,
    tolerance,
)
from study.evidence.trial import Side, Trial, make_trial
from study.evidence.verdicts import STATUSES, Decision, judge
from study.evidence.wording import counted, fmt, listed, reproduce
from study.params import Row, Study
from study.runs import plain

__all__ = ["build", "render"]


def build(
    results: Path,
    recorded: Path,
    claims: ClaimBook,
    study: Study,
    previous: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The whole of findings.json. `previous`: the findings that this one follows, or None.

    Raises UserError for a claim about an unknown arm, for results that cannot be read and for
    earlier findings of an unknown version.
    """
    if previous is not None:
        check_format(previous, "the earlier findings.json")
    arms = load_all(results, recorded)
    known = declared(results.parent, study, pipelines_of([*arms, *_named(claims)]))
    check_arms(claims, study, {*arms, *known.rows})
    names = dict.fromkeys([*study.arms, *arms])
    trials = {claim.id: make_trial(claim, arms, known.rows) for claim in claims.claims}
    judged = {
        claim.id: verdict
        for family in claims.families.values()
        for claim, verdict in zip(
            family, judge([trials[claim.id] for claim in family]), strict=True
        )
    }
    before = dict((previous or {}).get("claims", {})) | dict((previous or {}).get("superseded", {}))
    base = results.parent
    entries = {
        claim_id: _entry(trial, *judged[claim_id], claims, base, before.get(claim_id, {}))
        for claim_id, trial in trials.items()
    }
    return plain(
        {
            "format": FORMAT,
            "arms": {name: _arm(name, arms, known.rows, claims) for name in names},
            "groups": _groups(known, arms),
            "fences": fences(arms),
            "flags": identical_arms(arms),
            "scale_flags": scale_defects(arms),
            "published": published.compare(arms),
            "decision": decision.decide(arms),
            "claims": entries,
            "counts": {s: sum(e["status"] == s for e in entries.values()) for s in STATUSES},
            "superseded": {i: e for i, e in sorted(before.items()) if i not in entries},
            "reproduce": "make repro-all" if any("/" in name for name in arms) else "dvc repro",
            "numbers": {
                "command": "study explain ID",
                "relative_tolerance": {"recorded": tolerance("a/b"), "others": 0.0},
            },
        }
    )


def _named(claims: ClaimBook) -> list[str]:
    """Every arm that a claim names."""
    pairs = [pair for c in claims.claims for pair in (c.arms, c.second_object) if pair]
    return [name for pair in pairs for name in (pair.treatment, pair.control)]


def _groups(known: Declared, arms: Mapping[str, ArmResults]) -> list[dict[str, Any]]:
    """The recorded arms by question; those of no question under their study's name alone."""
    groups = [
        {"study": g.study, "name": g.name, "asks": g.asks, "arms": [a for a in g.arms if a in arms]}
        for g in known.groups
    ]
    grouped = {name for group in groups for name in group["arms"]}
    for pipeline in sorted(pipelines_of(arms)):
        rest = [n for n in arms if n.startswith(f"{pipeline}/") and n not in grouped]
        groups.append({"study": pipeline, "name": None, "asks": None, "arms": rest})
    return [group for group in groups if group["arms"]]


def _paths(name: str, claims: ClaimBook) -> tuple[str, ...]:
    """The numbers of an arm that stand in the findings."""
    if "/" not in name:
        return SHOWN
    used = [c.metric for c in claims.claims if c.metric != OUTCOME and name in _of(c)]
    return tuple(dict.fromkeys([*RECORDED, *used]))


def _of(claim: Claim) -> list[str]:
    return _named(ClaimBook(Path(), (claim,)))


def _arm(
    name: str, arms: Mapping[str, ArmResults], rows: Mapping[str, Row], claims: ClaimBook
) -> dict[str, Any]:
    """An arm of the table, with its difference to the arm that it is compared with."""
    row, results, paths = rows.get(name), arms.get(name), _paths(name, claims)
    entry = {
        **summarise(name, row, results, paths),
        "changed": None,
        "difference": {},
        "reproduce": reproduce([name]),
    }
    control = arms.get(row.versus) if row is not None and row.versus else None
    if results is not None and control is not None:
        entry["changed"] = changed_factors(results, control)
        entry["difference"] = against(results, control, paths)
    return {**entry, **{k: stored_digits(name, entry[k]) for k in ("numbers", "difference")}}


# --- one claim --------------------------------------------------------------------------------


def _entry(
    trial: Trial,
    decision: Decision,
    alpha: float,
    book: ClaimBook,
    base: Path,
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """Everything that is known about one claim. `before`: its entry in the earlier findings."""
    claim = trial.claim
    family = book.families[claim.family]
    kind, standing = _standing(trial, book)
    needs = needs_of(trial, alpha) if _lacks_seeds(decision) else None
    pairs = [pair for pair in (claim.arms, claim.second_object) if pair]
    command = reproduce(name for pair in pairs for name in (pair.control, pair.treatment))
    entry = {
        "id": claim.id,
        "text": claim.text,
        "requested": claim.kind,
        "kind": kind,
        "standing": standing,
        "status": decision.status,
        "reason": decision.reason,
        "contrast": {"treatment": claim.arms.treatment, "control": claim.arms.control},
        "metric": claim.metric,
        "title": claim.column.title,
        "unit": claim.column.unit,
        "direction": claim.direction,
        "margin": claim.margin.value,
        "margin_unit": claim.margin.unit,
        "needed_seeds": claim.needed_seeds,
        "family": {"name": claim.family, "claims": [c.id for c in family], "alpha": alpha},
        "changed": trial.changed,
        "effect": _effect(claim, decision),
        "test": _test(trial, decision),
        "pairing": _pairing(trial),
        "n": len(trial.pairs),
        "needs": None if needs is None else asdict(needs),
        "second_object": _second(trial, decision),
        "first": decision.first,
        "seeds": _seeds(trial),
        "gates": [{"name": g.name, "passed": g.passed, "reason": g.reason} for g in trial.gates],
        "limits": _limits(trial, decision, alpha),
        "evidence": _evidence(trial, base),
        "claim_sha256": claim.sha256,
        "reproduce": f"{command} && dvc repro -s findings",
    }
    history = _history(entry, trial, before.get("history", []))
    return {**entry, "history": history, "supersedes": history[-2] if history[1:] else None}


def _lacks_seeds(decision: Decision) -> bool:
    """Whether it is seeds of the first object that the claim lacks, and not the second one."""
    return decision.status == "inconclusive" and decision.first is None


def _pairing(trial: Trial) -> str:
    if trial.claim.evidence == "failure_rate":
        return "none"
    return "seed" if trial.fixed is None else "one fixed value"


def _second(trial: Trial, decision: Decision) -> dict[str, Any] | None:
    """The second object of the claim, None where the claim names none."""
    if trial.second is None or decision.second is None:
        return None
    second = trial.second
    data = {content["data"]["path"]: content["data"]["sha256"] for _, content in second.runs}
    effect = decision.second.effect
    return {
        "treatment": second.treatment.name,
        "control": second.control.name,
        "status": decision.second.status,
        "reason": decision.second.reason,
        "effect": None if effect is None else asdict(effect),
        "n": 0 if effect is None else effect.n,
        "data": [{"path": path, "sha256": sha} for path, sha in sorted(data.items())],
    }


def _standing(trial: Trial, book: ClaimBook) -> tuple[str, str]:
    """confirmatory or exploratory, and the words that say so with the seeds behind it.

    Confirmatory are exactly as many pairs as the claim fixed: whoever may add seeds after a look
    finds something in the end. A row that is no network draws nothing: it may have been seen.
    """
    claim = trial.claim
    n = f"{len(trial.pairs)} of {claim.needed_seeds} seeds"
    runs = [
        (content["seed"], content["code"]["commit"], content["code"]["dirty"])
        for _, content in trial.runs
        if content["label"] == "arm"
    ]
    why = not_confirmatory(claim, book, runs, {side.name: trial.seeds for side in trial.trained})
    if why is None and len(trial.pairs) > claim.needed_seeds:
        why = f"the claim fixes {claim.needed_seeds} seeds, more of them is optional stopping"
    if why is None and len(trial.pairs) == claim.needed_seeds:
        return "confirmatory", f"confirmatory, {n}: the claim was committed before any of its runs"
    return "exploratory", f"exploratory, {n}" + (f": {why}" if why else "")


def _effect(claim: Claim, decision: Decision) -> dict[str, Any] | None:
    if decision.effect is None:
        return None
    return {"id": f"{claim.id}/effect", "unit": claim.column.unit, **asdict(decision.effect)}


def _test(trial: Trial, decision: Decision) -> dict[str, Any] | None:
    """The test that decides and those beside it; None where none may be computed."""
    if decision.effect is None:
        return None
    if trial.claim.evidence == "failure_rate":
        rates = {side.name: statistics.clopper_pearson(*trial.rate(side)) for side in trial.sides}
        return {
            "name": "Fisher exact",
            "p": statistics.fisher_p(*(trial.rate(side) for side in trial.sides)),
            "rates": {name: asdict(rate) for name, rate in rates.items()},
        }
    equal = trial.claim.direction == "equal"
    improvement = statistics.probability_of_improvement(
        *zip(*trial.pairs, strict=True), lower_is_better=trial.claim.direction == "lower"
    )
    return {
        "name": _test_name(trial),
        "p": statistics.equivalence_p(trial.differences, trial.claim.margin.value)
        if equal
        else statistics.paired_p(trial.differences),
        "sign_flip_p": statistics.sign_flip_p(trial.differences),
        "smallest_sign_flip_p": statistics.smallest_sign_flip_p(len(trial.pairs)),
        "probability_of_claimed_order": None if equal else improvement,
    }


def _test_name(trial: Trial) -> str:
    student = "paired t" if trial.fixed is None else "one-sample t against one fixed value"
    return f"two one-sided {student}, doubled" if trial.claim.direction == "equal" else student


def _seeds(trial: Trial) -> list[dict[str, Any]]:
    """Every declared seed with both numbers and what became of both runs."""
    rows = []
    for seed in trial.seeds:
        row: dict[str, Any] = {"seed": seed}
        for part, side in zip(("treatment", "control"), trial.sides, strict=True):
            content = side.stored(seed) or {}
            row[part] = {
                "value": trial.value(side, seed),
                "outcome": content.get("outcome", "missing"),
                "cause": content.get("cause"),
            }
        rows.append(row)
    return rows


def _limits(trial: Trial, decision: Decision, alpha: float) -> list[str]:
    """What the verdict does not show, as far as the numbers tell."""
    claim, effect = trial.claim, decision.effect
    limits = []
    if claim.kind == "bundle":
        limits.append(f"not attributable to one factor: {listed(sorted(trial.changed or {}))}")
    if trial.fixed is not None:
        limits.append(
            f"{trial.fixed.name} is no network: one fixed value, not paired; the spread is that of "
            "the other arm alone, and the rule of changed factors cannot apply (the method differs)"
        )
    limits += _object_limits(trial, decision)
    limits += _scale_limits(trial)
    if effect is not None and claim.evidence == "mean_difference":
        smallest = statistics.smallest_sign_flip_p(effect.n)
        if smallest > alpha:
            limits.append(
                f"with {counted(effect.n, 'pair')} the exact sign-flip p cannot fall below "
                f"{fmt(smallest, 2)}; the claim is held to {fmt(alpha)}"
            )
    decided = decision.status in ("supported", "refuted") and claim.direction != "equal"
    if decided and effect is not None and abs(effect.estimate) < claim.margin.value:
        limits.append(f"the estimate is smaller than the margin {fmt(claim.margin.value)}")
    commits = {str(content["code"]["commit"])[:12] for _, content in trial.runs}
    if len(commits) > 1:
        limits.append(f"runs of several commits ({listed(sorted(commits))}), one behaviour an arm")
    return limits


def _object_limits(trial: Trial, decision: Decision) -> list[str]:
    """Objects are few: what the verdict rests on."""
    second = decision.second
    if second is not None and second.status == "repeated":
        return [f"two objects; on the second: {second.reason}"]
    paths = sorted({content["data"]["path"] for _, content in trial.runs})
    limits = []
    if paths:
        limits.append(
            f"one draw of the object ({listed(paths)}): the spread over seeds is not the spread "
            "over objects"
        )
    if second is not None:
        limits.append(f"second object {second.status}: {second.reason}")
    return limits


def _scale_limits(trial: Trial) -> list[str]:
    """Flags of the amplitude scale on the very objects that a mean rests on."""
    checkpoint = trial.claim.metric.partition(".")[0]
    if trial.claim.evidence != "mean_difference" or checkpoint not in CHECKPOINTS:
        return []
    arms = {side.name: side.results for side in trial.sides if side.results is not None}
    judged = {f"s{seed}" for seed in trial.seeds}
    return [
        flag["reason"]
        for flag in scale_defects(arms)
        if flag["checkpoint"] == checkpoint and judged & set(flag["scales"])
    ]


def _evidence(trial: Trial, base: Path) -> list[dict[str, Any]]:
    """Files and hashes behind the numbers: each seed's result, and the artifacts it came from;
    those of the second object too."""
    parts = (trial,) if trial.second is None else (trial, trial.second)
    found = {item["file"]: item for part in parts for item in _files(part, base)}
    return list(found.values())


def _files(trial: Trial, base: Path) -> list[dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for side in trial.sides:
        for seed, content in (side.results.seeds if side.results else {}).items():
            if seed not in trial.seeds and not side.is_reference:
                continue
            assert side.results is not None
            file, run = side.results.files[seed], f"{side.name} s{seed}"
            path = file.relative_to(base).as_posix()
            found[path] = {"run": run, "file": path, "sha256": sha256(file), "in_git": True}
            for artifact, digest in _artifacts(trial.claim.metric, side, content):
                facts = {"run": run, "file": artifact, "sha256": digest, "in_git": False}
                found[artifact] = facts
    return list(found.values())


def _artifacts(metric: str, side: Side, content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(file, hash) of the artifacts that the metric reads; none for a recorded study, whose runs
    lie in a folder of their own."""
    checkpoint = "best" if side.is_reference else metric.partition(".")[0]
    objects = (checkpoint,) if checkpoint in CHECKPOINTS else CHECKPOINTS
    wanted = {"history.csv", *(f"object_{name}.npz" for name in objects)}
    if metric == "training.gradient_ratio":
        wanted.add("gradients.jsonl")
    if "/" in side.name:
        return []
    return [(f, digest) for f, digest in content["evidence"].items() if Path(f).name in wanted]


# --- history ----------------------------------------------------------------------------------


def _history(
    entry: Mapping[str, Any], trial: Trial, before: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Every verdict so far, the present one last; grown only when the verdict changed, or the
    seeds that it rests on."""
    effect = entry["effect"] or {}
    commit, date = _latest(trial)
    now = {
        **{key: entry[key] for key in ("status", "kind", "claim_sha256", "n", "reason")},
        "seeds": list(trial.seeds),
        **{key: effect.get(key) for key in ("estimate", "low", "high")},
        "commit": commit,
        "date": date,
    }
    compared = ("status", "kind", "claim_sha256", "n")
    if before and all(before[-1][key] == now[key] for key in compared):
        known = before[-1].get("seeds")
        if known is None:  # entries of earlier versions count their pairs alone
            return [*before[:-1], {**before[-1], "seeds": now["seeds"]}]
        if known == now["seeds"]:
            return list(before)
    return [*before, now]


def _latest(trial: Trial) -> tuple[str | None, str | None]:
    """Commit and commit date of the youngest run behind the claim."""
    codes = [content["code"] for _, content in trial.runs if content["code"]["commit"]]
    if not codes:
        return None, None
    youngest = max(codes, key=lambda code: (_instant(code["commit_date"]), code["commit"]))
    return youngest["commit"], youngest["commit_date"]


def _instant(date: str | None) -> float:
    return datetime.fromisoformat(date).timestamp() if date else 0.0

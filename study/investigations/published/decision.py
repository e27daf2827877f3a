"""Gold, silver or pivot: the published plan's rule, applied to the stored results.

    gold     stable beats control on median loss with a lower failure rate, and scales
    silver   stable fails, but agc lowers the failure rate at no more than 10 % worse median loss
    pivot    LayerScale

Design choices
- The rule was published with a crash rule: amplitude SSIM below 0.5, or a final validation loss
  above 0.15, or NaN, or out of memory. Both thresholds belong to the published scale: where healthy
  runs score about 0.5 it calls them crashed. So the rule is applied twice, once with that crash
  rule and once with our outcome (failed or collapsed), and both branches are reported.
- Losses are those of the last weights; a run without one counts as infinitely bad, so the median
  stays a median of all runs. Amplitude SSIM is that of the set `published`, last weights, and a
  constant object is a crash.
- Stable fails: it is not gold. Scales: with five blocks (an InstanceNorm has no sixth level at
  n = 32), and otherwise the same contrast, its median loss is below the control's and it does not
  fail more often. Without such arms: not shown, and gold is conditional on it.
- The rule compares point estimates. What the seeds can tell apart is beside it: exact intervals
  of the rates, Fisher's p, the paired interval of the losses, the least difference that the exact
  test sees, and the branch when each seed is left out in turn.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from study.evidence import statistics
from study.evidence.arms import ArmResults, block, lookup
from study.evidence.evaluable import why_not
from study.evidence.format import fmt, inline, join_words, percent, plus_minus
from study.settings import Scalar

Branch = Literal["gold", "silver", "pivot"]
Content = Mapping[str, Any]
Arms = Mapping[str, ArmResults]

ROLES = ("control", "stable", "agc", "stable_layerscale")
CANDIDATES: Mapping[Branch, str] = {
    "gold": "stable",
    "silver": "agc",
    "pivot": "stable_layerscale",
}
STUDY = "studies/"
LOSS = "last.val_loss"
SSIM_LIMIT, LOSS_LIMIT = 0.5, 0.15
SILVER_LOSS = 1.1
RULE = (
    "Gold: stable beats control on median loss with a lower failure rate, and scales. Silver: "
    "stable fails, but agc lowers the failure rate at no more than 10 % worse median loss. Pivot: "
    "LayerScale."
)


def crashed(content: Content) -> bool:
    """The published crash rule on one seed's JSON: SSIM < 0.5, loss > 0.15, NaN, out of memory."""
    last = block(content, "last") or {}
    ssim = lookup(last, ("published", "amplitude", "ssim"))
    constant = why_not(content, "last", "amplitude") is not None
    loss = last.get("val_loss")
    if content["outcome"] == "failed" or ssim is None or loss is None or constant:
        return True
    return ssim < SSIM_LIMIT or loss > LOSS_LIMIT


def not_ok(content: Content) -> bool:
    """Our rule on one seed's JSON: the run failed or collapsed."""
    return content["outcome"] != "ok"


CRASH_RULES: Mapping[str, tuple[Callable[[Content], bool], str]] = {
    "published": (
        crashed,
        f"amplitude SSIM below {SSIM_LIMIT}, or final validation loss above {LOSS_LIMIT}, or NaN, "
        "or out of memory; thresholds of the published scale",
    ),
    "outcome": (not_ok, "the run failed or collapsed"),
}


def branch(losses: Mapping[str, float], rates: Mapping[str, float], scales: bool | None) -> Branch:
    """The rule itself, from median loss and failure rate by role; `scales` None: not shown.

    A branch that needs scaling is taken unless scaling is refuted.
    """
    beats = losses["stable"] < losses["control"] and rates["stable"] < rates["control"]
    if beats and scales is not False:
        return "gold"
    near = losses["agc"] <= SILVER_LOSS * losses["control"] and math.isfinite(losses["agc"])
    return "silver" if near and rates["agc"] < rates["control"] else "pivot"


def decide(arms: Arms) -> dict[str, Any]:
    """`findings["decision"]`: branch and candidate under both crash rules, and what they rest on.

    `under` is None, with a `reason`, when an arm or a seed is missing or the data differ.
    """
    prefix = STUDY if all(f"{STUDY}{role}" in arms for role in ROLES) else ""
    names = {role: f"{prefix}{role}" for role in ROLES}
    entry: dict[str, Any] = {"rule": RULE, "arms": names, "reason": None, "under": None}
    missing = [name for name in names.values() if name not in arms]
    if missing:
        return {**entry, "reason": f"no results of {join_words(missing)}"}
    sides = {role: arms[name] for role, name in names.items()}
    if len({side.data_sha256 for side in sides.values()} | {None}) != 2:
        return {**entry, "reason": "the arms ran on different data"}
    if len({frozenset(side.seeds) for side in sides.values()}) != 1:
        return {**entry, "reason": f"the arms have different seeds: {_seeds(sides)}"}
    under = {rule: _under(rule, sides, arms) for rule in CRASH_RULES}
    branches = {facts["branch"] for facts in under.values()}
    return {
        **entry,
        "median_loss": {role: _finite(median_loss(side)) for role, side in sides.items()},
        "difference": {role: _difference(sides[role], sides["control"]) for role in ROLES[1:]},
        "under": under,
        "agree": len(branches) == 1,
    }


def _seeds(sides: Arms) -> str:
    """What each arm lacks of the seeds that any of them has."""
    known = sorted({seed for side in sides.values() for seed in side.seeds})
    lacks = {side.name: [s for s in known if s not in side.seeds] for side in sides.values()}
    return "; ".join(f"{name} lacks {join_words(seeds)}" for name, seeds in lacks.items() if seeds)


def median_loss(arm: ArmResults, without: int | None = None) -> float:
    """Median over the seeds of the last validation loss; a run without one is infinitely bad."""
    losses = arm.values(LOSS)
    values = [losses.get(seed, math.inf) for seed in arm.seeds if seed != without]
    return float(np.median(values))


def failures(
    arm: ArmResults, rule: Callable[[Content], bool], without: int | None = None
) -> tuple[int, int]:
    """(failed, all) seeds of an arm by a crash rule."""
    kept = [rule(content) for seed, content in arm.seeds.items() if seed != without]
    return sum(kept), len(kept)


def _under(name: str, sides: Arms, arms: Arms) -> dict[str, Any]:
    """The decision under one crash rule."""
    rule, words = CRASH_RULES[name]
    shown = scaling(sides, arms, "stable", rule)
    chosen = _branch(sides, rule, shown["scales"])
    candidate = CANDIDATES[chosen]
    counts = {role: failures(side, rule) for role, side in sides.items()}
    return {
        "crash_rule": words,
        "branch": chosen,
        "candidate": candidate,
        "candidate_arm": sides[candidate].name,
        "failures": {
            role: {"failed": k, **asdict(statistics.clopper_pearson(k, n))}
            for role, (k, n) in counts.items()
        },
        "fisher_p": {
            role: statistics.fisher_p(counts[role], counts["control"]) for role in ROLES[1:]
        },
        "scales": shown if candidate == "stable" else scaling(sides, arms, candidate, rule),
        "left_out": _left_out(sides, rule, shown["scales"]),
        "limits": _limits(counts),
    }


def _branch(
    sides: Arms,
    rule: Callable[[Content], bool],
    scales: bool | None,
    without: int | None = None,
) -> Branch:
    counts = {role: failures(side, rule, without) for role, side in sides.items()}
    return branch(
        {role: median_loss(side, without) for role, side in sides.items()},
        {role: k / n for role, (k, n) in counts.items()},
        scales,
    )


def _left_out(sides: Arms, rule: Callable[[Content], bool], scales: bool | None) -> dict[str, int]:
    """How often each branch is taken when one seed is left out; none with a single seed."""
    seeds = sorted(sides["control"].seeds)
    if len(seeds) < 2:
        return {}
    return dict(Counter(_branch(sides, rule, scales, seed) for seed in seeds))


# --- does it scale ----------------------------------------------------------------------------


def scaling(sides: Arms, arms: Arms, role: str, rule: Callable[[Content], bool]) -> dict[str, Any]:
    """Whether `role` beats the control with five blocks too; `scales` None with the reason if not
    shown. The deep pair must differ as the shallow one does, and from it in the depth only."""
    deep = {name: arms.get(f"{STUDY}{name}_d5") for name in ("candidate", "control")}
    candidate, control = deep["candidate"], deep["control"]
    if candidate is None or control is None:
        absent = [f"{STUDY}{name}_d5" for name, arm in deep.items() if arm is None]
        return {"scales": None, "reason": f"not shown: no results of {join_words(absent)}"}
    pairs = ((candidate, sides[role]), (control, sides["control"]))
    if any(_differing(*pair) != {"generator.fno_blocks"} for pair in pairs):
        return {
            "scales": None,
            "reason": f"not shown: {candidate.name} is not {sides[role].name} with five blocks, or "
            f"{control.name} not {sides['control'].name}",
        }
    losses = [median_loss(arm) for arm in (candidate, control)]
    counts = [failures(arm, rule) for arm in (candidate, control)]
    scales = losses[0] < losses[1] and counts[0][0] / counts[0][1] <= counts[1][0] / counts[1][1]
    return {
        "scales": scales,
        "reason": f"median loss {fmt(losses[0])} against {fmt(losses[1])}, "
        f"{counts[0][0]} of {counts[0][1]} against {counts[1][0]} of {counts[1][1]} failed",
    }


def _differing(left: ArmResults, right: ArmResults) -> set[str]:
    """Names of the settings in which two arms differ; {"settings"} where seeds do not agree."""
    found = [arm.facts("settings") for arm in (left, right)]
    if any(len(settings) != 1 for settings in found):
        return {"settings"}
    a: Mapping[str, Scalar] = found[0][0]
    b: Mapping[str, Scalar] = found[1][0]
    return {key for key in {*a, *b} if a.get(key) != b.get(key)}


# --- what the seeds show ----------------------------------------------------------------------


def _difference(treatment: ArmResults, control: ArmResults) -> dict[str, Any] | None:
    """Mean loss difference to the control with its paired interval; None without shared seeds."""
    left, right = treatment.values(LOSS), control.values(LOSS)
    shared = sorted(set(left) & set(right))
    if not shared:
        return None
    pairs = [left[seed] for seed in shared], [right[seed] for seed in shared]
    return asdict(statistics.paired_interval(*pairs))


def least_failures(n: int, control_n: int) -> int | None:
    """Failures of n runs that Fisher's test tells from none of `control_n`; None if no number."""
    tested = (k for k in range(1, n + 1) if statistics.fisher_p((k, n), (0, control_n)) <= 0.05)
    return next(tested, None)


def _limits(counts: Mapping[str, tuple[int, int]]) -> list[str]:
    failed, n = counts["control"]
    least = least_failures(n, n)
    limits = [
        f"with {n} against {n} runs the exact test tells 0 failures from "
        + (f"{least} or more, and from fewer not" if least else "no number of them")
    ]
    if failed == 0:
        limits.append(
            f"the control failed in 0 of {n}, and no arm can have a lower rate: the rule can only "
            "end at the pivot, whatever the losses are"
        )
    return limits


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


# --- words ------------------------------------------------------------------------------------


def section(decision: Mapping[str, Any]) -> str:
    """The decision as a section of findings.md."""
    lines = ["## Gold, silver or pivot", "", inline(decision["rule"]), ""]
    if decision["under"] is None:
        return "\n".join([*lines, inline(f"Not decided: {decision['reason']}.")])
    losses = decision["median_loss"]
    lines += [f"- {words(decision, rule)}" for rule in decision["under"]]
    lines.append(f"- {_agreement(decision)}")
    lines.append(
        "- Median loss, last weights: "
        + join_words(f"{decision['arms'][role]} {fmt(losses[role])}" for role in ROLES)
    )
    differences = [
        f"{role} minus control {plus_minus(facts)}"
        for role, facts in decision["difference"].items()
        if facts
    ]
    lines.append(f"- Mean loss, paired by seed, 95 % interval: {join_words(differences)}")
    lines += [f"- {text}" for text in _tests(decision)]
    return "\n".join([lines[0], *map(inline, lines[1:])])


def words(decision: Mapping[str, Any], rule: str) -> str:
    """The branch under one crash rule as a sentence."""
    facts = decision["under"][rule]
    scales = facts["scales"]
    return (
        f"Crash rule `{rule}` ({facts['crash_rule']}): **{facts['branch']}**, candidate "
        f"{facts['candidate_arm']}; scales: {_yes(scales['scales'])}{scales['reason']}"
    )


def _yes(value: bool | None) -> str:
    return "" if value is None else "yes, " if value else "no, "


def _agreement(decision: Mapping[str, Any]) -> str:
    """Where the two crash rules differ: in the branch, and in the runs that they count."""
    theirs, ours = (decision["under"][rule]["failures"] for rule in CRASH_RULES)
    moved = [
        f"{role} {theirs[role]['failed']} against {ours[role]['failed']} of {ours[role]['n']}"
        for role in ROLES
        if theirs[role]["failed"] != ours[role]["failed"]
    ]
    same = "one branch" if decision["agree"] else "different branches"
    counts = f"failures by the published rule against ours: {join_words(moved)}"
    return f"The two crash rules give {same}; {counts if moved else 'they count the same runs'}"


def _tests(decision: Mapping[str, Any]) -> list[str]:
    """Rates, p-values, leave-one-out and limits, under each crash rule."""
    found = []
    for rule, facts in decision["under"].items():
        rates = join_words(
            f"{role} {r['failed']} of {r['n']} [{percent(r['low'])}, {percent(r['high'])}]"
            for role, r in facts["failures"].items()
        )
        ps = join_words(f"{role} {fmt(p, 2)}" for role, p in facts["fisher_p"].items())
        found.append(f"Failures by `{rule}`: {rates}; Fisher's p against the control: {ps}")
        out = join_words(
            f"{name} {n} of {sum(facts['left_out'].values())} times"
            for name, n in facts["left_out"].items()
        )
        found.append(f"One seed left out, `{rule}`: {out}; {'; '.join(facts['limits'])}")
    return found

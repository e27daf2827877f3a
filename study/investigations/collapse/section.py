"""Survival of runs by arm, and causes of their failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from study.evidence.claim_finding import ClaimFinding, SurvivalTest
from study.evidence.format import fmt, join_words, percent
from study.investigations.collapse.dead_figure import dead_share, draw_dead
from study.investigations.collapse.survival_figure import draw_survival
from study.investigations.traces.replay_figure import draw_replay
from study.investigations.traces.results import load
from study.report.cells import deaths, number, rounded, short
from study.report.gather import ROOT_STUDY, Group, Inputs, not_here
from study.report.page import Section

STUDIES = ("forensics", "stress", "clip_sweep")
PANELS = {
    "learning rate 1e-3, up to 50 epochs": "",
    "learning rate 3e-3, up to 6 epochs": "_lr3e3",
}
ARMS = ("layerscale", "repaired_probe", "plain", "clip", "decoder_norm")


def survival(inputs: Inputs) -> Mapping[str, Any]:
    """Which setting makes the published arm fail after it has learned, by the time to the event."""
    panels = {
        title: [f"full/survival_{arm}{suffix}" for arm in ARMS] for title, suffix in PANELS.items()
    }
    claims = [c for c in inputs.findings.claims.values() if c.metric == "survival"]
    return {
        "drawn": draw_survival(inputs, panels),
        "claims": [(claim, _died(claim)) for claim in claims],
        "replays": _replays(inputs),
    }


def _died(claim: ClaimFinding) -> str:
    """Failed runs of each arm with exact intervals, beside the published numbers."""
    parts = []
    arms = claim.test.arms if isinstance(claim.test, SurvivalTest) else {}
    for name, facts in arms.items():
        rate, published = facts.died, facts.published
        if rate is None:
            continue
        died = sum(life.died for life in facts.lives)
        low, high = (percent(float(fmt(bound, 2))) for bound in (rate.low, rate.high))
        beside = f", published {published['died']} of {published['runs']}" if published else ""
        parts.append(f"{short(name)}: {died} of {rate.n} died [{low}, {high}]{beside}")
    return "; ".join(parts)


def _replays(inputs: Inputs) -> list[Any]:
    """The answer and the figure of every recorded replay."""
    stored = inputs.recorded("replays/*.json", load)
    traces = [trace for content in stored for trace in content["traces"]]
    return [shown for trace in traces for shown in (trace["answer"], draw_replay(trace))]


def killed(inputs: Inputs) -> Mapping[str, Any]:
    """How many runs failed in each arm, their causes, and the possible failure rates."""
    found = {name: group for name in STUDIES if (group := inputs.group(name))}
    shown = [group for group in found.values() if inputs.stored(group.arms, "arm")]
    absent = [name for name in STUDIES if found.get(name) not in shown]
    root = inputs.group(ROOT_STUDY)
    if not shown and root and inputs.stored(root.arms, "arm"):
        shown = [root]
    return {
        "missing": not_here(f"Studies {join_words(absent)}") if absent else "",
        "parts": [_study(inputs, group) for group in shown],
        "drawn": draw_dead(inputs, list(dict.fromkeys(arm for g in shown for arm in g.arms))),
    }


def _study(inputs: Inputs, group: Group) -> Mapping[str, Any]:
    arms = inputs.stored(inputs.ordered(group.arms), "arm")
    return {
        "group": group,
        "arms": arms,
        "died": {arm: deaths(inputs, arm)["cell"] for arm in arms},
        "dead": {arm: _dead(inputs, arm) for arm in arms},
        "sentences": _sentences(inputs, arms),
    }


def _dead(inputs: Inputs, arm: str) -> Markup | str:
    """The largest share of dead units of any layer and epoch, mean over seeds."""
    table = dead_share(inputs, arm)
    if table.empty:
        return "not stored"
    layer, share = str(table.max().idxmax()), float(table.to_numpy().max())
    source = f"{inputs.place(arm)}/history.csv, columns dead.{layer if share else '*'}"
    return number(f"{share:.3g}", source, layer if share else "")


def _sentences(inputs: Inputs, arms: Sequence[str]) -> list[Markup]:
    """Failures, most frequent first; arms with the same counts and causes share a sentence."""
    found: dict[tuple[int, int, str], list[str]] = {}
    for arm in arms:
        facts = deaths(inputs, arm)
        found.setdefault((facts["died"], facts["n"], _causes(inputs, arm)), []).append(arm)
    order = sorted(found, key=lambda key: (-key[0], -key[1]))
    return [_sentence(inputs, found[key], key[2]) for key in order]


def _sentence(inputs: Inputs, arms: Sequence[str], causes: str) -> Markup:
    """The observed rate and the range that the number of runs leaves open."""
    facts = deaths(inputs, arms[0])
    names = f"{'each of ' if arms[1:] else ''}{join_words(map(short, arms))}"
    rate = f"(rate {rounded(facts['low'])} to {rounded(facts['high'])}): {causes}."
    if not facts["died"]:
        names += ";"
        rate = f"that leaves a rate of up to {rounded(facts['high'])} possible."
    count = number(f"{facts['died']} of {facts['n']}", facts["source"])
    return Markup("{} runs died in {} {}").format(count, names, rate)


def _causes(inputs: Inputs, arm: str) -> str:
    """The recorded causes of an arm with failed runs, with their counts."""
    if not deaths(inputs, arm)["died"]:
        return ""
    entry = inputs.findings.arms.get(arm)
    causes = Counter(entry.causes.values() if entry else ())
    return "; ".join(f"{n} × {cause}" for cause, n in causes.most_common()) or "no cause recorded"


SECTIONS = (
    Section(
        "How long runs of the published arm live",
        "investigations/collapse/survival.html",
        survival,
    ),
    Section("What killed the runs", "investigations/collapse/deaths.html", killed),
)

"""findings.md: findings.json for readers. Nothing is computed here and no sentence is typed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from study.evidence import decision, flags, published_table
from study.evidence.columns import LOSSES, PUBLISHED, RECORDED, RUN, STANDARD, find_column
from study.evidence.wording import counted, fmt, inline, listed, percent, plus_minus, table

ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
FLAGS_SHOWN = 8
REFERENCE_ORDER = ("floor", "reference", "ceiling")


def render(findings: Mapping[str, Any]) -> str:
    """The findings as Markdown."""
    parts = [_head(findings), *_tables(findings), _flags(findings)]
    parts += [_claim(entry) for entry in findings["claims"].values()]
    parts += [
        published_table.section(findings["published"]),
        decision.section(findings["decision"]),
    ]
    parts.append(_superseded(findings["superseded"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(findings: Mapping[str, Any]) -> str:
    counts = [f"{n} {status}" for status, n in findings["counts"].items() if n]
    return "\n".join(
        [
            "# Findings",
            "",
            f"{counted(len(findings['claims']), 'claim')}: {listed(counts)}. Written by "
            "`dvc repro` from results/, recorded/ and claims.yaml; the numbers of arms and claims "
            "are explained by `study explain ID` (ARM/mean/PATH, ARM/s1/PATH, ARM/difference/PATH, "
            "CLAIM/effect), and `study findings --check` tells what is stale.",
            "",
            f"Estimates are means over seeds with their {percent(0.95)} t interval. Reproduce all: "
            f"`{findings['reproduce']}`.",
        ]
    )


# --- arms -------------------------------------------------------------------------------------


def _tables(findings: Mapping[str, Any]) -> list[str]:
    """One set of tables a data set, across whose fence nothing is compared; then one narrow table a
    group of recorded arms."""
    parts = []
    for fence in findings["fences"]:
        own = [name for name in fence["arms"] if "/" not in name]
        if not own:
            continue
        arms = {name: findings["arms"][name] for name in _ordered(own, findings["arms"])}
        sha = fence["sha256"][:12] if fence["sha256"] else "different data sets in one arm"
        parts.append(f"## Data {listed(fence['paths'])} ({sha})")
        parts.append(_seed_table(arms))
        parts += [
            _number_table("Losses", arms, LOSSES),
            _number_table("Scores, set standard", arms, STANDARD),
            _number_table("Scores, set published", arms, PUBLISHED),
        ]
    waiting = [name for name, arm in findings["arms"].items() if not arm["data"]]
    if waiting:
        parts.append(f"No results yet: {listed(waiting)}.")
    return [*parts, *(_group(group, findings["arms"]) for group in findings["groups"])]


def _group(group: Mapping[str, Any], arms: Mapping[str, Any]) -> str:
    """Recorded arms of one question; a data column stands for the fences."""
    name = group["study"] if group["name"] is None else f"{group['study']}: {group['name']}"
    chosen = {n: arms[n] for n in group["arms"]}
    heads = ["arm", "data", "ok / failed / collapsed", *(_place(path) for path in RECORDED)]
    rows = [
        [
            n.partition("/")[2] + ("" if arm["label"] == "arm" else f" ({arm['label']})"),
            listed(f"{d['path'].partition('/')[2]} {d['sha256'][:6]}" for d in arm["data"]),
            _counts(arm["seeds"]),
            *(_short(arm, path) for path in RECORDED),
        ]
        for n, arm in chosen.items()
    ]
    fenced = len({d["sha256"] for arm in chosen.values() for d in arm["data"]}) > 1
    lines = [
        f"## {name}",
        "",
        *([inline(group["asks"]), ""] if group["asks"] else []),
        table(heads, rows),
    ]
    told = "The arms ran on different data sets: shown, not compared."
    return "\n".join([*lines, *(["", told] if fenced else [])])


def _place(path: str) -> str:
    checkpoint = path.partition(".")[0]
    return f"{checkpoint} {_title(path)}" if checkpoint in ("best", "last") else _title(path)


def _counts(seeds: Mapping[str, Any]) -> str:
    missing = f", missing {listed(f's{seed}' for seed in seeds['missing'])}"
    told = " / ".join(str(len(seeds[key])) for key in ("ok", "failed", "collapsed"))
    return told + (missing if seeds["missing"] else "")


def _short(arm: Mapping[str, Any], path: str) -> str:
    """Estimate and half of its interval; n where it is not that of all runs."""
    facts = arm["numbers"].get(path)
    if facts is None:
        return _cell(arm, path)
    half = "" if facts["low"] is None else f" ± {fmt((facts['high'] - facts['low']) / 2, 2)}"
    runs = sum(len(arm["seeds"][key]) for key in ("ok", "failed", "collapsed"))
    n = "" if facts["n"] == runs else f", n = {facts['n']}"
    return f"{fmt(facts['estimate'])}{half}{n}"


def _ordered(names: Sequence[str], arms: Mapping[str, Any]) -> list[str]:
    """Trained arms as in params.yaml, then floor, references, ceiling."""
    place = {label: i for i, label in enumerate(("arm", *REFERENCE_ORDER))}
    known = list(arms)
    return sorted(names, key=lambda name: (place[arms[name]["label"]], known.index(name)))


def _seed_table(arms: Mapping[str, Any]) -> str:
    heads = ["arm", "is", "changed", "seeds", "failed", "collapsed", "missing", "best epoch"]
    rows = []
    for name, arm in arms.items():
        seeds, changed = arm["seeds"], arm["changed"]
        rows.append(
            [
                name,
                arm["label"],
                f"{listed(changed)} (versus {arm['versus']})" if changed is not None else "–",
                f"{len(seeds['ok'])} of {len(seeds['declared'])} ok",
                *(listed(seeds[key]) for key in ("failed", "collapsed", "missing")),
                _cell(arm, "best.epoch"),
                *(_cell(arm, path) for path in RUN),
            ]
        )
    causes = [
        f"- {name} {seed}: {inline(cause)}"
        for name, arm in arms.items()
        for seed, cause in arm["causes"].items()
    ]
    return "\n".join([table([*heads, *(_title(path) for path in RUN)], rows), "", *causes]).rstrip()


def _number_table(title: str, arms: Mapping[str, Any], names: Sequence[str]) -> str:
    """Best, last and the gap between them, as three columns a number."""
    heads = [
        "arm",
        *(f"{part} {_title(f'last.{n}')}" for n in names for part in ("best", "last", "gap")),
    ]
    rows = [[_named(name, arm), *_cells(arm, names)] for name, arm in arms.items()]
    notes = [
        f"- {name}, {place}: not evaluable: {listed(f'{s} {why}' for s, why in seeds.items())}"
        for name, arm in arms.items()
        if arm["label"] == "arm"
        for place, seeds in arm["degenerate"].items()
    ]
    lines = [f"### {title}", "", table(heads, rows)]
    return "\n".join([*lines, "", *notes] if title.endswith("standard") and notes else lines)


def _named(name: str, arm: Mapping[str, Any]) -> str:
    return name if arm["label"] == "arm" else f"{name} ({arm['label']})"


def _cells(arm: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    cells = []
    for name in names:
        if arm["label"] == "arm":
            cells += [_cell(arm, f"{part}.{name}") for part in ("best", "last", "gap")]
        else:
            cells += ["only", _cell(arm, f"last.{name}"), "–"]
    return cells


def _cell(arm: Mapping[str, Any], path: str) -> str:
    """Estimate, interval and n; why there is none where the gate forbids a score."""
    if path in arm["numbers"]:
        return plus_minus(arm["numbers"][path])
    place = ".".join((path.split(".")[0], find_column(path).channel or ""))
    return "not evaluable" if place in arm["degenerate"] and ".standard." in path else "–"


def _title(path: str) -> str:
    column = find_column(path)
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.title}{unit}{ARROWS[column.better]}"


def _flags(findings: Mapping[str, Any]) -> str:
    sections = {
        "Identical results": identical(findings["flags"]),
        "Amplitude scale": [flag["reason"] for flag in findings["scale_flags"]],
    }
    return "\n\n".join(
        "\n".join([f"## {title}", "", *(f"- {line}" for line in lines)])
        for title, lines in sections.items()
        if lines
    )


def identical(found: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every flag that nothing explains; of those that share a reason, above a few, their number."""
    reasons = Counter(flag["reason"] for flag in found)
    many = {why: n for why, n in reasons.items() if why is not None and n > FLAGS_SHOWN}
    lines = [flags.words(flag) for flag in found if flag["reason"] not in many]
    return lines + [f"{n} pairs of arms (see findings.json): {why}" for why, n in many.items()]


# --- claims -----------------------------------------------------------------------------------


def _claim(entry: Mapping[str, Any]) -> str:
    lines = [f"## {entry['id']}: {inline(entry['text'])}", ""]
    told = [f"- {name}: {inline(text)}" for name, text in claim_words(entry).items() if text]
    return "\n".join([*lines, *told])


def claim_words(entry: Mapping[str, Any]) -> dict[str, str | None]:
    """What is known about a claim, in words by topic; None where there is nothing to say."""
    contrast, family = entry["contrast"], entry["family"]
    unit = f" {entry['unit']}" if entry["unit"] else ""
    return {
        "Status": f"**{entry['status']}** ({entry['standing']}): {entry['reason']}",
        "Claim": f"{entry['title']} of {contrast['treatment']} {entry['direction']} "
        f"{'to' if entry['direction'] == 'equal' else 'than'} {contrast['control']}; "
        f"`{entry['metric']}`, margin {fmt(entry['margin'])}{unit}",
        "To decide it": entry["needs"] and entry["needs"]["sentence"],
        "Second object": _second(entry["second_object"]),
        "Effect": _effect(entry["effect"]),
        "Test": _test(entry["test"], family),
        "Changed factors": _changed(entry["changed"]),
        "Seeds": _seeds(entry["seeds"]),
        "Gates": listed(f"{g['name']} {'✓' if g['passed'] else '✗'}" for g in entry["gates"]),
        "Limits": "; ".join(entry["limits"]) or None,
        "Evidence": _evidence(entry["evidence"]),
        "Reproduce": f"`{entry['reproduce']}`",
        "History": _history(entry["history"]),
    }


def _effect(effect: Mapping[str, Any] | None) -> str | None:
    if effect is None:
        return None
    level = "" if effect["low"] is None else f", {percent(effect['level'])} interval"
    return f"{plus_minus(effect)}{level}"


def _second(second: Mapping[str, Any] | None) -> str | None:
    if second is None:
        return None
    names = f"{second['treatment']} against {second['control']}"
    return f"**{second['status']}** ({names}): {second['reason']}"


def _test(test: Mapping[str, Any] | None, family: Mapping[str, Any]) -> str:
    size = counted(len(family["claims"]), "claim")
    place = f"held to {fmt(family['alpha'])} (Holm, {size} in {family['name']})"
    if test is None:
        return f"none computed; {place}"
    if "rates" in test:
        rates = listed(
            f"{name} {percent(r['estimate'])} [{percent(r['low'])}, {percent(r['high'])}]"
            for name, r in test["rates"].items()
        )
        return f"{test['name']}, p = {fmt(test['p'], 2)}, {place}; rates {rates}"
    words = [
        f"{test['name']}, p = {fmt(test['p'], 2)}, {place}",
        f"exact sign-flip p = {fmt(test['sign_flip_p'], 2)}, at least "
        f"{fmt(test['smallest_sign_flip_p'], 2)} with this n",
    ]
    if test["probability_of_claimed_order"] is not None:
        words.append(
            f"probability of the claimed order {fmt(test['probability_of_claimed_order'], 2)}"
        )
    return "; ".join(words)


def _changed(changed: Mapping[str, Any] | None) -> str:
    if changed is None:
        return "not known: the seeds of an arm differ in their settings, or there are none"
    return listed(
        f"{name} ({control} → {treatment})" for name, (control, treatment) in changed.items()
    )


def _seeds(seeds: Iterable[Mapping[str, Any]]) -> str:
    return listed(
        f"s{row['seed']} {_side(row['treatment'])} against {_side(row['control'])}" for row in seeds
    )


def _side(side: Mapping[str, Any]) -> str:
    return fmt(side["value"]) + ("" if side["outcome"] == "ok" else f" ({side['outcome']})")


def _evidence(evidence: Sequence[Mapping[str, Any]]) -> str:
    """Result files by folder; each with its hash stands in findings.json."""
    folders = Counter(item["file"].rpartition("/")[0] for item in evidence if item["in_git"])
    artifacts = sum(not item["in_git"] for item in evidence)
    told = [f"{folder} ({counted(n, 'file')})" for folder, n in folders.items()]
    return listed(
        [*told, *([f"{counted(artifacts, 'artifact')} of the runs"] if artifacts else [])]
    )


def _history(history: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{(item['date'] or 'no date')[:10]} {(item['commit'] or 'no commit')[:12]} "
        f"{item['status']} ({item['kind']}, n = {item['n']})"
        for item in history
    )


def _superseded(entries: Mapping[str, Any]) -> str:
    if not entries:
        return ""
    lines = [
        f"- {i}: {inline(e['text'])} Last: {_history(e['history'])}" for i, e in entries.items()
    ]
    return "\n".join(["## Superseded", "", *lines])

"""findings.md: findings.json for readers. Nothing is computed here and no sentence is typed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from study.evidence import flags
from study.evidence.columns import LOSSES, PUBLISHED, RUN, STANDARD, find_column
from study.evidence.wording import counted, fmt, listed, percent, plus_minus

ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
REFERENCE_ORDER = ("floor", "reference", "ceiling")


def render(findings: Mapping[str, Any]) -> str:
    """The findings as Markdown."""
    parts = [_head(findings), *_tables(findings), _flags(findings)]
    parts += [_claim(entry) for entry in findings["claims"].values()]
    parts.append(_superseded(findings["superseded"]))
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(findings: Mapping[str, Any]) -> str:
    counts = [f"{n} {status}" for status, n in findings["counts"].items() if n]
    return "\n".join(
        [
            "# Findings",
            "",
            f"{counted(len(findings['claims']), 'claim')}: {listed(counts)}. Written by "
            "`dvc repro` from results/, recorded/ and claims.yaml; every number is explained by "
            "`study explain ID` (ARM/mean/PATH, ARM/s1/PATH, ARM/difference/PATH, CLAIM/effect), "
            "and `study findings --check` tells what is stale.",
            "",
            f"Estimates are means over seeds with their {percent(0.95)} t interval. Reproduce all: "
            f"`{findings['reproduce']}`.",
        ]
    )


# --- arms -------------------------------------------------------------------------------------


def _tables(findings: Mapping[str, Any]) -> list[str]:
    """One set of tables a data set: across that fence nothing is compared."""
    parts = []
    for fence in findings["fences"]:
        arms = {name: findings["arms"][name] for name in _ordered(fence["arms"], findings["arms"])}
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
    return parts


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
        f"- {name} {seed}: {cause}"
        for name, arm in arms.items()
        for seed, cause in arm["causes"].items()
    ]
    return "\n".join(
        [_table([*heads, *(_title(path) for path in RUN)], rows), "", *causes]
    ).rstrip()


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
    lines = [f"### {title}", "", _table(heads, rows)]
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
        "Identical results": [flags.words(flag) for flag in findings["flags"]],
        "Amplitude scale": [flag["reason"] for flag in findings["scale_flags"]],
    }
    return "\n\n".join(
        "\n".join([f"## {title}", "", *(f"- {line}" for line in lines)])
        for title, lines in sections.items()
        if lines
    )


# --- claims -----------------------------------------------------------------------------------


def _claim(entry: Mapping[str, Any]) -> str:
    contrast, family = entry["contrast"], entry["family"]
    unit = f" {entry['unit']}" if entry["unit"] else ""
    bullets = [
        ("Status", f"**{entry['status']}** ({entry['standing']}): {entry['reason']}"),
        (
            "Claim",
            f"{entry['title']} of {contrast['treatment']} {entry['direction']} "
            f"{'to' if entry['direction'] == 'equal' else 'than'} {contrast['control']}; "
            f"`{entry['metric']}`, margin {fmt(entry['margin'])}{unit}",
        ),
        ("Effect", _effect(entry["effect"])),
        ("Test", _test(entry["test"], family)),
        ("Changed factors", _changed(entry["changed"])),
        ("Seeds", _seeds(entry["seeds"])),
        ("Gates", listed(f"{g['name']} {'✓' if g['passed'] else '✗'}" for g in entry["gates"])),
        ("Limits", "; ".join(entry["limits"]) or None),
        ("Evidence", _evidence(entry["evidence"])),
        ("Reproduce", f"`{entry['reproduce']}`"),
        ("History", _history(entry["history"])),
    ]
    lines = [f"## {entry['id']}: {entry['text']}", ""]
    return "\n".join([*lines, *(f"- {name}: {text}" for name, text in bullets if text)])


def _effect(effect: Mapping[str, Any] | None) -> str | None:
    if effect is None:
        return None
    level = "" if effect["low"] is None else f", {percent(effect['level'])} interval"
    return f"{plus_minus(effect)}{level}"


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
    return listed(f"{item['file']} {item['sha256'][:12]}" for item in evidence if item["in_git"])


def _history(history: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(
        f"{(item['date'] or 'no date')[:10]} {(item['commit'] or 'no commit')[:12]} "
        f"{item['status']} ({item['kind']}, n = {item['n']})"
        for item in history
    )


def _superseded(entries: Mapping[str, Any]) -> str:
    if not entries:
        return ""
    lines = [f"- {i}: {e['text']} Last: {_history(e['history'])}" for i, e in entries.items()]
    return "\n".join(["## Superseded", "", *lines])


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(heads), ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)

"""findings.md: `Findings` as text; nothing is computed here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from study import investigations
from study.evidence.cells import Line, cell, in_order, results_table
from study.evidence.claim_finding import ClaimFinding, Gone, Withdrawn
from study.evidence.claim_words import by_family, claim_words, history_words, verdict_table
from study.evidence.evaluable import NOT_EVALUABLE
from study.evidence.format import counted, inline, join_words, percent, table
from study.evidence.metric_catalog import LOSSES, PUBLISHED, RECORDED, RUN, STANDARD, find_column
from study.evidence.model import ArmFinding, ArmGroup, Findings, Flag, SeedsOfArm

ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}
PARTS = ("best", "last", "gap")
FLAGS_SHOWN = 8
CHANGED = ("withdrawn claim", "in words", "old verdict", "new verdict", "why", "how")


def render(findings: Findings) -> str:
    """The findings as Markdown, starting with the verdicts."""
    requested = investigations.parts("findings")
    parts = [
        _head(findings),
        _verdicts(findings),
        *_tables(findings),
        _flags(findings),
        *(_claim(claim) for claim in findings.claims.values()),
        *(text for part in requested for text in part.markdown(findings)),
        _withdrawn(findings),
        _superseded(findings.superseded),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(findings: Findings) -> str:
    words = Counter(claim.word for claim in findings.claims.values())
    counts = [f"{n} {word}" for word, n in words.most_common()]
    return "\n".join(
        [
            "# Findings",
            "",
            f"{counted(len(findings.claims), 'claim')}: {inline('; '.join(counts))}. Written by "
            "`dvc repro` from results/ and claims.yaml; the numbers of arms and claims "
            "are explained by `study explain ID` (ARM/mean/PATH, ARM/s1/PATH, ARM/difference/PATH, "
            "CLAIM/effect), and `study findings --check` tells what is stale.",
            "",
            f"Estimates are means over seeds with their {percent(0.95)} t interval. Reproduce all: "
            f"`{inline(findings.reproduce)}`.",
        ]
    )


def _verdicts(findings: Findings) -> str:
    """The verdict table: decided claims first."""
    claims = sorted(by_family(findings), key=lambda claim: not claim.decided)
    return f"## Verdicts\n\n{verdict_table(claims)}" if claims else ""


# --- arms -------------------------------------------------------------------------------------


def _tables(findings: Findings) -> list[str]:
    """One set of tables per data set, since arms on different data are not compared; then one
    compact table per group of recorded arms."""
    parts = []
    for fence in findings.fences:
        own = [name for name in findings.arms if name in fence.arms and "/" not in name]
        if not own:
            continue
        sha = fence.sha256[:12] if fence.sha256 else "different data sets in one arm"
        parts.append(f"## Data {inline(join_words(fence.paths))} ({inline(sha)})")
        arms = {n: findings.arms[n] for n in own}
        parts.append(_seed_table(arms))
        parts += [
            _number_table("Losses", arms, LOSSES),
            _number_table("Scores, set standard", arms, STANDARD),
            _number_table("Scores, set published", arms, PUBLISHED),
        ]
    waiting = [name for name, arm in findings.arms.items() if not arm.data]
    if waiting:
        parts.append(f"No results yet: {inline(join_words(waiting))}.")
    return [*parts, *(_group(group, findings.arms) for group in findings.groups)]


def _group(group: ArmGroup, arms: Mapping[str, ArmFinding]) -> str:
    """The recorded arms of one question, with a column for their data sets."""
    name = group.study if group.name is None else f"{group.study}: {group.name}"
    chosen = {n: arms[n] for n in group.arms}
    heads = ["arm", "data", "ok / failed / collapsed", *(_place(path) for path in RECORDED)]
    rows = [
        [
            n.partition("/")[2] + ("" if arm.trained else f" ({arm.label})"),
            join_words(f"{d.path.partition('/')[2]} {d.sha256[:6]}" for d in arm.data),
            _counts(arm.seeds),
            *(cell(arm, path).short() for path in RECORDED),
        ]
        for n, arm in chosen.items()
    ]
    fenced = len({d.sha256 for arm in chosen.values() for d in arm.data}) > 1
    lines = [
        f"## {inline(name)}",
        "",
        *([inline(group.asks), ""] if group.asks else []),
        table(heads, rows),
    ]
    words = "The arms ran on different data sets and are not compared."
    return "\n".join([*lines, *(["", words] if fenced else [])])


def _place(path: str) -> str:
    checkpoint = path.partition(".")[0]
    return f"{checkpoint} {_title(path)}" if checkpoint in ("best", "last") else _title(path)


def _counts(seeds: SeedsOfArm) -> str:
    missing = f", missing {join_words(f's{seed}' for seed in seeds.missing)}"
    return seeds.counts() + (missing if seeds.missing else "")


def _seed_table(arms: Mapping[str, ArmFinding]) -> str:
    heads = ["arm", "is", "changed", "seeds", "failed", "collapsed", "missing", "best epoch"]
    rows = []
    for line in results_table(arms, arms, ("best.epoch", *RUN)):
        arm, seeds = line.arm, line.arm.seeds
        rows.append(
            [
                line.name,
                str(arm.label),
                "–" if arm.changed is None else f"{join_words(arm.changed)} (versus {arm.versus})",
                f"{len(seeds.ok)} of {len(seeds.declared)} ok",
                *(join_words(found) for found in (seeds.failed, seeds.collapsed, seeds.missing)),
                *(found.long() for found in line.cells.values()),
            ]
        )
    causes = [
        inline(f"- {name} {seed}: {cause}")
        for name in in_order(arms, {name: arm.label for name, arm in arms.items()})
        for seed, cause in arms[name].causes.items()
    ]
    return "\n".join([table([*heads, *(_title(path) for path in RUN)], rows), "", *causes]).rstrip()


def _number_table(title: str, arms: Mapping[str, ArmFinding], names: Sequence[str]) -> str:
    """Three columns per number: best, last, and the gap between them."""
    heads = ["arm", *(f"{part} {_title(f'last.{n}')}" for n in names for part in PARTS)]
    paths = [f"{part}.{name}" for name in names for part in PARTS]
    lines = results_table(arms, arms, paths)
    rows = [[line.short_name, *_cells(line, names)] for line in lines]
    notes = [
        inline(
            f"- {line.name}, {place}: {NOT_EVALUABLE}: "
            f"{join_words(f'{s} {why}' for s, why in seeds.items())}"
        )
        for line in lines
        if line.arm.trained
        for place, seeds in line.arm.degenerate.items()
    ]
    text = [f"### {title}", "", table(heads, rows)]
    return "\n".join([*text, "", *notes] if title.endswith("standard") and notes else text)


def _cells(line: Line, names: Sequence[str]) -> list[str]:
    """The cells of an arm; a row that is not a trained network has only one reconstruction."""
    if line.arm.trained:
        return [found.long() for found in line.cells.values()]
    return [text for name in names for text in ("only", line.cells[f"last.{name}"].long(), "–")]


def _title(path: str) -> str:
    column = find_column(path)
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.title}{unit}{ARROWS[column.better]}"


def _flags(findings: Findings) -> str:
    sections = {
        "Identical results": identical(findings.flags),
        "Amplitude scale": [flag.reason for flag in findings.scale_flags],
    }
    return "\n\n".join(
        "\n".join([f"## {title}", "", *(f"- {inline(line)}" for line in lines)])
        for title, lines in sections.items()
        if lines
    )


def identical(found: Sequence[Flag]) -> list[str]:
    """A line per flag; many flags with the same reason are summarised by their number."""
    reasons = Counter(flag.reason for flag in found)
    many = {why: n for why, n in reasons.items() if why is not None and n > FLAGS_SHOWN}
    lines = [flag.words for flag in found if flag.reason not in many]
    return lines + [f"{n} pairs of arms (see findings.json): {why}" for why, n in many.items()]


# --- claims -----------------------------------------------------------------------------------


def _claim(claim: ClaimFinding) -> str:
    lines = [inline(f"## {claim.id}: {claim.text}"), ""]
    words = [f"- {name}: {inline(text)}" for name, text in claim_words(claim).items() if text]
    return "\n".join([*lines, *words])


def _superseded(entries: Mapping[str, Gone]) -> str:
    lines = [
        inline(f"- {i}: {e.text} Last: {history_words(e.history)}") for i, e in entries.items()
    ]
    return "\n".join(["## Superseded", "", *lines]) if lines else ""


def _withdrawn(findings: Findings) -> str:
    """Claims removed from claims.yaml according to git: old and new verdict, and the reason for the
    change."""
    if findings.withdrawn is None:
        text = (
            "Not known: this is not a git repository, or its history is not complete (a shallow "
            "clone)."
        )
    elif findings.withdrawn:
        text = table(CHANGED, [_change(entry, findings) for entry in findings.withdrawn])
    else:
        return ""
    return f"## Withdrawn claims\n\n{text}"


def _change(entry: Withdrawn, findings: Findings) -> list[str]:
    gone = findings.superseded.get(entry.id)
    old = gone.history[-1] if gone and gone.history else None
    was = "none stored" if old is None else f"{old.status} ({old.kind}, n = {old.n})"
    new = findings.claims.get(entry.by or "")
    now = "–" if new is None else f"{new.id}: **{new.word}** ({new.kind}, n = {new.n})"
    return [entry.id, entry.text, was, now, entry.reason or "no reason given", _gone(entry)]


def _gone(entry: Withdrawn) -> str:
    when = "in an edit without a commit"
    if entry.commit:
        when = f"in {entry.commit[:12]} ({(entry.date or 'no date')[:10]})"
    by = {
        "removed": "",
        "renamed": f" to {entry.by}",
        "replaced": f" by {entry.by}",
        "archived": f" with its arm in {entry.by}",
    }
    return f"{entry.fate}{by[entry.fate]} {when}"

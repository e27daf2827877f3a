"""What killed the runs: how many died in which arm, and what that leaves possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from study.evidence.wording import listed
from study.report.document import Block, Bullets, Heading, Line, Number, Table, said
from study.report.figures.dead import dead_share, draw_dead
from study.report.gather import ROOT_STUDY, Group, Inputs, not_here
from study.report.sections.cells import deaths, outcomes, pipeline, rounded, score, short

STUDIES = ("forensics", "stress", "clip_sweep")
HEADS = (
    "arm",
    "versus",
    "ok / failed / collapsed",
    "died [exact 95 %]",
    "clipped fraction",
    "dead share, worst layer",
    "collapse gap",
)
WIDTHS = (42, 30, 22, 26, 24, 18, 26)


def killed(inputs: Inputs) -> list[Block]:
    found = [group for name in STUDIES if (group := inputs.group(name))]
    there = [group for group in found if inputs.stored(group.arms, "arm")]
    absent = [name for name in STUDIES if name not in {group.name for group in there}]
    blocks: list[Block] = [Heading(2, "What killed the runs")]
    if absent:
        told = not_here(f"Studies {', '.join(absent)}")
        blocks.append(said(told))
    root = inputs.group(ROOT_STUDY)
    shown = there or ([root] if root and inputs.stored(root.arms, "arm") else [])
    for group in shown:
        blocks += _study(inputs, group)
    arms = list(dict.fromkeys(arm for group in shown for arm in group.arms))
    drawn = draw_dead(inputs, arms)
    return [*blocks, said(drawn) if isinstance(drawn, str) else drawn]


def _study(inputs: Inputs, group: Group) -> list[Block]:
    arms = inputs.stored(inputs.ordered(group.arms), "arm")
    runs = sum(len(inputs.arms[arm].seeds) for arm in arms)
    caption = (
        f"Deaths in study {group.name}, n = {runs} runs of {len(arms)} arms. Died: failed or "
        "collapsed, with the exact (Clopper-Pearson) 95 % interval of the rate. Clipped fraction: "
        "share of what the clip rule looks at that it shortened, mean over steps. Dead share: of "
        "the layer and epoch with most dead units, mean over seeds. Collapse gap: final minus best "
        f"validation loss. {pipeline(arms)}"
    )
    rows = tuple(_row(inputs, arm) for arm in arms)
    parts: list[Block] = [Heading(3, f"{group.name}: {group.asks}")]
    return [
        *parts,
        Table((caption,), HEADS, rows, WIDTHS, words=(0, 1)),
        Bullets(_sentences(inputs, arms)),
    ]


def _row(inputs: Inputs, arm: str) -> tuple[Line, ...]:
    return (
        (short(arm),),
        (short(inputs.versus.get(arm, "–")),),
        outcomes(inputs, arm),
        (deaths(inputs, arm)["cell"],),
        score(inputs, arm, "training.clipped_fraction"),
        _dead(inputs, arm),
        score(inputs, arm, "training.collapse_gap", 2),
    )


def _dead(inputs: Inputs, arm: str) -> Line:
    table = dead_share(inputs, arm)
    if table.empty:
        return ("not stored",)
    layer, share = str(table.max().idxmax()), float(table.to_numpy().max())
    if not share:
        return (_where(inputs, arm, "dead.*", "0"),)
    return (_where(inputs, arm, f"dead.{layer}", f"{share:.3g}", layer),)


def _where(inputs: Inputs, arm: str, column: str, text: str, below: str = "") -> Number:
    file = (inputs.folder(arm) / "history.csv").relative_to(inputs.root).as_posix()
    return Number(text, f"{file}, columns {column}", below, explained=False)


def _sentences(inputs: Inputs, arms: Sequence[str]) -> tuple[Line, ...]:
    """What died, most first; arms with the same counts and causes share a sentence."""
    found: dict[tuple[int, int, str], list[str]] = {}
    for arm in arms:
        facts = deaths(inputs, arm)
        found.setdefault((facts["died"], facts["n"], _causes(inputs, arm)), []).append(arm)
    order = sorted(found, key=lambda key: (-key[0], -key[1]))
    return tuple(_sentence(inputs, found[key], key[2]) for key in order)


def _sentence(inputs: Inputs, arms: Sequence[str], causes: str) -> Line:
    """The rate that was seen and what the number of runs leaves open."""
    facts = deaths(inputs, arms[0])
    count = Number(f"{facts['died']} of {facts['n']}", facts["cell"].id, explained=False)
    where = f" runs died in {'each of ' if arms[1:] else ''}{listed(map(short, arms))}"
    if not facts["died"]:
        tail = f"; that leaves a rate of up to {rounded(facts['high'])} possible."
        return (count, where + tail)
    between = f"{rounded(facts['low'])} to {rounded(facts['high'])}"
    return (count, f"{where} (rate {between}): {causes}.")


def _causes(inputs: Inputs, arm: str) -> str:
    """The recorded causes of an arm with deaths, with their counts."""
    if not deaths(inputs, arm)["died"]:
        return ""
    causes = Counter(inputs.entry(arm).get("causes", {}).values())
    told = "; ".join(f"{count} × {cause}" for cause, count in causes.most_common())
    return told or "no cause recorded"

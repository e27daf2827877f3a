"""Every study: its question, a table of its arms, the seeds and the loss curves."""

from __future__ import annotations

from study.evidence.wording import listed
from study.report.document import Block, Drawing, Heading, Line, Table, said
from study.report.figures.curves import draw_curves
from study.report.figures.seeds import draw_seeds
from study.report.gather import Group, Inputs, not_here
from study.report.sections.cells import (
    FLOOR,
    SECONDS,
    delta,
    named,
    outcomes,
    pipeline,
    score,
    short,
)

ERROR = "last.standard.amplitude.mae"
COLUMNS = {
    ERROR: "amplitude MAE (object units)",
    "last.standard.phase.mae": "phase MAE (rad)",
    "last.standard.amplitude.ssim": "amplitude SSIM",
    "last.standard.phase.ssim": "phase SSIM",
    "last.val_loss": "validation loss",
    "training.clipped_fraction": "clipped fraction",
    "training.seconds": "seconds a run",
}
HEADS = ("arm (versus)", "ok / failed / collapsed", *COLUMNS.values(), "Δ amplitude MAE")
WIDTHS = (33, 16, 22, 22, 21, 22, 23, 20, 17, 26)


def studies(inputs: Inputs) -> list[Block]:
    blocks: list[Block] = [Heading(2, "Studies")]
    if not (inputs.root / "studies" / "params.yaml").is_file():
        blocks.append(said("studies/params.yaml is not here: only the root study is shown."))
    for group in inputs.groups:
        blocks += _study(inputs, group)
    return blocks


def _study(inputs: Inputs, group: Group) -> list[Block]:
    blocks: list[Block] = [Heading(3, f"{group.name}: {group.asks}")]
    there = inputs.ordered(group.arms)
    absent = [arm for arm in group.arms if arm not in there]
    if there:
        blocks.append(_table(inputs, group, there))
    if absent:
        words = not_here(f"Results of {listed(absent)}")
        blocks.append(said(words))
    drawn = (draw_seeds(inputs, group), draw_curves(inputs, group)) if there else ()
    return blocks + [one if isinstance(one, Drawing) else said(one) for one in drawn]


def _table(inputs: Inputs, group: Group, arms: list[str]) -> Table:
    runs = sum(len(inputs.arms[arm].seeds) for arm in arms)
    caption = (
        f"Study {group.name}, n = {runs} runs. Means over seeds with 95 % t intervals, last "
        "weights, metric set standard. Δ: minus the arm in brackets, paired by seed, on the same "
        "data only; a description, the verdicts stand above. "
        f"{SECONDS} {FLOOR} {pipeline(arms)}"
    )
    rows = tuple(_row(inputs, arm) for arm in arms)
    return Table((caption,), HEADS, rows, WIDTHS)


def _row(inputs: Inputs, arm: str) -> tuple[Line, ...]:
    versus = inputs.versus.get(arm)
    name = (*named(inputs, arm), f" ({short(versus)})" if versus else "")
    scores = tuple(score(inputs, arm, path) for path in COLUMNS)
    return (name, outcomes(inputs, arm), *scores, delta(inputs, arm, ERROR))

"""The better arm against the control, the untrained back-projections and the other references."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.evidence.summary import against
from study.evidence.wording import fmt
from study.report.document import (
    Block,
    Bullets,
    Heading,
    Line,
    Number,
    Status,
    Table,
    said,
)
from study.report.gather import Inputs, not_here
from study.report.sections.cells import FLOOR, SECONDS, effect, named, outcomes, pipeline, score

COLUMNS = {
    "last.standard.amplitude.mae": "amplitude MAE (object units)",
    "last.standard.phase.mae": "phase MAE (rad)",
    "last.standard.amplitude.ssim": "amplitude SSIM",
    "last.standard.phase.ssim": "phase SSIM",
    "last.r_factor.sum": "R-factor",
    "training.seconds": "seconds a run",
}
ROWS = ("better", "control", "back_projection_1", "back_projection_5", "rpie", "flat", "oracle")
OTHERS = ("better_second", "control_second", "better_lr2e2", "control_lr2e2")
WIDTHS = (38, 20, 26, 26, 26, 26, 26, 26)
HEADS = ("arm", "ok / failed / collapsed", *COLUMNS.values())
PREFIX = "BETTER-"


def better(inputs: Inputs) -> list[Block]:
    title: list[Block] = [Heading(2, "The better arm")]
    if f"{inputs.main}better" not in inputs.arms:
        words = not_here("The arm `better`")
        return [*title, said(words)]
    arms = inputs.stored([f"{inputs.main}{name}" for name in (*ROWS, *OTHERS)])
    rows = tuple(
        (named(inputs, arm), outcomes(inputs, arm), *(score(inputs, arm, p) for p in COLUMNS))
        for arm in arms
    )
    caption = (
        "The better arm beside the control, what needs no training, and the floor and ceiling of "
        "the stitching. Means over seeds with 95 % t intervals; n is the sum of the seeds' "
        "outcomes; rows without seeds have one run and no interval. "
        f"{SECONDS} {FLOOR} {pipeline(arms)}"
    )
    table = Table((caption,), HEADS, rows, WIDTHS)
    return [*title, table, Bullets((*_claims(inputs), *_against(inputs)))]


def _claims(inputs: Inputs) -> list[Line]:
    """The claims about it, in words and numbers of findings.json."""
    return [
        (f"{entry['id']}: ", Status(entry["status"]), " (", *_effect(entry), f"): {entry['text']}")
        for entry in inputs.findings["claims"].values()
        if entry["id"].startswith(PREFIX)
    ]


def _effect(entry: Mapping[str, Any]) -> Line:
    seeds = (f", n = {entry['n']}",) if entry["effect"] else ()
    return (*effect(entry), *seeds)


def _against(inputs: Inputs) -> list[Line]:
    """better minus each other row, for both errors: described at 95 %, not tested here."""
    main = inputs.main
    lines = []
    for name in ("control", "back_projection_1", "back_projection_5", "rpie"):
        parts = [_difference(inputs, main, name, path) for path in list(COLUMNS)[:2]]
        if all(parts):
            both = [piece for part in parts for piece in (*(part or ()), "; ")]
            lines.append((f"better minus {name}: ", *both[:-1], "."))
    return lines


def _difference(inputs: Inputs, main: str, name: str, path: str) -> Line | None:
    """Paired by seed against a trained arm; against a row of one run, mean minus its number."""
    treatment, control = inputs.arms[f"{main}better"], inputs.arms.get(f"{main}{name}")
    if control is None or treatment.data_sha256 != control.data_sha256:
        return None
    title = COLUMNS[path]
    where = f"{treatment.name}/mean/{path} minus {control.name}/mean/{path}"
    if control.label == "arm":
        facts = against(treatment, control, [path]).get(path)
    else:
        facts = _shifted(inputs.facts(treatment.name, path), inputs.facts(control.name, path))
    if facts is None:
        return None
    below = "" if facts["low"] is None else f"[{fmt(facts['low'], 3)}, {fmt(facts['high'], 3)}]"
    value = Number(fmt(facts["estimate"], 3), where, below, explained=False)
    return (f"{title} ", value, f" (95 %, n = {facts['n']})")


def _shifted(
    ours: Mapping[str, Any] | None, fixed: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    if ours is None or fixed is None:
        return None
    shift = fixed["estimate"]
    moved = {k: None if ours[k] is None else ours[k] - shift for k in ("estimate", "low", "high")}
    return {**moved, "n": ours["n"]}

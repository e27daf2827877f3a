"""`findings["published"]` as a table of findings.md; the report takes its titles and notes.

A scale of which nothing was run is one sentence and no lines. Which settings differ stands once
per arm below the table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from study.evidence.format import fmt, inline, join_words, plus_minus, table
from study.investigations.published.publication import SCALES

HEADS = (
    "published run",
    "number",
    "published",
    "what it measured",
    "scale",
    "weights",
    "ours",
    "verdict",
    "order against the control",
)
TITLES = {
    "val_loss": "validation loss, compared as skill",
    "published.amplitude.ssim": "amplitude SSIM",
    "published.amplitude.mae": "amplitude MAE",
    "published.phase.ssim": "phase SSIM",
    "history.gradient_norm_median": "gradient norm, median",
    "history.gradient_norm_p99": "gradient norm, p99",
    "history.gradient_norm_max": "gradient norm, largest",
    "training.seconds_per_epoch": "seconds per epoch",
    "outcome": "outcome",
}
WEIGHTS = {"only": "no network"}


def rows(published: Mapping[str, Any]) -> list[list[str]]:
    """The table's lines, one per published number, scale and weights, as `HEADS` has them."""
    shown = run_scales(published)
    entries = [entry for entry in published["entries"] if entry["scale"] in shown]
    return [
        [
            entry["row"],
            TITLES[entry["number"]],
            entry["published"],
            entry["measured"],
            entry["scale"],
            str(WEIGHTS.get(entry["weights"], entry["weights"])),
            _ours(entry),
            f"**{entry['verdict']}**: {entry['reason']}",
            _order(entry["order"]),
        ]
        for entry in entries
    ]


def _with_dittos(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """`lines` with a ditto mark where the line above measured the same for the same run."""
    run, measured = HEADS.index("published run"), HEADS.index("what it measured")
    found = [list(line) for line in lines]
    for line, above in zip(found[1:], lines, strict=False):
        if (line[run], line[measured]) == (above[run], above[measured]):
            line[measured] = "″"
    return found


def run_scales(published: Mapping[str, Any]) -> tuple[str, ...]:
    """Scales of which any arm is stored; quick scale always."""
    stored = {entry["scale"] for entry in published["entries"] if entry["arm"]}
    return tuple(scale for scale in SCALES if scale in stored or scale == SCALES[0])


def section(published: Mapping[str, Any]) -> str:
    """The table as a section of findings.md."""
    notes = "\n".join(f"- {inline(note)}" for note in protocol_notes(published))
    parts = [
        "## Published numbers, side by side",
        _counted(published),
        table(HEADS, _with_dittos(rows(published))),
        notes,
    ]
    return "\n\n".join(part for part in parts if part)


def _counted(published: Mapping[str, Any]) -> str:
    shown = run_scales(published)
    sentences = [
        f"{scale.capitalize()} scale: "
        + join_words(f"{n} {verdict}" for verdict, n in published["counts"][scale].items() if n)
        + "."
        for scale in shown
    ]
    absent = [scale for scale in SCALES if scale not in shown]
    sentences += [f"No arm is recorded at {scale} scale." for scale in absent]
    sentences.append(f"In every row: {'; '.join(published['always_different'])}.")
    return inline(" ".join(sentences))


def protocol_notes(published: Mapping[str, Any]) -> list[str]:
    """Differences from the published settings, once per arm and published run."""
    found = {
        (entry["row"], entry["arm"]): join_words(
            f"{name} {_plain(ours)} (published {_plain(theirs)})"
            for name, (theirs, ours) in entry["differs"].items()
        )
        for entry in published["entries"]
        if entry["differs"]
    }
    return [f"{row}, {arm}: {words}" for (row, arm), words in found.items()]


def _plain(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _ours(entry: Mapping[str, Any]) -> str:
    if entry["arm"] is None:
        return "–"
    reasons = join_words(dict.fromkeys(entry["blank"].values()))
    if entry["ours"] is None:
        return f"blank: {reasons}" if entry["blank"] else "–"
    skill = "skill " if entry["number"] == "val_loss" else ""
    text = f"{skill}{plus_minus(entry['ours'])}"
    if entry["blank"]:
        text += f" ({len(entry['blank'])} of {entry['seeds']} blank: {reasons})"
    return text


def _order(order: Mapping[str, Any] | None) -> str:
    if order is None:
        return "–"
    text = f"published {fmt(order['published'], 3)}"
    if order["ours"] is not None:
        text += f", ours {plus_minus(order['ours'])}"
    return f"{text}: {order['verdict']}"

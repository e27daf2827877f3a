"""The verdict table of the README: findings.json between two markers.

    <!-- verdicts -->     one generated sentence, then a line a claim, by family
    <!-- /verdicts -->

A function of findings.json alone, so that a test can ask whether the README in git still says what
the findings in git say. `study findings --readme` writes it. It is no part of the stage: the README
is typed but for these lines, and a file that DVC owns is removed before its stage runs.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from study.evidence.wording import counted, fmt, listed, percent, table
from study.params import UserError

START, END = "<!-- verdicts -->", "<!-- /verdicts -->"
HEADS = ("claim", "in words", "verdict", "effect", "n", "kind")
TEXT_WIDTH = 140


def verdict_block(findings: Mapping[str, Any]) -> str:
    """Sentence and table of every claim, as they stand between the markers."""
    claims = sorted(findings["claims"].values(), key=lambda c: (c["family"]["name"], c["id"]))
    lines = table(HEADS, [_line(claim) for claim in claims]) if claims else ""
    return "\n".join([_sentence(findings, claims), "", lines]).rstrip()


def with_verdicts(text: str, findings: Mapping[str, Any]) -> str:
    """`text` with the block of `findings` between its markers.

    Raises UserError unless both markers stand there once, in order.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise UserError(
            f"the README needs the lines {START} and {END}, each once and in this order; the "
            "verdict table is written between them"
        )
    before, rest = text.split(START)
    return f"{before}{START}\n{verdict_block(findings)}\n{END}{rest.split(END)[1]}"


def _sentence(findings: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]) -> str:
    kinds = [claim["kind"] for claim in claims]
    statuses = listed(f"{n} {status}" for status, n in findings["counts"].items() if n)
    return (
        f"{counted(len(claims), 'claim')}: {statuses}; "
        f"{kinds.count('confirmatory')} confirmatory, {kinds.count('exploratory')} exploratory. "
        "Effect: treatment minus control with its interval at the family's corrected level, "
        "or both failure rates. `one object`: no second object repeats it yet."
    )


def _line(claim: Mapping[str, Any]) -> tuple[str, ...]:
    contrast = claim["contrast"]
    return (
        claim["id"],
        textwrap.shorten(claim["text"], TEXT_WIDTH, placeholder=" …"),
        f"**{claim['status']}**{_but(claim)}",
        f"{_effect(claim)} ({claim['title']}: {contrast['treatment']} against "
        f"{contrast['control']})",
        str(claim["n"]),
        claim["kind"] if claim["requested"] != "bundle" else f"{claim['kind']}, bundle",
    )


def _but(claim: Mapping[str, Any]) -> str:
    """What a reader must know beside the status."""
    if claim["first"] is not None:
        return f" ({claim['first']} on the first object, not repeated on the second)"
    if claim["status"] not in ("supported", "refuted"):
        return ""
    small = claim["direction"] != "equal" and abs(claim["effect"]["estimate"]) < claim["margin"]
    second = claim["second_object"]
    told = ["the estimate is below the margin"] if small else []
    told += [] if second is not None and second["status"] == "repeated" else ["one object"]
    return f" ({listed(told)})" if told else ""


def _effect(claim: Mapping[str, Any]) -> str:
    """The effect in the metric's unit; two rates where failures are counted."""
    effect, test = claim["effect"], claim["test"]
    if effect is None:
        return "–"
    if test is not None and "rates" in test:
        contrast = claim["contrast"]
        return " against ".join(
            percent(test["rates"][contrast[side]]["estimate"]) for side in ("treatment", "control")
        )
    bounds = (
        "" if effect["low"] is None else f" [{fmt(effect['low'], 3)}, {fmt(effect['high'], 3)}]"
    )
    unit = f" {claim['unit']}" if claim["unit"] else ""
    return f"{fmt(effect['estimate'], 3)}{bounds}{unit}"

"""When a network is worth it: the map and the sentences that were computed from it."""

from __future__ import annotations

from study.report.document import Block, Bullets, Drawing, Heading, said
from study.report.figures.regimes import METRICS, draw_regimes
from study.report.gather import Inputs


def regimes(inputs: Inputs) -> list[Block]:
    blocks: list[Block] = [Heading(2, "When is a network worth it")]
    drawn = [draw_regimes(inputs, metric) for metric in METRICS]
    sentences = (inputs.regimes or {}).get("sentences") or []
    if sentences:
        blocks.append(Bullets(tuple((sentence,) for sentence in sentences)))
    told = dict.fromkeys(one for one in drawn if isinstance(one, str))
    blocks += [one for one in drawn if isinstance(one, Drawing)]
    return blocks + [said(sentence) for sentence in told]

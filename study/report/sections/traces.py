"""Where a run goes bad: traced runs, one that collapsed beside one that did not."""

from __future__ import annotations

from study.report.document import Block, Bullets, Drawing, Heading, said
from study.report.figures.traces import draw_traces
from study.report.gather import Inputs


def traced(inputs: Inputs) -> list[Block]:
    blocks: list[Block] = [Heading(2, "The first bad step")]
    if inputs.traces is None:
        absent = "Traces: not stored here (recorded/studies/traces.json); `make repro-all`."
        return [*blocks, said(absent)]
    sentences = list(inputs.traces["arms"].values())
    drawn = draw_traces(inputs.traces["traces"])
    blocks.append(Bullets(tuple((sentence,) for sentence in sentences)))
    if not isinstance(drawn, Drawing):
        return [*blocks, said(drawn)]
    return [*blocks, drawn, said(RULE)]


RULE = (
    "The error is 1 where it is that of the best constant object. A step is bad when its error "
    "exceeds twice the median of up to ten steps before it, or when from it on the error is that "
    "of a constant object for good. What grew first did so earlier: that is an order, not a cause."
)

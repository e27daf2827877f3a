"""The first bad step: a traced run that collapsed beside one that did not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.investigations.traces.figure import draw_traces
from study.investigations.traces.results import load
from study.report.gather import Inputs
from study.report.page import Section


def traced(inputs: Inputs) -> Mapping[str, Any]:
    traces = next(inputs.recorded("traces.json", load), None)
    return {
        "here": traces is not None,
        "sentences": list(traces["arms"].values()) if traces else [],
        "drawn": draw_traces(traces["traces"]) if traces else "",
    }


SECTIONS = (Section("The first bad step", "investigations/traces/section.html", traced),)

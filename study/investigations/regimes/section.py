"""Regime map: the map of where networks outperform iterative methods, and computed sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from study.investigations.regimes.figure import METRICS, draw_regimes
from study.investigations.regimes.results import load, sentences, training_sentence
from study.report.gather import Inputs
from study.report.page import Section

ABSENT = "Regime map: not stored here (studies/results/regimes.json); `make repro-all`."


def regimes(inputs: Inputs) -> Mapping[str, Any]:
    """Values of the template, from the first recorded map."""
    found = next(inputs.recorded("regimes.json", load), None)
    if found is None:
        return {"sentences": [], "drawn": [ABSENT]}
    drawn = [draw_regimes(found, metric) for metric in METRICS]
    training = training_sentence(found)
    return {"sentences": [*sentences(found), *([training] if training else [])], "drawn": drawn}


SECTIONS = (Section("When is a network worth it", "investigations/regimes/section.html", regimes),)

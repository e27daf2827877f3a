"""Sentences of the regime map follow from its numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from evidence.stored import arm, seed_json

from study.evidence.arms import load_all, load_arms
from study.investigations.regimes.results import (
    easy_sentence,
    fewest_patterns,
    heat_map,
    load,
    lowest,
    sentences,
)
from study.runs.recorded import recorded_files
from study.settings import Arm, UserError
from study.stages.record import record_results

STEPS = (5, 10, 20, 30)
PATTERNS = {5: 625, 10: 169, 20: 49, 30: 16}
GOOD = {
    "amplitude_mae": {"value": 0.05, "unit": "object units"},
    "phase_mae": {"value": 0.1, "unit": "rad"},
}
RPIE = (0.001, 0.010, 0.200, 0.300)
BETTER = (0.040, 0.040, 0.100, 0.290)
PHASES = {"rpie": (0.01, 0.09, 0.3, 0.3), "better": (0.02, 0.02, 0.02, 0.02)}


def row(method: str, step: int, amplitude: float | None, phase: float | None) -> dict[str, Any]:
    return {
        "dose": 1e9,
        "probe": "known",
        "step_px": step,
        "method": method,
        "amplitude_mae": amplitude,
        "phase_mae": phase,
        "amplitude_ssim": None if amplitude is None else 1 - amplitude,
        "phase_ssim": None if phase is None else 1 - phase,
        "seconds": 1.0,
        "patterns": PATTERNS[step],
        "evaluable": amplitude is not None and phase is not None,
        "reason": None if amplitude is not None else "constant amplitude",
    }


def regime_map(**amplitudes: Any) -> dict[str, Any]:
    """A map with one region; amplitude errors by method, phase errors of PHASES."""
    cells = [
        row(method, step, value, phase)
        for method, values in amplitudes.items()
        for step, value, phase in zip(STEPS, values, PHASES.get(method, (0.5,) * 4), strict=True)
    ]
    return {
        "format": 1,
        "steps_px": list(STEPS),
        "good": GOOD,
        "cells": cells,
        "scans": [
            {"dose": 1e9, "probe": "known", "step_px": step, "lit_diameter_px": 16.0}
            for step in STEPS
        ],
        "fewest_patterns": fewest_patterns(cells, GOOD),
        "missing": [],
        "inputs": {},
        "settings": {},
        "environment": {},
    }


def test_a_sentence_says_who_is_lowest_where_and_by_how_much() -> None:
    (output,) = sentences(regime_map(rpie=RPIE, better=BETTER, control=(0.5,) * 4))
    assert output == (
        "1e9 photons per pattern, probe known: the lowest amplitude error is that of rPIE at 2 of "
        "4 steps (5 to 10 px: 0.001 to 0.01 object units, next best 0.04), of the better network "
        "at 1 of 4 steps (20 px: 0.1 object units, next best 0.2), of the better network and rPIE "
        "(a tie within 5 %) at 1 of 4 steps (30 px: 0.29 object units, next best 0.5); "
        "the lowest phase error is that of rPIE at 1 of 4 steps (5 px: 0.01 rad, next best 0.02), "
        "of the better network at 3 of 4 steps (10 to 30 px: 0.02 rad, next best 0.09 to 0.3)."
    )


def test_swapping_two_methods_swaps_the_sentence() -> None:
    one = regime_map(rpie=RPIE, better=BETTER)
    swapped = regime_map(rpie=RPIE, better=BETTER)
    for cell in swapped["cells"]:
        cell["method"] = {"rpie": "better", "better": "rpie"}[cell["method"]]
    (left,), (right,) = sentences(one), sentences(swapped)
    assert left != right
    assert "of rPIE at 2 of 4 steps (5 to 10 px: 0.001 to 0.01 object" in left
    assert "of the better network at 2 of 4 steps (5 to 10 px: 0.001 to 0.01 object" in right


@pytest.mark.parametrize(("other", "tied"), [(1.049, True), (1.051, False)])
def test_within_five_percent_is_a_tie(other: float, tied: bool) -> None:
    content = regime_map(rpie=(1.0,) * 4, better=(other,) * 4)
    winner = lowest(content["cells"], 5, "amplitude_mae")
    assert winner is not None
    assert winner.methods == (("better", "rpie") if tied else ("rpie",))
    assert ("a tie within 5 %" in sentences(content)[0].partition("; ")[0]) == tied


def test_the_best_similarity_is_the_highest() -> None:
    content = regime_map(rpie=RPIE, better=BETTER)
    winner = lowest(content["cells"], 5, "amplitude_ssim")
    assert winner is not None
    assert winner.methods == ("rpie",)
    assert winner.value == pytest.approx(0.999)


def test_methods_without_a_score_win_nothing_and_absent_networks_are_named() -> None:
    (output,) = sentences(regime_map(rpie=(None, *RPIE[1:]), back_projection=(0.2,) * 4))
    assert "of back-projection at 2 of 4 steps (5 and 30 px: 0.2 object units" in output
    assert output.endswith("no run of the control network and the better network.")
    (empty,) = sentences(regime_map(control=(None,) * 4))
    assert "no method has a score for the amplitude error" in empty


def test_easy_scans_are_counted_from_the_numbers() -> None:
    output = easy_sentence(regime_map(rpie=RPIE, better=BETTER))
    assert "2 scans" in output
    assert "amplitude error: rPIE in 2, so rPIE wins most of it" in output
    assert "phase error: the better network in 1, rPIE in 1" in output
    swapped = easy_sentence(regime_map(rpie=BETTER, better=RPIE))
    assert "amplitude error: the better network in 2, so the better network wins" in swapped
    shared = easy_sentence(regime_map(rpie=RPIE, network_rpie=RPIE))
    assert "so rPIE and rPIE started from the better network win most of it" in shared


def test_fewest_patterns_are_those_down_to_which_a_method_stays_good() -> None:
    found = {
        entry["method"]: entry
        for entry in regime_map(
            rpie=RPIE, better=(0.04, 0.06, 0.04, 0.04), control=(0.06, 0.04, 0.04, 0.04)
        )["fewest_patterns"]
    }
    assert (found["rpie"]["patterns"], found["rpie"]["step_px"]) == (169, 10)
    # Good again with fewer patterns does not count: it did not stay good.
    assert (found["better"]["patterns"], found["better"]["step_px"]) == (625, 5)
    assert (found["control"]["patterns"], found["control"]["step_px"]) == (None, None)


def test_a_heat_map_has_every_region_and_method_over_the_steps() -> None:
    table = heat_map(regime_map(rpie=(None, *RPIE[1:]), better=BETTER), "amplitude_mae")
    assert table.steps_px == STEPS
    assert table.rows == ((1e9, "known", "better"), (1e9, "known", "rpie"))
    assert table.values == (BETTER, (None, *RPIE[1:]))
    assert table.best == ((True, False, True, True), (False, True, False, True))


def test_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "regimes.json").write_text("{")
    with pytest.raises(UserError, match=r"regimes\.json"):
        load(tmp_path / "regimes.json")


def test_recorded_maps_are_copies_and_disturb_no_arm(tmp_path: Path) -> None:
    pipeline = tmp_path / "studies"
    seeds = pipeline / "results" / "control" / "seeds"
    seeds.mkdir(parents=True)
    row = Arm.model_validate(arm())
    (seeds / "s1.json").write_text(json.dumps(seed_json("control", row, 1, 0.06)))
    content = regime_map(rpie=RPIE, better=BETTER)
    (pipeline / "results" / "regimes.json").write_text(json.dumps(content))
    assert len(record_results(pipeline, tmp_path)) == 3
    assert [*recorded_files(tmp_path, "regimes.json")] == [pipeline / "results" / "regimes.json"]
    assert set(load_all(tmp_path)) == {"studies/control"}
    assert set(load_arms(pipeline / "results")) == {"control"}


def test_evidence_about_regimes_knows_no_torch() -> None:
    program = (
        "import sys, study.investigations.regimes.results as r; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0

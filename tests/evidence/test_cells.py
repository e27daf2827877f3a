"""The cell that every table shows: value, interval, n, status, and what it ranks by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stored
from stored import CONTROL, METRIC, SEEDS, WORSE

from study.evidence.arms import ArmResults, load_arms
from study.evidence.cells import Cell, cell, in_order, results_table
from study.evidence.metric_catalog import KNOWN, NYQUIST
from study.evidence.model import ArmFinding
from study.evidence.summary import summarise
from study.settings import Study

FRC = "last.standard.amplitude.frc50"
PUBLISHED = "last.published.amplitude.ssim"
NOTHING = {"mae": None, "ssim": None, "frc50": None}
CONSTANT = {"evaluable": False, "reason": "constant amplitude", "spread_ratio": 0.01}


def arm_of(study: Study, values: Any, changed: dict[int, dict[str, Any]]) -> ArmFinding:
    """The control with `values`, some seeds changed as `seed_json` takes it."""
    row = study.arms["control"]
    seeds = {
        seed: stored.seed_json("control", row, seed, value, **changed.get(seed, {}))
        for seed, value in zip(SEEDS, values, strict=True)
    }
    return summarise("control", row, ArmResults("control", seeds, {}), [*KNOWN])


def found(study: Study, path: str, **changed: Any) -> Cell:
    return cell(arm_of(study, CONTROL, {2: changed} if changed else {}), path)


def test_a_cell_holds_the_mean_over_the_seeds_and_its_interval(study: Study) -> None:
    one = found(study, METRIC)
    mean, error = np.mean(CONTROL), np.std(CONTROL, ddof=1) / np.sqrt(len(CONTROL))
    assert one.estimate == pytest.approx(mean)
    assert one.facts is not None and one.facts.half == pytest.approx(2.5706 * error, rel=1e-4)
    assert one.rank == one.estimate and one.status == "complete"
    assert one.seeds == "n = 6" and one.id == f"control/mean/{METRIC}"


def test_a_collapsed_run_without_a_score_takes_the_rank_of_its_arm(study: Study) -> None:
    """The mean over the other seeds is shown, and neither sorts nor filters."""
    dead = {"outcome": "collapsed", "last__gate__amplitude": CONSTANT}
    one = found(study, METRIC, **dead, last__standard__amplitude=NOTHING)
    assert one.status == "partial" and one.rank is None
    assert one.estimate == pytest.approx(np.mean([*CONTROL[:1], *CONTROL[2:]]))
    assert one.seeds == "n = 5 of 6" and "s2" in one.why


def test_a_failed_run_without_a_loss_takes_the_rank_too(study: Study) -> None:
    one = found(study, "last.val_loss", outcome="failed", cause="loss is NaN", last=None)
    assert one.status == "partial" and one.rank is None


def test_a_collapsed_run_that_has_the_number_counts_in_it(study: Study) -> None:
    one = found(study, "last.val_loss", outcome="collapsed")
    assert one.status == "complete" and one.rank == one.estimate


def test_a_constant_of_a_trained_run_has_no_published_score_either(study: Study) -> None:
    """The published set scores constants, and a mean that holds such a score is none."""
    one = found(study, PUBLISHED, last__gate__amplitude=CONSTANT)
    assert one.status == "not evaluable" and one.estimate is None and one.values == {}


def test_the_gap_needs_both_of_its_scores(study: Study) -> None:
    for part in ("best", "last"):
        gone = {f"{part}__gate__amplitude": CONSTANT, f"{part}__standard__amplitude": NOTHING}
        arm = arm_of(study, CONTROL, dict.fromkeys(SEEDS, gone))
        assert cell(arm, "gap.standard.amplitude.mae").status == "not evaluable"


def test_a_resolution_that_is_never_lost_is_the_best_one(study: Study) -> None:
    """No crossing of the FRC is no missing score: it ranks above every crossing."""
    uncrossed = {
        "last__standard__amplitude": {"mae": 0.1, "ssim": 0.9, "frc50": None},
        "last__reasons": {"standard.amplitude.frc50": "not crossed"},
    }
    best = cell(arm_of(study, CONTROL, dict.fromkeys(SEEDS, uncrossed)), FRC)
    usual, mixed = found(study, FRC), found(study, FRC, **uncrossed)
    assert best.rank == NYQUIST and best.is_bound and best.value().startswith("≥")
    assert usual.rank is not None and not usual.is_bound and usual.rank < NYQUIST
    assert mixed.rank is not None and mixed.is_bound and usual.rank < mixed.rank < NYQUIST


def test_another_reason_for_a_missing_resolution_stays_one(study: Study) -> None:
    blank = {"mae": 0.1, "ssim": 0.9, "frc50": None}
    why = {"standard.amplitude.frc50": "the mask leaves a square of 3 px, too small for an FRC"}
    one = found(study, FRC, last__standard__amplitude=blank, last__reasons=why)
    assert one.facts is not None and one.facts.n == 5 and not one.is_bound


def test_the_table_has_a_line_per_arm_the_control_first_and_references_last(
    tmp_path: Path, study: Study
) -> None:
    stored.store(tmp_path, study, "agc", WORSE)
    stored.store(tmp_path, study, "control", CONTROL)
    stored.store(tmp_path, study, "rpie", [0.01])
    results = load_arms(tmp_path / "results")
    arms = {name: summarise(name, study.arms[name], arm) for name, arm in results.items()}
    lines = results_table(arms, ["rpie", "agc", "control"], [METRIC])
    assert [line.name for line in lines] == ["control", "agc", "rpie"]
    assert lines[2].short_name == "rpie (reference)"
    assert [line.cells[METRIC].estimate for line in lines] == [
        pytest.approx(np.mean(values)) for values in (CONTROL, WORSE, [0.01])
    ]


def test_an_unknown_label_comes_last_and_order_is_kept_otherwise() -> None:
    labels = {"d": None, "c": "floor", "b": "arm", "a": "arm", "x/control": "arm"}
    assert in_order(labels, labels) == ["x/control", "b", "a", "c", "d"]

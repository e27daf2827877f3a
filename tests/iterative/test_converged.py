"""rPIE to convergence as a row: which setting is taken, from which patterns, and what is stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study.formats.dataset import Dataset
from study.iterative.references import run
from study.iterative.sources import make
from study.iterative.task import Made, Task, fitted_and_judged
from study.optics.assembly import hold_out, total_r_factor
from study.runs import RunFolder
from study.settings import Reference, Rpie, RpieConverged, leaves, read_yaml

SOURCE: dict[str, Any] = {
    "name": "rpie_converged",
    "passes": 40,
    "change": 0.05,
    "over": 5,
    "settings": {
        "bold": {"alpha": 0.05, "update": "batches"},
        "damped": {"alpha": 1.0, "update": "synchronous"},
    },
    "update_probe": False,
    "seed": 0,
}


def made(dataset: Dataset, **changes: Any) -> Made:
    source = RpieConverged.model_validate({**SOURCE, **changes})
    return make(source, Task(dataset, fitted_and_judged(dataset)[0]))


def test_the_setting_with_the_lowest_r_on_left_out_patterns_is_taken(tiny: Dataset) -> None:
    effective = made(tiny).effective
    tried = effective["tried"]
    assert set(tried) == set(SOURCE["settings"])
    best = min(tried, key=lambda name: tried[name]["r_factor_left_out"])
    assert effective["chosen"] == best
    assert tried["bold"]["r_factor_left_out"] != tried["damped"]["r_factor_left_out"]


def test_the_left_out_r_is_that_of_patterns_the_trial_never_saw(tiny: Dataset) -> None:
    fitted = fitted_and_judged(tiny)[0]
    left_out = hold_out(len(fitted.amplitude))
    only = {"name": "rpie", "alpha": 0.05, "passes": 7, "update_probe": False, "seed": 0}
    trial = make(Rpie.model_validate(only), Task(tiny, fitted.only(~left_out)))
    expected = total_r_factor(trial.stitched, trial.probe, fitted.only(left_out))
    one = {"bold": SOURCE["settings"]["bold"]}
    tried = made(tiny, settings=one, passes=7, over=7).effective["tried"]["bold"]
    assert tried["r_factor_left_out"] == expected


def test_the_winner_runs_again_on_all_patterns(tiny: Dataset) -> None:
    one = {"bold": SOURCE["settings"]["bold"]}
    found = made(tiny, settings=one, passes=6, over=6)
    plain = {"name": "rpie", "alpha": 0.05, "passes": 6, "update_probe": False, "seed": 0}
    expected = make(Rpie.model_validate(plain), Task(tiny, fitted_and_judged(tiny)[0]))
    assert torch.equal(found.stitched.canvas, expected.stitched.canvas)
    assert found.r_factor == expected.r_factor


def test_test_patterns_of_a_measurement_choose_nothing(as_measured: Dataset) -> None:
    test = as_measured.splits["test"]
    other = replace(test, counts=np.zeros_like(test.counts))
    blind = replace(as_measured, splits={**as_measured.splits, "test": other})
    first, second = made(as_measured, passes=5), made(blind, passes=5)
    assert first.effective == second.effective
    assert torch.equal(first.stitched.canvas, second.stitched.canvas)


def test_without_a_usable_left_out_pattern_the_first_by_name_is_taken(
    tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.iterative.whole_sources.total_r_factor", lambda *_: None)
    effective = made(tiny, passes=2).effective
    assert effective["chosen"] == "bold"
    assert effective["tried"]["bold"]["r_factor_left_out"] is None


def test_a_row_tells_what_was_tried_and_how_many_passes_it_took(
    tiny: Dataset, tmp_path: Path, row: Callable[..., Reference]
) -> None:
    folder = RunFolder(tmp_path)
    reference = row(**SOURCE)
    run(reference, tiny, folder)
    source = read_yaml(tmp_path / "params.yaml")["source"]
    history = folder.history()
    assert source["converged"]
    assert source["passes_done"] == len(history) < SOURCE["passes"]
    assert folder.status()["epoch"] == len(history)
    assert source["tried"][source["chosen"]]["converged"]


def test_every_setting_acts_on_the_hash(row: Callable[..., Reference]) -> None:
    flat = leaves(row(**SOURCE))
    assert flat["source.settings.bold.alpha"] == 0.05
    assert flat["source.settings.damped.update"] == "synchronous"
    assert all(
        value is None or isinstance(value, (bool, int, float, str)) for value in flat.values()
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"settings": {}},
        {"change": 0},
        {"over": 0},
        {"settings": {"No Name": {"alpha": 0.1, "update": "batches"}}},
        {"settings": {"a": {"alpha": 0.1, "update": "all"}}},
        {"settings": {"a": {"alpha": 0, "update": "batches"}}},
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        RpieConverged.model_validate({**SOURCE, **changes})

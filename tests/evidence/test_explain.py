"""Every number can be asked where it comes from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from stored import CONTROL, METRIC, WORSE, book_of, claim, found, store

from study.evidence.explain import explain
from study.runs import write_json, write_yaml
from study.settings import Study, UserError


@pytest.fixture
def root(tmp_path: Path, study: Study) -> Path:
    store(tmp_path, study, "control", CONTROL, evidence={"runs/control/s1/history.csv": "f" * 64})
    store(tmp_path, study, "agc", WORSE)
    store(tmp_path, study, "rpie", [0.01])
    write_yaml(tmp_path / "params.yaml", study.model_dump(mode="json"))
    write_json(tmp_path / "findings.json", found(tmp_path, book_of(tmp_path, A_1=claim()), study))
    return tmp_path


def test_one_seed_has_its_value_inputs_and_command(root: Path) -> None:
    found = explain(f"control/s2/{METRIC}", root)
    file = root / "results" / "control" / "seeds" / "s2.json"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert found.value == CONTROL[1]
    assert ("results/control/seeds/s2.json", digest) in found.inputs
    assert ("runs/control/s1/history.csv", "f" * 64) in found.inputs
    assert found.command == f"dvc repro evaluate@control && study explain control/s2/{METRIC}"
    assert str(CONTROL[1]) in str(found) and digest in str(found)


def test_means_and_medians_are_over_all_seeds(root: Path) -> None:
    mean, median = (explain(f"control/{kind}/{METRIC}", root) for kind in ("mean", "median"))
    assert mean.value == pytest.approx(np.mean(CONTROL))
    assert median.value == pytest.approx(np.median(CONTROL))
    assert mean.facts is not None and mean.facts.low is not None
    assert median.facts is not None and median.facts.low is None
    assert len(mean.inputs) == 6


def test_a_difference_has_the_inputs_of_both_arms(root: Path) -> None:
    found = explain(f"agc/difference/{METRIC}", root)
    assert found.value == pytest.approx(np.mean(WORSE) - np.mean(CONTROL))
    assert len(found.inputs) == 12
    assert "evaluate@agc evaluate@control" in found.command


def test_a_claims_effect_carries_its_verdict(root: Path) -> None:
    found = explain("A-1/effect", root)
    assert found.value == pytest.approx(np.mean(WORSE) - np.mean(CONTROL))
    assert found.note.startswith("supported (exploratory, 6 of 8 seeds")


def test_the_last_of_a_reference_is_its_only_one(root: Path) -> None:
    found = explain(f"rpie/s0/{METRIC}", root)
    assert found.value == 0.01 and "the only reconstruction" in found.definition


def test_a_null_says_why(root: Path, study: Study) -> None:
    reasons = {"standard.amplitude.ssim": "constant amplitude"}
    scores = {"mae": 0.1, "ssim": None, "frc50": 0.3}
    store(root, study, "agc", WORSE, last__standard__amplitude=scores, last__reasons=reasons)
    found = explain("agc/s1/last.standard.amplitude.ssim", root)
    assert found.value is None and found.note == "constant amplitude"
    assert "null" in str(found)


def test_a_resolution_beyond_the_scale_is_its_bound(root: Path, study: Study) -> None:
    reasons = {"standard.amplitude.frc50": "not crossed"}
    scores = {"mae": 0.1, "ssim": 0.9, "frc50": None}
    store(root, study, "agc", WORSE, last__standard__amplitude=scores, last__reasons=reasons)
    found = explain("agc/s1/last.standard.amplitude.frc50", root)
    assert found.value == 0.5 and "lower bound" in found.note


@pytest.mark.parametrize(
    ("number_id", "sentence"),
    [
        ("nonsense", "accepted: ARM/s1/PATH"),
        ("control/s9/last.val_loss", "no results of control seed 9"),
        ("contrl/s1/last.val_loss", "did you mean 'control'"),
        ("control/s1/last.val_los", "did you mean 'last.val_loss'"),
        ("control/total/last.val_loss", "accepted: ARM/s1/PATH"),
        ("control/difference/last.val_loss", "compared with no arm"),
        ("B-1/effect", "no claim 'B-1'"),
    ],
)
def test_an_id_that_names_nothing_gets_a_sentence(
    root: Path, number_id: str, sentence: str
) -> None:
    with pytest.raises(UserError) as caught:
        explain(number_id, root)
    assert sentence in str(caught.value)

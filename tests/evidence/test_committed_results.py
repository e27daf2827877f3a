"""The results in git: complete, judged, and in the units of the object."""

import json
from pathlib import Path

import pytest

from study.params import load_study
from study.runs import read_json

ROOT = Path(__file__).parent.parent.parent
ARMS = load_study(ROOT / "params.yaml").arms


@pytest.mark.parametrize("name", ARMS)
def test_every_declared_seed_is_a_row(name):
    files = sorted((ROOT / "results" / name / "seeds").glob("s*.json"))
    assert {file.stem for file in files} == {f"s{seed}" for seed in ARMS[name].seeds}
    for file in files:
        json.dumps(read_json(file), allow_nan=False)


def test_the_amplitude_scale_of_the_trained_control_is_one_within_five_percent():
    for file in (ROOT / "results" / "control" / "seeds").glob("s*.json"):
        last = read_json(file)["last"]
        for metrics in ("published", "standard"):
            assert last[metrics]["extra"]["amplitude_scale"] == pytest.approx(1, abs=0.05)


def test_the_plan_estimates_every_arm_from_the_committed_runs():
    from study.stages.estimate import measured_seconds, plan_lines

    assert all((measured_seconds(ROOT, name) or 0) > 0 for name in ARMS)
    said = " ".join(plan_lines(ROOT))
    assert "about" in said and "min in all" in said and "never been measured" not in said


def test_flat_is_the_floor_and_the_oracle_the_ceiling():
    scores = {
        name: read_json(file)["best"]["published"]["amplitude"]["ssim"]
        for name in ARMS
        for file in (ROOT / "results" / name / "seeds").glob("s*.json")
    }
    assert min(scores, key=lambda name: scores[name]) == "flat"
    assert max(scores, key=lambda name: scores[name]) == "oracle"


def test_the_word_status_stands_for_verdicts_only():
    findings = read_json(ROOT / "findings.json")

    def holders(value, path=()):
        if isinstance(value, dict):
            for key, item in value.items():
                if key == "status":
                    yield path
                yield from holders(item, (*path, key))
        elif isinstance(value, list):
            for item in value:
                yield from holders(item, path)

    assert {path[0] for path in holders(findings)} <= {"claims", "superseded"}

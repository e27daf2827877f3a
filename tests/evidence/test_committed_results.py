"""The results in git: complete, judged, and in the units of the object."""

import json
import os
import random
import re
import subprocess
import sys
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


def stored_numbers(findings):
    """(id, value) of every number that findings.json holds, by kind."""
    kinds = {"mean": [], "median": [], "seed": [], "difference": [], "effect": [], "recorded": []}
    for name, arm in findings["arms"].items():
        for path, facts in arm["numbers"].items():
            own = "recorded" if "/" in name else None
            kinds[own or "mean"].append((facts["id"], facts["estimate"]))
            kinds[own or "median"].append((f"{name}/median/{path}", facts["median"]))
            seeds = [(f"{name}/{seed}/{path}", v) for seed, v in facts["values"].items()]
            kinds[own or "seed"] += seeds
        differences = arm["difference"].values()
        kinds["difference"] += [(facts["id"], facts["estimate"]) for facts in differences]
    effects = [entry["effect"] for entry in findings["claims"].values() if entry["effect"]]
    kinds["effect"] = [(effect["id"], effect["estimate"]) for effect in effects]
    return kinds


@pytest.mark.slow
def test_the_stored_command_of_a_number_gives_the_stored_number():
    findings = read_json(ROOT / "findings.json")
    draw, sample = random.Random(4), []
    for numbers in stored_numbers(findings).values():
        sample += draw.sample(numbers, min(2, len(numbers)))
    assert len(sample) >= 8
    command, tolerance = findings["numbers"]["command"], findings["numbers"]["relative_tolerance"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for number_id, value in sample:
        words = command.replace("ID", number_id).split()
        assert words[0] == "study"
        done = subprocess.run(
            [sys.executable, "-m", *words],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        told = re.match(re.escape(number_id) + r" = (\S+)", done.stdout)
        assert told, done.stdout
        allowed = tolerance["recorded" if number_id.count("/") > 2 else "others"]
        assert abs(float(told[1]) - value) <= allowed * abs(value), number_id


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


def test_the_findings_are_small_enough_to_read_and_to_commit():
    assert (ROOT / "findings.json").stat().st_size < 1_500_000

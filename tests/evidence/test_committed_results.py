"""The results in git: complete, judged, and in the units of the object."""

import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

import pytest

from study.evidence.staleness import current_findings
from study.runs import read_json
from study.settings import load_study

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
    output = " ".join(plan_lines(ROOT))
    assert "about" in output and "min" in output and "not measured" not in output


def test_flat_is_the_floor_and_the_oracle_the_ceiling():
    """On the objects of one seed; a limit is not a reconstruction, a dead network is a constant."""
    for seed in ARMS["control"].seeds:
        scores = {}
        for name in ARMS:
            file = ROOT / "results" / name / "seeds" / f"s{seed}.json"
            best = read_json(file)["best"] if file.is_file() else None
            if best is not None and best.get("published") is not None and "lr1e2" not in name:
                scores[name] = best["published"]["amplitude"]["ssim"]
        assert min(scores, key=scores.__getitem__) == "flat", seed
        assert max(scores, key=scores.__getitem__) == "oracle", seed


def stored_numbers(findings):
    """(id, value, what its tolerance is a share of) of every number in findings.json, by kind."""
    kinds = {"mean": [], "median": [], "seed": [], "difference": [], "effect": []}
    for name, arm in findings["arms"].items():
        for path, facts in arm["numbers"].items():
            mean = facts["estimate"]
            kinds["mean"].append((facts["id"], mean, abs(mean)))
            kinds["median"].append((f"{name}/median/{path}", facts["median"], abs(mean)))
            seeds = [(f"{name}/{seed}/{path}", v, abs(v)) for seed, v in facts["values"].items()]
            kinds["seed"] += seeds
        for path, facts in arm["difference"].items():
            size = 2 * abs(arm["numbers"][path]["estimate"]) + abs(facts["estimate"])
            kinds["difference"].append((facts["id"], facts["estimate"], size))
    effects = [entry["effect"] for entry in findings["claims"].values() if entry["effect"]]
    kinds["effect"] = [(effect["id"], effect["estimate"], 0.0) for effect in effects]
    return kinds


@pytest.mark.slow
def test_the_stored_command_of_a_number_gives_the_stored_number():
    findings = current_findings(ROOT).content()
    draw, sample = random.Random(4), []
    for numbers in stored_numbers(findings).values():
        sample += draw.sample(numbers, min(2, len(numbers)))
    assert len(sample) >= 8
    command, tolerance = findings["numbers"]["command"], findings["numbers"]["relative_tolerance"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    for number_id, value, size in sample:
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
        message = re.match(re.escape(number_id) + r" = (\S+)", done.stdout)
        assert message, done.stdout
        assert abs(float(message[1]) - value) <= tolerance * size, number_id


def test_the_word_status_stands_for_verdicts_only():
    findings = current_findings(ROOT).content()

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
    assert (ROOT / "findings.json").stat().st_size < 500_000

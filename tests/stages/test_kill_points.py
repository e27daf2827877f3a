"""Commands that write, killed at operations on their files, end whole when they run again.

A seeded sample in the normal tests, every point under the marker `faults`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "crash_points.py"
QUICK = ["WriteWhole", "Collect", "CollectByTwoRenames", "Clean", "Record", "SaveDataset"]
COMMANDS = ["Simulate", "Evaluate", "Findings", "Fingerprints", "Export", "Launch"]
WITH_DVC = ["Pull", "PullOver", "RemoteAdd", "RemoteKey", "Publish"]
SEED = 15


def campaign(*scenarios: str) -> list[dict[str, Any]]:
    """The outcome of every `NAME[:COUNT]`, all in one process, which imports DVC once."""
    command = (sys.executable, str(SCRIPT), str(SEED), *scenarios)
    paths = filter(None, (str(SCRIPT.parents[1]), os.environ.get("PYTHONPATH")))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()[-len(scenarios) :]]


@pytest.mark.parametrize(
    ("names", "count"),
    [
        (QUICK, 12),
        pytest.param(COMMANDS, 4, marks=pytest.mark.slow),
        pytest.param(WITH_DVC, 4, marks=pytest.mark.slow),
    ],
)
def test_a_sample_of_kills_loses_nothing_and_the_command_completes(names, count):
    found = campaign(*(f"{name}:{count}" for name in names))
    assert [one["name"] for one in found] == names
    for one in found:
        assert one["faults"] == [], one["name"]
        assert one["killed"] == one["tried"] == min(count, one["operations"]) >= 2


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.faults
@pytest.mark.parametrize("name", [*QUICK, *COMMANDS, *WITH_DVC])
def test_a_kill_at_every_operation_loses_nothing_and_the_command_completes(name):
    (message,) = campaign(name)
    assert message["faults"] == []
    assert message["tried"] == message["operations"] > 1

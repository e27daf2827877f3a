"""Commands that write, killed at operations on their files, end whole when they run again.

A seeded sample in the normal tests, every point under the marker `faults`.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parent / "crash_points.py"
QUICK = ["WriteWhole", "Collect", "CollectByTwoRenames", "Clean", "Record", "SaveDataset"]
WITH_DVC = ["Pull", "PullOver"]
SEED = 15


def campaign(name: str, *sample: int) -> dict[str, Any]:
    command = (sys.executable, str(SCRIPT), name, *map(str, sample))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize(
    ("name", "count"),
    [
        *((name, 12) for name in QUICK),
        *(pytest.param(name, 6, marks=pytest.mark.slow) for name in WITH_DVC),
    ],
)
def test_a_sample_of_kills_loses_nothing_and_the_command_completes(name, count):
    told = campaign(name, count, SEED)
    assert told["faults"] == []
    assert told["killed"] == told["tried"] == min(count, told["operations"]) >= 4


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.faults
@pytest.mark.parametrize("name", [*QUICK, *WITH_DVC])
def test_a_kill_at_every_operation_loses_nothing_and_the_command_completes(name):
    told = campaign(name)
    assert told["faults"] == []
    assert told["tried"] == told["operations"] > 3

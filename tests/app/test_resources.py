"""What a run used: read from its provenance or its folder; nothing is guessed."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from checkouts import opened

from study.jobs import RunRow
from study.runs import RunFolder, write_json, write_text


@pytest.fixture
def folder(fresh: Path) -> Path:
    return RunFolder(fresh / "work" / "one").path


def live(folder: Path, state: str = "running") -> RunRow:
    return RunRow("control", 1, state=state, epoch=2, epochs=9, place=str(folder))


def test_a_stored_run_has_machine_time_and_memory(fresh: Path) -> None:
    from app.runs.resources import facts

    content = {
        "outputs": {}, "seconds": 60.0, "peak_memory_mib": 648.2, "resumed": 2,
        "environment": {"device": "cpu", "cores": 2, "processor": "A *chip*"},
    }  # fmt: skip
    write_json(fresh / "provenance" / "control" / "s1.json", content)
    found = facts(RunRow("control", 1, state="done", epoch=10, epochs=10))
    assert found["computed on"] == "cpu, 2 cores, A *chip*"
    assert found["took"] == "60 s, 6 s per epoch"
    assert found["peak memory"] == "648 MiB" and found["resumed"] == "2 times"


def test_a_live_run_has_what_its_process_uses(folder: Path) -> None:
    from app.runs.resources import facts

    write_text(folder / "timing.csv", "epoch,seconds,peak_memory_mib\n1,2.0,100\n2,4.0,300.4\n")
    RunFolder(folder).start("control", 1, 9, {})  # as the trainer does, in this process
    found = facts(live(folder))
    assert found["took"] == "6 s, 3 s per epoch" and found["peak memory"] == "300 MiB"
    assert "MiB" in found["now"]
    write_json(folder / "status.json", {"pid": os.getpid(), "pid_started": time.time() - 9e6})
    assert "now" not in facts(live(folder)), "another process has the number"


@pytest.mark.parametrize("text", ["", "epoch,seconds\n1,fast\n", "\x00\x00", "a,b\n1\n"])
def test_a_damaged_table_is_no_line(folder: Path, text: str) -> None:
    from app.runs.resources import facts

    write_text(folder / "timing.csv", text)
    assert "took" not in facts(live(folder))


def test_a_live_run_has_time_and_memory_by_epoch(toy: Path) -> None:
    folder = RunFolder(toy / "work" / "one")
    folder.start("control", 1, 9, {})
    write_text(folder.timing_file, "epoch,seconds,peak_memory_mib\n1,2.0,100\n2,4.0,300.4\n")
    charts = opened("runs", run="control/s1").get("plotly_chart")
    [chart] = [c for c in charts if "MiB" in c.proto.alt]
    drawn = [list(trace["y"]) for trace in json.loads(chart.proto.spec)["data"]]
    assert drawn == [[2.0, 4.0], [100.0, 300.4]]

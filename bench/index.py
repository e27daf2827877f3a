"""I1, I2: time to show ten thousand runs with `study runs` and in the app.

The runs are synthetic and laid out as after a pull: runs/<arm>/s<seed> with status.json and
history.csv, and a params.yaml that declares their arms. Nothing is trained; only files are read.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from statistics import median

from bench import browser
from bench.figure import Figure, Goal
from bench.many import as_written, commit, git, many_arms
from bench.program import environment, run, study
from bench.startup import first_paints, served
from study.runs import write_text, write_yaml

ARMS, SEEDS = 2000, 5
STARTS = 5
EPOCHS = 10
BEGAN = 1_780_000_000.0  # an arbitrary date, Unix time

LIST = Goal("I1", f"study runs, {ARMS * SEEDS:,} runs", 1.0, "s", False)
PAINT = Goal(
    "I2", f"app first paint of the runs page, {ARMS * SEEDS:,} runs, warm", 3.0, "s", False
)


def make_runs(folder: Path, arms: int, seeds: int) -> None:
    """Create a checkout with finished runs of `arms` arms with `seeds` seeds each."""
    declared = many_arms(arms, seeds)
    write_yaml(folder / "params.yaml", as_written(declared))
    git(folder, "init", "-qb", "main")
    commit(folder, "arms")
    for i, (name, row) in enumerate(declared.arms.items()):
        for seed in row.seeds:
            place = folder / "runs" / name / f"s{seed}"
            place.mkdir(parents=True)
            (place / "status.json").write_text(json.dumps(status(name, seed, i * seeds + seed)))
            write_text(place / "history.csv", "epoch,val_loss,seconds\n10,0.05,2.0\n")


def status(arm: str, seed: int, turn: int) -> dict[str, object]:
    """status.json of a finished run; `turn`: its number in order of start time."""
    began = BEGAN + 60.0 * turn
    return {
        "state": "finished",
        "arm": arm,
        "seed": seed,
        "epoch": EPOCHS,
        "epochs": EPOCHS,
        "pid": 1,
        "pid_started": 0.0,
        "started": began,
        "ended": began + 25.0,
        "heartbeat": began + 25.0,
        "val_loss": 0.05,
        "cause": None,
        "manifest": {"data_sha256": "d" * 64, "fingerprint": "f" * 64, "settings": {}},
    }


def measure_list(folder: Path) -> Figure:
    said = subprocess.run(
        study("runs"), cwd=folder, env=environment(), capture_output=True, text=True, check=True
    ).stdout
    assert f"arm_{ARMS - 1}" in said, said[:500]
    walls = [run(study("runs"), folder).wall_s for _ in range(STARTS)]
    return Figure(LIST, median(walls), {"wall s": walls})


def measure_paint(folder: Path) -> Figure:
    binary = browser.find()
    if binary is None:
        return Figure(PAINT, None, why="no chromium on this machine (apt install chromium)")
    with served(folder) as server:
        cold, *warm = first_paints(binary, f"{server.address}/runs", None)
    return Figure(PAINT, median(warm), {"cold": cold, "warm": warm})


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_runs(folder, ARMS, SEEDS)
        return [measure_list(folder), measure_paint(folder)]

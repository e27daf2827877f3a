"""Folders to launch in: settings alone for quick tests, a real toy checkout for faults."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import psutil
import torch

from pipeline.toy import PARAMS as TOY
from pipeline.toy import Toy, make_toy
from study.jobs import Job
from study.jobs.folder import JobFolder
from study.jobs.models import new_id
from study.jobs.processes import MARK, alive, mark
from study.runs import RunFolder, read_json

REPOSITORY = Path(__file__).parents[2]

# The data set of the toy checkout, with arms of their own.
PARAMS = (
    TOY[: TOY.index("arms:")]
    + """arms:
  first: &arm
    asks: Does a run survive?
    versus: null
    changes: []
    data: data/toy
    seeds: [1]
    order_seed: null
    generator: {name: cnn, width: 4, input_transform: none}
    loss: {name: mae, overlap_weight: 0.0}
    optimizer: {name: adam, lr: 0.001}
    schedule: {name: constant}
    clip: {gradient_clip_algorithm: norm, gradient_clip_val: 1.0, exclude_head: false}
    epochs: 40
    batch_size: 16
    batch_order: shuffled
    precision: fp32
    legacy: {batch_coupled_probe: false}

  second:
    <<: *arm
    versus: first
    changes: [optimizer.lr]
    optimizer: {name: adam, lr: 0.002}

  pair:
    <<: *arm
    versus: first
    changes: [optimizer.lr]
    seeds: [1, 2]
    optimizer: {name: adam, lr: 0.003}
"""
)
PATIENCE_S = 1800.0  # of a machine that others use too; a law never depends on it


def settings_alone(path: Path) -> Path:
    """A folder in which arms are known and nothing can train: no data, no code, no DVC."""
    path.mkdir(parents=True, exist_ok=True)
    (path / "params.yaml").write_text(PARAMS)
    shutil.copy(REPOSITORY / "dvc.yaml", path)
    return path


def add_job(root: Path, arm: str = "first", **changes: Any) -> Job:
    """A job on disk as a supervisor would have left it."""
    facts = {"seeds": (1,), "executor": "local", "created": time.time()}
    job = Job.model_validate({"id": new_id(arm), "arm": arm, **facts, **changes})
    JobFolder(root).save(job)
    return job


def add_run(folder: Path, arm: str, seed: int, **status: Any) -> RunFolder:
    """A run folder with a status and nothing else."""
    run = RunFolder(folder)
    run.update_status(arm=arm, seed=seed, **status)
    return run


def until(what: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """What `what` returns as soon as it is true; fails when it never is."""
    deadline = time.monotonic() + patience_s
    while not (found := what()):
        assert time.monotonic() < deadline, f"waited {patience_s:.0f} s for {what}"
        time.sleep(0.05)
    return found


class Checkout:
    """A toy checkout with its data made, and the doors of `study launch` as a user has them."""

    def __init__(self, path: Path) -> None:
        self.toy = make_toy(path, PARAMS)
        self.root = path
        self.toy.must(sys.executable, "-m", "dvc", "repro", "-q", "data.dvc")

    def study(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.toy.run(sys.executable, "-m", "study", *words)

    def launch(self, *words: str) -> list[str]:
        """`study launch`; the ids of the jobs."""
        out = self.toy.must(sys.executable, "-m", "study", "launch", *words)
        return [line.rpartition(" ")[2] for line in out.splitlines() if ": job " in line]

    def job(self, job_id: str) -> Job:
        stored = read_json(JobFolder(self.root).job_file(job_id))
        queued = {"id": job_id, "arm": "first", "seeds": (1,), "executor": "local", "created": 0.0}
        return Job.model_validate(stored or queued)

    def over(self, job_id: str) -> Job:
        """The job when it has ended."""
        until(lambda: self.job(job_id).over)
        return self.job(job_id)

    def processes(self, job_id: str) -> list[psutil.Process]:
        wanted = mark(self.root, job_id)
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == wanted and process.status() != "zombie":
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def supervisor(self) -> psutil.Process | None:
        word = read_json(JobFolder(self.root).state)
        if word is None or not word["running"] or not alive(word["pid"], word["pid_started"]):
            return None
        return psutil.Process(word["pid"])

    def epochs(self, arm: str) -> int:
        """Finished epochs of an arm's live runs."""
        return sum(int(run.status().get("epoch") or 0) for run in self.live(arm))

    def live(self, arm: str) -> list[RunFolder]:
        runs = [RunFolder(path.parent) for path in self.root.glob("work/*/status.json")]
        return [run for run in runs if run.status().get("arm") == arm]

    def forget(self, arm: str) -> None:
        """As if the arm had never been trained."""
        for run in self.live(arm):
            shutil.rmtree(run.path)
        shutil.rmtree(self.root / "runs" / arm, ignore_errors=True)

    def half_written(self) -> list[Path]:
        """Temporary files of writers that are gone."""
        return [path for path in self.root.glob("work/**/.*.tmp") if path.is_file()]


def assert_equal_runs(one: Path, other: Path) -> None:
    """Same weights, same reconstructions, same history, to the bit; times and memory may differ."""
    for name in ("best.pt", "last.pt"):
        left, right = (torch.load(path / name, weights_only=True) for path in (one, other))
        assert left["epoch"] == right["epoch"]
        for key, value in left["weights"].items():
            assert torch.equal(value, right["weights"][key]), f"{name}: {key}"
    for name in ("object_best.npz", "object_last.npz"):
        with np.load(one / name) as left, np.load(other / name) as right:
            assert set(left.files) == set(right.files)
            for key in left.files:
                numbers = left[key].dtype.kind in "fc"  # words have no NaN
                assert np.array_equal(left[key], right[key], equal_nan=numbers), f"{name}: {key}"
    rows = [pandas.read_csv(path / "history.csv") for path in (one, other)]
    pandas.testing.assert_frame_equal(*rows)


__all__ = ["Checkout", "Toy", "add_job", "add_run", "assert_equal_runs", "settings_alone", "until"]

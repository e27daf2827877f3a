"""A Slurm that does not answer decides nothing: jobs wait for it, whoever supervises them."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.checkouts import add_job, settings_alone
from study.jobs import Job, batches, slurm
from study.jobs.batches import Batch, Task
from study.jobs.executors import Ended
from study.jobs.slurm import Slurm


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a machine without Slurm, or before `module load slurm`."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(slurm, "SILENT_S", 0.0)
    return settings_alone(tmp_path / "study")


def answers(root: Path, program: str, says: str) -> None:
    file = root.parent / "bin" / program
    file.write_text(f"#!/bin/sh\nprintf '{says}'\n")
    file.chmod(0o755)


def submitted(root: Path, job: Job, id_: str | None) -> None:
    task = Task(job=job.id, attempt=1, arm="first", seed=1, folder="abc", id=id_)
    batches._write(root, Batch(name="armature-1", tasks=(task,)))


@pytest.fixture
def job(root: Path) -> Job:
    return add_job(root, executor="slurm", state="running", attempts=1)


def test_what_was_submitted_is_waited_for(root: Path, job: Job) -> None:
    submitted(root, job, "7_0")
    executor = Slurm()
    executor.recover(root, job)
    for _ in range(3):
        assert executor.ended(root, job) is None
    assert executor.note(root, job) == "Slurm does not answer; waiting"
    answers(root, "scontrol", "JobId=7 ArrayJobId=7 ArrayTaskId=0 JobState=RUNNING NodeList=n1\\n")
    assert executor.ended(root, job) is None
    assert executor.note(root, job) == "Slurm: 1 running"


def test_an_array_whose_ids_are_unknown_is_cancelled_before_another_is_submitted(
    root: Path, job: Job
) -> None:
    """Its supervisor was killed in `sbatch`: nobody knows whether it stands in the queue."""
    submitted(root, job, None)
    executor = Slurm()
    executor.recover(root, job)
    for _ in range(3):
        assert executor.ended(root, job) is None, "it cannot be cancelled yet"
    answers(root, "scancel", "")
    assert executor.ended(root, job) == Ended(None, died=True), "now it starts again"


def test_a_disk_that_is_full_for_a_moment_fails_nothing(
    root: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    submitted(root, job, "7_0")
    answers(root, "scontrol", "JobId=7 ArrayJobId=7 ArrayTaskId=0 JobState=RUNNING NodeList=n1\\n")
    monkeypatch.setattr("study.jobs.slurm_snapshot.write_json", full)
    executor = Slurm()
    executor.recover(root, job)
    for _ in range(3):
        assert executor.ended(root, job) is None

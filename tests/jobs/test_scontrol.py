"""What `scontrol --oneliner show job` prints, as facts. The texts are those of Slurm 22.05."""

from pathlib import Path

import pytest

from study.jobs import scontrol
from study.jobs.scontrol import Task, parse

TEXT = Path(__file__).with_name("scontrol.txt").read_text()


@pytest.fixture(scope="module")
def tasks() -> dict[str, Task]:
    return {task.job: task for task in parse(TEXT)}


def test_a_waiting_array_is_all_of_its_tasks(tasks):
    waiting = [job for job, task in tasks.items() if task.state == "PENDING" and not task.restarts]
    assert waiting == ["1_3", "1_5", "21_4", "21_6", "21_7", "21_8", "30_0", "30_2", "30_4"]
    assert tasks["1_3"].waits and tasks["1_3"].sentence == "waiting: Resources"
    assert tasks["21_7"].sentence == "waiting: JobArrayTaskLimit"


def test_a_running_task_has_a_node(tasks):
    assert tasks["21_0"].runs and tasks["21_0"].sentence == "on node1"


def test_a_requeued_task_waits_again_and_says_so(tasks):
    task = tasks["1_0"]
    assert (task.waits, task.restarts) == (True, 1)
    assert task.sentence == "waiting: BeginTime (requeued, start 2)"


def test_a_cancelled_task_was_ended_by_a_signal(tasks):
    task = tasks["1_1"]
    assert not task.waits and not task.runs
    assert task.sentence == "Slurm: CANCELLED, killed by signal 15"


def test_a_preempted_task_that_ended_in_its_grace_time_is_told(tasks):
    """Slurm calls it failed and does not requeue it."""
    task = tasks["1_2"]
    assert task.preempted and (task.state, task.code) == ("FAILED", 143)
    assert task.sentence == "Slurm: FAILED, exit code 143, preempted"
    assert not tasks["1_1"].preempted, "PreemptEligibleTime is no PreemptTime"


def test_a_job_without_an_array_has_a_plain_id(tasks):
    assert tasks["3"].sentence == "Slurm: FAILED, killed by signal 9"
    assert tasks["2"].waits and tasks["2"].restarts == 1


def test_nothing_is_read_from_other_lines():
    assert list(parse("slurm_load_jobs error: Invalid job id specified\n\nNo jobs\n")) == []


def test_a_forgotten_array_is_empty_and_a_silent_controller_is_none(monkeypatch, tmp_path):
    def answer(text: str) -> None:
        program = tmp_path / "scontrol"
        program.write_text(f"#!/bin/sh\necho '{text}' >&2\nexit 1\n")
        program.chmod(0o755)

    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    answer("slurm_load_jobs error: Invalid job id specified")
    assert scontrol.show("77") == {}
    answer("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    assert scontrol.show("77") is None


def test_a_hanging_controller_and_an_absent_slurm_are_no_answer(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert scontrol.show("77") is None
    program = tmp_path / "scontrol"
    program.write_text("#!/bin/sh\nexec /bin/sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setattr(scontrol, "TIMEOUT_S", 0.2)
    assert scontrol.show("77") is None


def test_scontrol_is_asked_for_whole_lists_of_tasks(monkeypatch, tmp_path):
    """It cuts them after 64 characters otherwise, in the middle of a number."""
    program = tmp_path / "scontrol"
    program.write_text('#!/bin/sh\necho "$SLURM_BITSTR_LEN"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert scontrol.call("scontrol").stdout == "0\n"

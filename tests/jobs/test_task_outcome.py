"""What became of a task: the run folder first, then Slurm, then what was printed."""

from pathlib import Path

import pytest

from study.jobs import batches
from study.jobs.array_task import START
from study.jobs.scontrol import Task
from study.jobs.task_outcome import SETTLE_S, outcome_of
from study.runs import RunFolder

WANTED = batches.Task(job="j", attempt=1, arm="agc", seed=1, folder="abc", id="7_1")


def shown(state: str, code: int = 0, signal: int = 0, preempted: bool = False) -> Task:
    return Task("7_1", state, "", "node1", 0, code, signal, preempted)


def printed(root: Path, *starts: str) -> None:
    log = batches.log_file(root, "7_1")
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"{START} node1\n{output}\n" for output in starts))


@pytest.mark.parametrize("state", ["PENDING", "RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED"])
def test_what_waits_or_runs_is_open_whatever_its_folder_says(tmp_path, state):
    """A task that is requeued left the state `cancelled`; one that is ending is not over."""
    for output in ("cancelled", "finished"):
        RunFolder(tmp_path / "work" / "abc").finish(output)
        assert outcome_of(tmp_path, WANTED, shown(state), 1e6).open


@pytest.mark.parametrize("end", [shown("COMPLETED"), shown("FAILED", 1), shown("CANCELLED"), None])
def test_a_settled_run_is_settled_whatever_slurm_says(tmp_path, end):
    RunFolder(tmp_path / "work" / "abc").finish("collapsed")
    found = outcome_of(tmp_path, WANTED, end, 0.0)
    assert not found.open and found.cause is None


@pytest.mark.parametrize("end", [shown("COMPLETED"), None])
def test_the_last_word_may_come_late_over_a_shared_file_system(tmp_path, end):
    assert outcome_of(tmp_path, WANTED, end, SETTLE_S - 1).open
    found = outcome_of(tmp_path, WANTED, end, SETTLE_S + 1)
    assert not found.open and found.cause


@pytest.mark.parametrize(
    ("end", "died"),
    [
        (shown("NODE_FAIL"), True),
        (shown("PREEMPTED"), True),
        (shown("FAILED", 130, preempted=True), True),
        (shown("FAILED", signal=9), True),
        (shown("FAILED", 2), False),
        (shown("OUT_OF_MEMORY"), False),
        (shown("TIMEOUT", signal=15), False),
        (shown("CANCELLED", signal=15), False),
    ],
)
def test_what_did_not_end_by_itself_is_started_again(tmp_path, end, died):
    found = outcome_of(tmp_path, WANTED, end, 0.0)
    assert (found.open, found.died) == (False, died) and found.cause


def test_the_cause_is_what_the_last_start_printed(tmp_path):
    printed(
        tmp_path,
        "study: an old mistake",
        "study: data/quick is absent\n`study train` of agc seed 1 ended with exit code 2",
    )
    found = outcome_of(tmp_path, WANTED, shown("FAILED", 1), 0.0)
    assert found.cause == "data/quick is absent"


def test_without_a_print_slurms_word_is_the_cause(tmp_path):
    found = outcome_of(tmp_path, WANTED, shown("FAILED", 1), 0.0)
    assert found.cause == "Slurm: FAILED, exit code 1"


def test_a_task_submitted_before_the_package_was_renamed_asks_for_a_retry(tmp_path):
    log = batches.log_file(tmp_path, "7_1")
    log.parent.mkdir(parents=True)
    log.write_text("Traceback\nModuleNotFoundError: No module named 'study.launch'\n")
    found = outcome_of(tmp_path, WANTED, shown("FAILED", 1), 0.0)
    assert not found.open and "study retry" in (found.cause or "")

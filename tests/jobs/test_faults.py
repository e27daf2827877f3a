"""Real processes in a toy checkout, killed and disturbed: every run ends equal to an undisturbed
one, to the bit, or is shown failed with its cause.

One checkout serves all tests; `warm` trains every arm once without any disturbance, and that is
what the others are held against.
"""

import contextlib
import random
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from checking import events_of
from jobs.checkouts import PATIENCE_S, Checkout, assert_equal_runs, until
from study.jobs import active, cancel, resume, retry, run_rows, submit, supervisor_state
from study.jobs.folder import JobFolder
from study.jobs.models import Job

pytestmark = [pytest.mark.slow, pytest.mark.faults]
ARMS = ("first", "second", "pair")


class Warm:
    """The checkout, and a copy of what its arms come to when nobody disturbs them."""

    def __init__(self, path: Path) -> None:
        self.checkout = Checkout(path / "toy")
        self.undisturbed = path / "undisturbed"
        self.jobs = [self.checkout.over(job) for job in self.checkout.launch(*ARMS)]
        shutil.copytree(self.checkout.root / "runs", self.undisturbed)

    def assert_as_undisturbed(self, arm: str) -> None:
        for one in sorted((self.undisturbed / arm).glob("s*")):
            assert_equal_runs(one, self.checkout.root / "runs" / arm / one.name)

    def training_s(self, arm: str) -> float:
        """Seconds from the start of an arm's process to the end of its training."""
        [job] = [job for job in self.jobs if job.arm == arm]
        runs = self.undisturbed.glob(f"{arm}/s*/status.json")
        return max(path.stat().st_mtime for path in runs) - (job.started or 0.0)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Warm:
    return Warm(tmp_path_factory.mktemp("launch"))


@pytest.fixture
def here(warm: Warm, monkeypatch: pytest.MonkeyPatch) -> Checkout:
    """The checkout with nothing running; the API is called as in a process of its own."""
    for name in ("PYTHONPATH", "PATH", "GIT_CONFIG_GLOBAL"):
        monkeypatch.setenv(name, warm.checkout.toy.environment[name])
    until(lambda: warm.checkout.supervisor() is None)
    return warm.checkout


def kill(process: psutil.Process | None) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        if process is not None:
            process.kill()


def to_the_end(here: Checkout, job_id: str) -> Job:
    """The job when it is done; a death too many is said with its cause, and retried."""
    while (job := here.over(job_id)).state == "failed":
        assert "killed" in (job.cause or ""), job.cause
        retry(here.root, job_id)
        until(lambda: not here.job(job_id).over)
    assert job.state == "done", job.cause
    return job


def test_what_was_launched_is_committed_and_trained_once(warm: Warm, here: Checkout) -> None:
    for job in warm.jobs:
        assert (job.state, job.cause, job.attempts) == ("done", None, 1)
        assert job.committed == (f"train@{job.arm}", f"evaluate@{job.arm}", "findings")
    rows = run_rows(here.root)
    assert [(row.arm, row.seed, row.state) for row in rows] == [
        ("first", 1, "done"),
        ("pair", 1, "done"),
        ("pair", 2, "done"),
        ("second", 1, "done"),
    ]
    assert not active(here.root)
    assert here.toy.repro() == ["fingerprint"], "a repro trains and scores nothing again"


def test_killed_trainers_end_as_if_undisturbed(warm: Warm, here: Checkout) -> None:
    """Twenty kills at random moments: of the parent, of a seed, or of both."""
    chance, longest = random.Random(20), warm.training_s("first")
    arms = ("first", "second")
    for arm in arms:
        here.forget(arm)
    jobs = dict(zip(arms, here.launch(*arms), strict=True))
    for _ in range(10):
        # Both at once are trained side by side: each moment serves two kills.
        until(lambda: all(here.processes(job) or here.job(job).over for job in jobs.values()))
        time.sleep(chance.uniform(0.0, longest))
        for arm, job_id in jobs.items():
            if here.job(job_id).state in ("committing", "done"):  # faster than the kills: once more
                to_the_end(here, job_id)
                warm.assert_as_undisturbed(arm)
                here.forget(arm)
                [jobs[arm]] = here.launch(arm)
            victims = here.processes(job_id)
            for process in (
                chance.sample(victims, chance.randint(1, len(victims))) if victims else ()
            ):
                kill(process)
            if here.job(job_id).state == "failed":
                retry(here.root, job_id)
                until(lambda job_id=job_id: not here.job(job_id).over)
    for arm, job_id in jobs.items():
        to_the_end(here, job_id)
        warm.assert_as_undisturbed(arm)
    assert here.half_written() == []


def test_killed_supervisors_lose_nothing(warm: Warm, here: Checkout) -> None:
    """Ten kills from the first request to the last commit; every one is followed by a resume."""
    chance = random.Random(10)
    here.forget("second")
    [job_id] = here.launch("second")
    kills = 0
    whole = warm.training_s("second") + 6.0
    while kills < 10 and not here.job(job_id).over:
        time.sleep(chance.uniform(0.0, whole / 8))
        kill(here.supervisor())
        until(lambda: here.supervisor() is None)
        kills += 1
        resume(here.root)
    job = to_the_end(here, job_id)
    assert job.committed[-1] == "findings"
    warm.assert_as_undisturbed("second")


def test_a_power_loss_loses_at_most_an_epoch(warm: Warm, here: Checkout) -> None:
    """Supervisor, parent and seeds gone in one moment; nothing is going on until someone looks."""
    here.forget("pair")
    [job_id] = here.launch("pair")
    until(lambda: here.epochs("pair") > 3)
    for process in (here.supervisor(), *here.processes(job_id)):
        kill(process)
    until(lambda: not here.processes(job_id))
    # A process that is going has no environment any more, a moment before it is gone.
    until(lambda: states(here, "pair") <= {"stopped", "queued"}, patience_s=30.0)
    causes = [row.cause or "" for row in run_rows(here.root) if row.arm == "pair"]
    assert all("study resume" in cause for cause in causes), causes
    done = {run.path.name: int(run.status().get("epoch") or 0) for run in here.live("pair")}
    assert here.job(job_id).state == "running", "nobody was left to write anything else"
    assert resume(here.root)
    assert to_the_end(here, job_id).attempts == 2
    assert max(done.values()) > 0
    for run in here.live("pair"):
        resumed = [event["epoch"] for event in events_of(run) if event["kind"] == "resumed"]
        if 1 < done[run.path.name] < 40:  # a seed may not have begun, or have got to its end
            assert len(resumed) == 1 and resumed[0] >= done[run.path.name] - 1
    warm.assert_as_undisturbed("pair")


def test_a_stop_leaves_no_process_and_a_retry_goes_on(warm: Warm, here: Checkout) -> None:
    """Even seeds that lost their parent stop, with a checkpoint."""
    here.forget("pair")
    [job_id] = here.launch("pair")
    until(lambda: here.epochs("pair") > 1)
    parent = psutil.Process(here.job(job_id).pid or 0)
    parent.kill()
    cancel(here.root, job_id)  # at once: a command takes as long to start as this arm trains
    job = here.over(job_id)
    assert (job.state, here.processes(job_id)) == ("cancelled", [])
    assert [run.checkpoint.is_file() for run in here.live("pair")] == [True, True]
    until(lambda: states(here, "pair") == {"cancelled"})
    assert here.study("retry", "pair").returncode == 0
    until(lambda: not here.job(job_id).over)
    to_the_end(here, job_id)
    warm.assert_as_undisturbed("pair")
    assert all(kinds(events_of(run)).count("resumed") for run in here.live("pair"))


def states(here: Checkout, arm: str) -> set[str]:
    return {row.state for row in run_rows(here.root) if row.arm == arm}


def kinds(events: list[dict[str, object]]) -> list[object]:
    return [event["kind"] for event in events]


def test_two_starts_at_once_are_one_job(here: Checkout) -> None:
    command = (sys.executable, "-m", "study", "launch", "first")
    both = [
        subprocess.Popen(
            command, cwd=here.root, env=here.toy.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )
        for _ in range(2)
    ]  # fmt: skip
    output = [process.communicate() for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    assert sum("already, as job" in err for _, err in output) == 1
    [job_id] = re.findall(r"job (\S+)", "".join(out for out, _ in output))
    here.over(job_id)


def test_a_repro_meanwhile_trains_no_seed_twice(warm: Warm, here: Checkout) -> None:
    here.forget("pair")
    command = (sys.executable, "-m", "dvc", "repro", "-s", "train@pair", "-f")
    with (here.root / "repro.txt").open("w") as log:
        repro = subprocess.Popen(command, cwd=here.root, env=here.toy.environment, stdout=log)
        [job_id] = here.launch("pair")
        assert repro.wait() == 0, (here.root / "repro.txt").read_text()
    assert to_the_end(here, job_id).attempts == 1
    warm.assert_as_undisturbed("pair")
    for run in here.live("pair"):
        epochs = re.findall(r"epoch (\d+)/40", (run.path / "log.txt").read_text())
        assert epochs == [str(number + 1) for number in range(40)], "each epoch once"


def test_settings_that_changed_meanwhile_are_not_committed(here: Checkout) -> None:
    text = (here.root / "params.yaml").read_text()
    lock = (here.root / "dvc.lock").read_text()
    here.forget("second")
    [job_id] = here.launch("second")
    until(lambda: here.epochs("second") > 0)
    (here.root / "params.yaml").write_text(text.replace("lr: 0.002", "lr: 0.004"))
    try:
        job = here.over(job_id)
    finally:
        (here.root / "params.yaml").write_text(text)
    assert (job.state, job.committed) == ("failed", ())
    assert "stale, run again" in (job.cause or "")
    assert (here.root / "dvc.lock").read_text() == lock
    retry(here.root, job_id)
    until(lambda: not here.job(job_id).over)
    assert to_the_end(here, job_id).committed, "with the settings it started from, it belongs again"


def test_a_full_disk_is_a_cause_and_nothing_is_half_written(warm: Warm, here: Checkout) -> None:
    """Files may grow to 30 kB, less than a checkpoint takes and more than a job's file."""
    here.forget("first")
    code = (
        "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 10**9)); "
        "import runpy; sys.argv = ['study', 'launch', 'first']; runpy.run_module('study')"
    )
    out = here.toy.must(sys.executable, "-c", code)
    [job_id] = re.findall(r"job (\S+)", out)
    job = here.over(job_id)
    assert job.state == "failed"
    assert "File too large" in (job.cause or ""), job.cause
    assert here.half_written() == []
    assert not list(here.root.glob("work/*/checkpoint.pt"))
    until(lambda: here.supervisor() is None)
    retry(here.root, job_id)
    until(lambda: not here.job(job_id).over)
    to_the_end(here, job_id)
    warm.assert_as_undisturbed("first")


def test_a_folder_that_cannot_be_written_is_a_cause(warm: Warm, here: Checkout) -> None:
    """runs/ is a file: root, whom no permission stops, cannot write into that either."""
    here.forget("first")
    runs = here.root / "runs"
    away = runs.rename(runs.with_name("away"))
    runs.write_text("no folder")
    try:
        [job_id] = here.launch("first")
        job = here.over(job_id)
    finally:
        runs.unlink()
        away.rename(runs)
    assert job.state == "failed" and "runs" in (job.cause or ""), job.cause
    [row] = [row for row in run_rows(here.root) if row.arm == "first"]
    assert (row.state, row.cause) == ("stopped", job.cause)
    retry(here.root, job_id)
    until(lambda: not here.job(job_id).over)
    to_the_end(here, job_id)
    warm.assert_as_undisturbed("first")


def test_three_deaths_without_an_epoch_are_enough(here: Checkout) -> None:
    here.forget("first")
    [job_id] = here.launch("first")
    while not here.job(job_id).over:
        for process in here.processes(job_id):
            kill(process)
        time.sleep(0.05)
    job = here.job(job_id)
    assert (job.state, job.attempts, job.deaths) == ("failed", 3, 3)
    assert "killed by signal 9 3 times" in (job.cause or "")
    [row] = [row for row in run_rows(here.root) if row.arm == "first"]
    assert (row.state, row.cause) == ("stopped", job.cause)


def test_a_jobs_folder_that_cannot_be_written_is_said_and_survived(here: Checkout) -> None:
    folder = JobFolder(here.root)
    [job_id] = here.launch("first")
    until(lambda: here.job(job_id).state == "running")
    away = folder.jobs.rename(folder.path / "away")
    folder.jobs.write_text("no folder")
    try:
        until(lambda: (supervisor_state(here.root) or pytest.fail("no word")).trouble)
        assert here.supervisor() is not None
    finally:
        folder.jobs.unlink()
        away.rename(folder.jobs)
    to_the_end(here, job_id)
    until(lambda: here.supervisor() is None)
    assert (supervisor_state(here.root) or pytest.fail("no word")).trouble is None


def test_a_request_that_arrives_while_the_supervisor_leaves_is_served(here: Checkout) -> None:
    job_id = next(job.id for job in _all_jobs(here) if job.state == "done")
    folder, chance = JobFolder(here.root), random.Random(1)
    from study.jobs import api
    from study.jobs.models import Request, new_id

    for _ in range(12):
        request = Request(id=new_id("first"), kind="retry", created=time.time(), job=job_id)
        api._submit_and_wake(here.root, request, None)
        until(lambda: not any(True for _ in folder.pending()), 60.0)
        time.sleep(chance.uniform(0.0, 0.3))
    supervisors = [
        process for process in psutil.process_iter(["cmdline"]) if _serves(process, here)
    ]
    assert len(supervisors) <= 1


def _all_jobs(here: Checkout) -> list[Job]:
    return JobFolder(here.root).job_list()


def _serves(process: psutil.Process, here: Checkout) -> bool:
    words = process.info["cmdline"] or []
    return "study.jobs" in words and str(here.root.resolve()) in words


def test_one_may_wait_and_watch(here: Checkout) -> None:
    """`launch --wait` ends with the job, and so does a watcher beside it."""
    here.forget("first")
    words = ("study", "launch", "first", "--wait")
    waiting = here.toy.start(sys.executable, "-m", *words)
    until(lambda: active(here.root))
    watching = here.toy.start(sys.executable, "-m", "study", "runs", "--watch")
    out, _ = waiting.communicate(timeout=PATIENCE_S)
    assert waiting.returncode == 0 and out.splitlines()[-1] == "first: done"
    seen, _ = watching.communicate(timeout=PATIENCE_S)
    assert watching.returncode == 0 and "first" in seen
    assert here.study("launch", "nobody", "--wait").returncode == 2


def test_stop_before_anything_ran(here: Checkout) -> None:
    job_id = submit(here.root, "second")
    assert here.study("stop", job_id).returncode == 0
    assert here.over(job_id).state == "cancelled"

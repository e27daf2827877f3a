"""One array task without a cluster: a small program stands for the trainer; signals are real."""

import os
import pickle
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from study.jobs import array_task
from study.jobs.array_task import ArmSeed

# Writes its arguments; on TERM "checkpoints" and ends as `study train` does; else ends with `code`.
TRAINER = """
import pathlib, signal, sys, time
pathlib.Path("words").write_text(" ".join(sys.argv[2:]))
def stop(*_):
    time.sleep(0.5)
    pathlib.Path("checkpoint").touch()
    sys.exit(130)
signal.signal(signal.SIGTERM, stop)
pathlib.Path("ready").touch()
time.sleep(float(sys.argv[1].partition(":")[0]))
sys.exit(int(sys.argv[1].partition(":")[2]))
"""


def task(folder: Path, seconds: float, code: int = 0) -> ArmSeed:
    program = folder / "trainer.py"
    program.write_text(TRAINER)
    return ArmSeed(folder, "agc", 3, 5.0, (sys.executable, str(program), f"{seconds}:{code}"))


def once_ready(folder: Path, act) -> threading.Thread:
    """Call `act` from another thread as soon as the trainer listens."""

    def wait() -> None:
        while not (folder / "ready").exists():
            time.sleep(0.02)
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_it_trains_one_seed_and_neither_prepares_nor_collects(tmp_path):
    assert task(tmp_path, 0)() == "agc seed 3 is settled"
    assert (tmp_path / "words").read_text() == "train --arm agc --seed 3 --jobs 1 --only train"


def test_a_trainer_that_fails_fails_the_task(tmp_path):
    with pytest.raises(SystemExit, match="agc seed 3 ended with exit code 2"):
        task(tmp_path, 0, 2)()


@pytest.mark.slow
def test_the_checkpoint_signal_does_not_end_the_trainer(tmp_path):
    """Slurm sends it to every process of the task."""
    one = task(tmp_path, 1.5)

    def send() -> None:
        assert one.process is not None
        one.process.send_signal(array_task.usr_signal())

    sending = once_ready(tmp_path, send)
    assert one() == "agc seed 3 is settled"
    sending.join()


@pytest.mark.slow
def test_a_checkpoint_waits_for_the_trainer_and_starts_afresh(tmp_path):
    """In the signal handler itself, as submitit calls it."""
    one, again = task(tmp_path, 30), []
    before = signal.signal(signal.SIGUSR2, lambda *_: again.append(one.checkpoint()))
    try:
        sending = once_ready(tmp_path, lambda: os.kill(os.getpid(), signal.SIGUSR2))
        with pytest.raises(SystemExit, match="ended with exit code 130"):
            one()
        sending.join()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert (tmp_path / "checkpoint").exists()
    resumed = pickle.loads(pickle.dumps(again[0].function))
    assert resumed.command() == one.command() and resumed.process is None


@pytest.mark.slow
def test_a_preempted_task_asks_to_be_requeued_and_a_cancelled_one_does_not(tmp_path, monkeypatch):
    """Slurm requeues no preempted job that ends within its grace time."""
    asked = []
    before = signal.signal(signal.SIGUSR2, lambda *_: asked.append(True))
    try:
        for preempted in (False, True):
            monkeypatch.setattr(array_task, "preempted", lambda answer=preempted: answer)
            (tmp_path / "ready").unlink(missing_ok=True)
            one = task(tmp_path, 30)
            one.wait_s = 0.1
            stopping = once_ready(tmp_path, lambda one=one: one.process.terminate())
            with pytest.raises(SystemExit, match="ended with exit code 130"):
                one()
            stopping.join()
            assert bool(asked) is preempted
    finally:
        signal.signal(signal.SIGUSR2, before)

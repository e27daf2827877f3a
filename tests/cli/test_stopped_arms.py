"""Stopping real processes: Ctrl-C and SIGTERM keep the checkpoint, kill -9 loses at most one epoch,
and every run that was stopped ends bit-equal to one that was not."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.toy import PARAMS
from study.runs import RunFolder

pytestmark = pytest.mark.slow
LONG = PARAMS.replace("epochs: 2", "epochs: 12").replace("seeds: [1, 2]", "seeds: [1, 2, 3]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from study.settings import load_study
    from study.stages.simulate import simulate_all

    path = tmp_path_factory.mktemp("stopping")
    (path / "params.yaml").write_text(LONG)
    simulate_all(load_study(path / "params.yaml"), path / "data")
    finish(path)
    return path


def start(path: Path) -> subprocess.Popen[str]:
    """As a shell's background job: with SIGINT ignored at the start."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return _start(path)
    finally:
        signal.signal(signal.SIGINT, before)


def _start(path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "study", "train", "--arm", "control"],
        cwd=path,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )


def finish(path: Path) -> str:
    process = start(path)
    out, _ = process.communicate(timeout=300)
    assert process.returncode == 0, out
    return out


def weights(path: Path) -> list[str]:
    files = sorted(path.glob("runs/control/s*/last.pt"))
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


def wait_for_epoch(path: Path, epoch: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        epochs = [RunFolder(f).status().get("epoch", 0) for f in path.glob("work/*/")]
        if max(epochs, default=0) >= epoch:
            return
        time.sleep(0.02)
    raise AssertionError("no run reached the epoch")


def forget_runs(path: Path, into: Path) -> None:
    """Move live and collected runs away: the next start begins from nothing."""
    into.mkdir()
    for name in ("work", "runs"):
        (path / name).rename(into / name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_arm_resumes_to_the_same_weights(folder, tmp_path, number):
    undisturbed = weights(folder)
    assert len(undisturbed) == 3
    forget_runs(folder, tmp_path / "before")
    process = start(folder)
    wait_for_epoch(folder, 3)
    os.killpg(process.pid, number)
    out, _ = process.communicate(timeout=60)
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 130, out
        assert "resume" in out and "Traceback" not in out
        states = {RunFolder(f).status().get("state") for f in folder.glob("work/*/")}
        assert "running" not in states
    assert list(folder.glob("work/*/checkpoint.pt")), "a checkpoint is kept"
    finish(folder)
    assert weights(folder) == undisturbed


def test_two_starts_of_one_arm_train_every_seed_once(folder, tmp_path):
    undisturbed = weights(folder)
    forget_runs(folder, tmp_path / "before")
    first, second = start(folder), start(folder)
    for process in (first, second):
        out, _ = process.communicate(timeout=300)
        assert process.returncode == 0, out
    assert weights(folder) == undisturbed
    for run in folder.glob("work/*/"):
        rows = RunFolder(run).history()["epoch"].tolist()
        assert rows == list(range(1, 13)), "every epoch once"

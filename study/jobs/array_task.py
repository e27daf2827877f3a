"""One array task on its node: it trains one seed of one arm in a subprocess.

    Slurm: time limit near, or preemption     ->  USR2  ->  stop the trainer, wait, requeue, resume
    Slurm: preemption without that signal     ->  TERM  ->  the trainer stops; requeue, resume
    scancel                                   ->  TERM  ->  the trainer stops; the task ends
    the trainer fails                         ->  the task fails, also in Slurm

submitit pickles this object by the name of its module, so this file imports nothing heavy. A task
never calls dvc and never collects runs, since tasks of one arm would race; the supervisor on the
login node does both.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study.jobs import scontrol
from study.runs import children

POLL_S = 0.5
START = "--- start on"  # first line of each start in the log
STOPPED = 130  # exit code of `study train` after a stop that kept its checkpoint


def usr_signal() -> signal.Signals:
    """The signal on which submitit checkpoints; an environment variable of submitit may change
    it."""
    return signal.Signals[f"SIG{os.environ.get('SUBMITIT_PREEMPT_SIGNAL', 'USR2')}"]


@dataclass
class ArmSeed:
    """`study train` of one seed, run where Slurm put it. `wait_s`: for the checkpoint at a stop."""

    root: Path
    arm: str
    seed: int
    wait_s: float
    study: tuple[str, ...] | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def command(self) -> list[str]:
        study = self.study or (sys.executable, "-m", "study")
        return [
            *study,
            *(
                "train",
                "--arm",
                self.arm,
                "--seed",
                str(self.seed),
                "--jobs",
                "1",
                "--only",
                "train",
            ),
        ]

    def __call__(self) -> str:
        """Train until settled. Raises SystemExit with a message when the trainer ended otherwise.

        Any other exception makes submitit log a traceback, even if the user stopped the task.
        """
        sys.stdout.write(f"{START} {platform.node()} at {time.strftime('%H:%M:%S')}\n")
        sys.stdout.flush()
        self.process = self._start()
        while self._lives():
            time.sleep(POLL_S)
        code = self.process.wait()
        if code == STOPPED and preempted():
            # Slurm does not requeue a preempted job that ends within its grace time.
            os.kill(os.getpid(), usr_signal())
            time.sleep(self.wait_s)
        if code:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            raise SystemExit(f"`study train` of {self.arm} seed {self.seed} {how}")
        return f"{self.arm} seed {self.seed} is settled"

    def _start(self) -> subprocess.Popen[bytes]:
        """Start the trainer with the checkpoint signal blocked: Slurm sends it to every process of
        the task, and its default action is to end one."""
        blocked = {usr_signal()}
        signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
        try:
            return children.start(
                self.command(), self.root, None, err=None, start_new_session=False
            )
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, blocked)

    def _lives(self) -> bool:
        """Whether the trainer runs; does not collect its exit code.

        `Popen.wait` holds a lock that a signal handler, which interrupts it, could never get.
        """
        if self.process is None or self.process.returncode is not None:
            return False
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        try:
            return os.waitid(os.P_PID, self.process.pid, flags) is None
        except ChildProcessError:
            return False

    def checkpoint(self) -> Any:
        """Called by submitit in its signal handler: stop the trainer, wait, and requeue the
        task."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None and self._lives():
            os.kill(self.process.pid, signal.SIGTERM)
            deadline = time.monotonic() + self.wait_s
            while self._lives() and time.monotonic() < deadline:
                time.sleep(POLL_S)
        return DelayedSubmission(ArmSeed(self.root, self.arm, self.seed, self.wait_s, self.study))


def preempted() -> bool:
    """Whether Slurm preempted the job that this process is part of."""
    job = os.environ.get("SLURM_JOB_ID")
    tasks = scontrol.show(job) if job else None
    return any(task.preempted for task in (tasks or {}).values())

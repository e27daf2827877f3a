"""State of jobs in Slurm, parsed from `scontrol show job`.

`scontrol` queries a single job array, works without an accounting database, and gives restarts and
exit codes, which many versions of `squeue` do not. Slurm forgets a job some time after its end
(MinJobAge, five minutes by default); its outcome is then known only from the run folder.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from study.runs import children
from study.settings import UserError

NEEDED = ("sbatch", "srun", "scontrol", "scancel")
TIMEOUT_S = 30.0
FIELD = re.compile(
    r"(?:^|\s)(JobId|ArrayJobId|ArrayTaskId|JobState|Reason|Restarts|ExitCode|NodeList|PreemptTime)=(\S*)"
)
NOTHING = ("", "None", "(null)", "N/A", "Unknown")
WAITS = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT", "SUSPENDED", "STOPPED")
RUNS = ("RUNNING", "CONFIGURING", "COMPLETING", "RESIZING", "SIGNALING", "STAGE_OUT")


@dataclass(frozen=True)
class Task:
    """One array task (or single job) as Slurm shows it; `state` as in Slurm."""

    job: str
    state: str
    reason: str
    node: str
    restarts: int
    code: int
    signal: int
    preempted: bool

    @property
    def waits(self) -> bool:
        return self.state in WAITS

    @property
    def runs(self) -> bool:
        return self.state in RUNS

    @property
    def sentence(self) -> str:
        """The state in words: where it runs, why it waits, how it ended."""
        if self.waits:
            again = f" (requeued, start {self.restarts + 1})" if self.restarts else ""
            return f"waiting: {self.reason or 'not looked at yet'}{again}"
        if self.runs:
            return f"on {self.node}" if self.node else "starting"
        how = f", killed by signal {self.signal}" if self.signal else ""
        how = how or (f", exit code {self.code}" if self.code else "")
        return f"Slurm: {self.state}{how}" + (", preempted" if self.preempted else "")


def missing() -> list[str]:
    """The Slurm commands that are not on PATH."""
    return [name for name in NEEDED if shutil.which(name) is None]


def check_slurm() -> None:
    """Raise UserError if Slurm commands are missing on this machine."""
    absent = missing()
    if absent:
        raise UserError(
            f"no Slurm here: {', '.join(absent)} not on PATH; run on a login node of the cluster "
            "(perhaps after `module load slurm`), or launch with --executor local"
        )


def call(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a Slurm command. Raises UserError if it is absent or the controller does not answer."""
    try:
        # Without this, scontrol truncates a list of waiting tasks after 64 characters.
        environment = {**os.environ, "SLURM_BITSTR_LEN": "0"}
        return children.run(command, environment=environment, limit_s=TIMEOUT_S)
    except FileNotFoundError:
        check_slurm()
        raise
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{command[0]} did not answer within {TIMEOUT_S:.0f} s; is the controller up? "
            "(try `scontrol ping`)"
        ) from None


def show(array: str) -> dict[str, Task] | None:
    """The tasks of a job array by their id (`12_3`, or `12`); None if Slurm gave no answer. The
    result is empty for an array that Slurm has forgotten, whose tasks have ended. If the controller
    does not answer, or Slurm is not on the PATH of the supervisor, the state of the tasks is
    unknown.
    """
    try:
        done = call("scontrol", "--oneliner", "show", "job", array)
    except UserError:
        return None
    if done.returncode == 0:
        return {task.job: task for task in parse(done.stdout)}
    return {} if "Invalid job id" in done.stderr else None


def parse(text: str) -> Iterator[Task]:
    """Tasks in the output of `scontrol --oneliner show job`."""
    for line in text.splitlines():
        facts = dict(FIELD.findall(line))
        if "JobState" not in facts:
            continue
        code, _, signal = facts.get("ExitCode", "0:0").partition(":")
        for job in _ids(facts):
            yield Task(
                job=job,
                state=facts["JobState"],
                reason=_given(facts.get("Reason", "")).replace("_", " "),
                node=_given(facts.get("NodeList", "")),
                restarts=int(facts.get("Restarts", 0)),
                code=int(code),
                signal=int(signal or 0),
                preempted=_given(facts.get("PreemptTime", "")) != "",
            )


def _given(value: str) -> str:
    return "" if value in NOTHING else value


def _ids(facts: dict[str, str]) -> list[str]:
    """`12_3` for each task of a line: a waiting array is one line, `4,6-9%2`."""
    array, tasks = facts.get("ArrayJobId"), facts.get("ArrayTaskId")
    if array is None or tasks is None:
        return [facts["JobId"]]
    numbers: list[int] = []
    for part in tasks.partition("%")[0].split(","):
        first, _, rest = part.partition("-")
        last, _, step = rest.partition(":")
        numbers += range(int(first), int(last or first) + 1, int(step or 1))
    return [f"{array}_{number}" for number in numbers]

"""Job arrays: arms x seeds submitted with a concurrency limit, and cancelled.

submitit writes the batch file, submits it and has the checkpoint protocol. States are read by
`scontrol.py`, because those of submitit need an accounting database, which many sites do not have.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from study.jobs import batches, scontrol
from study.jobs.array_task import ArmSeed
from study.jobs.batches import Batch, Task
from study.jobs.cluster_file import Asked, Slurm
from study.settings import UserError

MARGIN_S = 15.0  # of the time between Slurm's signal and the end


def submit(
    root: Path, tasks: Sequence[Task], asked: Mapping[str, Asked], slurm: Slurm
) -> list[Task]:
    """Submit tasks, one array for each set of equal resources; returns the tasks with their ids.

    `asked`: the resources of each arm. Raises UserError with the message of sbatch; arrays
    submitted before a refused one are cancelled, so that all tasks are submitted or none.
    """
    scontrol.check_slurm()
    done: list[Batch] = []
    for group in _alike(tasks, asked):
        batch = batches.planned(root, group)
        try:
            ids = _submit_array(root, batch, asked[group[0].arm], slurm)
        except BaseException:
            for one in done:
                with contextlib.suppress(UserError):  # the first error is reported
                    cancel(task.id for task in one.tasks if task.id)
            for one in (*done, batch):
                batches.forget(root, one)
            raise
        done.append(batches.submitted(root, batch, ids))
    return [task for batch in done for task in batch.tasks]


def _alike(tasks: Sequence[Task], asked: Mapping[str, Asked]) -> list[list[Task]]:
    """Tasks with the same resources, in order of appearance."""
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        groups.setdefault(asked[task.arm].model_dump_json(), []).append(task)
    return list(groups.values())


def _submit_array(root: Path, batch: Batch, asked: Asked, slurm: Slurm) -> list[str]:
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    executor = SlurmExecutor(batches.folder(root), max_num_timeout=slurm.requeues)
    executor.update_parameters(**parameters(batch.name, asked, slurm))
    wait_s = slurm.stop_s - MARGIN_S
    try:
        with executor.batch():
            jobs = [
                executor.submit(ArmSeed(root, task.arm, task.seed, wait_s, slurm.command))
                for task in batch.tasks
            ]
    except (FailedJobError, FailedSubmissionError) as error:
        raise UserError(refusal(str(error))) from None
    return [job.job_id for job in jobs]


def parameters(name: str, asked: Asked, slurm: Slurm) -> dict[str, Any]:
    """The resources of one array under the names that submitit uses."""
    return {
        "job_name": name,
        "partition": asked.partition,
        "time": asked.minutes,
        "cpus_per_task": asked.cpus,
        "gpus_per_node": asked.gpus or None,
        "mem": None if asked.memory_gb is None else f"{round(asked.memory_gb * 1024)}M",
        "array_parallelism": slurm.at_once,
        "signal_delay_s": slurm.stop_s,
        "stderr_to_stdout": True,
        "setup": list(slurm.setup) or None,
        "wckey": None,  # some sites refuse submitit's default
        # Options that are False are left out, since submitit would write the word False.
        "additional_parameters": {
            "requeue": True,
            **{option: value for option, value in asked.sbatch.items() if value is not False},
        },
    }


def refusal(output: str) -> str:
    """sbatch's errors as a sentence."""
    reasons = re.findall(r"^sbatch: (?:error|fatal): (.*?)\s*$", output, re.MULTILINE)
    general = "Batch job submission failed: "
    reasons = list(dict.fromkeys(reason.removeprefix(general) for reason in reasons))
    return (
        f"Slurm refused the jobs: {'; '.join(reasons) or ' '.join(output.split())[:300]}; correct "
        "launch.yaml (`sinfo` lists the partitions)"
    )


def cancel(ids: Iterable[str]) -> None:
    """Cancel tasks: Slurm sends TERM, waits (KillWait), and kills. Raises UserError if it cannot.

    Ended and forgotten tasks are not an error.
    """
    listed = list(ids)
    if not listed:
        return
    done = scontrol.call("scancel", *listed)
    lines = [line for line in done.stderr.splitlines() if "Invalid job id" not in line]
    if done.returncode and lines:
        raise UserError(" ".join(lines))

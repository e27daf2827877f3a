"""launch.yaml: the resources of cluster jobs, for all arms and for individual arms.

    slurm:
      at_once: 8              # array tasks that run in parallel
      resources: {partition: gpu, minutes: 120, cpus: 2, gpus: 1, memory_gb: 8}
      arms:
        control_d6: {minutes: 300}

The file is optional; the defaults are below. It does not affect results, so no stage depends on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, StrictBool, StrictInt, StrictStr, ValidationError, field_validator

from study.reading import read_yaml
from study.settings import MOST, Model, UserError, explain, nearest

NAME = "launch.yaml"
OPTION = re.compile(r"[a-z][a-z-]*")
# sbatch options that have their own field, or that the array itself needs.
OWN = {
    "partition": "partition",
    "time": "minutes",
    "cpus-per-task": "cpus",
    "gpus-per-node": "gpus",
    "mem": "memory_gb",
    "signal": "stop_s",
    **dict.fromkeys(("array", "output", "error", "open-mode", "job-name", "requeue"), ""),
}
Line = Annotated[StrictStr, Field(min_length=1, pattern=r"^[^\r\n\x00]*$")]
OptionValue = StrictBool | StrictInt | Line


class Asked(Model):
    """Resources of one array task; None: the default of the cluster.

    minutes: time limit of one start; a task that reaches it is requeued and resumes.
    sbatch: further options by their long names, such as account, qos, constraint.
    """

    partition: Line | None = None
    minutes: Annotated[StrictInt, Field(ge=2, le=MOST)] = 60
    cpus: Annotated[StrictInt, Field(ge=1, le=MOST)] = 1
    gpus: Annotated[StrictInt, Field(ge=0, le=MOST)] = 0
    memory_gb: Annotated[float, Field(gt=0, le=MOST)] | None = None
    sbatch: Mapping[str, OptionValue] = {}

    @field_validator("sbatch")
    @classmethod
    def _no_own_options(cls, given: Mapping[str, OptionValue]) -> Mapping[str, OptionValue]:
        for option in given:
            if not OPTION.fullmatch(option):
                raise ValueError(
                    f"{option!r} is not a long option of sbatch; write account, not --account"
                )
            if option in OWN:
                use = f"use {OWN[option]}" if OWN[option] else "it is set for the array itself"
                raise ValueError(f"{option} is not accepted here: {use}")
        return given


class Slurm(Model):
    """How a launch uses the cluster.

    at_once: array tasks that run in parallel. requeues: how often a task may reach its time limit.
    stop_s: seconds before the limit at which a task checkpoints. setup: your own shell lines at the
    start of every task, such as `module load cuda`. command: the command that runs `study` on a
    node, such as `[apptainer, exec, --nv, --bind, "CHECKOUT:/study", /path/armature.sif, python,
    -m, study]` (docs/cluster.md); None: this installation.
    """

    at_once: Annotated[StrictInt, Field(ge=1, le=MOST)] = 8
    requeues: Annotated[StrictInt, Field(ge=0, le=MOST)] = 20
    stop_s: Annotated[StrictInt, Field(ge=30, le=MOST)] = 90
    setup: tuple[Line, ...] = ()
    command: Annotated[tuple[Line, ...], Field(min_length=1)] | None = None
    resources: Asked = Asked()
    arms: Mapping[str, Asked] = {}

    def asked(self, arm: str, overrides: Mapping[str, Any] | None = None) -> Asked:
        """Resources of one arm: those of all, its own changes, then the `overrides` given.

        Raises UserError for an override that is not accepted.
        """
        own = _set(self.arms[arm]) if arm in self.arms else {}
        chosen = {key: value for key, value in (overrides or {}).items() if value is not None}
        base = _set(self.resources)
        options = {**base.get("sbatch", {}), **own.get("sbatch", {})}
        given = {**base, **own, **chosen, "sbatch": options}
        try:
            return Asked.model_validate(given)
        except ValidationError as error:
            raise UserError(f"resources of {arm}: {explain(error, given, '', Asked)}") from None


def _set(asked: Asked) -> dict[str, Any]:
    """The fields that are set in a block of the file."""
    return {name: getattr(asked, name) for name in asked.model_fields_set}


class LaunchFile(Model):
    """The whole of launch.yaml."""

    slurm: Slurm = Slurm()


def load_cluster(root: Path, arms: Mapping[str, Any]) -> Slurm:
    """The section `slurm` of launch.yaml in `root`, or the defaults. `arms`: those that exist.

    Raises UserError that names the unknown key, the wrong value or the unknown arm.
    """
    file = root / NAME
    if not file.is_file():
        return Slurm()
    given = read_yaml(file) or {}
    try:
        slurm = LaunchFile.model_validate(given).slurm
    except ValidationError as error:
        raise UserError(f"{file}: {explain(error, given, '', LaunchFile)}") from None
    for name in slurm.arms:
        if name not in arms:
            raise UserError(
                f"{file}: slurm.arms names {name!r}, which is not an arm{nearest(name, arms)}"
            )
    return slurm

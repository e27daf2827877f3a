"""The content of status.json of a run, checked where it is read.

Null is accepted for every field of the file itself, and fields that no code reads pass unchecked.
The content stays as it was read: nothing is converted.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from study.reading import UserError
from study.settings.base import CountOrZero, Scalar, Seed
from study.settings.errors import explain

LATEST_S = 2.0**36  # the year 4147: what a clock and `time.localtime` can show
Time = Annotated[float, Field(ge=0, lt=LATEST_S)]  # seconds since 1970
Pid = Annotated[int, Field(ge=0, lt=2**31)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)


class Origin(_Part):
    """What a run starts from; runs of earlier versions lack some of it."""

    data_sha256: str = ""
    fingerprint: str | None = None
    settings: dict[str, Scalar] = {}


class Floors(_Part):
    """Reference points of skill; `noise` is null for a measurement."""

    noise: float | None = None
    best_constant: float | None = None


class StoredWeights(_Part):
    """Facts about the stored weights; null where the loss is not finite."""

    val_loss: float | None = None


class Progress(_Part):
    """How far a run is, and the process that computes it."""

    epoch: CountOrZero | None = None
    epochs: CountOrZero | None = None
    pid: Pid | None = None
    pid_started: Time | None = None
    started: Time | None = None
    ended: Time | None = None
    heartbeat: Time | None = None
    val_loss: float | None = None
    cause: str | None = None


class StatusFile(Progress):
    """Fields of status.json that are read again."""

    state: str | None = None
    arm: str | None = None
    seed: Seed | None = None
    best_epoch: CountOrZero | None = None
    collapsed_at_epoch: CountOrZero | None = None
    dead_layers_at_epoch: CountOrZero | None = None
    why_eager: str | None = None
    best_val_loss: float | None = None
    seconds: float | None = None
    reconstruct_seconds: float | None = None
    patterns: CountOrZero | None = None
    manifest: Origin | None = None
    floors: Floors | None = None
    stored: dict[str, StoredWeights] | None = None


def check_status(status: Mapping[str, Any], file: Path) -> None:
    """Raise UserError, which names file and field, for a status that its writer cannot have
    given."""
    try:
        StatusFile.model_validate(status)
    except ValidationError as error:
        raise UserError(
            f"{file}: {explain(error, status, '', StatusFile)}; restore the file, or remove "
            f"{file.parent} to train this run from the start"
        ) from None


def losses_of_floors(status: Mapping[str, Any], file: Path) -> tuple[float, float]:
    """Losses of the true patches and of the best constant object. `file`: where `status`, which was
    checked, comes from. Raises UserError where one is missing."""
    floors = status.get("floors") or {}
    noise, constant = floors.get("noise"), floors.get("best_constant")
    if noise is None or constant is None:
        lacking = "noise" if noise is None else "best_constant"
        raise UserError(
            f"{file}: floors.{lacking} is missing; accepted: the loss as a number, which a run on "
            "data with the true object writes. Restore the file, or remove "
            f"{file.parent} and train again"
        )
    return noise, constant

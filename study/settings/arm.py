"""Settings of a trained arm: network, loss, optimiser, schedule, clip rule."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, field_validator, model_validator

from study.reading import quoted
from study.settings.base import (
    LARGEST_LIMIT,
    NAME,
    Count,
    CountOrZero,
    Factor,
    FactorOrZero,
    Model,
    Scalar,
    Seed,
    Seeds,
    check_once,
)


class GeneratorParams(Model):
    """A network by name; its options are checked by `study.generators.parse`."""

    name: str
    options: Mapping[str, Scalar]

    @model_validator(mode="before")
    @classmethod
    def _gather(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and "options" not in given:
            rest = {key: value for key, value in given.items() if key != "name"}
            return {
                **({"name": given["name"]} if "name" in given else {}),
                "options": rest,
            }
        return given

    def flat(self) -> dict[str, Scalar]:
        return {"name": self.name, **self.options}


class MaeLoss(Model):
    """`overlap_weight`: of the same error for the object that the batch stitches."""

    name: Literal["mae"]
    overlap_weight: FactorOrZero


class PoissonLoss(Model):
    name: Literal["poisson"]
    overlap_weight: FactorOrZero


class SupervisedLoss(Model):
    """Mean absolute error to the true patches (simulated data only)."""

    name: Literal["supervised"]


LossParams = MaeLoss | PoissonLoss | SupervisedLoss
Loss = Annotated[LossParams, Field(discriminator="name")]


class Adam(Model):
    name: Literal["adam"]
    lr: Factor


class AdamW(Model):
    name: Literal["adamw"]
    lr: Factor
    weight_decay: FactorOrZero


class Sgd(Model):
    name: Literal["sgd"]
    lr: Factor
    momentum: Annotated[float, Field(ge=0, lt=1)]


Optimizer = Annotated[Adam | AdamW | Sgd, Field(discriminator="name")]


class Constant(Model):
    name: Literal["constant"]


class WarmupCosine(Model):
    """Linear from 0.1 lr over `warmup_epochs`, then cosine to lr * `final_ratio`."""

    name: Literal["warmup_cosine"]
    warmup_epochs: CountOrZero
    final_ratio: Annotated[float, Field(ge=0, le=1)]


class Exponential(Model):
    """lr * gamma**epoch."""

    name: Literal["exponential"]
    gamma: Annotated[float, Field(gt=0, le=1)]


class Plateau(Model):
    """lr times `factor` after more than `patience` epochs without a better validation loss."""

    name: Literal["plateau"]
    factor: Annotated[float, Field(gt=0, lt=1)]
    patience: CountOrZero


Schedule = Annotated[Constant | WarmupCosine | Exponential | Plateau, Field(discriminator="name")]


Precision = Literal["fp32", "tf32", "bf16"]
BatchOrder = Literal["shuffled", "neighbours"]


# Clip rules and the limit at which the published study used each: the default for a new arm. The
# functions are in `study.training.clipping`; the table is here because the app imports no torch.
CLIP_LIMITS: Mapping[str, float | None] = {
    "none": None,
    "norm": 1.0,
    "value": 1.0,
    "agc": 0.01,
    "agc_tensor": 0.01,
}


class Clip(Model):
    """A gradient clip rule by name (`CLIP_LIMITS`) and its limit."""

    gradient_clip_algorithm: str
    gradient_clip_val: Annotated[float, Field(gt=0, le=LARGEST_LIMIT)] | None
    exclude_head: bool

    @model_validator(mode="after")
    def _limit_belongs(self) -> Clip:
        none = self.gradient_clip_algorithm == "none"
        if none and (self.gradient_clip_val is not None or self.exclude_head):
            raise ValueError(
                "gradient_clip_algorithm none takes gradient_clip_val: null and exclude_head: "
                f"false; got {self.gradient_clip_val} and {self.exclude_head}"
            )
        if not none and self.gradient_clip_val is None:
            raise ValueError(
                f"gradient_clip_algorithm {self.gradient_clip_algorithm} needs a "
                "gradient_clip_val; got null"
            )
        return self


class Legacy(Model):
    """Defects of the earlier study's code, as switches: what did each of them do?

    `batch_coupled_probe`: the probe was summed over the batch, so that A_pred grew with the number
    of patterns in it: in training, A_pred is multiplied by (patterns in the batch) / batch_size.
    Its other defects are ordinary settings: mode_set corner, clip agc_tensor, data without phase.
    """

    batch_coupled_probe: StrictBool


class Survival(Model):
    """When a run counts as dead, so that the time to this event is the outcome of the arm.

    Skill is that of the validation loss after each epoch. Dead is a run whose skill was above
    `learned_skill` once and then stays below `lost_skill` in `lost_validations` successive
    validations, one that is never above `lost_skill` in its first `deadline_epochs` epochs, and one
    whose loss is not finite. It stops there. A run that reaches `epochs` alive is censored.
    `traced_seed`: the run that keeps its last checkpoints for `study trace replay`; may be absent,
    changes nothing in the training and is not a part of the settings that act.
    """

    learned_skill: Annotated[float, Field(gt=0, lt=1)]
    lost_skill: Annotated[float, Field(gt=0, lt=1)]
    lost_validations: Count
    deadline_epochs: Count
    traced_seed: Seed | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Survival:
        if self.lost_skill >= self.learned_skill:
            raise ValueError(
                f"lost_skill {self.lost_skill:g} must be below learned_skill "
                f"{self.learned_skill:g}, otherwise a run could be dead and learned at once"
            )
        return self


class RowFields(Model):
    """Fields of trained arms and reference rows."""

    asks: Annotated[str, Field(min_length=1)]
    versus: str | None
    changes: tuple[str, ...]
    data: str

    @field_validator("data")
    @classmethod
    def _data_in_checkout(cls, value: str) -> str:
        room, _, name = value.partition("/")
        if room not in ("data", "imported") or not NAME.fullmatch(name):
            raise ValueError(
                f"data is {quoted(value)}; accepted: data/NAME or imported/NAME, NAME of "
                "lower-case letters, digits and underscores"
            )
        return value


class Arm(RowFields):
    """One fully spelled training setting. `order_seed: null` means the run's own seed.

    `batch_order`: patterns of a batch anywhere on the scan, or next to one another, so that their
    windows overlap.
    `precision` is that of the network's products; physics, loss and weights are float32 always.
    """

    seeds: Seeds
    order_seed: Seed | None
    generator: GeneratorParams
    loss: Loss
    optimizer: Optimizer
    schedule: Schedule
    clip: Clip
    epochs: Count
    batch_size: Count
    batch_order: BatchOrder
    precision: Precision
    legacy: Legacy
    survival: Survival | None = None

    @model_validator(mode="after")
    def _horizon_shows_the_event(self) -> Arm:
        if self.survival is None:
            return self
        needed = max(self.survival.deadline_epochs, 1 + self.survival.lost_validations)
        if self.epochs < needed:
            raise ValueError(
                f"epochs is {self.epochs}, but the event rule of survival can be seen from epoch "
                f"{needed} on (deadline_epochs {self.survival.deadline_epochs}, lost_validations "
                f"{self.survival.lost_validations} after one epoch that learned); train longer"
            )
        traced = self.survival.traced_seed
        if traced is not None and traced not in self.seeds:
            raise ValueError(
                f"survival.traced_seed is {traced}, which is not one of the seeds "
                f"{list(self.seeds)}; choose one of them or null"
            )
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Arm:
        check_once(self.seeds)
        warmup = getattr(self.schedule, "warmup_epochs", 0)
        if warmup >= self.epochs and warmup > 0:
            raise ValueError(
                f"warmup_epochs {warmup} is not below epochs {self.epochs}; choose fewer"
            )
        return self

"""Learning-rate schedules as pure functions of the epoch, stepped once an epoch.

    constant        lr
    warmup_cosine   lr (0.1 + 0.9 e / W) for e < W, then
                    lr (r + (1 - r) (1 + cos(pi (e - W) / (E - W))) / 2)
    exponential     lr gamma^e
    plateau         lr factor^(reductions), a reduction after more than `patience` epochs without a
                    better validation loss

e counts from 0, E = epochs, W = warmup_epochs, r = final_ratio (reached at e = E, one past the last
epoch, as in Loshchilov & Hutter 2017). Only plateau has a state; it is three plain numbers, so a
checkpoint can hold it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from study.settings import Arm, Constant, Exponential, Plateau, WarmupCosine

WARMUP_START = 0.1


@dataclass(frozen=True)
class Progress:
    """State of the run for a schedule. `best`: lowest validation loss, None before any."""

    best: float | None = None
    bad_epochs: int = 0
    reductions: int = 0


def constant(settings: Constant, epoch: int, epochs: int, state: Progress) -> float:
    return 1.0


def warmup_cosine(settings: WarmupCosine, epoch: int, epochs: int, state: Progress) -> float:
    warmup, ratio = settings.warmup_epochs, settings.final_ratio
    if epoch < warmup:
        return WARMUP_START + (1 - WARMUP_START) * epoch / warmup
    part = (epoch - warmup) / (epochs - warmup)
    return ratio + (1 - ratio) * 0.5 * (1 + math.cos(math.pi * part))


def exponential(settings: Exponential, epoch: int, epochs: int, state: Progress) -> float:
    return settings.gamma**epoch


def plateau(settings: Plateau, epoch: int, epochs: int, state: Progress) -> float:
    return settings.factor**state.reductions


def observe(state: Progress, val_loss: float, patience: int) -> Progress:
    """The state after one more epoch: a better loss resets the count, patience spends it."""
    if state.best is None or val_loss < state.best:
        return replace(state, best=val_loss, bad_epochs=0)
    if state.bad_epochs + 1 > patience:
        return replace(state, bad_epochs=0, reductions=state.reductions + 1)
    return replace(state, bad_epochs=state.bad_epochs + 1)


# name -> factor(settings, epoch, epochs, state) on the optimiser's lr.
SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "warmup_cosine": warmup_cosine,
    "exponential": exponential,
    "plateau": plateau,
}


class LearningRate:
    """The schedule of one run: gives the rate of an epoch, gets the validation loss after it."""

    def __init__(self, arm: Arm) -> None:
        self.settings = arm.schedule
        self.base = arm.optimizer.lr
        self.epochs = arm.epochs
        self.state = Progress()

    def rate(self, epoch: int) -> float:
        """Learning rate of `epoch`, counted from 0."""
        factor = SCHEDULES[self.settings.name]
        return self.base * factor(self.settings, epoch, self.epochs, self.state)

    def observe(self, val_loss: float) -> None:
        if isinstance(self.settings, Plateau):
            self.state = observe(self.state, val_loss, self.settings.patience)

    def state_dict(self) -> dict[str, Any]:
        return asdict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.state = Progress(**state)


def learning_rates(arm: Arm) -> list[float]:
    """The curve of all epochs; for plateau, as long as the validation loss keeps falling."""
    schedule = LearningRate(arm)
    return [schedule.rate(epoch) for epoch in range(arm.epochs)]

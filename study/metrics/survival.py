"""When is a training run dead? One function decides, while it trains and when it is scored.

A run learns, then one step kills it: its skill (`study.metrics.skill`) falls to that of a constant
object and stays there. The time of that event, in epochs, is the outcome of a survival study; a run
that is alive at its last epoch is right-censored there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from study.metrics.skill import skill
from study.settings import Survival

Kind = Literal["collapsed", "never learned", "diverged"]


@dataclass(frozen=True)
class Event:
    """A death: its kind, the epoch (from 1) at which it happened, and the one that showed it."""

    kind: Kind
    epoch: int
    seen_at: int


def find_event(
    val_losses: Sequence[float], noise_floor: float, best_constant: float, rule: Survival
) -> Event | None:
    """The first event in the validation losses of the epochs 1, 2, ..., or None while alive.

    A collapse is dated by the first of the validations that show it, a run that never learned by
    the deadline, a divergence by the epoch whose loss is not finite. Losses after the event change
    nothing: what is found in a prefix is found in the whole. Raises UserError where skill is
    undefined (`best_constant` not above `noise_floor`).
    """
    learned = started = False
    lost = 0
    for epoch, loss in enumerate(val_losses, start=1):
        if not math.isfinite(loss):
            return Event("diverged", epoch, epoch)
        now = skill(loss, noise_floor, best_constant)
        started = started or now > rule.lost_skill
        if epoch == rule.deadline_epochs and not started:
            return Event("never learned", epoch, epoch)
        lost = lost + 1 if learned and now < rule.lost_skill else 0
        if lost == rule.lost_validations:
            return Event("collapsed", epoch - lost + 1, epoch)
        learned = learned or now > rule.learned_skill
    return None

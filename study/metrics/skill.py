"""Skill: how much of the way from the best constant object to the noise floor a loss has gone.

    skill = 1 - (loss - noise floor) / (best constant - noise floor)

A loss by value belongs to one probe and one dose; skill does not, so losses of different data sets
are compared by it. 1 is the noise floor, 0 the best constant object, negative is worse than that.
"""

from __future__ import annotations

import math

from study.params import UserError


def skill(loss: float, noise_floor: float, best_constant: float) -> float:
    """All three in one unit, on one split. May exceed 1 when the loss fits the noise.

    Raises UserError unless all are finite and the best constant lies above the floor.
    """
    if not all(math.isfinite(value) for value in (loss, noise_floor, best_constant)):
        raise UserError(
            f"skill needs finite losses; got loss {loss}, noise floor {noise_floor}, best constant "
            f"{best_constant}"
        )
    if best_constant <= noise_floor:
        raise UserError(
            f"the best constant object's loss {best_constant} is not above the noise floor "
            f"{noise_floor}; both must come from the same split and loss"
        )
    return 1 - (loss - noise_floor) / (best_constant - noise_floor)

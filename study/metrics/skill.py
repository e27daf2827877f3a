"""Skill: position of a loss between the best constant object (0) and the noise floor (1).

    skill = 1 - (loss - noise floor) / (best constant - noise floor)

A loss by value belongs to one probe and one dose; skill does not, so losses of different data sets
are compared by it. 1 is the noise floor, 0 the best constant object, negative is worse than that.
"""

from __future__ import annotations

import math

from study.settings import UserError

LOST = 0.2


def skill(loss: float, noise_floor: float, best_constant: float) -> float:
    """All three in one unit, on one split. May exceed 1 when the loss fits the noise.

    Raises UserError unless all are finite and the best constant is above the floor.
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


def is_dead(loss: float, noise_floor: float, best_constant: float) -> bool:
    """Whether a run that ends with this loss is dead: not finite, or skill below `LOST`.

    Zero would be too lenient: stored runs at a learning rate of 2e-2 that end as near-constants
    have skills of up to 0.17. Raises UserError as `skill` does for floors that cannot be.
    """
    return not math.isfinite(loss) or skill(loss, noise_floor, best_constant) < LOST

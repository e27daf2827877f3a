"""How much of the level each planned look at the data may use.

The spending function of Lan and DeMets (1983) in the form of O'Brien and Fleming gives very little
to early looks and nearly everything to the last one. A look of a claim about means may use the
level spent since the previous look. These parts add up to the level, so the error of the claim does
not exceed it regardless of the dependence between looks (Bonferroni), even if a look is decided by
ranks. Survival claims use the same function (`study.evidence.survival`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

# Below this level, the part of each look increases with the level (z > 1); claims have lower ones.
LARGEST = 0.3


def spent(level: float, share: float) -> float:
    """Part of `level` that may be spent when the share `share` (0 to 1) of the runs is available.

    2 - 2 Phi(z_{1 - level/2} / sqrt(share)): very little early, all of it at the end.
    """
    normal = NormalDist()
    return 2 - 2 * normal.cdf(normal.inv_cdf(1 - level / 2) / math.sqrt(share))


def allowances(looks: Sequence[int], level: float) -> list[float]:
    """Part of `level` for each look. `looks`: pairs at each planned look, ascending.

    The last look gets the rest, so that the sum is `level`.
    """
    totals = [spent(level, look / looks[-1]) for look in looks]
    return [now - before for now, before in zip(totals, [0.0, *totals], strict=False)]


def level_to_reject(ps: Sequence[float], looks: Sequence[int]) -> float:
    """The smallest level at which a look taken so far rejects; 1 if it is above `LARGEST`.

    `ps`: p at each look so far. The result is the p value of the whole claim: it is at most a if
    and only if some look rejects at level a.
    """

    def rejects(level: float) -> bool:
        return any(p <= part for p, part in zip(ps, allowances(looks, level), strict=False))

    low, high = 0.0, LARGEST
    if not rejects(high):
        return 1.0
    while high - low > 1e-9 * high and high > 1e-15:
        middle = (low + high) / 2
        low, high = (low, middle) if rejects(middle) else (middle, high)
    return high

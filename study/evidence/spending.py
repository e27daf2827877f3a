"""How much of a level each planned look at the data may use.

The spending function of Lan and DeMets (1983) in the form of O'Brien and Fleming gives next to
nothing to early looks and nearly everything to the last one. A look of a claim about means may use
what was added to the spent level since the look before. These parts add up to the level, so the
error of the claim stays below it whatever the looks have in common (Bonferroni), also where one of
them is decided by ranks. Survival claims use the same function (`study.evidence.survival`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

# Below this level what each look may use grows with the level (z > 1); no claim has a higher one.
LARGEST = 0.3


def spent(level: float, share: float) -> float:
    """Part of `level` that may be used up when `share` (0 to 1) of the runs are there.

    2 - 2 Phi(z_{1 - level/2} / sqrt(share)): next to nothing early, all of it at the end.
    """
    normal = NormalDist()
    return 2 - 2 * normal.cdf(normal.inv_cdf(1 - level / 2) / math.sqrt(share))


def allowances(looks: Sequence[int], level: float) -> list[float]:
    """What each look may use of `level`; `looks`: pairs at every planned look, ascending.

    The last of them uses the rest, so that the sum is `level`.
    """
    totals = [spent(level, look / looks[-1]) for look in looks]
    return [now - before for now, before in zip(totals, [0.0, *totals], strict=False)]


def level_to_reject(ps: Sequence[float], looks: Sequence[int]) -> float:
    """The smallest level at which one of the looks taken so far rejects; 1 where that is above
    `LARGEST`.

    `ps`: p at each look so far. The result is the p of the claim as a whole: p <= a if and only if
    some look rejects at level a.
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

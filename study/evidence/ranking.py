"""Comparison of arms by rank, for claims about means if a run died and therefore has no number.

Design choices
- A failed or collapsed (dead) run ranks below all finished ones. A pair with one dead run is lost
  by its arm, by more than any pair of finished runs; a pair of two dead runs is a tie.
- Exact signed ranks (Wilcoxon): if the arms are equal, the two runs of a seed can be exchanged, and
  p is the share of the 2^n exchanges with a rank sum at least as large as the observed one. With
  one fixed value no exchange is possible, and pairs are counted as won or lost (sign test).
- Tied gaps are ranked to the disadvantage of the tested arm. This keeps the test valid and
  monotonic: an additional dead run never lowers p in favour of its arm. Ranks over all runs, or
  mean ranks, do not guarantee this.
- An arm with a dead run is never found better than an arm without one. If the same run had finished
  with a very bad number, the t interval would have been too wide for that; a dead run must not
  count for more than a bad one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Pair = tuple[float | None, float | None]


def pair_gaps(pairs: Sequence[Pair], lower_is_better: bool) -> list[float]:
    """By how much the first run of each pair is better.

    None is a dead run: the gap is infinite if one run is dead, and 0 if both are.
    """
    sign = -1.0 if lower_is_better else 1.0
    gaps = []
    for first, second in pairs:
        if first is None or second is None:
            gaps.append(0.0 if first is second else -np.inf if first is None else np.inf)
        else:
            gaps.append(sign * (first - second))
    return gaps


def better_p(gaps: Sequence[float], signs_only: bool = False) -> float:
    """Exact one-sided p for the hypothesis that the first arm is not better, from signed ranks.

    `signs_only`: use the sign test. Ties between gaps of different sign are broken against the
    first arm; gaps of 0 are omitted.
    """
    # Ascending by size; for equal sizes, won pairs come first and thus have smaller ranks.
    order = sorted((gap for gap in gaps if gap), key=lambda gap: (abs(gap), gap < 0))
    ranks = [1 if signs_only else place for place in range(1, len(order) + 1)]
    total = sum(rank if gap > 0 else -rank for gap, rank in zip(order, ranks, strict=True))
    size = sum(ranks)
    chances = np.zeros(2 * size + 1)  # probability of each sum from -size to size
    chances[size] = 1.0
    for rank in ranks:
        chances = (np.roll(chances, rank) + np.roll(chances, -rank)) / 2
    return float(min(1.0, chances[size + total :].sum()))

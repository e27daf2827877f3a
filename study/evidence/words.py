"""The words of verdicts, which are shown to readers for a stored status and its numbers.

    differs, matters      zero is excluded and the whole interval lies beyond the margin
    differs, size open    zero is excluded, and the interval includes a margin
    differs, negligible   zero is excluded and the interval lies within the margins
    equivalent            the interval lies within the margins and includes zero
    inconclusive          none of these
    reached, missed       a goal, by the side of the bound on which the interval lies
    not worse, worse      a non-inferiority claim, by the side of the margin
    not reproduced        the numbers exclude what a publication reports
    vacuous               a constant object meets the goal, or has the best possible score
    not comparable        a comparability check failed, or other factors differ than claimed
    pending               no run yet

The status `equivalent` has two words: "equivalent" and "differs, negligible". A difference opposite
to the claimed direction is "against the claim". Words depend only on the numbers, so two claims
about the same contrast and metric have the same word. For failure rates, the size is judged by an
exact test against the margin, because no interval agrees with the deciding test; for ranks, the
size is open.
"""

from __future__ import annotations

from study.evidence import statistics

PENDING = "pending"
NOT_COMPARABLE = "not comparable"
NOT_REPRODUCED = "not reproduced"
VACUOUS = "vacuous"
INCONCLUSIVE = "inconclusive"
EQUIVALENT = "equivalent"
MATTERS = "differs, matters"
OPEN = "differs, size open"
NEGLIGIBLE = "differs, negligible"
AGAINST = ", against the claim"
ONE_SIDED = {"bound": ("reached", "missed"), "non_inferior": ("not worse", "worse")}
# Words for statuses that do not depend on the numbers.
UNJUDGED = {"pending": PENDING, "void": NOT_COMPARABLE, "not evaluable": NOT_COMPARABLE}


def of_interval(low: float, high: float, margin: float, differs: bool | None = None) -> str:
    """The word for an effect with the interval `low` to `high`.

    `differs`: the decision of another test (log-rank); None if the interval decides.
    """
    inside = -margin <= low and high <= margin
    if differs is None:
        differs = low > 0 or high < 0
    if not differs:
        return EQUIVALENT if inside else INCONCLUSIVE
    if inside:
        return NEGLIGIBLE
    return MATTERS if low >= margin or high <= -margin else OPEN


def of_rates(
    treatment: tuple[int, int],
    control: tuple[int, int],
    margin: float,
    alpha: float,
    differs: bool,
) -> str:
    """The word for two failure rates, each (failures, runs). `differs`: decision of the test.

    The size is judged by one-sided exact tests against the margin, each at half of `alpha`.
    """

    def above(first: tuple[int, int], second: tuple[int, int], limit: float) -> bool:
        return statistics.rate_gap_p(first, second, limit) <= alpha / 2

    inside = above(treatment, control, -margin) and above(control, treatment, -margin)
    if not differs:
        return EQUIVALENT if inside else INCONCLUSIVE
    if inside:
        return NEGLIGIBLE
    beyond = above(treatment, control, margin) or above(control, treatment, margin)
    return MATTERS if beyond else OPEN


def contradicts(word: str, direction: str) -> bool:
    """Whether a word excludes what the claim states. `direction`: that of the claim."""
    if direction == "equal":
        return word == MATTERS
    return word in (EQUIVALENT, "missed", "worse") or word.endswith(AGAINST)


def shown(word: str, direction: str, published: bool, vacuous: bool) -> str:
    """The word shown for a judged claim, considering whether it is `published` or `vacuous`.

    A goal that a network misses although a constant object meets it remains "missed", since this is
    informative.
    """
    if vacuous and word != "missed":
        return VACUOUS
    return NOT_REPRODUCED if published and contradicts(word, direction) else word

"""The words of verdicts: laws over all numbers, and the words of claims with stored results."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from stored import CONTROL, SEEDS, WORSE, book_of, claim, found, margin, store, typed

from study.evidence import statistics, words
from study.evidence.claim_finding import ClaimFinding
from study.settings import Study

SIZED = (words.MATTERS, words.OPEN, words.NEGLIGIBLE)
# What a narrower interval about the same mean may turn a word into.
LATER = {
    words.INCONCLUSIVE: {words.INCONCLUSIVE, words.EQUIVALENT, *SIZED},
    words.EQUIVALENT: {words.EQUIVALENT, words.NEGLIGIBLE},
    words.OPEN: set(SIZED),
    words.NEGLIGIBLE: {words.NEGLIGIBLE},
    words.MATTERS: {words.MATTERS},
}
NUMBERS = st.floats(-1, 1)


@settings(max_examples=300, deadline=None)
@given(NUMBERS, st.floats(0.01, 1), st.floats(0.001, 1), st.floats(1, 10))
def test_more_pairs_with_one_mean_and_spread_only_sharpen_a_word(
    mean: float, half: float, margin: float, factor: float
) -> None:
    wide = words.of_interval(mean - half, mean + half, margin)
    narrow = words.of_interval(mean - half / factor, mean + half / factor, margin)
    assert narrow in LATER[wide]


@settings(max_examples=300, deadline=None)
@given(NUMBERS, st.floats(0, 1), st.floats(0.001, 1))
def test_swapping_the_arms_keeps_the_size(low: float, width: float, margin: float) -> None:
    high = low + width
    assert words.of_interval(low, high, margin) == words.of_interval(-high, -low, margin)


@settings(max_examples=300, deadline=None)
@given(NUMBERS, st.floats(0, 1), st.floats(0.001, 1))
def test_a_word_states_only_what_every_value_in_the_interval_satisfies(
    low: float, width: float, margin: float
) -> None:
    inside = np.linspace(low, low + width, 50)
    word = words.of_interval(low, low + width, margin)
    if word in (words.EQUIVALENT, words.NEGLIGIBLE):
        assert (np.abs(inside) <= margin + 1e-12).all()
    if word == words.MATTERS:
        assert (np.abs(inside) >= margin - 1e-12).all()
    if word in SIZED:
        assert (inside > 0).all() or (inside < 0).all()
    if word == words.EQUIVALENT:
        assert low <= 0 <= low + width


# --- rates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [3, 6, 12])
@pytest.mark.parametrize("limit", [-0.5, -0.1, 0.0, 0.2, 0.5])
def test_the_gap_of_rates_is_found_at_most_at_its_level(n: int, limit: float) -> None:
    """The exact chance of p <= 0.05 when the rates are `limit` or less apart."""
    ps = np.array(
        [[statistics.rate_gap_p((a, n), (b, n), limit) for b in range(n + 1)] for a in range(n + 1)]
    )
    for control in np.linspace(0, 1, 21):
        for treatment in np.linspace(0, 1, 21):
            if treatment - control <= limit + 1e-12:
                left = stats.binom.pmf(range(n + 1), n, treatment)
                right = stats.binom.pmf(range(n + 1), n, control)
                assert left @ (ps <= 0.05) @ right <= 0.05 + 1e-6


def test_a_larger_limit_is_harder_to_exceed() -> None:
    ps = [statistics.rate_gap_p((9, 12), (1, 12), limit) for limit in np.linspace(-1, 1, 9)]
    assert ps == sorted(ps)
    assert ps[-1] == 1.0 and ps[0] < 1e-6


def rates(a: int, b: int, n: int, margin: float) -> str:
    differs = statistics.boschloo_p((a, n), (b, n)) <= 0.05
    return words.of_rates((a, n), (b, n), margin, 0.05, differs)


@pytest.mark.parametrize("margin", [0.1, 0.5])
def test_words_of_rates_are_symmetric(margin: float) -> None:
    for a, b in itertools.product(range(7), repeat=2):
        word = rates(a, b, 6, margin)
        assert word == rates(b, a, 6, margin) == rates(6 - a, 6 - b, 6, margin)


@pytest.mark.parametrize(
    ("a", "b", "n", "margin", "word"),
    [
        (0, 12, 12, 0.5, words.MATTERS),
        (0, 8, 12, 0.5, words.OPEN),  # a difference of .67, which .5 might have given
        (0, 0, 12, 0.5, words.EQUIVALENT),
        (0, 0, 6, 0.1, words.INCONCLUSIVE),
        (4, 8, 12, 0.5, words.INCONCLUSIVE),
    ],
)
def test_the_size_of_a_difference_of_rates_needs_runs(
    a: int, b: int, n: int, margin: float, word: str
) -> None:
    assert rates(a, b, n, margin) == word


# --- claims -----------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path, study: Study) -> Path:
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    return tmp_path


def judged(root: Path, study: Study, **changes: Any) -> ClaimFinding:
    findings = typed(found(root, book_of(root, A_1=claim(**changes)), study))
    return findings.claims["A-1"]


SWAPPED = {"treatment": "control", "control": "agc"}


def test_directions_of_one_contrast_do_not_contradict_each_other(root: Path, study: Study) -> None:
    for least in (0.001, 0.01, 0.041, 0.1):
        given = {"margin": margin(least)}
        output = {d: judged(root, study, direction=d, **given).word for d in ("lower", "higher")}
        assert output["lower"].removesuffix(words.AGAINST) == output["higher"]
        swapped = judged(root, study, direction="lower", arms=SWAPPED, **given).word
        assert swapped == output["higher"]
        assert judged(root, study, direction="equal", **given).word == output["higher"]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"direction": "higher"}, "differs, matters"),
        ({"direction": "lower"}, words.NOT_REPRODUCED),
        ({"direction": "higher", "margin": margin(0.2)}, "differs, negligible"),
        ({"direction": "equal"}, words.NOT_REPRODUCED),
        ({"evidence": "non_inferior", "direction": "lower"}, words.NOT_REPRODUCED),
        ({"evidence": "non_inferior", "direction": "higher"}, "not worse"),
    ],
)
def test_a_published_claim_that_the_numbers_exclude_is_not_reproduced(
    changes: dict[str, Any], word: str, root: Path, study: Study
) -> None:
    assert judged(root, study, published=True, **changes).word == word
    assert judged(root, study, **changes).word != words.NOT_REPRODUCED


def test_a_published_claim_without_evidence_is_not_excluded(tmp_path: Path, study: Study) -> None:
    assert judged(tmp_path, study, published=True).word == words.PENDING


RATE = {"evidence": "failure_rate", "metric": "outcome", "direction": "higher"}


def test_deaths_that_never_happen_here_are_not_reproduced(root: Path, study: Study) -> None:
    """No death in six runs of both arms excludes a difference of .9 and not one of .1."""
    wide, narrow = (margin(value, "1") for value in (0.9, 0.1))
    assert judged(root, study, margin=wide, published=True, **RATE).word == words.NOT_REPRODUCED
    assert judged(root, study, margin=narrow, published=True, **RATE).word == words.INCONCLUSIVE


GOAL = {
    "evidence": "bound",
    "arms": {"treatment": "agc", "control": "bound"},
    "changes": [],
    "direction": "lower",
}


@pytest.mark.parametrize(
    ("constant", "bound", "word"),
    [
        (0.15, 0.2, words.VACUOUS),
        (0.2, 0.2, words.VACUOUS),
        (0.25, 0.2, "reached"),
        (0.03, 0.05, "missed"),  # a constant does what the network does not: this says something
        (0.05, sum(WORSE) / 6, words.VACUOUS),
    ],
)
def test_a_goal_that_a_constant_meets_is_vacuous(
    constant: float, bound: float, word: str, root: Path, study: Study
) -> None:
    with_flat = study.model_copy(update={"arms": {**study.arms, "flat": study.arms["rpie"]}})
    store(root, with_flat, "flat", [constant], label="floor")
    verdict = judged(root, with_flat, bound=bound, **GOAL)
    assert verdict.word == word
    assert (verdict.vacuous is not None) == (constant <= bound)
    assert judged(root, with_flat).word == "differs, matters", "of a contrast nothing changes"


def test_a_metric_that_a_constant_maximises_is_vacuous(root: Path, study: Study) -> None:
    with_flat = study.model_copy(update={"arms": {**study.arms, "flat": study.arms["rpie"]}})
    store(root, with_flat, "flat", [0.0], label="floor")
    assert judged(root, with_flat).word == words.VACUOUS


def test_fields_that_no_claim_uses_are_not_stored(root: Path, study: Study) -> None:
    entry = found(root, book_of(root, A_1=claim()), study)["claims"]["A-1"]
    assert {"published", "vacuous"}.isdisjoint(entry)
    assert math.isclose(entry["effect"]["estimate"], sum(WORSE) / 6 - sum(CONTROL) / 6)
    assert [row["seed"] for row in entry["seeds"]] == list(SEEDS)

"""Planned looks at means: the level that each may use, and what a claim with looks is judged on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from stored import book_of, claim, found, margin, page, store, typed

from study.evidence.arms import load_arms
from study.evidence.comparison import make_comparison
from study.evidence.decidability import assess, known_of
from study.evidence.spending import allowances, level_to_reject, spent
from study.settings import Study, UserError

LOOKS = [8, 12, 16]
BASE = [0.06 + 0.001 * (i % 5) for i in range(16)]
NOISE = [0.002, -0.003, 0.001, -0.001, 0.003, -0.002, 0.0005, -0.0004] * 2
# The published spending of O'Brien and Fleming at shares 1/2, 3/4 and 1, two-sided 0.05.
PUBLISHED = [0.00557, 0.02362, 0.05]


def test_the_spent_level_is_the_published_one() -> None:
    assert [spent(0.05, look / 16) for look in LOOKS] == pytest.approx(PUBLISHED, abs=1e-5)


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True),
    st.floats(0.001, 0.1),
)
def test_the_parts_are_positive_and_add_up_to_the_level(looks: list[int], level: float) -> None:
    parts = allowances(sorted(looks), level)
    assert min(parts) >= 0 and sum(parts) == pytest.approx(level)
    larger = allowances(sorted(looks), level * 1.5)
    assert all(a <= b + 1e-15 for a, b in zip(parts, larger, strict=True))


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=3), st.floats(0.001, 0.2))
def test_the_p_of_all_looks_is_within_a_level_exactly_where_one_of_them_rejects(
    ps: list[float], level: float
) -> None:
    rejects = any(p <= part for p, part in zip(ps, allowances(LOOKS, level), strict=False))
    p = level_to_reject(ps, LOOKS)
    assert rejects == (p <= level) or p == pytest.approx(level, rel=1e-6)


def test_three_looks_find_a_difference_that_is_not_there_at_most_at_the_level() -> None:
    rng, trials = np.random.default_rng(3), 20_000
    samples, rejected = rng.normal(size=(trials, 16)), np.zeros(trials, bool)
    for look, part in zip(LOOKS, allowances(LOOKS, 0.05), strict=True):
        rejected |= stats.ttest_1samp(samples[:, :look], 0, axis=1).pvalue <= part
    assert rejected.mean() <= 0.05 + 4 * np.sqrt(0.05 * 0.95 / trials)


# --- claims -----------------------------------------------------------------------------------


def with_seeds(study: Study, seeds: list[int]) -> Study:
    names = ("control", "agc")
    arms = {name: study.arms[name].model_copy(update={"seeds": tuple(seeds)}) for name in names}
    return study.model_copy(update={"arms": {**study.arms, **arms}})


def run(root: Path, study: Study, pairs: int, shift: float, extra: float = 0.0) -> Study:
    """The first `pairs` of 16 declared seeds have runs; beyond the eighth the difference changes
    by `extra`."""
    there = with_seeds(study, list(range(1, pairs + 1)))
    values = [b + shift + d for b, d in zip(BASE, NOISE, strict=True)]
    values = [v + extra if i >= 8 else v for i, v in enumerate(values)]
    store(root, there, "control", BASE[:pairs])
    store(root, there, "agc", values[:pairs])
    return with_seeds(study, list(range(1, 17)))


def asked(**changes: Any) -> dict[str, Any]:
    return claim(needed_seeds=16, looks=LOOKS, **changes)


def entry(root: Path, study: Study, **changes: Any) -> dict[str, Any]:
    return found(root, book_of(root, A_1=asked(**changes)), study)["claims"]["A-1"]


def test_a_clear_difference_is_decided_at_the_first_look(tmp_path: Path, study: Study) -> None:
    sixteen = run(tmp_path, study, 8, 0.04)
    verdict = entry(tmp_path, sixteen)
    assert verdict["status"] == "supported" and verdict["n"] == 8
    assert verdict["effect"]["level"] == pytest.approx(1 - PUBLISHED[0], abs=1e-5)
    assert [look["rounds"] for look in verdict["looks_taken"]] == [8]
    assert verdict["planned_looks"] == LOOKS
    shown = page(found(tmp_path, book_of(tmp_path, A_1=asked()), sixteen))
    assert "look after 8 pairs" in shown


def test_a_decided_claim_is_not_changed_by_later_pairs(tmp_path: Path, study: Study) -> None:
    first = entry(tmp_path, run(tmp_path, study, 8, 0.04))
    later = entry(tmp_path, run(tmp_path, study, 16, 0.04, extra=-0.2))
    assert later["status"] == first["status"] == "supported"
    assert later["effect"] == first["effect"] and later["n"] == 8


@pytest.mark.parametrize("pairs", [9, 11])
def test_results_between_two_looks_are_not_used(pairs: int, tmp_path: Path, study: Study) -> None:
    """Whatever they say, the claim waits for its next look."""
    narrow = {"margin": margin(0.0001)}
    at_look = entry(tmp_path, run(tmp_path, study, 8, 0.0), **narrow)
    between = entry(tmp_path, run(tmp_path, study, pairs, 0.0, extra=0.5), **narrow)
    assert at_look["status"] == between["status"] == "inconclusive"
    assert between["effect"] == at_look["effect"] and between["n"] == 8
    assert "next look is at 12" in between["reason"]
    assert "8 planned pairs" in between["needs"]["sentence"]


def test_a_look_that_was_not_declared_is_refused(tmp_path: Path, study: Study) -> None:
    sixteen = run(tmp_path, study, 16, 0.04)
    (one,) = book_of(tmp_path, A_1=asked()).claims
    comparison = make_comparison(one, load_arms(tmp_path / "results"), sixteen.arms)
    assert comparison.at(12).n == 12
    with pytest.raises(ValueError, match="no look at 10"):
        comparison.at(10)


def test_a_gap_in_the_first_seeds_waits(tmp_path: Path, study: Study) -> None:
    sixteen = run(tmp_path, study, 16, 0.04)
    (tmp_path / "results" / "agc" / "seeds" / "s3.json").unlink()
    verdict = entry(tmp_path, sixteen)
    assert verdict["status"] == "inconclusive" and "agc s3 is missing" in verdict["reason"]


def test_fewer_declared_seeds_than_the_last_look_decide_nothing(
    tmp_path: Path, study: Study
) -> None:
    run(tmp_path, study, 8, 0.04)
    verdict = entry(tmp_path, with_seeds(study, list(range(1, 9))))
    assert verdict["status"] == "inconclusive" and "share 8 seeds" in verdict["reason"]


def test_a_dead_run_is_ranked_at_its_look(tmp_path: Path, study: Study) -> None:
    sixteen = run(tmp_path, study, 12, 0.04)
    dead = with_seeds(study, [2])
    store(tmp_path, dead, "agc", [0.0], outcome="failed", cause="nan", last=None)
    verdict = entry(tmp_path, sixteen)
    assert verdict["status"] == "supported" and verdict["n"] == 12
    assert [look["p"] for look in verdict["looks_taken"]] == [2 * 0.5**8, 2 * 0.5**12]


def test_the_family_pays_for_a_claim_with_looks(tmp_path: Path, study: Study) -> None:
    """A p that its first look allows alone, and not beside a claim without evidence."""
    sixteen = run(tmp_path, study, 8, 0.0032)
    alone = asked(margin=margin(0.0001))
    other = claim(arms={"treatment": "loose", "control": "control"}, changes=[])
    one = found(tmp_path, book_of(tmp_path, A_1=alone), sixteen)["claims"]["A-1"]
    two = found(tmp_path, book_of(tmp_path, A_1=alone, B_1=other), sixteen)["claims"]["A-1"]
    p = level_to_reject([one["looks_taken"][0]["p"]], LOOKS)
    assert one["status"] == "supported" and 0.025 < p <= 0.05
    assert two["status"] == "inconclusive" and two["family"]["alpha"] == 0.025


def test_the_word_is_that_of_the_look(tmp_path: Path, study: Study) -> None:
    sixteen = run(tmp_path, study, 8, 0.04)
    findings = typed(found(tmp_path, book_of(tmp_path, A_1=asked()), sixteen))
    assert findings.claims["A-1"].word == "differs, matters"


def test_the_gate_judges_the_last_look(tmp_path: Path, study: Study) -> None:
    """Seven pairs reach 0.05, and not what the last of two looks may use of it in a family of
    three."""
    books = {
        looks: book_of(
            tmp_path,
            A_1=claim(needed_seeds=7, **({"looks": list(looks)} if looks else {})),
            **{f"{name}_1": claim() for name in "BC"},
        )
        for looks in ((), (6, 7))
    }
    problems = {}
    for looks, book in books.items():
        known = known_of(tmp_path, book.claims, study, {})
        problems[looks] = assess(book.claims[0], book, known).problems
    assert not problems[()]
    assert "last look" in problems[(6, 7)][0]


@pytest.mark.parametrize(
    "changes",
    [
        {"looks": [16]},
        {"looks": [12, 8, 16]},
        {"looks": [8, 8, 16]},
        {"looks": [3, 16]},
        {"looks": [8, 12]},
        {"looks": LOOKS, "evidence": "failure_rate", "metric": "outcome", "margin": margin(1, "1")},
    ],
)
def test_looks_that_are_no_plan_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="looks"):
        book_of(Path(), A_1=claim(**{"needed_seeds": 16, **changes}))


def test_claims_without_looks_keep_their_hash() -> None:
    """As it was registered before the field existed."""
    (one, two) = book_of(Path(), A_1=claim(), B_1=asked()).claims
    assert one.sha256 == "7d429a6800dd24c7935688955b8a3de0b7a437d5fdc3bb5155c027e196839f10"
    assert one.model_copy(update={"looks": (8, 12)}).sha256 != one.sha256
    assert two.looks == (8, 12, 16)

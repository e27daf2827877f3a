"""Failures rank below every finished run: exact ranks, and that dying never helps."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import stats
from stored import CONTROL, SEEDS, WORSE, book_of, claim, found, margin, page, store, typed

from study.evidence.arms import ArmResults
from study.evidence.claims import parse_claims
from study.evidence.comparison import Comparison, make_comparison
from study.evidence.ranking import Pair, better_p, pair_gaps
from study.evidence.verdicts import decide
from study.settings import Study

VALUE = st.one_of(st.none(), st.sampled_from([0.1, 0.2, 0.3, 0.4, 0.5]), st.floats(0.01, 1))
PAIRS = st.lists(st.tuples(VALUE, VALUE), min_size=1, max_size=7)
NO_FIXTURE_CHECK = [HealthCheck.function_scoped_fixture]


# --- ranks ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(PAIRS, st.booleans())
def test_p_is_that_of_every_exchange_within_pairs(pairs: list[Pair], lower: bool) -> None:
    """Brute force over the 2^n data sets in which some pairs are exchanged, wherever no two pairs
    differ by equally much; with ties the test is conservative."""
    gaps = pair_gaps(pairs, lower)
    sizes = [abs(gap) for gap in gaps if gap]
    ranks = stats.rankdata(sizes)

    def total(one: list[float]) -> float:
        return sum(np.sign(gap) * rank for gap, rank in zip(filter(None, one), ranks, strict=True))

    sums = [
        total(pair_gaps([p[::-1] if s else p for p, s in zip(pairs, signs, strict=True)], lower))
        for signs in itertools.product([False, True], repeat=len(pairs))
    ]
    exact = np.mean([value >= total(gaps) - 1e-9 for value in sums])
    if len(set(sizes)) == len(sizes):
        assert better_p(gaps) == pytest.approx(exact)


@settings(deadline=None)
@given(PAIRS)
def test_against_one_value_p_is_that_of_the_sign_test(pairs: list[Pair]) -> None:
    gaps = [gap for gap in pair_gaps([(value, 0.25) for value, _ in pairs], True) if gap]
    wins = sum(gap > 0 for gap in gaps)
    assert better_p(gaps, True) == pytest.approx(float(stats.binom.sf(wins - 1, len(gaps), 0.5)))


@pytest.mark.parametrize("n", [6, 8, 10])
def test_the_chance_of_a_small_p_is_at_most_its_size(n: int) -> None:
    """Over all exchanges of data with many ties and deaths."""
    rng = np.random.default_rng(n)
    for _ in range(4):
        sizes = rng.choice([0.0, 1.0, 1.0, 2.0, 3.0, np.inf, np.inf], n)
        signs = np.array(list(itertools.product([-1, 1], repeat=n)))
        ps = np.array(
            [
                better_p([s if s == 0 else x * s for x, s in zip(one, sizes, strict=True)])
                for one in signs
            ]
        )
        for level in (0.0125, 0.025, 0.05, 0.2):
            assert (ps <= level).mean() <= level + 1e-12


@settings(max_examples=400, deadline=None)
@given(PAIRS, st.booleans(), st.booleans(), st.data())
def test_a_death_never_lowers_the_p_in_favour_of_its_arm(
    pairs: list[Pair], lower: bool, signs_only: bool, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, len(pairs) - 1))
    died = [(None, c) if i == place else (t, c) for i, (t, c) in enumerate(pairs)]
    before, after = pair_gaps(pairs, lower), pair_gaps(died, lower)
    assert better_p(after, signs_only) >= better_p(before, signs_only) - 1e-12
    mirrored = [[-gap for gap in gaps] for gaps in (before, after)]
    assert better_p(mirrored[1], signs_only) <= better_p(mirrored[0], signs_only) + 1e-12


def test_a_dead_run_is_worse_than_any_finished_one() -> None:
    assert pair_gaps([(None, 9.9)], True) == pair_gaps([(None, -9.9)], False) == [-np.inf]
    assert pair_gaps([(None, None), (0.1, None)], True) == [0.0, np.inf]
    assert better_p([0.0]) == better_p([]) == 1.0


# --- verdicts ---------------------------------------------------------------------------------


@pytest.fixture
def root(tmp_path: Path, study: Study) -> Path:
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    return tmp_path


def kill(
    root: Path, study: Study, name: str, seeds: list[int], how: str = "failed", mae: float = 0.0
) -> None:
    one = study.arms[name].model_copy(update={"seeds": tuple(seeds)})
    only = study.model_copy(update={"arms": {name: one}})
    facts: dict[str, Any] = {"outcome": how, "state": how, "cause": "epoch 3"}
    if how == "failed":
        facts["last"] = None
    store(root, only, name, [mae] * len(seeds), **facts)


def entry(root: Path, study: Study, **changes: Any) -> dict[str, Any]:
    return found(root, book_of(root, A_1=claim(**changes)), study)["claims"]["A-1"]


@pytest.mark.parametrize("how", ["failed", "collapsed"])
def test_a_clearly_worse_arm_does_not_escape_by_dying(how: str, root: Path, study: Study) -> None:
    """The dead run even left a better number behind; its claim asks whether agc is worse."""
    kill(root, study, "agc", [3], how, mae=0.001)
    verdict = entry(root, study)
    assert verdict["status"] == "supported"
    assert verdict["test"]["p"] == 2 * 0.5**6 and verdict["effect"] is None
    assert verdict["n"] == 6 and verdict["seeds"][2]["treatment"]["value"] is None
    assert entry(root, study, direction="lower")["status"] == "refuted"
    assert entry(root, study, direction="equal")["status"] == "refuted"


@pytest.mark.parametrize("dead", [[1], [1, 2], [1, 2, 3, 4, 5, 6]])
def test_the_better_arm_with_a_dead_run_gains_nothing(
    dead: list[int], root: Path, study: Study
) -> None:
    kill(root, study, "control", dead)
    assert entry(root, study)["status"] == ("refuted" if dead[5:] else "inconclusive")
    assert entry(root, study, direction="lower")["status"] != "refuted"


def test_a_death_in_the_other_arm_keeps_the_difference(root: Path, study: Study) -> None:
    """With dead runs in both arms the one that is better in all other pairs may be better."""
    kill(root, study, "agc", [1, 2])
    kill(root, study, "control", [1])
    verdict = entry(root, study)
    assert verdict["test"]["wins"] + verdict["test"]["losses"] == 5 and verdict["test"]["ties"] == 1
    assert verdict["test"]["p"] == 2 * 0.5**5
    assert verdict["status"] == "inconclusive"


def test_a_metric_without_a_better_side_has_no_ranks(root: Path, study: Study) -> None:
    kill(root, study, "agc", [3])
    verdict = entry(
        root, study, metric="last.standard.extra.amplitude_scale", margin=margin(0.1, "1")
    )
    assert verdict["status"] == "inconclusive" and "agc s3 failed" in verdict["reason"]


GOAL = {"evidence": "bound", "arms": {"treatment": "agc", "control": "bound"}, "changes": []}


@pytest.mark.parametrize(
    ("bound", "direction", "status"),
    [(0.2, "lower", "inconclusive"), (0.09, "lower", "refuted"), (0.09, "higher", "supported")],
)
def test_a_goal_is_not_reached_by_an_arm_that_dies(
    bound: float, direction: str, status: str, root: Path, study: Study
) -> None:
    kill(root, study, "agc", [3])
    verdict = entry(root, study, bound=bound, direction=direction, **GOAL)
    assert verdict["status"] == status


@pytest.mark.parametrize(("allowed", "status"), [(0.2, "inconclusive"), (0.01, "refuted")])
def test_not_worse_is_not_shown_by_an_arm_that_dies(
    allowed: float, status: str, root: Path, study: Study
) -> None:
    kill(root, study, "agc", [3])
    changes = {"evidence": "non_inferior", "direction": "lower", "margin": margin(allowed)}
    assert entry(root, study, **changes)["status"] == status


def test_the_page_shows_wins_and_deaths_instead_of_an_effect(root: Path, study: Study) -> None:
    kill(root, study, "agc", [3])
    content = found(root, book_of(root, A_1=claim()), study)
    assert typed(content).claims["A-1"].word == "differs, size open"
    line = next(line for line in page(content).splitlines() if line.startswith("| A-1 "))
    assert "worse in 6 of 6 pairs" in line
    assert "agc 16.67 %" in page(content) and "control 0 %" in page(content)


def test_without_a_death_nothing_is_ranked(root: Path, study: Study) -> None:
    assert "wins" not in entry(root, study)["test"]


# --- the law over many data sets --------------------------------------------------------------


def judged(
    study: Study, treatment: list[float | None], control: list[float | None], **changes: Any
) -> str:
    """The status at level 0.05 without files."""
    from stored import seed_json

    arms = {}
    for name, values in (("agc", treatment), ("control", control)):
        seeds = {}
        for seed, value in zip(SEEDS, values, strict=False):
            facts = {"outcome": "failed", "last": None, "cause": "nan"} if value is None else {}
            seeds[seed] = seed_json(name, study.arms[name], seed, value or 0.0, **facts)
        arms[name] = ArmResults(name, seeds, {})
    (one,) = parse_claims({"claims": {"A-1": claim(**changes)}}, Path("claims.yaml")).claims
    comparison: Comparison = make_comparison(one, arms, study.arms)
    return decide(comparison, 0.05).status


@settings(max_examples=150, deadline=None, suppress_health_check=NO_FIXTURE_CHECK)
@given(
    st.lists(VALUE, min_size=6, max_size=6),
    st.lists(VALUE, min_size=6, max_size=6),
    st.integers(0, 5),
    st.sampled_from(["mean_difference", "non_inferior"]),
)
@pytest.mark.slow
def test_an_arm_never_gains_by_a_death(
    study: Study,
    treatment: list[float | None],
    control: list[float | None],
    place: int,
    evidence: str,
) -> None:
    """Whatever the values: a verdict in favour of the treatment with one more dead run was there
    without it, and the control never loses by it."""
    asks = {"evidence": evidence, "direction": "lower", "margin": margin(0.05)}
    died = [None if i == place else value for i, value in enumerate(treatment)]
    before, after = (judged(study, one, control, **asks) for one in (treatment, died))
    if after == "supported":
        assert before == "supported" and None in control
    if before == "refuted" and None in (*treatment, *control):
        assert after == "refuted"

"""The seeds of a data set follow from the claims on it, and from nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored import book_of, claim

from study.evidence.registered import claims_on, registered_seeds
from study.runs import write_json
from study.settings import Study, UserError


def test_the_list_does_not_depend_on_the_order_and_longer_lists_go_on(tmp_path: Path) -> None:
    one, two = book_of(tmp_path, A_1=claim(), B_1=claim(direction="lower")).claims
    seeds = registered_seeds([one, two], "data/tiny", 50)
    assert registered_seeds([two, one], "data/tiny", 20) == seeds[:20]
    assert len(set(seeds)) == 50 and all(0 <= seed < 10**6 for seed in seeds)


def test_another_claim_another_data_set_or_another_margin_gives_another_list(
    tmp_path: Path,
) -> None:
    one, two = book_of(tmp_path, A_1=claim(), B_1=claim(direction="lower")).claims
    lists = {
        registered_seeds([one], "data/tiny", 8),
        registered_seeds([two], "data/tiny", 8),
        registered_seeds([one, two], "data/tiny", 8),
        registered_seeds([one], "data/other", 8),
    }
    assert len(lists) == 4


def test_the_seeds_of_a_survival_claim_do_not_act_on_the_list(tmp_path: Path) -> None:
    def survival(first: int) -> dict:
        plan = {"seeds": list(range(first, first + 6)), "looks": [6], "sides": 2}
        return claim(
            metric="survival",
            evidence="survival",
            margin={"value": 1, "unit": "epochs"},
            needed_seeds=6,
            survival={**plan, "published": {"treatment": None, "control": None}},
        )

    lists = {
        registered_seeds(book_of(tmp_path, A_1=survival(first)).claims, "data/tiny", 6)
        for first in (1, 100)
    }
    assert len(lists) == 1


def test_this_list_stays_as_it_was_derived(tmp_path: Path) -> None:
    """Another derivation would be another choice of seeds."""
    claims = book_of(tmp_path, A_1=claim()).claims
    assert registered_seeds(claims, "data/tiny", 3) == (370229, 489242, 725023)


def test_the_claims_of_a_data_set_are_those_of_its_arms(tmp_path: Path, study: Study) -> None:
    elsewhere = study.arms["loose"].model_copy(update={"data": "data/other"})
    rows = {**study.arms, "loose": elsewhere}
    other = claim(arms={"treatment": "both", "control": "both"} | {"treatment": "loose"})
    write_json(tmp_path / "claims.yaml", {"claims": {"A-1": claim(), "B-1": other}})
    assert [c.id for c in claims_on(tmp_path, rows, "data/other")] == ["B-1"]
    assert [c.id for c in claims_on(tmp_path, rows, "data/tiny")] == ["A-1", "B-1"]


def test_no_claim_and_no_data_set_are_errors(tmp_path: Path, study: Study) -> None:
    with pytest.raises(UserError, match="claim"):
        registered_seeds([], "data/tiny", 8)
    with pytest.raises(UserError, match="data/tini"):
        claims_on(tmp_path, study.arms, "data/tini")

"""claims.yaml: what is accepted, and the sentence for what is not."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from stored import book_of, claim, margin

from study.evidence.claims import ClaimBook, check_arms, load_claims, parse_claims
from study.evidence.comparison import make_comparison
from study.evidence.pipelines import declared
from study.evidence.verdicts import confounded
from study.settings import Row, Study, UserError, load_study

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"direktion": "lower"}, "did you mean 'direction'"),
        ({"direction": "up"}, "direction: .* got 'up'"),
        ({"margin": margin(0)}, "margin.value: .*got 0"),
        ({"needed_seeds": 1}, "needed_seeds"),
        ({"metric": "last.standard.amplitude.maee"}, "did you mean 'last.standard.amplitude.mae'"),
        ({"metric": "outcome", "margin": margin(0.1, "1")}, "goes with metric outcome"),
        ({"evidence": "failure_rate"}, "failure_rate goes with metric outcome"),
        (
            {
                "evidence": "failure_rate",
                "metric": "outcome",
                "direction": "equal",
                "margin": margin(0.1, "1"),
            },
            "direction equal",
        ),
        ({"test": "boschloo"}, "goes with evidence failure_rate"),
        ({"kind": "bundle"}, "at least two"),
        ({"changes": ["epochs", "batch_size"]}, "kind bundle"),
        ({"arms": {"treatment": "agc", "control": "agc"}}, "both 'agc'"),
        ({"text": ""}, "text"),
        ({"margin": 0.02}, "margin is 0.02, without a unit; accepted: .*unit: object units"),
        ({"margin": margin(0.02, "rad")}, "margin is in 'rad', .*mae in 'object units'; accepted"),
        ({"margin": margin(0.02), "metric": "last.val_loss"}, "'object units', .*in '1'; accepted"),
        ({"margin": {"value": 0.02}}, r"margin has the keys \['value'\]; accepted"),
        ({"margin": margin(float("nan"))}, "margin.value"),
        ({"second_object": {"treatment": "agc", "control": "control"}}, "second_object"),
    ],
)
def test_a_bad_claim_is_named_with_its_file(
    tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=r"claims\.yaml: .*claims\.A-1") as caught:
        book_of(tmp_path, A_1=claim(**changes))
    assert caught.match(sentence)


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    entry = claim()
    del entry["margin"]
    with pytest.raises(UserError, match="margin is missing"):
        book_of(tmp_path, A_1=entry)


@pytest.mark.parametrize("given", [None, [], {"claim": {}}, {"claims": []}, {"claims": {"A-1": 3}}])
def test_what_is_no_list_of_claims_is_refused(given: Any) -> None:
    with pytest.raises(UserError, match=r"claims\.yaml"):
        parse_claims(given, Path("claims.yaml"))


def test_a_family_has_at_most_four_claims(tmp_path: Path) -> None:
    five = {f"A_{i}": claim() for i in range(5)}
    with pytest.raises(UserError, match="'error' has 5 claims"):
        book_of(tmp_path, **five)


def test_a_claim_about_an_unknown_arm_names_the_nearest(tmp_path: Path, study: Study) -> None:
    book = book_of(tmp_path, A_1=claim(arms={"treatment": "acg", "control": "control"}))
    with pytest.raises(UserError, match="did you mean 'agc'"):
        check_arms(book, study)


def test_an_unquoted_one_is_the_unit_of_a_number_without_unit(tmp_path: Path) -> None:
    entry = claim(metric="last.val_loss", margin={"value": 0.01, "unit": 1})
    assert book_of(tmp_path, A_1=entry).claims[0].margin.unit == "1"


def test_a_recorded_arm_that_nobody_knows_names_the_nearest(tmp_path: Path, study: Study) -> None:
    arms = {"treatment": "studies/contrl", "control": "control"}
    book = book_of(tmp_path, A_1=claim(arms=arms))
    with pytest.raises(UserError, match=r"A-1\.arms: .*did you mean 'studies/control'"):
        check_arms(book, study, ["studies/control"])


def test_a_study_that_was_not_fetched_is_no_mistake_and_one_that_is_not_here_is(
    tmp_path: Path, study: Study
) -> None:
    arms = {"treatment": "studies/agc", "control": "control"}
    book = book_of(tmp_path, A_1=claim(arms=arms))
    with pytest.raises(UserError, match="no arm 'studies/agc'"):
        check_arms(book, study)
    (tmp_path / "studies").mkdir()
    check_arms(book, study)


def test_every_word_of_a_claim_is_in_its_hash(tmp_path: Path) -> None:
    hashes = {
        book_of(tmp_path, A_1=claim(**changes)).claims[0].sha256
        for changes in ({}, {"margin": margin(0.02)}, {"text": "Other."}, {"needed_seeds": 9})
    }
    assert len(hashes) == 4


def declared_rows() -> tuple[ClaimBook, Mapping[str, Row]]:
    """The study's own claims, and every row that its params.yaml files declare."""
    study = load_study(ROOT / "params.yaml")
    return load_claims(ROOT / "claims.yaml"), declared(ROOT, study, ["studies", "full"]).rows


def test_the_studys_own_claims_fit_its_arms() -> None:
    book, rows = declared_rows()
    check_arms(book, load_study(ROOT / "params.yaml"), rows)
    assert {"ZERO-GAMMA-LOSS-001", "STABLE-LS-003"} <= {claim.id for claim in book.claims}


def test_no_claim_of_the_study_is_void_before_its_runs() -> None:
    book, rows = declared_rows()
    for entry in book.claims:
        comparison = make_comparison(entry, {}, rows)
        assert comparison.changed is not None or entry.evidence == "bound", entry.id
        assert confounded(comparison) is None, entry.id


def test_the_studys_own_rate_claims_say_what_a_rate_tests() -> None:
    """In the direction that they have."""
    for entry in load_claims(ROOT / "claims.yaml").claims:
        if entry.evidence == "failure_rate":
            assert re.search("(more|less|fewer) (often|runs)", entry.text), entry.id

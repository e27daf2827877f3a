"""The same contrast on another object: what it must show, and what it takes back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stored import CONTROL, SEEDS, WORSE, book_of, claim, found, margin, store

from study.evidence.findings import render
from study.evidence.ledger import stale
from study.params import Arm, Study
from study.runs import write_json

SECOND = {"treatment": "agc_second", "control": "control_second"}
OTHER = {"data__sha256": "e" * 64}
RATE = {
    "evidence": "failure_rate",
    "metric": "outcome",
    "margin": margin(0.1, "1"),
    "direction": "higher",
}
NOISE = (0.002, -0.003, 0.001, -0.001, 0.003, -0.002)


@pytest.fixture
def two(study: Study) -> Study:
    """The study with both arms, and one that differs in the rate too, on a second object."""
    moved = {
        f"{name}_second": study.arms[name].model_copy(update={"data": "imported/other"})
        for name in ("control", "agc", "both")
    }
    return study.model_copy(update={"arms": {**study.arms, **moved}})


@pytest.fixture
def root(tmp_path: Path, two: Study) -> Path:
    store(tmp_path, two, "control", CONTROL)
    store(tmp_path, two, "agc", WORSE)
    return tmp_path


def entry(root: Path, two: Study, **changes: Any) -> dict[str, Any]:
    given = claim(**{"second_object": SECOND, **changes})
    write_json(root / "claims.yaml", {"claims": {"A-1": given}})
    return found(root, book_of(root, A_1=given), two)["claims"]["A-1"]


def second_of(root: Path, two: Study, control: Any, agc: Any, **facts: Any) -> None:
    store(root, two, "control_second", control, **OTHER)
    store(root, two, "agc_second", agc, **{**OTHER, **facts})


def test_what_repeats_stands(root: Path, two: Study) -> None:
    second_of(root, two, CONTROL, WORSE)
    verdict = entry(root, two)
    second = verdict["second_object"]
    assert (verdict["status"], second["status"]) == ("supported", "repeated")
    assert second["effect"]["estimate"] == pytest.approx(sum(WORSE) / 6 - sum(CONTROL) / 6)
    assert second["effect"]["level"] == 0.95 and second["n"] == 6
    assert second["data"] == [{"path": "imported/other", "sha256": "e" * 64}]
    assert any(limit.startswith("two objects") for limit in verdict["limits"])


@pytest.mark.parametrize(("direction", "status"), [("higher", "supported"), ("lower", "refuted")])
@pytest.mark.parametrize(
    "agc", [[c + d for c, d in zip(CONTROL, NOISE, strict=True)], [0.5 * c for c in CONTROL]]
)
def test_what_does_not_repeat_is_inconclusive_and_says_so(
    root: Path, two: Study, direction: str, status: str, agc: list[float]
) -> None:
    second_of(root, two, CONTROL, agc)
    verdict = entry(root, two, direction=direction)
    assert verdict["status"] == "inconclusive"
    assert verdict["reason"].startswith(f"{status} on the first object")
    assert "not repeated on the second: agc_second minus control_second" in verdict["reason"]
    assert verdict["needs"] is None  # no seed of the first object mends it


def test_a_second_object_that_was_not_run_leaves_the_status_and_is_a_limit(
    root: Path, two: Study
) -> None:
    verdict = entry(root, two)
    assert verdict["status"] == "supported"
    assert verdict["second_object"]["status"] == "not run"
    assert verdict["second_object"]["reason"] == "no results of agc_second, control_second"
    assert any("one draw of the object" in limit for limit in verdict["limits"])
    assert any("second object not run" in limit for limit in verdict["limits"])


def test_without_a_second_object_there_is_one_draw(root: Path, two: Study) -> None:
    verdict = entry(root, two, second_object=None)
    assert verdict["status"] == "supported" and verdict["second_object"] is None
    assert any("one draw of the object" in limit for limit in verdict["limits"])


def test_the_data_of_the_first_object_are_no_second_one(root: Path, two: Study) -> None:
    store(root, two, "control_second", CONTROL)
    store(root, two, "agc_second", WORSE)
    verdict = entry(root, two)
    assert verdict["status"] == "inconclusive"
    assert "ran on the data of the first object" in verdict["second_object"]["reason"]
    assert verdict["second_object"]["effect"] is None


@pytest.mark.parametrize(
    ("facts", "sentence"),
    [
        ({"code__dirty": True}, "uncommitted"),
        ({"data__sha256": "f" * 64}, "different data"),
        ({"last__checkpoint": "best"}, "labelled best"),
    ],
)
def test_the_gates_hold_there_too(
    root: Path, two: Study, facts: dict[str, Any], sentence: str
) -> None:
    second_of(root, two, CONTROL, WORSE, **facts)
    verdict = entry(root, two)
    assert verdict["status"] == "inconclusive"
    assert sentence in verdict["second_object"]["reason"]
    assert verdict["second_object"]["effect"] is None


def test_another_contrast_does_not_repeat_the_claims(root: Path, two: Study) -> None:
    store(root, two, "control_second", CONTROL, **OTHER)
    store(root, two, "both_second", WORSE, **OTHER)
    verdict = entry(root, two, second_object={**SECOND, "treatment": "both_second"})
    assert (
        "differ in clip.gradient_clip_algorithm, optimizer.lr, the claim's in clip"
        in (verdict["second_object"]["reason"])
    )
    assert verdict["status"] == "inconclusive"


def test_a_shorter_training_on_another_object_repeats_nothing(root: Path, two: Study) -> None:
    """Both arms there differ as the claim's do, and both from the claim's own in two things."""
    shorter = {
        name: two.arms[name].model_copy(update={"epochs": 1})
        for name in ("control_second", "agc_second")
    }
    two = two.model_copy(update={"arms": {**two.arms, **shorter}})
    second_of(root, two, CONTROL, WORSE)
    verdict = entry(root, two)
    assert verdict["second_object"]["reason"] == (
        "agc_second differs from agc in epochs, not in data alone"
    )
    assert (verdict["status"], verdict["first"]) == ("inconclusive", "supported")


def test_a_seed_that_is_missing_there_is_named(root: Path, two: Study) -> None:
    second_of(root, two, CONTROL, WORSE)
    (root / "results" / "agc_second" / "seeds" / "s3.json").unlink()
    assert entry(root, two)["second_object"]["reason"] == "agc_second s3 is missing"


def test_two_seeds_are_an_interval_and_one_is_none(root: Path, two: Study) -> None:
    for seeds, status in ((SEEDS[:1], "not repeated"), (SEEDS[:3], "repeated")):
        few: dict[str, Any] = {
            name: two.arms[name].model_copy(update={"seeds": seeds}) for name in SECOND.values()
        }
        less = two.model_copy(update={"arms": {**two.arms, **few}})
        second_of(root, less, CONTROL, WORSE)
        for name in SECOND.values():
            for file in (root / "results" / name / "seeds").iterdir():
                if int(file.stem[1:]) not in seeds:
                    file.unlink()
        assert entry(root, less)["second_object"]["status"] == status


def test_equality_repeats_inside_the_margin(root: Path, two: Study) -> None:
    near = [c + d for c, d in zip(CONTROL, NOISE, strict=True)]
    store(root, two, "agc", near)
    second_of(root, two, CONTROL, near)
    assert entry(root, two, direction="equal")["second_object"]["status"] == "repeated"
    second_of(root, two, CONTROL, WORSE)
    verdict = entry(root, two, direction="equal")
    assert verdict["second_object"]["status"] == "not repeated"
    assert verdict["status"] == "inconclusive"


def failing(root: Path, study: Study, name: str, seeds: int, **facts: Any) -> None:
    row = study.arms[name]
    assert isinstance(row, Arm)
    part = row.model_copy(update={"seeds": row.seeds[:seeds]})
    one = study.model_copy(update={"arms": {name: part}})
    failed = {"outcome": "failed", "state": "failed", "cause": "diverged", "last": None}
    store(root, one, name, [0.0] * seeds, **failed, **facts)


@pytest.mark.parametrize(("failed", "status"), [(5, "repeated"), (3, "not repeated")])
def test_rates_repeat_by_the_exact_test_at_five_per_cent(
    root: Path, two: Study, failed: int, status: str
) -> None:
    second_of(root, two, CONTROL, WORSE)
    failing(root, two, "agc", 6)
    failing(root, two, "agc_second", failed, **OTHER)
    verdict = entry(root, two, **RATE)
    assert verdict["second_object"]["status"] == status
    assert verdict["status"] == ("supported" if status == "repeated" else "inconclusive")


def test_touching_a_file_of_the_second_object_makes_the_claim_stale(root: Path, two: Study) -> None:
    second_of(root, two, CONTROL, WORSE)
    given = claim(second_object=SECOND)
    write_json(root / "claims.yaml", {"claims": {"A-1": given}})
    findings = found(root, book_of(root, A_1=given), two)
    assert stale(findings, root) == {}
    file = root / "results" / "agc_second" / "seeds" / "s2.json"
    file.write_text(file.read_text() + "\n")
    assert stale(findings, root) == {"A-1": ["results/agc_second/seeds/s2.json changed"]}


def test_the_second_object_stands_in_the_report(root: Path, two: Study) -> None:
    second_of(root, two, CONTROL, WORSE)
    findings = found(root, book_of(root, A_1=claim(second_object=SECOND)), two)
    assert "Second object: **repeated** (agc_second against control_second)" in render(findings)


def test_void_claims_get_no_number_of_the_second_object(root: Path, two: Study) -> None:
    second_of(root, two, CONTROL, WORSE)
    verdict = entry(root, two, changes=["optimizer.lr"])
    assert verdict["status"] == "void"
    assert verdict["second_object"]["effect"] is None

"""What must hold of any verdict, whatever the numbers: swap, delete, touch, mistype."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stored import CONTROL, SEEDS, WORSE, book_of, claim, found, margin, page, store, typed

from study.evidence.explain import explain
from study.evidence.staleness import FORMAT, read_findings, stale
from study.reading import hash_of_file
from study.runs import read_json, write_json
from study.settings import Study, UserError
from study.stages.findings import check_findings

RATE = {
    "evidence": "failure_rate",
    "metric": "outcome",
    "margin": margin(0.1, "1"),
    "direction": "higher",
}
SWAPPED = {"arms": {"treatment": "control", "control": "agc"}}
FLIPPED = {"supported": "refuted", "refuted": "supported"}
ARTIFACT = "runs/agc/s1/object_last.npz"


@pytest.fixture
def root(tmp_path: Path, study: Study) -> Path:
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE, evidence={ARTIFACT: "0" * 64})
    return tmp_path


def entry(root: Path, study: Study, **changes: Any) -> dict[str, Any]:
    return found(root, book_of(root, A_1=claim(**changes)), study)["claims"]["A-1"]


# --- swap


@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.floats(0.01, 0.5), min_size=6, max_size=6),
    st.lists(st.floats(0.01, 0.5), min_size=6, max_size=6),
    st.sampled_from(["lower", "higher", "equal"]),
)
@pytest.mark.slow
def test_swapping_the_arms_negates_the_effect_exactly_and_flips_the_verdict(
    tmp_path: Path, study: Study, left: list[float], right: list[float], direction: str
) -> None:
    store(tmp_path, study, "control", left)
    store(tmp_path, study, "agc", right)
    one, other = (entry(tmp_path, study, direction=direction, **c) for c in ({}, SWAPPED))
    equal = direction == "equal"
    assert other["status"] == (
        one["status"] if equal else FLIPPED.get(one["status"], one["status"])
    )
    if one["effect"] is not None:
        assert other["effect"]["estimate"] == -one["effect"]["estimate"]
        assert other["effect"]["low"] == -one["effect"]["high"]
        assert other["test"]["p"] == one["test"]["p"]


@pytest.mark.parametrize("failed", [0, 2, 5, 6])
def test_swapping_the_arms_negates_a_difference_of_rates(
    root: Path, study: Study, failed: int
) -> None:
    fail(root, study, "agc", failed)
    one, other = (entry(root, study, **RATE, **c) for c in ({}, SWAPPED))
    assert other["effect"]["estimate"] == -one["effect"]["estimate"]
    assert other["status"] == FLIPPED.get(one["status"], one["status"])


def fail(root: Path, study: Study, name: str, count: int) -> None:
    one = study.arms[name].model_copy(update={"seeds": SEEDS[:count]})
    only = study.model_copy(update={"arms": {name: one}})
    store(root, only, name, [0.0] * count, outcome="failed", cause="diverged", last=None)


# --- delete


@pytest.mark.parametrize("arm", ["agc", "control"])
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("changes", [{}, {"direction": "lower"}, {**RATE}])
def test_without_one_seed_nothing_is_decided_and_the_seed_is_named(
    root: Path, study: Study, arm: str, seed: int, changes: dict[str, Any]
) -> None:
    if changes.get("evidence"):
        fail(root, study, "agc", 6)
    assert entry(root, study, **changes)["status"] in FLIPPED
    (root / "results" / arm / "seeds" / f"s{seed}.json").unlink()
    verdict = entry(root, study, **changes)
    assert verdict["status"] == "inconclusive"
    assert verdict["reason"] == f"{arm} s{seed} is missing"
    assert verdict["effect"] is None and verdict["test"] is None
    assert f"{arm} s{seed}" in verdict["needs"]["sentence"]


# --- touch


def test_touching_any_file_of_the_evidence_makes_the_claim_stale(root: Path, study: Study) -> None:
    write_json(root / "claims.yaml", {"claims": {"A-1": claim()}})
    (root / ARTIFACT).parent.mkdir(parents=True)
    (root / ARTIFACT).write_bytes(b"object")
    store(root, study, "agc", WORSE, evidence={ARTIFACT: hash_of_file(root / ARTIFACT)})
    findings = found(root, book_of(root, A_1=claim()), study)
    write_json(root / "findings.json", findings)
    assert "1 findings" in check_findings(root)
    evidence = findings["claims"]["A-1"]["evidence"]
    assert {item["file"] for item in evidence} >= {ARTIFACT, "results/control/seeds/s6.json"}
    for item in evidence:
        file = root / item["file"]
        before = file.read_bytes()
        file.write_bytes(before + b" ")
        assert stale(typed(findings), root) == {"A-1": [f"{item['file']} changed"]}
        with pytest.raises(UserError, match=rf"stale findings \(A-1: {item['file']} changed\)"):
            check_findings(root)
        file.write_bytes(before)
    assert stale(typed(findings), root) == {}


@pytest.mark.parametrize("file", ["../elsewhere.json", "/etc/hostname", "a/../../b", ""])
def test_evidence_outside_the_pipeline_is_refused(root: Path, study: Study, file: str) -> None:
    write_json(root / "claims.yaml", {"claims": {"A-1": claim()}})
    findings = found(root, book_of(root, A_1=claim()), study)
    findings["claims"]["A-1"]["evidence"][0]["file"] = file
    with pytest.raises(UserError, match="as evidence; accepted: paths"):
        stale(typed(findings), root)


# --- the file itself


@pytest.mark.parametrize("version", [0, 4, "2", None, True])
def test_an_unknown_version_is_refused_in_words(root: Path, study: Study, version: Any) -> None:
    book = book_of(root, A_1=claim())
    other = {**found(root, book, study), "format": version}
    write_json(root / "findings.json", other)
    for read in (
        lambda: read_findings(root),
        lambda: check_findings(root),
        lambda: explain("A-1/effect", root),
        lambda: found(root, book, study, other),
    ):
        with pytest.raises(UserError, match=r"has format .*this code reads 1 and 2"):
            read()


def test_the_history_of_the_first_version_is_kept(root: Path, study: Study) -> None:
    old = found(root, book_of(root, A_1=claim(direction="lower")), study)
    new = found(root, book_of(root, A_1=claim()), study, {**old, "format": 1})
    assert new["format"] == FORMAT
    assert [past["status"] for past in new["claims"]["A-1"]["history"]] == ["refuted", "supported"]


def test_a_claim_that_left_stays_in_the_chain_over_any_number_of_runs(
    root: Path, study: Study
) -> None:
    findings = found(root, book_of(root, A_1=claim(), B_1=claim()), study)
    for _ in range(3):
        findings = found(root, book_of(root, B_1=claim()), study, findings)
    assert list(findings["superseded"]) == ["A-1"]
    assert findings["superseded"]["A-1"]["history"][-1]["status"] == "supported"
    assert "A-1" in page(findings)


def test_reruns_are_equal_in_every_byte(root: Path, study: Study) -> None:
    book = book_of(root, A_1=claim(), B_1=claim(direction="lower"), C_1=claim(**RATE))
    write_json(root / "findings.json", found(root, book, study))
    first = (root / "findings.json").read_bytes()
    for _ in range(2):
        write_json(
            root / "findings.json", found(root, book, study, read_json(root / "findings.json"))
        )
        assert (root / "findings.json").read_bytes() == first


# --- a row that is no network


FIXED = {"arms": {"treatment": "agc", "control": "rpie"}, "changes": []}


def test_a_network_stands_against_one_fixed_value_and_is_not_called_paired(
    root: Path, study: Study
) -> None:
    store(root, study, "rpie", [0.09])
    verdict = entry(root, study, **FIXED)
    differences = np.array(WORSE) - 0.09
    assert verdict["status"] == "supported"
    assert verdict["effect"]["estimate"] == pytest.approx(differences.mean())
    assert "6 seeds against one fixed value (rpie), not paired" in verdict["reason"]
    assert verdict["pairing"] == "one fixed value"
    assert verdict["test"]["name"] == "one-sample t against one fixed value"
    assert any("rule of changed factors cannot apply" in limit for limit in verdict["limits"])


def test_a_recorded_reference_is_a_fixed_value_too(root: Path, study: Study) -> None:
    store(root, study, "rpie", [0.09])
    (root / "studies" / "results").mkdir(parents=True)
    (root / "results" / "rpie").rename(root / "studies" / "results" / "rpie")
    arms = {"treatment": "agc", "control": "studies/rpie"}
    verdict = entry(root, study, arms=arms, changes=[])
    assert verdict["status"] == "supported" and verdict["n"] == 6
    files = [item["file"] for item in verdict["evidence"]]
    assert "studies/results/rpie/seeds/s0.json" in files


def test_a_reference_without_the_number_is_named_once(root: Path, study: Study) -> None:
    store(root, study, "rpie", [0.09])
    verdict = entry(root, study, **FIXED, metric="last.val_loss", margin=margin(0.1, "1"))
    assert verdict["status"] == "inconclusive" and verdict["effect"] is None
    assert verdict["reason"].count("rpie has no last.val_loss") == 1


def test_one_run_has_no_failure_rate(root: Path, study: Study) -> None:
    store(root, study, "rpie", [0.09])
    verdict = entry(root, study, **{**FIXED, **RATE})
    assert verdict["status"] == "not evaluable" and verdict["effect"] is None
    assert "rpie" in verdict["reason"]


def test_two_fixed_values_are_no_test(root: Path, study: Study) -> None:
    other = study.arms["rpie"].model_copy(update={"asks": "Another?"})
    two = study.model_copy(update={"arms": {**study.arms, "epie": other}})
    store(root, two, "rpie", [0.09])
    store(root, two, "epie", [0.08])
    arms = {"treatment": "rpie", "control": "epie"}
    verdict = entry(root, two, arms=arms, changes=[])
    assert verdict["effect"] is None and verdict["needs"] is None


def test_a_reference_on_other_data_is_fenced(root: Path, study: Study) -> None:
    store(root, study, "rpie", [0.09], data__sha256="e" * 64)
    verdict = entry(root, study, **FIXED)
    assert verdict["status"] == "not evaluable" and verdict["effect"] is None
    assert "different data" in verdict["reason"]


# --- what cannot be judged has no number


def test_a_pair_without_results_that_is_confounded_is_void_before_any_run(
    tmp_path: Path, study: Study
) -> None:
    verdict = entry(tmp_path, study, arms={"treatment": "both", "control": "control"})
    assert verdict["status"] == "void" and verdict["effect"] is None
    assert "clip.gradient_clip_algorithm, optimizer.lr" in verdict["reason"]


@pytest.mark.parametrize(
    "facts",
    [
        {"data__sha256": "e" * 64},
        {"code__dirty": True},
        {"last__standard": None},
    ],
)
def test_no_number_stands_where_nothing_may_be_computed(
    root: Path, study: Study, facts: dict[str, Any]
) -> None:
    store(root, study, "agc", WORSE, **facts)
    verdict = entry(root, study)
    assert verdict["status"] in ("not evaluable", "inconclusive")
    assert verdict["effect"] is None and verdict["test"] is None
    assert "agc" in verdict["reason"]
    json.dumps(verdict, allow_nan=False)


def test_failed_runs_lose_by_rank_and_have_no_mean(root: Path, study: Study) -> None:
    store(root, study, "agc", WORSE, outcome="failed", cause="nan", last=None)
    verdict = entry(root, study)
    assert verdict["effect"] is None, "there is no mean of runs without a number"
    assert (verdict["test"]["wins"], verdict["test"]["losses"]) == (0, 6)
    assert "agc" in verdict["reason"]
    json.dumps(verdict, allow_nan=False)

"""findings.json and findings.md as a whole: bytes, history, staleness, fences, flags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from stored import CONTROL, WORSE, book_of, claim, found, margin, page, store, typed

from study.evidence.claims import ClaimBook
from study.evidence.staleness import stale
from study.evidence.verdicts import STATUSES
from study.runs import read_json, write_json
from study.settings import Plateau, Study, UserError


@pytest.fixture
def book(tmp_path: Path) -> ClaimBook:
    write_json(tmp_path / "claims.yaml", {"claims": {"A-1": claim()}})
    return book_of(tmp_path, A_1=claim())


@pytest.fixture
def root(tmp_path: Path, study: Study) -> Path:
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    return tmp_path


def text(findings: Any) -> str:
    return json.dumps(findings, sort_keys=True, allow_nan=False)


# --- bytes and history


def test_equal_input_gives_equal_bytes(root: Path, book: ClaimBook, study: Study) -> None:
    first = found(root, book, study)
    write_json(root / "findings.json", first)
    again = found(root, book, study, read_json(root / "findings.json"))
    assert text(again) == text(first)
    assert page(again) == page(first)


def test_a_changed_verdict_is_appended_and_the_earlier_one_kept(
    root: Path, book: ClaimBook, study: Study
) -> None:
    first = found(root, book, study)
    (root / "results" / "agc" / "seeds" / "s1.json").unlink()
    second = found(root, book, study, first)
    history = second["claims"]["A-1"]["history"]
    assert [entry["status"] for entry in history] == ["supported", "inconclusive"]
    assert second["claims"]["A-1"]["supersedes"]["status"] == "supported"
    assert text(found(root, book, study, second)) == text(second)


def test_new_numbers_with_the_old_verdict_append_nothing(
    root: Path, book: ClaimBook, study: Study
) -> None:
    first = found(root, book, study)
    store(root, study, "agc", [value + 0.001 for value in WORSE])
    second = found(root, book, study, first)
    assert len(second["claims"]["A-1"]["history"]) == 1
    assert second["claims"]["A-1"]["effect"] != first["claims"]["A-1"]["effect"]


def test_other_seeds_are_a_new_verdict_and_entries_without_seeds_get_theirs(
    root: Path, book: ClaimBook, study: Study
) -> None:
    """Whoever exchanges a seed leaves a line, however the verdict ends."""
    first = found(root, book, study)
    (entry,) = first["claims"]["A-1"]["history"]
    assert entry["seeds"] == [1, 2, 3, 4, 5, 6]
    del entry["seeds"]
    second = found(root, book, study, first)
    assert [e["seeds"] for e in second["claims"]["A-1"]["history"]] == [[1, 2, 3, 4, 5, 6]]
    seeds = (1, 2, 3, 4, 5, 7)
    arms = {n: study.arms[n].model_copy(update={"seeds": seeds}) for n in ("control", "agc")}
    other = study.model_copy(update={"arms": {**study.arms, **arms}})
    for name, values in (("control", CONTROL), ("agc", WORSE)):
        store(root, other, name, values)
    third = found(root, book, other, second)
    assert [e["seeds"][-1] for e in third["claims"]["A-1"]["history"]] == [6, 7]


def test_a_changed_claim_is_a_new_verdict(root: Path, book: ClaimBook, study: Study) -> None:
    first = found(root, book, study)
    other = book_of(root, A_1=claim(margin=margin(0.012)))
    assert len(found(root, other, study, first)["claims"]["A-1"]["history"]) == 2


def test_a_claim_that_left_is_superseded_and_comes_back_with_its_history(
    root: Path, book: ClaimBook, study: Study
) -> None:
    first = found(root, book, study)
    left = found(root, book_of(root), study, first)
    assert left["claims"] == {} and "A-1" in left["superseded"]
    assert "A-1" in page(left)
    back = found(root, book, study, left)
    assert back["superseded"] == {} and len(back["claims"]["A-1"]["history"]) == 1


def test_dates_are_those_of_the_runs_commits(root: Path, book: ClaimBook, study: Study) -> None:
    early, late = "2025-01-01T23:30:00+00:00", "2025-01-02T00:00:00+02:00"  # late is 22:00 UTC
    facts = {"code__commit": "a" * 40, "code__commit_date": early, "code__dirty": False}
    store(root, study, "control", CONTROL, **facts)
    other = {"code__commit": "b" * 40, "code__commit_date": late, "code__dirty": False}
    store(root, study, "agc", WORSE, **other)
    entry = found(root, book, study)["claims"]["A-1"]
    assert (entry["history"][0]["commit"], entry["history"][0]["date"]) == ("a" * 40, early)


def test_status_is_a_key_of_verdicts_alone(root: Path, book: ClaimBook, study: Study) -> None:
    def walk(value: Any, path: str) -> list[str]:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        nested = [
            where
            for key, item in items
            if isinstance(item, (dict, list))
            for where in walk(item, f"{path}.{key}")
        ]
        return [*nested, *([path] if isinstance(value, dict) and "status" in value else [])]

    findings = found(root, book, study)
    assert all(where.startswith(".claims.A-1") for where in walk(findings, ""))
    assert findings["claims"]["A-1"]["status"] in STATUSES


# --- stale


def test_untouched_findings_are_fresh(root: Path, book: ClaimBook, study: Study) -> None:
    assert stale(typed(found(root, book, study)), root) == {}


def test_a_changed_or_lost_result_makes_the_claim_stale(
    root: Path, book: ClaimBook, study: Study
) -> None:
    findings = found(root, book, study)
    file = root / "results" / "agc" / "seeds" / "s2.json"
    file.write_text(file.read_text() + " ")
    (root / "results" / "agc" / "seeds" / "s3.json").unlink()
    sentences = stale(typed(findings), root)["A-1"]
    assert sentences == [
        "results/agc/seeds/s2.json changed",
        "results/agc/seeds/s3.json is gone",
    ]


def test_a_changed_artifact_makes_the_claim_stale_and_an_unpulled_one_does_not(
    root: Path, book: ClaimBook, study: Study
) -> None:
    name = "runs/agc/s1/object_last.npz"
    store(root, study, "agc", WORSE, evidence={name: "0" * 64})
    findings = found(root, book, study)
    assert stale(typed(findings), root) == {}
    (root / "runs" / "agc" / "s1").mkdir(parents=True)
    (root / name).write_bytes(b"other")
    assert stale(typed(findings), root) == {"A-1": [f"{name} changed"]}


def test_a_changed_claim_is_stale(root: Path, book: ClaimBook, study: Study) -> None:
    findings = found(root, book, study)
    write_json(root / "claims.yaml", {"claims": {"A-1": claim(margin=margin(0.5))}})
    assert "claim itself changed" in stale(typed(findings), root)["A-1"][0]


# --- fences and flags


def test_different_data_are_fenced_and_not_compared(
    root: Path, book: ClaimBook, study: Study
) -> None:
    store(root, study, "agc", WORSE, data__sha256="e" * 64)
    findings = found(root, book, study)
    assert [fence["arms"] for fence in findings["fences"]] == [["agc"], ["control"]]
    assert findings["arms"]["agc"]["difference"] == {}
    assert findings["claims"]["A-1"]["test"] is None
    assert page(findings).count("## Data") == 2


def test_the_difference_to_the_control_is_paired(root: Path, book: ClaimBook, study: Study) -> None:
    facts = found(root, book, study)["arms"]["agc"]["difference"]["last.standard.amplitude.mae"]
    pairs = list(zip(WORSE, CONTROL, strict=True))
    assert facts["estimate"] == pytest.approx(sum(w - c for w, c in pairs) / 6)
    assert facts["n"] == 6


def flags(root: Path, study: Study) -> list[dict[str, Any]]:
    return found(root, book_of(root), study)["flags"]


def test_equal_scores_without_a_reason_are_an_error(root: Path, study: Study) -> None:
    store(root, study, "agc", [*WORSE[:5], CONTROL[5] * 1.0001])
    (flag,) = flags(root, study)
    assert flag["arms"] == ["agc", "control"] and flag["same_scores"] == [6]
    assert flag["is_error"] and flag["reason"] is None


def test_scores_that_differ_in_the_third_digit_raise_no_flag(root: Path, study: Study) -> None:
    store(root, study, "agc", [value * 1.01 for value in CONTROL])
    assert flags(root, study) == []


def test_a_clip_that_never_acted_is_a_reason(root: Path, study: Study) -> None:
    for name in ("control", "agc"):
        store(root, study, name, CONTROL, training__clipped_fraction=0.0)
    (flag,) = flags(root, study)
    assert not flag["is_error"] and "never acted" in flag["reason"]
    store(root, study, "agc", CONTROL, training__clipped_fraction=0.1)
    assert flags(root, study)[0]["is_error"]


def test_a_clip_that_never_acted_explains_no_other_factor(root: Path, study: Study) -> None:
    (root / "results" / "agc").rename(root / "agc")
    for name in ("control", "both"):
        store(root, study, name, CONTROL, training__clipped_fraction=0.0)
    assert flags(root, study)[0]["is_error"]


@pytest.mark.parametrize(("last", "is_error"), [(0.001, False), (0.0005, True)])
def test_a_schedule_that_never_acted_is_a_reason(
    tmp_path: Path, study: Study, last: float, is_error: bool
) -> None:
    schedule = Plateau(name="plateau", factor=0.5, patience=2)
    plateau = study.arms["control"].model_copy(update={"schedule": schedule})
    study = study.model_copy(update={"arms": {**study.arms, "plateau": plateau}})
    for name in ("control", "plateau"):
        store(tmp_path, study, name, CONTROL)
        rates = "".join(f"{s},1,0.001\n{s},2,{last}\n" for s in study.arms[name].seeds)
        (tmp_path / "results" / name / "history.csv").write_text(
            f"seed,epoch,learning_rate\n{rates}"
        )
    (flag,) = flags(tmp_path, study)
    assert flag["is_error"] == is_error
    assert is_error or "the schedule in which they differ never acted" in flag["reason"]


def test_equal_histories_are_a_flag_of_their_own(root: Path, study: Study) -> None:
    for name, values in (("control", CONTROL), ("agc", WORSE)):
        store(root, study, name, values, training__history_sha256="same")
    (flag,) = flags(root, study)
    assert flag["same_scores"] == [] and len(flag["same_histories"]) == 6
    assert "after training only" in flag["reason"]


def test_two_constants_have_equal_scores_for_a_reason(root: Path, study: Study) -> None:
    gate = {"evaluable": False, "reason": "constant amplitude", "spread_ratio": 0.01}
    for name in ("control", "agc"):
        store(root, study, name, CONTROL, last__gate__amplitude=gate)
    assert "constant" in flags(root, study)[0]["reason"]


SCALE = "standard__extra__amplitude_scale"


def test_an_amplitude_scale_off_one_is_a_defect_and_stands_in_the_report(
    root: Path, book: ClaimBook, study: Study
) -> None:
    store(root, study, "agc", WORSE, **{f"last__{SCALE}": 1.07, f"best__{SCALE}": 1.04})
    findings = found(root, book, study)
    (flag,) = findings["scale_flags"]
    assert (flag["arm"], flag["checkpoint"]) == ("agc", "last")
    assert flag["scales"] == {f"s{seed}": 1.07 for seed in range(1, 7)}
    assert "agc, last: amplitude scale more than 5 % off 1, a defect: s1 1.07" in page(findings)
    limits = findings["claims"]["A-1"]["limits"]
    assert flag["reason"] in limits, "the claim rests on these objects"


@pytest.mark.parametrize(
    "facts",
    [
        {"outcome": "collapsed"},
        {"outcome": "failed"},
        {"data__kind": "imported"},
        {"last__gate__amplitude": {"evaluable": False, "reason": "constant", "spread_ratio": 0}},
    ],
)
def test_where_the_scale_says_nothing_it_is_no_defect(
    root: Path, book: ClaimBook, study: Study, facts: dict[str, Any]
) -> None:
    store(root, study, "agc", WORSE, **{f"last__{SCALE}": 0.5}, **facts)
    assert found(root, book, study)["scale_flags"] == []


def test_a_reference_may_have_any_scale(root: Path, book: ClaimBook, study: Study) -> None:
    store(root, study, "rpie", [0.01], **{f"best__{SCALE}": 0.5})
    assert found(root, book, study)["scale_flags"] == []


# --- arms


def test_every_seed_is_accounted_for(root: Path, book: ClaimBook, study: Study) -> None:
    (root / "results" / "agc" / "seeds" / "s3.json").unlink()
    seeds = found(root, book, study)["arms"]["agc"]["seeds"]
    assert seeds["missing"] == [3] and seeds["ok"] == [1, 2, 4, 5, 6]


def test_recorded_arms_stand_beside_under_their_studys_name(
    root: Path, book: ClaimBook, study: Study
) -> None:
    target = root / "full" / "results"
    target.mkdir(parents=True)
    (root / "results" / "control").rename(target / "control")
    findings = found(root, book, study)
    assert findings["arms"]["full/control"]["seeds"]["ok"] == [1, 2, 3, 4, 5, 6]
    assert findings["arms"]["control"]["numbers"] == {}
    assert findings["arms"]["full/control"]["reproduce"].startswith("(cd full && dvc repro")


def test_a_torn_result_is_named(root: Path, book: ClaimBook, study: Study) -> None:
    (root / "results" / "agc" / "seeds" / "s1.json").write_text('{"arm": ')
    with pytest.raises(UserError, match=r"agc/seeds/s1\.json"):
        found(root, book, study)


def test_the_report_has_every_claim_number_and_limit(
    root: Path, book: ClaimBook, study: Study
) -> None:
    store(root, study, "rpie", [0.01])
    findings = found(root, book, study)
    report = page(findings)
    entry = findings["claims"]["A-1"]
    for words in (entry["status"], entry["standing"], entry["reproduce"], *entry["limits"]):
        assert words in report
    assert "| rpie (reference) | only |" in report
    assert "nan" not in report.lower().replace("inconclusive", "")


def test_a_degenerate_reconstruction_has_no_score_in_the_report(
    root: Path, book: ClaimBook, study: Study
) -> None:
    gate = {"evaluable": False, "reason": "constant amplitude", "spread_ratio": 0.01}
    none = {"mae": None, "ssim": None, "frc50": None}
    facts = {"last__gate__amplitude": gate, "last__standard__amplitude": none}
    store(root, study, "agc", [0.5] * 6, outcome="collapsed", **facts)
    report = page(found(root, book, study))
    assert "agc, last.amplitude: not evaluable: s1 constant amplitude" in report
    row = next(
        line
        for line in report.split("### Scores, set standard")[1].splitlines()
        if line.startswith("| agc")
    )
    assert "not evaluable" in row

"""Arms of other pipelines: what is missing, how they are grouped, and how much of them is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stored import CONTROL, METRIC, WORSE, book_of, claim, found, margin, page, store

from checking import list_recorded
from study.evidence.arms import load_all
from study.evidence.explain import explain
from study.runs import write_json, write_yaml
from study.settings import Study, UserError

ARMS = {"arms": {"treatment": "studies/agc", "control": "studies/control"}}


@pytest.fixture
def root(tmp_path: Path, study: Study) -> Path:
    """control and agc of the pipeline `studies`, recorded."""
    store(tmp_path, study, "control", [value + 0.1 / 3 for value in CONTROL])
    store(tmp_path, study, "agc", [value + 0.1 / 3 for value in WORSE])
    (tmp_path / "studies").mkdir()
    shutil.move(tmp_path / "results", tmp_path / "studies" / "results")
    return tmp_path


def declare(root: Path, study: Study, **extra: Any) -> None:
    arms = dict(study.model_dump(mode="json"))
    arms["arms"]["agc"]["versus"] = "control"
    (root / "studies").mkdir(exist_ok=True)
    write_yaml(root / "studies" / "params.yaml", {**arms, **extra})


def entry(root: Path, study: Study, **changes: Any) -> dict[str, Any]:
    given = claim(**{**ARMS, **changes})
    return found(root, book_of(root, A_1=given), study)["claims"]["A-1"]


def test_recorded_arms_are_judged_as_any_other(root: Path, study: Study) -> None:
    verdict = entry(root, study)
    assert (verdict["status"], verdict["n"]) == ("supported", 6)
    files = {item["file"] for item in verdict["evidence"]}
    assert "studies/results/agc/seeds/s1.json" in files and len(files) == 12


def test_a_deleted_seed_of_a_recorded_arm_is_missing_where_its_study_declares_it(
    root: Path, study: Study
) -> None:
    declare(root, study)
    for arm in ("agc", "control"):
        (root / "studies" / "results" / arm / "seeds" / "s4.json").unlink()
    verdict = entry(root, study)
    assert verdict["status"] == "inconclusive"
    assert "studies/agc s4 is missing" in verdict["reason"]


def test_a_deleted_seed_is_missing_where_its_provenance_is_left(root: Path, study: Study) -> None:
    for arm in ("agc", "control"):
        for seed in range(1, 7):
            write_json(root / "studies" / "provenance" / arm / f"s{seed}.json", {})
    (root / "studies" / "results" / "agc" / "seeds" / "s4.json").unlink()
    verdict = entry(root, study)
    assert verdict["status"] == "inconclusive"
    assert verdict["reason"] == "studies/agc s4 is missing"
    found_arms = found(root, book_of(root), study)["arms"]
    assert found_arms["studies/agc"]["seeds"]["missing"] == [4]


@pytest.mark.parametrize("change", [Path.unlink, lambda file: file.write_text("{}")])
def test_a_recorded_file_that_changed_is_refused_by_name(
    root: Path, study: Study, change: Callable[[Path], object]
) -> None:
    list_recorded(root)
    change(root / "studies" / "results" / "agc" / "seeds" / "s4.json")
    with pytest.raises(UserError, match=r"agc/seeds/s4\.json .*study record studies"):
        load_all(root)
    problems: list[str] = []
    assert set(load_all(root, problems)) == {"studies/control"} and len(problems) == 1


def test_a_result_that_is_not_recorded_is_not_read(root: Path, study: Study) -> None:
    list_recorded(root)
    seeds = root / "studies" / "results" / "agc" / "seeds"
    shutil.copy(seeds / "s1.json", seeds / "s9.json")
    assert set(load_all(root)["studies/agc"].seeds) == set(range(1, 7))


def test_a_claim_on_an_arm_that_nobody_recorded_is_pending(root: Path, study: Study) -> None:
    declare(root, study)
    arms = {"treatment": "studies/loose", "control": "studies/control"}
    verdict = entry(root, study, arms=arms, changes=[])
    assert verdict["status"] == "pending" and verdict["reason"] == "no results of studies/loose"
    assert verdict["needs"]["more"] == 6


def test_other_settings_than_the_studys_own_are_not_evaluable(root: Path, study: Study) -> None:
    longer = study.arms["agc"].model_copy(update={"epochs": 3})
    declare(root, study.model_copy(update={"arms": {**study.arms, "agc": longer}}))
    verdict = entry(root, study)
    assert verdict["status"] == "not evaluable"
    assert "other settings than studies/params.yaml" in verdict["reason"]


def edited(root: Path, arm: str, seeds: tuple[int, ...], **settings: Any) -> None:
    for seed in seeds:
        file = root / "studies" / "results" / arm / "seeds" / f"s{seed}.json"
        content = json.loads(file.read_text())
        content["settings"] |= settings
        file.write_text(json.dumps(content))


def test_seeds_with_different_settings_are_no_arm(root: Path, study: Study) -> None:
    edited(root, "agc", (3,), epochs=5)
    verdict = entry(root, study)
    assert verdict["status"] == "not evaluable" and verdict["effect"] is None
    assert "the seeds of studies/agc ran with different settings" in verdict["reason"]


def test_settings_that_nobody_knows_are_a_sentence(root: Path, study: Study) -> None:
    edited(root, "agc", (1, 2, 3, 4, 5, 6), epochs="many")
    with pytest.raises(UserError, match=r"settings of studies/agc do not fit .*epochs"):
        entry(root, study)


def test_the_difference_to_the_studys_own_control_is_there_and_explained(
    root: Path, study: Study
) -> None:
    declare(root, study)
    write_yaml(root / "params.yaml", study.model_dump(mode="json"))
    arm = found(root, book_of(root), study)["arms"]["studies/agc"]
    assert arm["changed"] == ["clip.gradient_clip_algorithm"]
    facts = arm["difference"][METRIC]
    message = explain(facts["id"], root)
    assert facts["id"] == f"studies/agc/difference/{METRIC}"
    assert facts["estimate"] == pytest.approx(message.value, rel=5e-6)


# --- what is kept


def test_recorded_arms_keep_the_columns_of_their_table_and_those_of_claims(
    root: Path, study: Study
) -> None:
    metric = "best.published.phase.ssim"
    given = claim(**ARMS, metric=metric, margin=margin(0.01, "1"))
    arms = found(root, book_of(root, A_1=given), study)["arms"]
    numbers = arms["studies/agc"]["numbers"]
    assert metric in numbers and "last.published.phase.ssim" not in numbers
    assert len(numbers) <= 9


def test_numbers_of_arms_have_eight_digits_and_explain_has_all(root: Path, study: Study) -> None:
    findings = found(root, book_of(root), study)
    facts = findings["arms"]["studies/control"]["numbers"][METRIC]
    value = facts["values"]["s1"]
    assert value == 0.093333333
    exact = explain(f"studies/control/s1/{METRIC}", root).value
    assert exact is not None and exact != value
    tolerance = findings["numbers"]["relative_tolerance"]
    assert abs(exact - value) <= tolerance * abs(exact)
    mean = explain(facts["id"], root).value
    assert mean is not None and abs(mean - facts["estimate"]) <= tolerance * abs(mean)


def test_claims_are_judged_on_all_digits(root: Path, study: Study) -> None:
    verdict = entry(root, study)
    expected = (sum(WORSE) - sum(CONTROL)) / 6
    assert verdict["effect"]["estimate"] == pytest.approx(expected, rel=1e-12)


# --- groups


def test_arms_stand_in_the_groups_of_their_study(root: Path, study: Study) -> None:
    groups = {"clips": {"asks": "Which clip acts?", "arms": ["agc", "loose"]}}
    declare(root, study, studies=groups)
    findings = found(root, book_of(root), study)
    assert [(g["name"], g["arms"]) for g in findings["groups"]] == [
        ("clips", ["studies/agc"]),
        (None, ["studies/control"]),
    ]
    report = page(findings)
    assert "## studies: clips\n\nWhich clip acts?" in report
    heads = next(line for line in report.splitlines() if line.startswith("| arm | data"))
    assert heads.count("|") == 12  # narrow: eleven columns
    assert "### Losses" not in report


def test_without_params_the_folder_is_the_group(root: Path, study: Study) -> None:
    findings = found(root, book_of(root), study)
    (group,) = findings["groups"]
    assert (group["study"], group["name"]) == ("studies", None)
    assert group["arms"] == ["studies/agc", "studies/control"]


def test_groups_that_are_none_are_refused_in_words(root: Path, study: Study) -> None:
    declare(root, study, studies={"clips": ["agc"]})
    with pytest.raises(UserError, match=r"studies/params\.yaml: studies"):
        found(root, book_of(root), study)


def test_arms_of_a_group_on_different_data_are_shown_and_not_compared(
    root: Path, study: Study
) -> None:
    file = root / "studies" / "results" / "agc" / "seeds"
    for seed in file.iterdir():
        content = json.loads(seed.read_text())
        content["data"]["sha256"] = "e" * 64
        seed.write_text(json.dumps(content))
    report = page(found(root, book_of(root), study))
    assert "different data sets and are not compared" in report


def test_many_explained_flags_are_counted_and_errors_are_told_one_by_one(
    tmp_path: Path, study: Study
) -> None:
    gate = {"evaluable": False, "reason": "constant amplitude", "spread_ratio": 0.01}
    control = study.arms["control"]
    arms = {f"arm_{i}": control.model_copy(update={"epochs": i + 1}) for i in range(5)}
    five = study.model_copy(update={"arms": arms})
    for name in arms:
        store(tmp_path, five, name, CONTROL, last__gate__amplitude=gate)
    findings = found(tmp_path, book_of(tmp_path), five)
    assert len(findings["flags"]) == 10
    report = page(findings)
    assert report.count("constant objects") == 1 and "10 pairs of arms" in report

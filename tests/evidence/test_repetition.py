"""The rule for identical, reproduced and differs."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from stored import CONTROL, METRIC, WORSE, seed_json, store

from study.evidence.arms import ArmResults, load_arms
from study.evidence.committed import (
    HEADLINE,
    Repetition,
    committed_results,
    compare_arm,
    compare_arms,
)
from study.settings import Study, UserError


@pytest.fixture
def committed(tmp_path: Path, study: Study) -> dict[str, ArmResults]:
    store(tmp_path / "old", study, "control", CONTROL)
    return load_arms(tmp_path / "old" / "results")


def compared(root: Path, committed: dict[str, ArmResults]) -> dict[str, Repetition]:
    return compare_arms(load_arms(root / "results"), committed)


def result(root: Path, committed: dict[str, ArmResults], name: str = "control") -> str:
    return compared(root, committed)[name].result


def test_the_same_results_are_identical_whatever_the_clock_says(
    tmp_path: Path, study: Study, committed: dict[str, ArmResults]
) -> None:
    facts = {"training__seconds": 99.0, "code__commit": "c" * 40}
    store(tmp_path, study, "control", [v * (1 + 1e-8) for v in CONTROL], **facts)
    assert result(tmp_path, committed) == "identical"


def test_other_seeds_of_the_same_spread_are_reproduced(
    tmp_path: Path, study: Study, committed: dict[str, ArmResults]
) -> None:
    store(tmp_path, study, "control", [v + 0.001 for v in reversed(CONTROL)])
    assert result(tmp_path, committed) == "reproduced"


def test_a_shift_beyond_the_spread_differs_and_is_named(
    tmp_path: Path, study: Study, committed: dict[str, ArmResults]
) -> None:
    store(tmp_path, study, "control", WORSE)
    comparison = compared(tmp_path, committed)["control"]
    assert comparison.result == "differs" and METRIC in comparison.reason


def test_a_wild_repetition_cannot_widen_its_own_limits(
    tmp_path: Path, study: Study, committed: dict[str, ArmResults]
) -> None:
    store(tmp_path, study, "control", [0.01, 0.3, 0.02, 0.5, 0.01, 0.2])
    assert result(tmp_path, committed) == "differs"


def test_failures_that_were_not_there_differ(
    tmp_path: Path, study: Study, committed: dict[str, ArmResults]
) -> None:
    store(tmp_path, study, "control", CONTROL, outcome="failed")
    assert "failed or collapsed" in compared(tmp_path, committed)["control"].reason


def test_other_data_differ(tmp_path: Path, study: Study, committed: dict[str, ArmResults]) -> None:
    store(tmp_path, study, "control", CONTROL, data__sha256="e" * 64)
    assert result(tmp_path, committed) == "differs"


def test_new_and_missing_arms_say_so(
    tmp_path: Path, study: Study, committed: dict[str, ArmResults]
) -> None:
    store(tmp_path, study, "agc", WORSE)
    assert result(tmp_path, committed, "agc") == "new"
    assert result(tmp_path, committed) == "missing"


def test_a_reference_is_held_to_a_thousandth(tmp_path: Path, study: Study) -> None:
    store(tmp_path / "old", study, "rpie", [0.01])
    old = load_arms(tmp_path / "old" / "results")
    for shift, expected in ((1.0005, "reproduced"), (1.002, "differs")):
        store(tmp_path, study, "rpie", [0.01 * shift])
        # The other numbers follow the MAE in these hand-made results; SSIM is 1 - MAE.
        assert result(tmp_path, old, "rpie") == expected


def test_true_repetitions_are_called_reproduced_as_often_as_the_rule_says(study: Study) -> None:
    """One number decides all headlines here, at 1 - .025 / 5: 995 of 1000."""
    rng, row = np.random.default_rng(8), study.arms["control"]

    def drawn() -> ArmResults:
        values = enumerate(rng.normal(0.06, 0.003, 6).tolist())
        return ArmResults("c", {s: seed_json("c", row, s, v) for s, v in values}, {})

    verdicts = [compare_arm(drawn(), drawn()).result for _ in range(40)]
    assert len(HEADLINE) == 5
    assert verdicts.count("reproduced") >= 37


def drawn_arm(rng: np.random.Generator, failure_rate: float) -> ArmResults:
    """Six seeds; every headline number is its own normal draw, and some runs fail."""
    seeds = {}
    for seed in range(1, 7):
        val_loss, r_factor, ssim, mae, phase = rng.normal(0.5, 0.01, 5).tolist()
        standard = {"amplitude": {"ssim": ssim, "mae": mae}, "phase": {"mae": phase}}
        last = {"val_loss": val_loss, "r_factor": {"sum": r_factor}, "standard": standard}
        outcome = "collapsed" if rng.random() < failure_rate else "ok"
        seeds[seed] = {"label": "arm", "data": {"sha256": "d"}, "outcome": outcome, "last": last}
    return ArmResults("drawn", seeds, {})


@pytest.mark.slow
def test_a_truly_repeated_study_differs_in_no_more_than_one_of_twenty() -> None:
    """Seven arms: at 95 % an arm, 30 % of the studies would have one that differs."""
    rng, studies = np.random.default_rng(5), 200
    differing = 0
    for _ in range(studies):
        here, there = ({n: drawn_arm(rng, 0.3) for n in "abcdefg"} for _ in range(2))
        differing += any(c.result == "differs" for c in compare_arms(here, there).values())
    assert differing <= 0.05 * studies + 2 * (0.05 * 0.95 * studies) ** 0.5


def test_six_failures_of_six_differ_among_seven_arms_too() -> None:
    rng = np.random.default_rng(6)
    there = {name: drawn_arm(rng, 0.0) for name in "abcdefg"}
    here = {**there, "a": ArmResults("a", drawn_arm(rng, 1.1).seeds, {})}
    assert "6 of 6 runs failed" in compare_arms(here, there)["a"].reason


BLANK = {"mae": None, "ssim": None, "frc50": None}


def test_numbers_that_are_blank_now_differ(
    tmp_path: Path, study: Study, committed: dict[str, ArmResults]
) -> None:
    store(tmp_path, study, "control", CONTROL, last__standard__phase=BLANK)
    comparison = compared(tmp_path, committed)["control"]
    assert comparison.result == "differs"
    assert "last.standard.phase.mae has no value here, committed 6 values" in comparison.reason


def test_one_ok_run_that_lost_a_number_differs(
    tmp_path: Path, study: Study, committed: dict[str, ArmResults]
) -> None:
    store(tmp_path, study, "control", CONTROL)
    one = study.arms["control"].model_copy(update={"seeds": (4,)})
    only = study.model_copy(update={"arms": {"control": one}})
    store(tmp_path, only, "control", CONTROL[3:4], last__standard__phase=BLANK)
    comparison = compared(tmp_path, committed)["control"]
    assert "last.standard.phase.mae has no value here for seeds 4" in comparison.reason
    store(tmp_path, only, "control", [0.1], last__standard__phase=BLANK, outcome="collapsed")
    assert "no value" not in compared(tmp_path, committed)["control"].reason


def test_committed_results_are_those_of_the_last_commit(tmp_path: Path, study: Study) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(("git", *who, *arguments), cwd=tmp_path, check=True, capture_output=True)

    root = tmp_path / "full"
    files = store(root, study, "control", CONTROL)
    git("init", "-q")
    git("add", "-A")
    git("commit", "-q", "-m", "results")
    committed_content = json.loads(files[1].read_text())
    store(root, study, "control", WORSE)
    committed = committed_results(root)
    assert committed["control"].seeds[1] == committed_content
    assert list(committed["control"].seeds) == [1, 2, 3, 4, 5, 6]
    assert result(root, committed) == "differs"


def test_a_damaged_file_of_the_commit_is_named(tmp_path: Path, study: Study) -> None:
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(("git", *who, *arguments), cwd=tmp_path, check=True, capture_output=True)

    file = store(tmp_path, study, "control", CONTROL)[2]
    whole = json.loads(file.read_text())
    git("init", "-q")
    for damaged in (
        "", "{", "{}", "[]", "null", "5", "{}{}", "[" * 5000, "\udcff", "{\"outcome\": NaN}",
        json.dumps({key: value for key, value in whole.items() if key != "outcome"}),
    ):  # fmt: skip
        file.write_text(damaged, errors="surrogateescape")
        git("add", "-A")
        git("commit", "-q", "-m", "damaged")
        with pytest.raises(UserError, match=rf"results/control/seeds/{file.name} of HEAD"):
            committed_results(tmp_path)
    name = f"HEAD:{file.relative_to(tmp_path)}"
    blob = subprocess.check_output(("git", "rev-parse", name), cwd=tmp_path, text=True).strip()
    (tmp_path / ".git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(UserError, match="git cannot show"):
        committed_results(tmp_path)


def test_without_git_nothing_is_committed(tmp_path: Path, study: Study) -> None:
    store(tmp_path, study, "control", CONTROL)
    assert committed_results(tmp_path) == {}

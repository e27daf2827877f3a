"""One rule for "not evaluable": every table, page and claim gives the same answer."""

from __future__ import annotations

from pathlib import Path

import pytest
import stored

from study.evidence.arms import load_arms
from study.evidence.cells import Cell, cell
from study.evidence.evaluable import (
    ABSENT,
    NOT_EVALUABLE,
    PRIOR,
    blanks,
    follows,
    is_constant,
    why_not,
)
from study.evidence.summary import summarise
from study.evidence.verdicts import STATUSES
from study.investigations.published.comparison import blank
from study.settings import DataParams, Study

PHASE = "last.standard.phase.mae"
AMPLITUDE = "last.standard.amplitude.mae"
PUBLISHED = "last.published.phase.ssim"
NOTHING = {"mae": None, "ssim": None, "frc50": None}
REFUSED = {"evaluable": False, "reason": PRIOR, "spread_ratio": 1.0}
PRIOR_FACTS = {
    "last__gate__phase": REFUSED,
    "last__standard__phase": NOTHING,
    "last__published__phase": NOTHING,
}


@pytest.fixture
def study(tiny_params: DataParams) -> Study:
    return stored.study_of(
        tiny_params.model_dump(),
        control=stored.arm(),
        agc=stored.arm("control", clip=stored.AGC, changes=["clip.gradient_clip_algorithm"]),
    )


@pytest.mark.parametrize(
    ("truth", "copied", "expected"),
    [
        (0.99, 0.2, True),
        (0.8, 0.79, True),
        (0.79, 0.1, False),
        (0.9, 0.9, False),
        (0.85, 0.95, False),
        (-0.95, 0.1, False),
        (None, None, False),
        (0.9, None, True),
    ],
)
def test_the_rule_of_the_foreign_phase(
    truth: float | None, copied: float | None, expected: bool
) -> None:
    assert follows({"truth": truth, "from_amplitude": copied}) is expected


def shown(root: Path, study: Study, name: str, path: str) -> Cell:
    arm = load_arms(root / "results")[name]
    return cell(summarise(name, study.arms[name], arm, [path]), path)


@pytest.mark.parametrize("path", [PHASE, PUBLISHED])
def test_every_place_says_that_a_phase_that_follows_a_prior_is_not_evaluable(
    tmp_path: Path, study: Study, path: str
) -> None:
    stored.store(tmp_path, study, "control", stored.CONTROL, **PRIOR_FACTS)
    found = shown(tmp_path, study, "control", path)
    assert (found.status, found.value(), found.rank) == (NOT_EVALUABLE, NOT_EVALUABLE, None)
    assert set(found.reasons.values()) == {PRIOR}
    arm = load_arms(tmp_path / "results")["control"]
    assert set(blank(arm, "published.phase.ssim", "last").values()) == {PRIOR}


def test_no_place_calls_the_missing_scores_of_a_failed_run_not_evaluable(
    tmp_path: Path, study: Study
) -> None:
    """Nothing was judged: the cell is empty."""
    stored.store(tmp_path, study, "control", stored.CONTROL, outcome="failed", best=None, last=None)
    found = shown(tmp_path, study, "control", PHASE)
    assert (found.status, found.value()) == ("absent", ABSENT)


def test_a_prior_leaves_the_amplitude_and_the_other_weights(tmp_path: Path, study: Study) -> None:
    stored.store(tmp_path, study, "control", stored.CONTROL, **PRIOR_FACTS)
    content = load_arms(tmp_path / "results")["control"].seeds[1]
    assert blanks(content, "last") == {"phase": PRIOR} and blanks(content, "best") == {}
    assert why_not(content, "last", "amplitude") is None
    assert not is_constant(content, "last")


def test_a_claim_about_a_phase_that_follows_a_prior_is_not_evaluable(
    tmp_path: Path, study: Study
) -> None:
    stored.store(tmp_path, study, "control", stored.CONTROL)
    stored.store(tmp_path, study, "agc", stored.WORSE, **PRIOR_FACTS)
    asked = {"kind": "exploratory", "needed_seeds": 6}
    book = stored.book_of(
        tmp_path,
        PHASE_1=stored.claim(metric=PHASE, margin=stored.margin(0.01, "rad"), **asked),
        AMPLITUDE_1=stored.claim(metric=AMPLITUDE, **asked),
    )
    claims = stored.found(tmp_path, book, study)["claims"]
    assert claims["PHASE-1"]["status"] == "not evaluable" and PRIOR in claims["PHASE-1"]["reason"]
    assert claims["AMPLITUDE-1"]["status"] in set(STATUSES) - {"not evaluable"}

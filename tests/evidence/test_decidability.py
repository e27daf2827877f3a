"""Claims that cannot be decided are refused before their runs; older ones are only reported."""

from __future__ import annotations

import math
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from stored import CONTROL, WORSE, book_of, claim, found, margin, store

from study.editing.arms import spelled
from study.evidence import decidability, statistics, survival
from study.evidence.decidability import Assessment, assess, exemptions, known_of
from study.jobs.api import check_start
from study.runs import write_json
from study.settings import MOST_SEEDS, DataParams, Study, UserError
from study.stages import train


def judged(root: Path, study: Study, **claims: Any) -> Assessment:
    """The last of the claims."""
    book = book_of(root, **claims)
    known = known_of(root, book.claims, study, exemptions(book))
    return assess(book.claims[-1], book, known)


def rate(**changes: Any) -> dict[str, Any]:
    return claim(
        **{"metric": "outcome", "evidence": "failure_rate", "margin": margin(0.9, "1"), **changes}
    )


def lived(rounds: int, looks: list[int], **changes: Any) -> dict[str, Any]:
    plan = {"seeds": list(range(rounds)), "looks": looks, "sides": 2}
    return claim(
        metric="survival",
        evidence="survival",
        margin=margin(1, "epochs"),
        needed_seeds=rounds,
        survival={**plan, "published": {"treatment": None, "control": None}},
        **changes,
    )


@pytest.mark.parametrize("direction", ["lower", "higher"])
def test_a_claim_with_enough_seeds_passes(tmp_path: Path, study: Study, direction: str) -> None:
    assessment = judged(tmp_path, study, A_1=claim(direction=direction))
    assert not assessment.problems and assessment.enforced and assessment.power is None


@pytest.mark.parametrize("family", [1, 2, 4])
def test_rates_need_the_runs_at_which_fisher_can_reject(
    tmp_path: Path, study: Study, family: int
) -> None:
    """Reached exactly where some table of so many runs has a small enough p."""
    level = statistics.ALPHA / family
    for n in range(2, 9):
        possible = statistics.fisher_p((n, n), (0, n)) <= level
        claims = {f"A_{i}": rate(needed_seeds=n) for i in range(family)}
        problems = judged(tmp_path, study, **claims).problems
        assert ("cannot differ" in " ".join(problems)) != possible


@pytest.mark.parametrize("test", ["fisher", "boschloo"])
def test_claims_of_very_many_seeds_are_refused_or_judged_at_once(
    tmp_path: Path, study: Study, test: str
) -> None:
    began = time.process_time()
    assert judged(tmp_path, study, A_1=rate(needed_seeds=MOST_SEEDS, test=test)).problems == ()
    assert time.process_time() - began < 60
    with pytest.raises(UserError, match=rf"needed_seeds: .* {MOST_SEEDS}; got 1000000"):
        judged(tmp_path, study, A_1=rate(needed_seeds=1_000_000, test=test))


@pytest.mark.parametrize("family", [1, 4])
def test_means_need_the_pairs_of_the_exact_test(tmp_path: Path, study: Study, family: int) -> None:
    least = statistics.least_pairs(statistics.ALPHA / family)
    for n in (least - 1, least):
        claims = {f"A_{i}": claim(needed_seeds=n) for i in range(family)}
        assessment = judged(tmp_path, study, **claims)
        assert bool(assessment.problems) == (n < least)
        if n < least:
            assert f"{least} pairs" in assessment.problems[0]


@pytest.mark.parametrize("rounds", [3, 4, 5, 6])
def test_survival_is_refused_where_no_lives_could_reject(
    tmp_path: Path, study: Study, rounds: int
) -> None:
    """Against the looks at the most extreme lives that there can be."""
    dead = [survival.Life(1, True)] * rounds
    alive = [survival.Life(50, False)] * rounds
    looks = survival.planned_looks(
        dead, alive, range(1, rounds + 1), rounds, statistics.ALPHA, longer=False, sides=2
    )
    assessment = judged(tmp_path, study, A_1=lived(rounds, list(range(1, rounds + 1))))
    assert bool(assessment.problems) != any(look.rejects for look in looks)


def test_a_reference_has_no_failure_rate(tmp_path: Path, study: Study) -> None:
    arms = {"treatment": "agc", "control": "rpie"}
    assert judged(tmp_path, study, A_1=rate(arms=arms, changes=[])).problems


def test_arms_without_a_common_seed_are_refused(tmp_path: Path, study: Study) -> None:
    other = study.arms["agc"].model_copy(update={"seeds": (91, 92)})
    apart = study.model_copy(update={"arms": {**study.arms, "agc": other}})
    assert "share no seed" in judged(tmp_path, apart, A_1=claim()).problems[0]


def test_power_takes_the_spread_of_comparable_runs_and_names_them(
    tmp_path: Path, study: Study
) -> None:
    """`loose` never ran: the pairs of the control with agc, one factor away, stand for its own."""
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    store(tmp_path, study, "both", [0.1, 0.9, 0.2, 0.8, 0.3, 0.7])  # two factors away
    asked = claim(arms={"treatment": "loose", "control": "control"})
    passes = judged(tmp_path, study, A_1=asked)
    spread = statistics.mean_interval([w - c for w, c in zip(WORSE, CONTROL, strict=True)])
    assert spread.high is not None and "agc" in passes.basis and "both" not in passes.basis
    deviation = (spread.high - spread.estimate) / statistics.t_quantile(0.95, 5) * math.sqrt(6)
    assert passes.power == pytest.approx(statistics.power_to_differ(0.01, deviation, 8, 0.05))
    fine = judged(tmp_path, study, A_1={**asked, "margin": margin(deviation / 10)})
    assert fine.problems and fine.seeds_for_half is not None and fine.enforced
    assert statistics.power_to_differ(deviation / 10, deviation, fine.seeds_for_half, 0.05) >= 0.5
    assert (
        statistics.power_to_differ(deviation / 10, deviation, fine.seeds_for_half - 1, 0.05) < 0.5
    )


def test_a_control_that_never_fails_leaves_nothing_to_lower(tmp_path: Path, study: Study) -> None:
    store(tmp_path, study, "control", CONTROL)
    asked = rate(direction="lower", arms={"treatment": "loose", "control": "control"})
    assessment = judged(tmp_path, study, A_1=asked)
    assert assessment.power == 0 and assessment.problems and assessment.seeds_for_half is None


def test_a_metric_that_a_constant_maximises_is_refused(tmp_path: Path, study: Study) -> None:
    flat = study.arms["rpie"].model_copy(update={"asks": "floor"})
    arms = {**study.arms, "flat": flat}
    data = {
        name: one.model_copy(update={"phase": "independent"}) for name, one in study.data.items()
    }
    with_flat = study.model_copy(update={"arms": arms, "data": data})
    for value, refused in ((0.0, True), (0.3, False)):  # a phase MAE of 0 cannot be improved
        store(tmp_path, with_flat, "flat", [value], label="floor")
        asked = claim(metric="last.standard.phase.mae", margin=margin(0.01, "rad"))
        problems = judged(tmp_path, with_flat, A_1=asked).problems
        assert any("constant" in problem for problem in problems) == refused


@pytest.mark.parametrize("phase", ["independent", "from_amplitude"])
@pytest.mark.parametrize("channel", ["amplitude", "phase"])
def test_a_phase_that_follows_the_amplitude_decides_no_phase_claim(
    tmp_path: Path, study: Study, phase: str, channel: str
) -> None:
    given = {name: {**one.model_dump(), "phase": phase} for name, one in study.data.items()}
    data = {name: DataParams.model_validate(one) for name, one in given.items()}
    unit = {"amplitude": "object units", "phase": "rad"}[channel]
    asked = claim(metric=f"last.standard.{channel}.mae", margin=margin(0.01, unit))
    problems = judged(tmp_path, study.model_copy(update={"data": data}), A_1=asked).problems
    refused = channel == "phase" and phase == "from_amplitude"
    assert any("from_amplitude" in problem for problem in problems) == refused


def test_a_second_margin_for_a_metric_is_refused(tmp_path: Path, study: Study) -> None:
    first, other = claim(), claim(family="other", margin=margin(0.02))
    assert judged(tmp_path, study, A_1=first, B_1=other).problems
    assert not judged(tmp_path, study, A_1=first, B_1=claim(family="other")).problems
    replacing = {**other, "replaces": {"A-1": "its margin had no reason"}}
    assert not judged(tmp_path, study, A_1=first, B_1=replacing).problems


def test_a_margin_of_survival_binds_its_family_alone(tmp_path: Path, study: Study) -> None:
    """Another family may have another horizon, of which the margin is a part."""
    long = lived(6, [1, 2, 3, 4, 5, 6])
    short = {**long, "margin": margin(5, "epochs")}
    assert judged(tmp_path, study, A_1=long, B_1=short).problems
    assert not judged(tmp_path, study, A_1=long, B_1={**short, "family": "short"}).problems


def test_claims_with_results_of_both_arms_are_reported(tmp_path: Path, study: Study) -> None:
    few = claim(needed_seeds=3)
    assert judged(tmp_path, study, A_1=few).enforced
    store(tmp_path, study, "control", CONTROL)
    assert judged(tmp_path, study, A_1=few).enforced
    store(tmp_path, study, "agc", WORSE)
    assessment = judged(tmp_path, study, A_1=few)
    assert assessment.problems and not assessment.enforced


def test_a_goal_with_results_is_reported(tmp_path: Path, study: Study) -> None:
    goal = {"evidence": "bound", "arms": {"treatment": "agc", "control": "bound"}, "changes": []}
    few = claim(needed_seeds=3, bound=0.1, **goal)
    assert judged(tmp_path, study, A_1=few).enforced
    store(tmp_path, study, "agc", WORSE)
    assert not judged(tmp_path, study, A_1=few).enforced


def test_a_one_sided_claim_is_judged_at_twice_the_level(tmp_path: Path, study: Study) -> None:
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    spread = np.std(np.array(WORSE) - np.array(CONTROL), ddof=1)
    not_worse = claim(evidence="non_inferior", direction="lower", margin=margin(0.004))
    power = judged(tmp_path, study, A_1=not_worse).power
    shift = 0.004 * np.sqrt(8) / spread
    assert power == pytest.approx(stats.nct.sf(stats.t.ppf(0.95, 7), 7, shift))


def test_the_findings_hold_the_gate_and_no_verdict_moves(tmp_path: Path, study: Study) -> None:
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    (entry,) = found(tmp_path, book_of(tmp_path, A_1=claim(needed_seeds=3)), study)[
        "claims"
    ].values()
    assert entry["gate"]["problems"] and entry["gate"]["exempt"]
    assert entry["status"] == "supported"


def test_only_new_claims_are_refused(tmp_path: Path) -> None:
    bad = Assessment("A-1", 0.05, ("3 pairs",), None, "", None, None, None)
    with pytest.raises(UserError, match="A-1"):
        decidability.refuse_claims([bad])
    old = Assessment("A-1", 0.05, ("3 pairs",), None, "", None, None, decidability.OLDER)
    good = Assessment("A-1", 0.05, (), None, "", None, None, None)
    decidability.refuse_claims([old, good])


# --- the commands -----------------------------------------------------------------------------


@pytest.fixture
def checkout(tmp_path: Path, study: Study) -> Path:
    """A pipeline folder whose claim on agc cannot be decided."""
    data = {name: params.model_dump(mode="json") for name, params in study.data.items()}
    arms = {name: spelled(row) for name, row in study.arms.items()}
    write_json(tmp_path / "params.yaml", {"data": data, "arms": arms})
    write_json(tmp_path / "claims.yaml", {"claims": {"A-1": claim(needed_seeds=3)}})
    return tmp_path


def files(root: Path) -> set[Path]:
    return set(root.rglob("*"))


def test_launch_refuses_the_arms_of_the_claim(checkout: Path) -> None:
    before = files(checkout)
    for arm in ("agc", "control"):
        with pytest.raises(UserError, match="A-1"):
            check_start(checkout, arm)
    assert check_start(checkout, "loose") and files(checkout) == before


def test_a_claim_about_an_unknown_arm_is_refused_before_the_runs(checkout: Path) -> None:
    arms = {"treatment": "agc", "control": "contrl"}
    write_json(checkout / "claims.yaml", {"claims": {"A-1": claim(arms=arms)}})
    with pytest.raises(UserError, match=r"'contrl'.*'control'"):
        check_start(checkout, "agc")
    assert check_start(checkout, "control")


def test_train_refuses_the_arms_of_the_claim(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "check_data", lambda *_: None)
    before = files(checkout)
    for attempt in (lambda: train.train_arm(checkout, "agc"), lambda: train.train_all(checkout)):
        with pytest.raises(UserError, match="A-1"):
            attempt()
    assert files(checkout) == before


def test_a_claim_of_the_checkout_refuses_arms_of_a_pipeline_below(
    checkout: Path, study: Study
) -> None:
    subprocess.run(("git", "init", "-q"), cwd=checkout, check=True)
    arms = {"treatment": "below/agc", "control": "below/control"}
    write_json(checkout / "claims.yaml", {"claims": {"A-1": claim(needed_seeds=3, arms=arms)}})
    (checkout / "below").mkdir()
    shutil.copy(checkout / "params.yaml", checkout / "below")
    with pytest.raises(UserError, match="A-1"):
        decidability.refuse_undecidable(checkout / "below", ["agc"])
    decidability.refuse_undecidable(checkout / "below", ["loose"])
    decidability.refuse_undecidable(checkout, ["agc"])


def test_older_claims_stop_nothing(checkout: Path, study: Study) -> None:
    store(checkout, study, "control", CONTROL)
    store(checkout, study, "agc", WORSE)
    assert check_start(checkout, "agc")
    (assessment,) = decidability.assessed(checkout, ["agc"])
    assert assessment.problems and assessment.exempt

"""The frame of the benchmarks: goals, figures and what is stored of them. Nothing is measured."""

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT))

from bench import __main__ as frame  # noqa: E402
from bench import browser, startup, table  # noqa: E402
from bench.figure import Figure, Goal  # noqa: E402
from bench.many import make_checkout  # noqa: E402
from bench.scaling.curve import Curve  # noqa: E402
from study.evidence.arms import load_arms  # noqa: E402
from study.runs import read_json  # noqa: E402
from study.stages.findings import write_findings  # noqa: E402

FASTER = Goal("A", "a speed", 2.0, "x", at_least=True)
SMALLER = Goal("B", "a cost", 2.0, "s", at_least=False)
KNOWN = [goal for goals in frame.MODULES.values() for goal in goals]


def declared(module: str) -> list[str]:
    """Ids of the goals that stand in a module, alone or in a mapping."""
    values = vars(importlib.import_module(f"bench.{module}")).values()
    listed = [
        v for value in values for v in (value.values() if isinstance(value, dict) else [value])
    ]
    return [goal.id for goal in listed if isinstance(goal, Goal)]


# --- goals and figures ------------------------------------------------------------------------


@pytest.mark.parametrize("module", frame.MODULES)
def test_a_module_declares_the_goals_that_the_frame_expects_of_it(module):
    assert sorted(declared(module)) == sorted(frame.MODULES[module])
    assert callable(importlib.import_module(f"bench.{module}").measure)


def test_a_goal_belongs_to_one_module():
    assert len(set(KNOWN)) == len(KNOWN)


@pytest.mark.parametrize(
    ("goal", "value", "met"),
    [(FASTER, 1.9, False), (FASTER, 2.0, True), (SMALLER, 2.1, False), (SMALLER, 2.0, True)],
)
def test_a_speed_must_reach_its_goal_and_a_cost_stay_within(goal, value, met):
    assert Figure(goal, value).met is met


def test_what_was_not_measured_is_neither_met_nor_missed_and_says_why():
    record = Figure(FASTER, None, why="no such machine").record({"cores": 2}, {"python": "3"})
    assert record["met"] is None and record["value"] is None
    assert record["why"] == "no such machine"


def test_a_record_holds_the_goal_the_value_and_where_it_was_taken():
    record = Figure(SMALLER, 1.5, {"wall s": [1.5]}).record({"cores": 2}, {"python": "3"})
    assert (record["id"], record["value"], record["goal"], record["met"]) == ("B", 1.5, 2.0, True)
    assert record["better"] == "lower" and record["details"] == {"wall s": [1.5]}
    assert record["machine"] == {"cores": 2} and record["versions"] == {"python": "3"}


# --- which are taken, what is kept ------------------------------------------------------------


def test_without_a_choice_every_module_is_measured():
    assert frame.chosen([]) == list(frame.MODULES)


def test_a_goal_or_the_start_of_one_chooses_its_module():
    for module, goals in frame.MODULES.items():
        assert frame.chosen([goals[0]]) == [module]
    assert frame.chosen(["C7"]) == ["simulate"]


def test_an_unknown_goal_is_refused_with_the_known_ones():
    with pytest.raises(SystemExit, match=r"no goal 'Z9'.*C1.*C8-app"):
        frame.chosen(["C1", "Z9"])


def test_saving_replaces_only_what_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(frame, "LATEST", tmp_path / "latest.json")
    readme = tmp_path / table.README
    readme.write_text(f"before {table.BEGIN} old {table.END} after")
    first, last = (Goal(known, "", 1.0, "x", True) for known in (KNOWN[0], KNOWN[-1]))
    frame.save([Figure(last, 3.0)])
    frame.save([Figure(first, 1.0)])
    frame.save([Figure(first, 2.0)])
    stored = json.loads((tmp_path / "latest.json").read_text())
    assert [(entry["id"], entry["value"]) for entry in stored] == [
        (KNOWN[0], 2.0),
        (KNOWN[-1], 3.0),
    ]
    text = readme.read_text()
    assert text.startswith("before ") and text.endswith(" after") and "old" not in text
    assert f"| {KNOWN[0]} |  | 2 x | ≥ 1 x | yes |" in text


def test_the_stored_figures_are_known_and_judged_by_their_own_numbers():
    entries = json.loads(frame.LATEST.read_text())
    ids = [entry["id"] for entry in entries]
    assert len(set(ids)) == len(ids) and set(ids) <= set(KNOWN)
    for entry in entries:
        assert {"id", "value", "goal", "met", "machine", "versions"} <= set(entry)
        if entry["value"] is None:
            assert entry["met"] is None and entry["why"]
        else:
            higher = {"higher": True, "lower": False}[entry["better"]]
            goal = Goal(entry["id"], entry["what"], entry["goal"], entry["unit"], higher)
            assert entry["met"] is goal.reached(entry["value"])


# --- what the benchmarks stand on -------------------------------------------------------------


def test_without_a_browser_the_app_has_no_figure_but_a_reason(monkeypatch):
    monkeypatch.setattr(browser, "find", lambda: None)
    for figure in startup.measure_app():
        assert figure.value is None and "apt install chromium" in str(figure.why)


def test_a_made_checkout_is_judged_like_a_real_one(tmp_path):
    make_checkout(tmp_path, arms=3, seeds=2)
    arms = load_arms(tmp_path / "results")
    assert set(arms) == {"control", "arm_001", "arm_002"}
    assert {len(arm.with_outcome("ok")) for arm in arms.values()} == {2}
    write_findings(tmp_path)
    findings = read_json(tmp_path / "findings.json")
    assert len(findings["claims"]) == 2
    assert findings["flags"] == [] and findings["scale_flags"] == []
    for entry in findings["claims"].values():
        assert entry["changed"].keys() == {"optimizer.lr"}
        assert all(gate["passed"] for gate in entry["gates"])


def test_a_curve_finds_the_law_it_was_made_of():
    sizes = (10, 30, 100, 300, 1000)
    curve = Curve("index", "runs", sizes, tuple(2 + 5 * (s / 1000) ** 1.5 for s in sizes))
    assert curve.law == pytest.approx((2, 5, 1.5), rel=1e-4)
    ends, seconds = curve.beyond()
    assert (ends[0], ends[-1]) == pytest.approx((1000, 10_000))
    assert seconds[-1] == pytest.approx(2 + 5 * 10**1.5, rel=1e-3)


def test_the_table_of_the_readme_is_that_of_the_latest_figures() -> None:
    entries = json.loads(frame.LATEST.read_text())
    text = (frame.LATEST.parent / table.README).read_text()
    assert table.written(text, entries) == text

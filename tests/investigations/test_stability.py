"""The runs of a curve are its base arm with the declared changes; stored, found, and compared."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from checking import list_recorded
from study.formats.dataset import Dataset, save_dataset
from study.investigations.stability import findings, run
from study.investigations.stability.dose import fit, ratio
from study.investigations.stability.facts import count, load, load_curve, stored
from study.investigations.stability.figure import draw_stability, table, write_figure
from study.investigations.stability.settings import Stability
from study.metrics.skill import LOST, is_dead
from study.report.figures.style import save, styled
from study.runs import RunFolder, write_yaml
from study.settings import Arm, DataParams, UserError, leaves, load_study

GRID = [{"lr": 0.002, "seeds": [1, 2]}, {"lr": 1e6, "seeds": [3]}]


def curve(**changes: Any) -> dict[str, Any]:
    return {"base": "control", "data": "data/tiny", "settings": [], **changes}


CURVES = {
    "plain": curve(),
    "no_clip": curve(settings=["clip.algorithm=none", "epochs=2"]),
}


def write_params(root: Path, params: DataParams, arm: Arm, **changes: Any) -> Path:
    section = {"epochs": 1, "versus": "plain", "grid": GRID, "curves": CURVES}
    content = {
        "data": {"tiny": params.model_dump(mode="json")},
        "arms": {"control": arm.model_dump(mode="json")},
        "stability": {**section, **changes},
    }
    write_yaml(root / "params.yaml", content)
    return root


@pytest.fixture
def pipeline(tmp_path: Path, tiny: Dataset, tiny_params: DataParams, control: Arm) -> Path:
    save_dataset(tiny, tmp_path / "data" / "tiny")
    return write_params(tmp_path, tiny_params, control)


@pytest.fixture(scope="module")
def computed(
    tmp_path_factory: pytest.TempPathFactory, tiny: Dataset, tiny_params: DataParams, control: Arm
) -> Path:
    """A pipeline folder with both curves computed; shared, so no test may change it."""
    root = tmp_path_factory.mktemp("stability")
    save_dataset(tiny, root / "data" / "tiny")
    run.run_curves(write_params(root, tiny_params, control), at_once=1)
    return root


@pytest.fixture
def copied(computed: Path, tmp_path: Path) -> Path:
    shutil.copytree(computed, tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Seeds of the runs that are really trained from here on."""
    seeds: list[int] = []
    whole = run.run_all

    def counted(jobs: Any, places: Any) -> None:
        seeds.extend(job.seed for job in jobs)
        whole(jobs, places)

    monkeypatch.setattr(run, "run_all", counted)
    return seeds


# --- the rule of death ------------------------------------------------------------------------


def test_a_run_dies_without_a_finite_loss_or_without_skill() -> None:
    noise, constant = 0.1, 1.1
    for loss in (math.nan, math.inf, constant, constant - LOST + 1e-6):
        assert is_dead(loss, noise, constant)
    for loss in (noise, constant - LOST - 1e-6):
        assert not is_dead(loss, noise, constant)


# --- settings reach the runs ------------------------------------------------------------------


def test_an_arm_differs_from_its_base_in_the_declared_factors_only(pipeline: Path) -> None:
    study = load_study(pipeline / "params.yaml")
    section = study.section(Stability)
    base = leaves(study.arms["control"])
    for name, own in (("plain", {"epochs": 1}), ("no_clip", {"epochs": 2, **NO_CLIP})):
        plan = run.planned(study, section, name)
        assert [arm.seeds for arm in plan.arms] == [(1, 2), (3,)]
        for arm, rate in zip(plan.arms, GRID, strict=True):
            assert leaves(arm) == {**base, **own, "optimizer.lr": rate["lr"]}


NO_CLIP = {"clip.gradient_clip_algorithm": "none", "clip.gradient_clip_val": None}


@pytest.mark.slow
def test_the_settings_of_a_curve_reach_the_objects_that_train(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    effective: dict[tuple[str, int], str] = {}
    before = run.remove_tree

    def seen(folder: Path) -> None:
        status = RunFolder(folder).status()
        effective[status["arm"], status["seed"]] = (folder / "params.yaml").read_text()
        before(folder)

    monkeypatch.setattr(run, "remove_tree", seen)
    run.run_curves(pipeline, at_once=1)
    assert not list(pipeline.glob("work/*"))
    assert set(effective) == {(name, seed) for name in CURVES for seed in (1, 2, 3)}
    for (name, seed), text in effective.items():
        assert ("rule: none" in text) == (name == "no_clip")
        assert ("epochs: 2" in text) == (name == "no_clip")
        assert ("lr: 0.002" in text) == (seed != 3)


# --- the stage --------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_curve_counts_deaths_and_divergence(computed: Path) -> None:
    for name in CURVES:
        curve = load_curve(stored(computed, name))
        assert curve is not None
        assert [(r.lr, r.seed) for r in curve.runs] == [(0.002, 1), (0.002, 2), (1e6, 3)]
        assert curve.runs[2].died and curve.runs[2].diverged and curve.runs[2].skill is None
        for one in curve.runs[:2]:
            assert not one.diverged and one.skill is not None
            assert one.died == (one.skill < LOST)
        assert curve.ld50 == fit(count(curve.runs))


@pytest.mark.slow
def test_a_curve_that_is_only_taken_over_is_not_said_to_be_of_this_machine(
    copied: Path, trained: list[int]
) -> None:
    kept = copied / "provenance" / "stability"
    assert sorted(file.name for file in kept.iterdir())
    shutil.rmtree(kept)
    run.run_curves(copied, at_once=1)
    assert trained == [] and not kept.exists()


@pytest.mark.slow
def test_found_runs_are_not_trained_again(copied: Path, trained: list[int]) -> None:
    before = {name: stored(copied, name).read_bytes() for name in CURVES}
    run.run_curves(copied, at_once=1)
    assert trained == []
    assert {name: stored(copied, name).read_bytes() for name in CURVES} == before


@pytest.mark.slow
def test_a_stopped_curve_trains_what_it_lacks_and_ends_the_same(
    computed: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored(copied, "plain").unlink()
    whole, trained = run.run_all, []

    def stopped(jobs: Any, places: Any) -> None:
        trained.append([job.seed for job in jobs])
        whole(jobs[:1], places)
        if len(trained) == 1:
            raise KeyboardInterrupt
        whole(jobs, places)

    monkeypatch.setattr(run, "run_all", stopped)
    with pytest.raises(KeyboardInterrupt):
        run.run_curves(copied, ["plain"], at_once=1)
    assert not stored(copied, "plain").is_file()
    run.run_curves(copied, ["plain"], at_once=1)
    assert trained == [[1, 2, 3], [2, 3]]
    assert stored(copied, "plain").read_bytes() == stored(computed, "plain").read_bytes()


@pytest.mark.slow
def test_another_setting_is_another_run(
    copied: Path, tiny_params: DataParams, control: Arm, trained: list[int]
) -> None:
    other = control.model_copy(update={"batch_size": 32})
    run.run_curves(write_params(copied, tiny_params, other), ["plain"], at_once=1)
    assert trained == [1, 2, 3]


@pytest.mark.parametrize("place", ["train_loss", "val_loss", "stored"])
def test_one_loss_that_is_not_finite_is_divergence(tmp_path: Path, place: str) -> None:
    losses = {"train_loss": 0.3, "val_loss": 0.2, "stored": 0.21}
    for value in (0.3, math.inf, math.nan):
        run_folder = RunFolder(tmp_path / f"{value}")
        given = {**losses, place: value}
        stored_loss = given.pop("stored")
        run_folder.write_history([{"epoch": 1, **given}])
        run_folder.update_status(state="finished", stored={"last": {"val_loss": stored_loss}})
        expected = stored_loss if math.isfinite(value) else math.inf
        assert run._last_loss(run_folder) == expected


@pytest.mark.parametrize("rows", [[], [{"epoch": 1, "train_loss": 0.3, "val_loss": 0.2}]])
def test_a_run_that_failed_with_finite_losses_is_not_a_death(tmp_path: Path, rows: list) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.write_history(rows)
    folder.update_status(state="failed", cause="out of memory")
    with pytest.raises(UserError, match="out of memory"):
        run._last_loss(folder)


@pytest.mark.parametrize("stored", [None, {}, {"last": {}}])
def test_a_run_without_a_stored_loss_is_named(tmp_path: Path, stored: Any) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.write_history([{"epoch": 1, "train_loss": 0.3, "val_loss": 0.2}])
    folder.update_status(state="finished", stored=stored)
    with pytest.raises(UserError, match=r"status\.json: stored\.last\.val_loss is missing"):
        run._last_loss(folder)
    folder.write_history([{"epoch": 1, "train_loss": 0.3}])
    with pytest.raises(UserError, match="no column 'val_loss'"):
        run._last_loss(folder)


# --- reading and showing ----------------------------------------------------------------------


@pytest.mark.slow
def test_ratios_and_figure_show_the_stored_numbers(computed: Path) -> None:
    found = load(computed)
    by_name = {curve.curve: curve.ld50 for curve in found.curves}
    assert found.ratios == {"no_clip": ratio(by_name["no_clip"], by_name["plain"])}
    assert found.missing == ()
    shown = table(found)
    assert list(shown["dead"]) == [k for curve in found.curves for k in curve.deaths.dead]
    with styled():
        drawing = draw_stability(found)
        assert not isinstance(drawing, str)
        svg = save(drawing).svg
    assert all(curve.label in svg for curve in found.curves)


@pytest.mark.slow
def test_the_figure_is_written_as_its_suffix_says_and_the_same_twice(
    computed: Path, tmp_path: Path
) -> None:
    for name, start in (("a.svg", b"<?xml"), ("a.png", b"\x89PNG")):
        contents = []
        for _ in range(2):
            write_figure(load(computed), tmp_path / name)
            contents.append((tmp_path / name).read_bytes())
        assert contents[0].startswith(start) and contents[0] == contents[1]
    with pytest.raises(UserError, match=r"\.svg"):
        write_figure(load(computed), tmp_path / "a.jpg")


@pytest.mark.slow
def test_findings_hold_the_stored_numbers(computed: Path, tmp_path: Path) -> None:
    assert findings.facts({}, tmp_path) == {}
    shutil.copytree(computed, tmp_path / findings.PIPELINE)
    assert findings.facts({}, tmp_path) == {}, "computed, and not recorded"
    list_recorded(tmp_path)
    content = findings.facts({}, tmp_path)[findings.NAME]
    assert json.loads(json.dumps(content)) == content
    message = load(computed)
    for curve, entry in zip(message.curves, content["curves"], strict=True):
        assert entry["ld50"] == asdict(curve.ld50)
        assert entry["dead"] == sum(run.died for run in curve.runs)
        assert (entry["ratio"] is None) == (curve.curve == message.versus)


def test_without_results_every_curve_is_missing(pipeline: Path) -> None:
    found = load(pipeline)
    assert set(found.missing) == set(CURVES)
    assert found.headline is None
    assert isinstance(draw_stability(found), str)


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "noun"),
    [
        ({"curves": {"plain": curve(data="data/absent")}}, "data/absent"),
        ({"versus": "absent"}, "absent"),
        ({"grid": GRID[::-1]}, "order"),
        ({"grid": [GRID[0], {"lr": 1.0, "seeds": [2]}]}, "seed 2"),
        ({"grid": GRID[:1]}, "grid"),
        ({"curves": {"plain": curve(base="absent")}}, "absent"),
        (
            {"curves": {"plain": curve(settings=["clip.nothing=1"])}},
            "clip.nothing",
        ),
        ({"curves": {"plain": curve(settings=["epochs=0"])}}, "epochs"),
        (
            {"curves": {"plain": curve(settings=["clip.algorithm=nothing"])}},
            "nothing",
        ),
        ({"curves": {"../plain": curve()}}, "not a name"),
    ],
)
def test_settings_that_cannot_work_are_refused_and_nothing_is_written(
    pipeline: Path, tiny_params: DataParams, control: Arm, changes: dict[str, Any], noun: str
) -> None:
    write_params(pipeline, tiny_params, control, **changes)
    with pytest.raises(UserError, match=noun):
        run.run_curves(pipeline, at_once=1)
    assert sorted(path.name for path in pipeline.iterdir()) == ["data", "params.yaml"]


def test_an_unknown_curve_and_a_pipeline_without_curves_are_refused(
    pipeline: Path, tiny_params: DataParams, control: Arm
) -> None:
    with pytest.raises(UserError, match="plain"):
        run.run_curves(pipeline, ["plan"])
    content = {
        "data": {"tiny": tiny_params.model_dump(mode="json")},
        "arms": {"control": control.model_dump(mode="json")},
    }
    write_yaml(pipeline / "params.yaml", content)
    with pytest.raises(UserError, match="stability"):
        run.run_curves(pipeline)


def test_a_damaged_curve_is_named(pipeline: Path) -> None:
    file = stored(pipeline, "plain")
    file.parent.mkdir(parents=True)
    file.write_text('{"format": 1, "runs": 3}')
    with pytest.raises(UserError, match=r"plain\.json"):
        load(pipeline)

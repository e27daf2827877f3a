"""Settings: every mistake is named, nothing has a default, and one change is one factor."""

import copy
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from study.params import (
    Arm,
    Model,
    UserError,
    check_name,
    diff,
    find_row,
    leaves,
    load_study,
    parse_study,
    run_hash,
)

ROOT = Path(__file__).parent.parent


@pytest.fixture
def given() -> dict:
    return YAML(typ="safe", pure=True).load((ROOT / "params.yaml").read_text())


def put(given: dict, path: str, value: object) -> None:
    *parents, last = path.split(".")
    for key in parents:
        given = given[key]
    given[last] = value


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("armz", {}, "unknown key armz; did you mean 'arms'"),
        ("arms.control.epoch", 3, "unknown key arms.control.epoch; did you mean 'epochs'"),
        ("arms.control.optimizer.momentm", 1, "unknown key arms.control.optimizer.momentm"),
        ("arms.control.optimizer.lr", "fast", "arms.control.optimizer.lr"),
        ("arms.control.optimizer.lr", -1.0, "greater than 0"),
        ("arms.control.optimizer.lr", float("nan"), "arms.control.optimizer.lr"),
        ("arms.control.optimizer.name", "adamz", "unknown optimizer 'adamz'; did you mean 'adam'"),
        ("arms.control.schedule.name", "cosine", "unknown schedule 'cosine'"),
        ("arms.control.loss", {"name": "mse"}, "unknown loss 'mse'"),
        ("arms.control.clip.value", 1, "unknown key arms.control.clip.value"),
        ("arms.control.clip.gradient_clip_val", None, "needs a gradient_clip_val"),
        ("arms.control_no_clip.clip.gradient_clip_val", 1.0, "none takes gradient_clip_val: null"),
        ("arms.control.versus", "contrl", "no arm; did you mean 'control'"),
        ("arms.control.seeds", [], "arms.control.seeds"),
        ("arms.control.seeds", [1, 1], "every seed stands once"),
        ("arms.control.data", "../secrets", "accepted: data/NAME or imported/NAME"),
        ("arms.control.data", "data/quik", "did you mean 'quick'"),
        ("arms.../x", {}, "is not a name"),
        ("arms.control", 3, "arms.control"),
        (
            "arms.control.schedule",
            {"name": "warmup_cosine", "warmup_epochs": 10, "final_ratio": 0.1},
            "leaves nothing of 10 epochs",
        ),
        ("data.quick.nn", 3, "unknown key data.quick.nn; did you mean 'n'"),
        ("data.quick.n", 200, "enlarge object_px"),
        ("data.quick.object_px", 1000, "enlarge canvas_px"),
        ("data.quick.object_seeds.test", 1, "three different scans"),
        ("data.quick.probe.kind", "laser", "unknown probe 'laser'; known: file, focus"),
        ("data.quick.scan.stride_px.tran", 3, "did you mean 'train'"),
        (
            "data.quick.assumed_probe",
            {"kind": "laser"},
            "unknown assumed_probe 'laser'; known: file",
        ),
        (
            "data.quick.assumed_probe",
            {"kind": "ideal_disk"},
            "assumed_probe.smooth_sigma_px is mis",
        ),
        ("arms.control.loss", {"name": "mae"}, "arms.control.loss.overlap_weight is missing"),
        ("arms.control.loss.overlap_weight", -1.0, "greater than or equal to 0"),
        (
            "arms.control.loss",
            {"name": "supervised", "overlap_weight": 1.0},
            "unknown key arms.control.loss.overlap_weight",
        ),
        ("arms.control.legacy", {}, "arms.control.legacy.batch_coupled_probe is missing"),
        ("arms.control.legacy.batch_coupled_probe", "yes", "valid boolean; got 'yes'"),
        ("studies", {"a": {"asks": "?", "arms": ["contrl"]}}, "no arm; did you mean 'control'"),
        ("studies", {"a": {"asks": "?", "arms": []}}, "studies.a.arms"),
        ("studies", {"a": {"ask": "?", "arms": ["control"]}}, "studies.a.ask; did you mean 'asks'"),
        ("studies", {"../a": {"asks": "?", "arms": ["control"]}}, "is not a name"),
        ("data.quick.photons_per_pattern", 0, "data.quick.photons_per_pattern"),
    ],
)
def test_a_mistake_is_named_with_what_is_accepted(given, path, value, says):
    if path == "arms.../x":
        given["arms"]["../x"] = given["arms"]["control"]
    else:
        put(given, path, value)
    with pytest.raises(UserError, match=r"params\.yaml") as error:
        parse_study(given, "params.yaml")
    assert says in str(error.value)


def fields_of(model: type[Model]) -> list[str]:
    return [name for name, field in model.model_fields.items() if not field.is_required()]


def test_no_setting_has_a_default():
    """But whole sections that a pipeline may lack."""
    models = [model for model in Model.__subclasses__() if model.__module__ == "study.params"]
    assert {model.__name__: fields_of(model) for model in models if fields_of(model)} == {
        "Study": ["studies", "regimes"]
    }


def test_studies_group_arms_and_change_no_run(given):
    arms = parse_study(given, "x").arms
    given["studies"] = {"clips": {"asks": "Which clip?", "arms": ["control", "agc"]}}
    grouped = parse_study(given, "x")
    assert grouped.studies["clips"].arms == ("control", "agc") and grouped.arms == arms


@pytest.mark.parametrize("field", [f for f in Arm.model_fields if f != "asks"] + ["asks"])
def test_a_missing_field_is_named(given, field):
    del given["arms"]["control"][field]
    with pytest.raises(UserError, match=f"arms.control.{field} is missing"):
        parse_study(given, "params.yaml")


@pytest.mark.parametrize("file", ["params.yaml", "studies/params.yaml", "full/params.yaml"])
def test_the_difference_from_versus_equals_changes(file):
    study = load_study(ROOT / file)
    for name, row in study.arms.items():
        told = set(row.changes)
        found = set(diff(study.arms[row.versus], row)) if row.versus else set()
        assert told == found, name


def test_each_arm_of_stage_a_changes_one_factor():
    arms = load_study(ROOT / "params.yaml").arms
    assert {len(row.changes) for row in arms.values() if row.versus} == {1}


def test_the_full_study_has_the_arms_of_the_root_study_as_published():
    quick, full = (load_study(ROOT / file) for file in ("params.yaml", "full/params.yaml"))
    assert set(quick.arms) <= set(full.arms)
    published = {"data", "generator.width", "generator.mode_set", "epochs"}
    for name, row in quick.arms.items():
        rule = {"clip.gradient_clip_algorithm"} if name == "agc" else set()
        assert set(diff(row, full.arms[name])) <= published | rule, name
    assert full.data["full"].n == 64 and full.data["full"].images_per_split == 2
    assert leaves(full.arms["agc"])["clip.gradient_clip_algorithm"] == "agc_tensor"
    other = [
        n for n, row in full.arms.items() if leaves(row).get("generator.mode_set") == "classic"
    ]
    assert other == ["control_classic"]


def test_the_studies_change_one_factor_an_arm_but_for_the_bundles():
    arms = load_study(ROOT / "studies/params.yaml").arms
    many = {name for name, row in arms.items() if len(row.changes) > 1}
    whole = {"better", "published_control", "legacy_stable_long", "legacy_control_long"}
    # The repeats of the collapse on a second object have half of the length.
    shorter = {"control_lr2e2_second", "better_lr2e2_second"}
    assert many == whole | shorter


def test_no_seed_of_the_studies_ran_in_the_root_study():
    root, more = (load_study(ROOT / file).arms for file in ("params.yaml", "studies/params.yaml"))
    seen = {seed for row in root.values() if isinstance(row, Arm) for seed in row.seeds}
    assert not seen & {s for row in more.values() if isinstance(row, Arm) for s in row.seeds}


def test_the_studies_cost_at_most_three_hundred_full_length_runs():
    rows = load_study(ROOT / "studies/params.yaml").arms.values()
    assert sum(len(r.seeds) * r.epochs / 10 for r in rows if isinstance(r, Arm)) <= 300


def test_a_run_keeps_its_hash_when_only_prose_or_seeds_change(given):
    before = parse_study(given, "x").arms["control"]
    edited = copy.deepcopy(given)
    edited["arms"]["control"]["asks"] = "Another question?"
    edited["arms"]["control"]["seeds"] = [1, 2, 3, 4, 5, 6, 7, 8]
    after = parse_study(edited, "x").arms["control"]
    assert run_hash(before, 1, "d", "f") == run_hash(after, 1, "d", "f")


def test_a_run_changes_its_hash_with_every_setting(given):
    row = parse_study(given, "x").arms["control"]
    base = run_hash(row, 1, "d", "f")
    others = {run_hash(row, 2, "d", "f"), run_hash(row, 1, "e", "f"), run_hash(row, 1, "d", "g")}
    for key, value in leaves(row).items():
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            continue
        edited = copy.deepcopy(given)
        put(edited, f"arms.control.{key}", value * 2 or 1.0)
        others.add(run_hash(parse_study(edited, "x").arms["control"], 1, "d", "f"))
    assert base not in others
    numbers = [v for v in leaves(row).values() if type(v) in (int, float)]
    assert len(others) == 3 + len(numbers)


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", "x" * 65, ".hidden", "a b", "1st"])
def test_names_with_path_parts_are_refused(name):
    with pytest.raises(UserError, match="is not a name"):
        check_name(name)


def test_an_unknown_arm_gets_the_nearest_name():
    with pytest.raises(UserError, match="did you mean 'control'"):
        find_row(load_study(ROOT / "params.yaml"), "contrl")


@pytest.mark.parametrize("text", ["a: [", "\tx: 1", "- 1\n- 2", "3", ""])
def test_a_file_that_is_no_settings_file_is_a_sentence(tmp_path, text):
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        load_study(file)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_study(tmp_path / "params.yaml")


# --- the regimes ------------------------------------------------------------------------------


@pytest.fixture
def with_regimes(given: dict) -> dict:
    cell = {
        "dose": 1e9,
        "probe": "known",
        "data": "data/quick",
        "control": "control",
        "better": "stable",
    }
    section = {
        "seed": 1,
        "steps_px": [5, 32],
        "rpie": {"passes": 3, "alpha": 0.1, "update_probe": False},
        "rpie_damped": None,
        "network_rpie_passes": 2,
        "good": {
            "amplitude_mae": {"value": 0.05, "unit": "object units"},
            "phase_mae": {"value": 0.1, "unit": "rad"},
        },
        "cells": [cell, {**cell, "probe": "perturbed"}],
    }
    return {**given, "regimes": section}


def test_regimes_are_optional_and_read(given: dict, with_regimes: dict) -> None:
    assert parse_study(given, "params").regimes is None
    regimes = parse_study(with_regimes, "params").regimes
    assert regimes is not None
    assert [cell.probe for cell in regimes.cells] == ["known", "perturbed"]


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("stepz_px", [5], "unknown key regimes.stepz_px; did you mean 'steps_px'"),
        ("steps_px", [5, 5], "every step stands once"),
        ("steps_px", [125], "leaves 124 px for steps"),
        ("steps_px", [0], "regimes.steps_px.0"),
        ("rpie.pases", 3, "unknown key regimes.rpie.pases; did you mean 'passes'"),
        ("rpie_damped", {"passes": 3, "alpha": 2.0}, "regimes.rpie_damped.alpha"),
        ("good.phase_mae.unit", "degrees", "regimes.good.phase_mae.unit"),
        ("good.amplitude_mae", {"value": 0.1}, "regimes.good.amplitude_mae.unit is missing"),
        ("cells.0.dos", 1e9, "unknown key regimes.cells.0.dos; did you mean 'dose'"),
        ("cells.0.dose", 1e3, "regimes.cells.0.dose is 1000 but data/quick has 1e+09"),
        ("cells.0.data", "data/quik", "regimes.cells.0.data is 'data/quik', no data set"),
        ("cells.0.control", "contrl", "no trained arm; did you mean 'control'"),
        ("cells.1.better", "rpie", "regimes.cells.1.better is 'rpie', which is no trained arm"),
        ("cells.1.probe", "known", "two cells have dose 1e+09 and probe known"),
        ("cells.1.probe", "guessed", "regimes.cells.1.probe"),
    ],
)
def test_every_mistake_in_the_regimes_is_named(
    with_regimes: dict, path: str, value: object, says: str
) -> None:
    node, *rest = with_regimes["regimes"], *path.split(".")
    for key in rest[:-1]:
        node = node[int(key) if isinstance(node, list) else key]
    node[rest[-1]] = value
    with pytest.raises(UserError) as error:
        parse_study(with_regimes, "params")
    assert says in str(error.value)


def test_a_network_of_other_data_is_refused(with_regimes: dict) -> None:
    with_regimes["data"]["dim"] = with_regimes["data"]["quick"]
    with_regimes["arms"]["stable"]["data"] = "data/dim"
    with pytest.raises(
        UserError, match="'stable', an arm on data/dim, but the cell has data/quick"
    ):
        parse_study(with_regimes, "params")

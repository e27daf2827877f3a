"""Settings: every mistake is named, nothing has a default, and one change is one factor."""

import copy
import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from study import investigations
from study.formats.requests import request_of
from study.settings import (
    OPTIONAL,
    Arm,
    DataParams,
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
FIRST_STUDY = ROOT / "tests" / "first_study"


@pytest.fixture
def given() -> dict:
    return YAML(typ="safe", pure=True).load((FIRST_STUDY / "params.yaml").read_text())


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
        ("arms.control.versus", "contrl", "not an arm; did you mean 'control'"),
        ("arms.control.seeds", [], "arms.control.seeds"),
        ("arms.control.seeds", [1, 1], "every seed once"),
        ("arms.control.data", "../secrets", "accepted: data/NAME or imported/NAME"),
        ("arms.control.data", "data/quik", "did you mean 'quick'"),
        ("arms.../x", {}, "is not a name"),
        ("arms.control", 3, "arms.control"),
        (
            "arms.control.schedule",
            {"name": "warmup_cosine", "warmup_epochs": 10, "final_ratio": 0.1},
            "warmup_epochs 10 is not below epochs",
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
        ("studies", {"a": {"asks": "?", "arms": ["contrl"]}}, "not an arm; did you mean 'control'"),
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
    """But whole sections that a pipeline or an arm may lack, and what no result depends on."""
    sections = [part.SECTION for part in investigations.parts("settings")]
    modules = {section.__module__ for section in sections}
    models = [
        model
        for model in Model.__subclasses__()
        if model.__module__ in modules or model.__module__.startswith("study.settings.")
    ]
    models += sections
    assert {model.__name__: fields_of(model) for model in models if fields_of(model)} == {
        "DataParams": ["seeds", "stitching", "mask"],
        "Regimes": ["rpie_converged", "seeds"],  # later than the stored map
        "Study": ["studies"],
        "Survival": ["traced_seed"],
    }


def test_studies_group_arms_and_change_no_run(given):
    arms = parse_study(given, "x").arms
    given["studies"] = {"clips": {"asks": "Which clip?", "arms": ["control", "agc"]}}
    grouped = parse_study(given, "x")
    assert grouped.studies["clips"].arms == ("control", "agc") and grouped.arms == arms


@pytest.mark.parametrize("field", [f for f in Arm.model_fields if f not in OPTIONAL])
def test_a_missing_field_is_named(given, field):
    del given["arms"]["control"][field]
    with pytest.raises(UserError, match=f"arms.control.{field} is missing"):
        parse_study(given, "params.yaml")


@pytest.mark.parametrize("file", ["params.yaml", "studies/params.yaml", "full/params.yaml"])
def test_the_difference_from_versus_equals_changes(file):
    study = load_study(ROOT / file)
    for name, row in study.arms.items():
        message = set(row.changes)
        found = set(diff(study.arms[row.versus], row)) if row.versus else set()
        assert message == found, name


def test_each_arm_of_stage_a_changes_one_factor():
    arms = load_study(FIRST_STUDY / "params.yaml").arms
    assert {len(row.changes) for row in arms.values() if row.versus} == {1}


def test_the_full_study_has_the_arms_of_the_first_study_as_published():
    quick, full = (load_study(f / "params.yaml") for f in (FIRST_STUDY, ROOT / "full"))
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
    # No refinement has no layers; one pattern is another data set.
    assert many == whole | {"unrolled_unrefined", "unrolled_single"}


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


@pytest.mark.parametrize(("name", "spelling"), [("from_amplitude", True), ("none", False)])
def test_a_phase_by_name_is_the_phase_of_existing_manifests(given, name, spelling):
    sets = []
    for value in (name, spelling):
        put(given, "data.quick.phase", value)
        sets.append(parse_study(given, "params.yaml").data["quick"])
    named, spelled = (request_of(params) for params in sets)
    assert json.dumps(named) == json.dumps(spelled)
    assert named["phase"] is spelling


def test_an_independent_phase_is_another_data_set(given):
    put(given, "data.quick.phase", "independent")
    params = parse_study(given, "params.yaml").data["quick"]
    assert request_of(params)["phase"] == "independent"
    assert DataParams.model_validate(request_of(params)) == params


@pytest.mark.parametrize("value", ["both", "", 2, None, [], {"kind": "none"}])
def test_an_unknown_phase_is_one_sentence_that_names_the_accepted(given, value):
    put(given, "data.quick.phase", value)
    with pytest.raises(
        UserError, match=r"data\.quick\.phase.*independent.*from_amplitude.*none"
    ) as error:
        parse_study(given, "params.yaml")
    assert str(error.value).count("data.quick.phase") == 1


def test_an_independent_phase_needs_a_wide_canvas(given):
    put(given, "data.quick.canvas_px", 200)
    assert parse_study(given, "params.yaml").data["quick"].canvas_px == 200
    put(given, "data.quick.phase", "independent")
    with pytest.raises(UserError, match=r"canvas_px.*312"):
        parse_study(given, "params.yaml")


@pytest.mark.parametrize("name", ["../x", "a/b", "", "A", "x" * 65, ".hidden", "a b", "1st"])
def test_names_with_path_parts_are_refused(name):
    with pytest.raises(UserError, match="is not a name"):
        check_name(name)


def test_an_unknown_arm_gets_the_nearest_name():
    with pytest.raises(UserError, match="did you mean 'control'"):
        find_row(load_study(FIRST_STUDY / "params.yaml"), "contrl")


@pytest.mark.parametrize("text", ["a: [", "\tx: 1", "- 1\n- 2", "3", ""])
def test_a_file_that_is_no_settings_file_is_a_sentence(tmp_path, text):
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=r"params\.yaml"):
        load_study(file)


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="does not exist"):
        load_study(tmp_path / "params.yaml")

"""Sections of params.yaml that investigations read: every mistake in them is named."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from study import investigations
from study.editing.archive import archive_arm, rename_arm
from study.investigations.regimes.settings import Regimes
from study.runs import write_yaml
from study.settings import Section, UserError, load_study, mentions, parse_study

ROOT = Path(__file__).parents[2]
FIRST_STUDY = ROOT / "tests" / "first_study"


@pytest.fixture
def given() -> dict:
    return YAML(typ="safe", pure=True).load((FIRST_STUDY / "params.yaml").read_text())


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
    assert "regimes" not in parse_study(given, "params").sections
    with pytest.raises(UserError, match="regimes"):
        parse_study(given, "params").section(Regimes)
    regimes = parse_study(with_regimes, "params").section(Regimes)
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
        ("cells.0.control", "contrl", "a trained arm; did you mean 'control'"),
        ("cells.1.better", "rpie", "regimes.cells.1.better is 'rpie', which is not a trained arm"),
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


# --- every section ----------------------------------------------------------------------------


def test_every_section_has_a_key_of_its_own_and_is_read_by_its_model() -> None:
    kinds = [part.SECTION for part in investigations.parts("settings")]
    assert len({kind.key for kind in kinds}) == len(kinds)
    assert all(issubclass(kind, Section) and kind.arms for kind in kinds)
    found = load_study(ROOT / "studies" / "params.yaml").sections
    assert {key: type(section) for key, section in found.items()} == {k.key: k for k in kinds}


def test_a_section_follows_a_new_name_and_keeps_an_arm_from_the_archive(
    with_regimes: dict, tmp_path: Path
) -> None:
    write_yaml(tmp_path / "params.yaml", with_regimes)
    rename_arm(tmp_path, "stable", "steady")
    section = load_study(tmp_path / "params.yaml").section(Regimes)
    assert [cell.better for cell in section.cells] == ["steady", "steady"]
    with pytest.raises(UserError, match="regimes"):
        archive_arm(tmp_path, "steady")


def test_mentions_are_found_at_any_depth_and_only_under_their_keys() -> None:
    section = {"a": "x", "b": [{"a": "x", "c": "x"}, {"a": "y"}], "d": {"e": {"a": "x"}}}
    found = list(mentions(section, ("a",), "x"))
    assert len(found) == 3 and all(holder[key] == "x" and key == "a" for holder, key in found)
    assert not list(mentions(section, ("a",), "z"))

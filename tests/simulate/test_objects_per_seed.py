"""Data sets that draw objects and noise per seed: streams, folders, and who reads which part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from study.evidence.scores import score_arm
from study.formats.dataset import Dataset, load_dataset, load_manifest, save_dataset
from study.formats.requests import params_of
from study.runs import read_json, write_yaml
from study.runs.identity import identity_of
from study.runs.seed_folders import dataset_folders, held_seeds, seed_folder
from study.settings import SPLITS, DataParams, Reference, Study, UserError, load_study
from study.simulate import simulate
from study.simulate.dataset import noise_streams
from study.simulate.foreign import with_foreign_phase
from study.simulate.objects import BLURS, draw_lines, phase_of
from study.simulate.rescan import rescan
from study.stages.fingerprint import update
from study.stages.simulate import simulate_all
from study.stages.train import check_data, check_row, plan, train_arm

SEEDS = (11, 12)


def true(part: Dataset, split: str) -> np.ndarray:
    obj = part.splits[split].obj
    assert obj is not None
    return obj


@pytest.fixture(scope="module")
def params(tiny_params: DataParams) -> DataParams:
    changes = {"phase": "independent", "seeds": list(SEEDS), "stitching": "average"}
    return DataParams.model_validate({**tiny_params.model_dump(), **changes})


@pytest.fixture(scope="module")
def sets(params: DataParams) -> dict[int, Dataset]:
    return {seed: simulate(f"tiny/s{seed}", params.of_seed(seed)) for seed in SEEDS}


# --- the streams ------------------------------------------------------------------------------


def test_objects_and_noise_differ_between_seeds_and_the_probe_does_not(
    sets: dict[int, Dataset],
) -> None:
    one, other = sets.values()
    assert np.array_equal(one.probe, other.probe)
    objects = [true(part, split) for part in (one, other) for split in SPLITS]
    for i, obj in enumerate(objects):
        for later in objects[i + 1 :]:
            correlation = np.corrcoef(np.abs(obj).ravel(), np.abs(later).ravel())[0, 1]
            assert abs(correlation) < 0.6 and not np.array_equal(obj, later)
    keys = {
        stream.spawn_key
        for part in (one, other)
        for stream in noise_streams(params_of(part.manifest))
    }
    assert len(keys) == 2 * len(SPLITS)


def test_an_object_is_that_of_its_seed_sequence(params: DataParams) -> None:
    """Drawn again with numpy alone: amplitude and phase of one split from its two streams."""
    obj = true(simulate("x", params.of_seed(12)), "test")
    drawn = []
    for stream in (0, 1):
        sequence = np.random.SeedSequence(params.object_seeds.test, spawn_key=(12, stream))
        canvas = draw_lines(
            np.random.RandomState(np.random.MT19937(sequence)), params.canvas_px, params.lines
        )
        blurred = sum(
            (w * gaussian_filter(canvas, s, mode="reflect") for s, w in BLURS), 0 * canvas
        )
        edge = (params.canvas_px - params.object_px) // 2
        drawn.append(blurred[edge : edge + params.object_px, edge : edge + params.object_px])
    amplitude, phase = drawn[0], phase_of(drawn[1])
    assert np.allclose(obj[0], amplitude * np.exp(1j * phase), rtol=1e-5)


def test_a_seed_does_not_depend_on_which_others_the_set_holds(params: DataParams) -> None:
    longer = params.model_copy(update={"seeds": (12, 13, 14)})
    assert longer.of_seed(12) == params.of_seed(12)


def test_sets_without_seeds_keep_request_and_streams(tiny_params: DataParams) -> None:
    assert tiny_params.of_seed(5) is tiny_params
    assert {"seeds", "stitching"}.isdisjoint(tiny_params.model_dump(mode="json"))
    streams = np.random.SeedSequence(tiny_params.noise_seed).spawn(len(SPLITS))
    mine = noise_streams(tiny_params)
    assert [s.generate_state(4).tolist() for s in mine] == [
        s.generate_state(4).tolist() for s in streams
    ]


def test_the_foreign_phase_and_the_rescan_belong_to_the_seed(sets: dict[int, Dataset]) -> None:
    foreign = {seed: with_foreign_phase(part) for seed, part in sets.items()}
    for seed, part in sets.items():
        shown = foreign[seed]
        assert shown is not None
        assert np.allclose(np.abs(true(shown, "test")), np.abs(true(part, "test")), rtol=1e-5)
        given = params_of(part.manifest)
        again = rescan(part, given, given.scan.stride_px.test)
        assert np.array_equal(again.all_counts(), part.splits["test"].all_counts())


def test_stitching_average_leaves_no_raster_to_tile(
    params: DataParams, sets: dict[int, Dataset]
) -> None:
    assert all(part.splits[split].stride_px is None for part in sets.values() for split in SPLITS)
    tiled = simulate("x", params.of_seed(11).model_copy(update={"stitching": None}))
    assert tiled.splits["test"].stride_px == params.scan.stride_px.test


# --- folders and rows -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def root(params: DataParams, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data of two seeds, one short network and one baseline, all trained."""
    root = tmp_path_factory.mktemp("seeded")
    network = {
        "asks": "Does it train?",
        "versus": None,
        "changes": [],
        "data": "data/tiny",
        "seeds": [*SEEDS],
        "order_seed": None,
        "generator": {"name": "cnn", "width": 4, "input_transform": "none"},
        "loss": {"name": "mae", "overlap_weight": 0.0},
        "optimizer": {"name": "adam", "lr": 1e-3},
        "schedule": {"name": "constant"},
        "clip": {
            "gradient_clip_algorithm": "none",
            "gradient_clip_val": None,
            "exclude_head": False,
        },
        "epochs": 1,
        "batch_size": 32,
        "batch_order": "shuffled",
        "precision": "fp32",
        "legacy": {"batch_coupled_probe": False},
    }
    row = {"asks": "-", "versus": None, "changes": [], "data": "data/tiny"}
    arms = {
        "cnn": network,
        "flat": {**row, "source": {"name": "flat"}},
    }
    write_yaml(
        root / "params.yaml", {"data": {"tiny": params.model_dump(mode="json")}, "arms": arms}
    )
    study = load_study(root / "params.yaml")
    assert simulate_all(study, root / "data") == [f"tiny/s{seed}" for seed in SEEDS]
    update(study, root / "fingerprints", study.arms)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_STAGE", "train")  # the fingerprints were taken just now
        for arm in study.arms:
            train_arm(root, arm)
    return root


def study_in(root: Path) -> Study:
    return load_study(root / "params.yaml")


def test_a_second_simulation_computes_nothing_and_another_request_is_refused(root: Path) -> None:
    study = study_in(root)
    assert simulate_all(study, root / "data") == []
    changed = study.data["tiny"].model_copy(update={"noise_seed": 99})
    with pytest.raises(UserError, match="noise_seed"):
        simulate_all(study.model_copy(update={"data": {"tiny": changed}}), root / "data")


def test_every_seed_has_its_folder_and_no_other_is_found(root: Path) -> None:
    folder = root / "data" / "tiny"
    assert held_seeds(folder) == SEEDS
    assert dataset_folders(folder) == [folder / "s11", folder / "s12"]
    for wrong in (lambda: seed_folder(folder, 13), lambda: load_dataset(folder)):
        with pytest.raises(UserError, match="11, 12"):
            wrong()


def test_runs_train_on_the_data_of_their_seed(root: Path) -> None:
    study = study_in(root)
    for arm, row in study.arms.items():
        assert row.seeds == SEEDS
        for job in plan(root, arm, row, diagnose=False, devices=1):
            manifest = load_manifest(root / "data" / "tiny" / f"s{job.seed}")
            assert job.origin["data_sha256"] == manifest.content_sha256
            assert job.settled() is not None
            assert identity_of(root, arm).collected(job.seed)
        assert not identity_of(root, arm).data_missing(study)


def test_scores_are_those_of_the_own_object_and_name_one_set(root: Path, tmp_path: Path) -> None:
    study = study_in(root)
    stored = {}
    for arm in study.arms:
        score_arm(arm, study.arms[arm], root / "runs", root, tmp_path)
        stored[arm] = {s: read_json(tmp_path / arm / "seeds" / f"s{s}.json") for s in SEEDS}
    facts = [content["data"] for seeds in stored.values() for content in seeds.values()]
    assert len({one["sha256"] for one in facts}) == 1
    assert len({one["seed_sha256"] for one in facts}) == len(SEEDS)
    errors = {c["best"]["standard"]["amplitude"]["mae"] for c in stored["flat"].values()}
    assert len(errors) == len(SEEDS)  # two objects are not equally far from a constant
    for seed in SEEDS:
        truth = np.abs(true(load_dataset(root / "data" / "tiny" / f"s{seed}"), "test")[0])
        # No constant is closer to an object than its median; flat fits amplitudes, so it is above.
        floor = np.abs(truth - np.median(truth)).mean()
        assert stored["flat"][seed]["best"]["standard"]["amplitude"]["mae"] > 0.5 * floor


def test_a_seed_without_objects_is_refused_before_anything_runs(root: Path) -> None:
    study = study_in(root)
    longer = study.arms["cnn"].model_copy(update={"seeds": (*SEEDS, 13)})
    with pytest.raises(UserError, match="13"):
        check_data(root, study, longer)
    with pytest.raises(UserError, match="13"):
        study.data["tiny"].of_seed(13)


def test_groups_that_are_none_are_refused_before_anything_runs(
    params: DataParams, tmp_path: Path
) -> None:
    """A set whose positions were moved after it was made: the row that needs groups names them."""
    grouped = DataParams.model_validate({**params.model_dump(), "group_size": 4, "seeds": [11]})
    part = simulate("tiny/s11", grouped.of_seed(11))
    test = part.splits["test"]
    moved = test.positions_px.copy()
    moved[3, 1] += 1.5
    splits = {**part.splits, "test": replace(test, positions_px=moved)}
    save_dataset(replace(part, splits=splits), tmp_path / "data" / "tiny" / "s11")
    row = Reference.model_validate(
        {
            "asks": "-",
            "versus": None,
            "changes": [],
            "data": "data/tiny",
            "source": {
                "name": "group_steps",
                "steps": 1,
                "kind": "simultaneous",
                "alpha": 0.1,
                "smoothing_px": 0.0,
                "synchronise": True,
            },
        }
    ).model_copy(update={"seeds": (11,)})
    with pytest.raises(UserError, match="1 of 36 groups"):
        check_row(tmp_path, row, devices=1)
    assert not (tmp_path / "work").exists()

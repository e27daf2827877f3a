"""From a run folder to a seed's numbers: the tiny data set, reconstructions of known error."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import stored
from numpy.typing import NDArray

from study.evidence.arms import numbers_of
from study.evidence.evaluable import PRIOR
from study.evidence.metric_catalog import KNOWN, find_column
from study.evidence.scores import score_arm
from study.formats.dataset import Dataset, save_dataset
from study.formats.reconstruction import Reconstruction, save_reconstruction
from study.metrics import METRIC_SETS, score
from study.runs import RunFolder, write_json, write_yaml
from study.settings import Arm, Reference, UserError, leaves

REGION = (4, 4, 60, 60)
FLOORS = {"noise": 0.01, "best_constant": 0.21, "zero": 1.0}
Change = Callable[[NDArray[Any]], NDArray[Any]]


@pytest.fixture
def root(tmp_path: Path, tiny: Dataset) -> Path:
    save_dataset(tiny, tmp_path / "data" / "tiny")
    return tmp_path


@pytest.fixture
def row() -> Arm:
    return Arm.model_validate(stored.arm(seeds=[1, 2]))


def truth(tiny: Dataset) -> NDArray[Any]:
    obj = tiny.splits["test"].obj
    assert obj is not None
    y0, x0, y1, x1 = REGION
    return obj[:, y0:y1, x0:x1]


def reconstruction(tiny: Dataset, change: Change, epoch: int, name: str) -> Reconstruction:
    patterns = len(tiny.splits["test"].counts)
    ratio = np.linspace(0.1, 0.3, patterns, dtype=np.float32)
    ratio[::3] = np.nan
    return Reconstruction(
        object=change(truth(tiny)).astype(np.complex64),
        region=np.array(REGION, dtype=np.int64),
        r_factor=ratio,
        predicted_amplitude=np.zeros((1, *tiny.probe.shape), dtype=np.float16),
        shown=np.zeros(1, dtype=np.int64),
        distinct=True,
        checkpoint=name,
        epoch=epoch,
        probe=tiny.probe,
    )


def brighter(image: NDArray[Any]) -> NDArray[Any]:
    return image + 0.1 * image / np.abs(image)


def constant(image: NDArray[Any]) -> NDArray[Any]:
    return np.full_like(image, np.abs(image).mean())


def make_run(
    root: Path, row: Any, seed: int, tiny: Dataset, last: Change = brighter, **status: Any
) -> RunFolder:
    """A finished run of three epochs whose best weights are those of epoch 2."""
    run = RunFolder(root / "runs" / "control" / f"s{seed}")
    origin = {
        "data_sha256": tiny.manifest.content_sha256,
        "fingerprint": "f",
        "settings": leaves(row),
    }
    run.update_status(state="finished", manifest=origin, floors=FLOORS, **status)
    write_json(run.path / "environment.json", {"commit": "c", "dirty": False, "device": "cpu"})
    losses = (0.08, 0.05, 0.07)
    run.write_history(
        [
            {"epoch": i + 1, "val_loss": v, "clipped_fraction": i / 2, "seconds": 1.5 + seed}
            for i, v in enumerate(losses)
        ]
    )
    for name, epoch, change in (("best", 2, lambda image: image), ("last", 3, last)):
        save_reconstruction(run.object_file(name), reconstruction(tiny, change, epoch, name))
    return run


def scored(root: Path, row: Any, seed: int = 1) -> dict[str, Any]:
    score_arm("control", row, root / "runs", root, root / "results")
    return json.loads((root / "results" / "control" / "seeds" / f"s{seed}.json").read_text())


def test_a_known_error_is_the_score(root: Path, row: Arm, tiny: Dataset) -> None:
    make_run(root, row, 1, tiny)
    content = scored(root, row)
    assert content["best"]["standard"]["amplitude"]["mae"] == pytest.approx(0, abs=1e-6)
    assert content["last"]["standard"]["amplitude"]["mae"] == pytest.approx(0.1, rel=1e-5)
    assert content["last"]["standard"]["phase"]["mae"] == pytest.approx(0, abs=1e-6)
    assert content["outcome"] == "ok" and content["cause"] is None


def test_scores_are_the_metrics_own(root: Path, row: Arm, tiny: Dataset) -> None:
    make_run(root, row, 1, tiny)
    content = scored(root, row)
    image = brighter(truth(tiny)).astype(np.complex64)[0]
    for name in ("published", "standard"):
        expected = score(image, truth(tiny)[0], name)
        assert content["last"][name]["amplitude"] == pytest.approx(expected["amplitude"])


def test_losses_skill_and_epochs_belong_to_their_checkpoint(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    make_run(root, row, 1, tiny)
    content = scored(root, row)
    best, last, training = content["best"], content["last"], content["training"]
    assert (best["epoch"], best["val_loss"]) == (2, 0.05)
    assert (last["epoch"], last["val_loss"]) == (3, 0.07)
    assert best["skill"] == pytest.approx(1 - (0.05 - 0.01) / 0.2)
    assert training["best_epoch"] == 2 and training["epochs"] == 3
    assert training["collapse_gap"] == pytest.approx(0.02)
    assert training["clipped_fraction"] == pytest.approx(0.5)


def test_the_loss_beside_an_object_is_that_of_the_stored_weights(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    facts = {"best": {"val_loss": 0.0512}, "last": {"val_loss": 0.31}}
    make_run(root, row, 1, tiny, stored=facts)
    content = scored(root, row)
    best, last = content["best"], content["last"]
    assert (best["val_loss"], last["val_loss"]) == (0.0512, 0.31)
    assert best["skill"] == pytest.approx(1 - (0.0512 - 0.01) / 0.2)
    assert content["outcome"] == "collapsed" and last["skill"] < 0
    assert content["training"]["final_val_loss"] == 0.07


def test_a_stored_loss_that_is_not_finite_is_null(root: Path, row: Arm, tiny: Dataset) -> None:
    make_run(root, row, 1, tiny, stored={"last": {"val_loss": float("nan")}})
    content = scored(root, row)
    assert content["last"]["val_loss"] is None and content["best"]["val_loss"] == 0.05


def test_the_r_factor_weighs_patterns_by_their_measured_amplitude(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    make_run(root, row, 1, tiny)
    found = scored(root, row)["last"]["r_factor"]
    ratio = reconstruction(tiny, brighter, 3, "last").r_factor.astype(float)
    measured = np.sqrt(tiny.splits["test"].counts.astype(float)).reshape(len(ratio), -1).sum(1)
    inside = ~np.isnan(ratio)
    expected = (ratio * measured)[inside].sum() / measured[inside].sum()
    assert found["sum"] == pytest.approx(expected)
    assert found["median"] == pytest.approx(np.median(ratio[inside]))
    assert found["patterns"] == inside.sum()


def test_a_constant_object_collapsed_and_has_no_standard_score(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    make_run(root, row, 1, tiny, last=constant)
    content = scored(root, row)
    assert content["outcome"] == "collapsed"
    assert content["cause"] == "last object: constant amplitude"
    assert content["last"]["standard"]["amplitude"]["mae"] is None
    assert "constant amplitude" in content["last"]["reasons"]["standard.amplitude.mae"]
    assert content["last"]["published"]["amplitude"]["mae"] > 0
    assert content["best"]["gate"]["amplitude"]["evaluable"]


def test_equal_outputs_for_different_inputs_trip_the_gate(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    run = make_run(root, row, 1, tiny)
    same = replace(reconstruction(tiny, brighter, 3, "last"), distinct=False)
    save_reconstruction(run.object_file("last"), same)
    gate = scored(root, row)["last"]["gate"]["amplitude"]
    assert gate["reason"] == "equal amplitude for different inputs"


def test_the_runs_one_boolean_stands_for_both_channels(root: Path, row: Arm, tiny: Dataset) -> None:
    run = make_run(root, row, 1, tiny)
    same = replace(reconstruction(tiny, brighter, 3, "last"), distinct=False)
    save_reconstruction(run.object_file("last"), same)
    content = scored(root, row)
    assert [content["last"]["gate"][c]["evaluable"] for c in ("amplitude", "phase")] == [False] * 2
    assert [content["best"]["gate"][c]["evaluable"] for c in ("amplitude", "phase")] == [True] * 2


def test_no_better_than_the_best_constant_is_a_collapse(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    run = make_run(root, row, 1, tiny)
    run.update_status(floors={"noise": 0.01, "best_constant": 0.06, "zero": 1.0})
    content = scored(root, row)
    assert content["last"]["skill"] < 0
    assert content["outcome"] == "collapsed" and "best constant" in content["cause"]


def test_a_truth_that_fits_worse_than_a_constant_leaves_no_skill_and_says_why(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    run = make_run(root, row, 1, tiny)
    run.update_status(floors={"noise": 0.351, "best_constant": 0.34, "zero": 1.0})
    content = scored(root, row)
    for checkpoint in ("best", "last"):
        assert content[checkpoint]["skill"] is None
        assert (
            "0.351 is not below the best constant's 0.34" in content[checkpoint]["reasons"]["skill"]
        )
    assert content["outcome"] == "ok"


def test_a_failed_run_is_a_row_with_a_cause(root: Path, row: Arm, tiny: Dataset) -> None:
    run = make_run(root, row, 1, tiny, cause="epoch 3: val_loss is nan")
    run.update_status(state="failed")
    run.object_file("last").unlink()
    make_run(root, row, 2, tiny)
    content = scored(root, row)
    assert (content["outcome"], content["cause"]) == ("failed", "epoch 3: val_loss is nan")
    assert content["last"] is None and content["best"]["val_loss"] == 0.05


def test_losses_that_are_not_finite_are_null(root: Path, row: Arm, tiny: Dataset) -> None:
    run = make_run(root, row, 1, tiny)
    run.update_status(state="failed", cause="diverged")
    rows = run.history().to_dict("records")
    run.write_history([*rows[:2], {**rows[2], "val_loss": float("nan")}])
    content = scored(root, row)
    assert content["last"]["val_loss"] is None and content["training"]["final_val_loss"] is None
    assert content["training"]["best_val_loss"] == 0.05


def test_what_a_failed_run_left_need_not_be_an_object(root: Path, row: Arm, tiny: Dataset) -> None:
    run = make_run(root, row, 1, tiny, last=lambda image: image * np.nan)
    with pytest.raises(UserError, match="non-finite"):
        scored(root, row)
    run.update_status(state="failed", cause="diverged")
    assert scored(root, row)["last"] is None


def test_equal_runs_give_equal_bytes(root: Path, row: Arm, tiny: Dataset) -> None:
    run = make_run(root, row, 1, tiny)
    scored(root, row)
    file = root / "results" / "control" / "seeds" / "s1.json"
    before = file.read_bytes()
    run.update_status(heartbeat=0.0)
    scored(root, row)
    assert file.read_bytes() == before
    assert b"NaN" not in before


def test_histories_of_all_seeds_stand_in_one_table(root: Path, row: Arm, tiny: Dataset) -> None:
    for seed in (1, 2):
        make_run(root, row, seed, tiny)
    scored(root, row)
    lines = (root / "results" / "control" / "history.csv").read_text().splitlines()
    assert lines[0].startswith("seed,epoch,val_loss")
    assert [line.split(",")[0] for line in lines[1:]] == ["1"] * 3 + ["2"] * 3


def test_identical_histories_hash_alike_whatever_the_clock_says(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    for seed in (1, 2):
        make_run(root, row, seed, tiny)
    hashes = [scored(root, row, seed)["training"]["history_sha256"] for seed in (1, 2)]
    assert hashes[0] == hashes[1]


def test_a_seed_that_is_no_longer_declared_leaves_the_results(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    for seed in (1, 2):
        make_run(root, row, seed, tiny)
    scored(root, row)
    scored(root, row.model_copy(update={"seeds": (1,)}))
    seeds = root / "results" / "control" / "seeds"
    assert [file.name for file in seeds.iterdir()] == ["s1.json"]


def test_every_column_of_a_checkpoint_is_stored(root: Path, row: Arm, tiny: Dataset) -> None:
    run = make_run(root, row, 1, tiny)
    foreign(run, best=RETRIEVES, last=RETRIEVES)
    found = numbers_of(scored(root, row))
    # These reconstructions are so close to the truth that their FRC never falls to one half.
    uncrossed = {f"last.standard.{channel}.frc50" for channel in ("amplitude", "phase")}
    assert {path for path in KNOWN if path.startswith("last.")} - uncrossed <= set(found)


# --- how many patterns


def test_a_networks_image_is_made_of_the_test_patterns(root: Path, row: Arm, tiny: Dataset) -> None:
    make_run(root, row, 1, tiny)
    training = scored(root, row)["training"]
    assert training["patterns"] == len(tiny.splits["test"].counts)
    assert training["training_patterns"] == len(tiny.splits["train"].counts)
    assert find_column("training.patterns").title == "patterns"


def test_an_imported_image_is_made_of_all_but_the_test_patterns(
    tmp_path: Path, row: Arm, tiny: Dataset
) -> None:
    manifest = tiny.manifest.model_copy(update={"kind": "imported"})
    save_dataset(replace(tiny, manifest=manifest), tmp_path / "data" / "tiny")
    make_run(tmp_path, row, 1, tiny)
    expected = sum(len(tiny.splits[name].counts) for name in ("train", "validation"))
    assert scored(tmp_path, row)["training"]["patterns"] == expected


def test_a_reference_says_itself_how_many_patterns_it_used(root: Path, tiny: Dataset) -> None:
    row = make_reference(root, tiny, {"name": "back_projection", "steps": 1}, brighter)
    RunFolder(root / "runs" / "control" / "s0").update_status(patterns=37)
    training = scored(root, row, 0)["training"]
    assert training["patterns"] == 37 and training["training_patterns"] is None


# --- how healthy the run was


def logged(run: RunFolder, **columns: Any) -> None:
    """The run's history of three epochs with further columns."""
    rows = run.history().to_dict("records")
    run.write_history(
        [{**row, **{k: v[i] for k, v in columns.items()}} for i, row in enumerate(rows)]
    )


def test_dead_units_are_those_of_the_worst_layer_at_the_end(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    run = make_run(root, row, 1, tiny)
    logged(run, **{"dead.head": [0.9, 0.9, 0.1], "dead.down.0": [0.0, 0.0, 0.25]})
    assert scored(root, row)["training"]["dead_share"] == 0.25


def test_the_largest_gradient_is_that_of_the_run_and_none_where_one_is_not_finite(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    run = make_run(root, row, 1, tiny)
    logged(run, gradient_norm_max=[2.0, 7.0, 3.0])
    assert scored(root, row)["training"]["gradient_max"] == 7.0
    logged(run, gradient_norm_max=[2.0, float("nan"), 3.0])
    assert scored(root, row)["training"]["gradient_max"] is None


@pytest.mark.parametrize(
    ("losses", "epoch"),
    [
        ((0.08, 0.05, 0.07), None),
        ((0.08, 0.05, 0.1), None),
        ((0.08, 0.05, 0.11), 3),
        ((0.08, 0.17, 0.05), 2),
        ((0.08, float("nan"), 0.05), 2),
        ((float("inf"), 0.05, 0.05), 1),
    ],
)
def test_the_first_bad_epoch_is_the_first_above_twice_the_best_so_far(
    root: Path, row: Arm, tiny: Dataset, losses: tuple[float, ...], epoch: int | None
) -> None:
    run = make_run(root, row, 1, tiny)
    run.update_status(state="failed", cause="diverged")
    logged(run, val_loss=losses)
    assert scored(root, row)["training"]["first_bad_epoch"] == epoch


def test_the_gradient_ratio_is_of_all_blocks_at_the_first_batch(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    run = make_run(root, row, 1, tiny)
    first = {"source": "training", "epoch": 1, "kind": "block"}
    records = [
        {**first, "layer": "encoder.0", "local_norm": 3.0, "spectral_norm": 0.6},
        {**first, "layer": "encoder.1", "local_norm": 4.0, "spectral_norm": 0.8},
        {**first, "epoch": 2, "layer": "encoder.0", "local_norm": 1.0, "spectral_norm": 9.0},
        {**first, "source": "last", "layer": "encoder.0", "local_norm": 1.0, "spectral_norm": 9.0},
        {**first, "kind": "parameter", "layer": "head.weight", "norm": 1.0},
    ]
    run.diagnostics.mkdir()
    file = run.diagnostics / "gradients.jsonl"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    content = scored(root, row)
    assert content["training"]["gradient_ratio"] == pytest.approx(5.0)  # hypot(3, 4) / 1
    assert "runs/control/s1/diagnostics/gradients.jsonl" in content["evidence"]
    assert "training.gradient_ratio" in numbers_of(content)


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("status.json", {"manifest": {"data_sha256": 7}}, r"status\.json: manifest\.data_sha256"),
        ("status.json", {"floors": [0.1]}, r"status\.json: floors"),
        ("status.json", {"stored": {"last": "x"}}, r"status\.json: stored\.last"),
        (
            "history.csv",
            "epoch,clipped_fraction\n1,0.0\n",
            r"history\.csv has no column 'val_loss'",
        ),
        ("history.csv", "epoch,val_loss\n1,0.1\n", "no column 'clipped_fraction'"),
        (
            "diagnostics/gradients.jsonl",
            '{"source": "training", "epoch": 1, "kind": "block", "local_norm": "x",'
            ' "spectral_norm": 1}\n',
            r"gradients\.jsonl",
        ),
    ],
)
def test_what_a_run_cannot_have_written_is_named(
    root: Path, row: Arm, tiny: Dataset, file: str, change: Any, message: str
) -> None:
    run = make_run(root, row, 1, tiny)
    path = run.path / file
    path.parent.mkdir(exist_ok=True)
    if isinstance(change, dict):
        write_json(path, {**json.loads(path.read_text()), **change})
    else:
        path.write_text(change)
    with pytest.raises(UserError, match=message):
        scored(root, row)


def test_a_run_with_other_settings_than_requested_is_refused(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    run = make_run(root, row, 1, tiny)
    write_yaml(run.path / "params.yaml", {"epochs": row.epochs, "batch_size": row.batch_size})
    scored(root, row)
    write_yaml(run.path / "params.yaml", {"epochs": row.epochs, "batch_size": row.batch_size + 1})
    with pytest.raises(UserError, match="batch_size"):
        scored(root, row)


def test_what_a_run_did_not_log_is_null(root: Path, row: Arm, tiny: Dataset) -> None:
    make_run(root, row, 1, tiny)
    training = scored(root, row)["training"]
    for name in ("dead_share", "gradient_max", "first_bad_epoch", "gradient_ratio"):
        assert training[name] is None
        assert find_column(f"training.{name}").definition


# --- rows that are no networks


def make_reference(root: Path, tiny: Dataset, source: dict[str, Any], change: Change) -> Reference:
    row = Reference.model_validate(stored.reference(source))
    run = RunFolder(root / "runs" / "control" / "s0")
    run.update_status(state="finished", seconds=3.5)
    result = reconstruction(tiny, change, 0, "only")
    save_reconstruction(run.object_file("best"), result)
    return row


def test_a_reference_has_one_checkpoint_and_no_loss(root: Path, tiny: Dataset) -> None:
    row = make_reference(root, tiny, {"name": "back_projection", "steps": 1}, brighter)
    content = scored(root, row, 0)
    assert content["label"] == "reference" and content["last"] is None
    assert content["best"]["checkpoint"] == "only" and content["best"]["val_loss"] is None
    assert (root / "results" / "control" / "history.csv").read_text() == "seed,epoch,val_loss\n"


def test_a_history_without_losses_keeps_the_columns_of_the_plot(root: Path, tiny: Dataset) -> None:
    row = make_reference(root, tiny, {"name": "back_projection", "steps": 1}, brighter)
    run = RunFolder(root / "runs" / "control" / "s0")
    run.write_history([{"epoch": 1, "r_factor": 0.25}])
    scored(root, row, 0)
    lines = (root / "results" / "control" / "history.csv").read_text().splitlines()
    assert lines == ["seed,epoch,r_factor,val_loss", "0,1,0.25,"]


def test_the_floor_prints_numbers_and_a_network_with_the_same_object_does_not(
    root: Path, tiny: Dataset
) -> None:
    floor = scored(root, make_reference(root, tiny, {"name": "flat"}, constant), 0)
    assert floor["label"] == "floor" and floor["outcome"] == "ok"
    amplitude = np.abs(truth(tiny))
    expected = np.abs(amplitude - amplitude.mean()).mean()
    assert floor["best"]["standard"]["amplitude"]["mae"] == pytest.approx(expected, rel=1e-5)
    assert not floor["best"]["gate"]["amplitude"]["evaluable"]
    assert "standard.amplitude.mae" not in floor["best"]["reasons"]
    row = make_reference(root, tiny, {"name": "back_projection", "steps": 1}, constant)
    assert scored(root, row, 0)["best"]["standard"]["amplitude"]["mae"] is None


def test_the_oracle_is_the_ceiling(root: Path, tiny: Dataset) -> None:
    row = make_reference(root, tiny, {"name": "oracle"}, lambda image: image)
    content = scored(root, row, 0)
    assert content["label"] == "ceiling"
    assert content["best"]["standard"]["amplitude"]["ssim"] == pytest.approx(1)


# --- the foreign-phase test

RETRIEVES = {"truth": 0.95, "from_amplitude": 0.1}
COPIES = {"truth": -0.15, "from_amplitude": 0.9}


def foreign(run: RunFolder, **found: Any) -> None:
    write_json(run.foreign_phase_file, {"phase_of": "validation", **found})


def test_a_run_without_the_test_is_scored_as_before(root: Path, row: Arm, tiny: Dataset) -> None:
    make_run(root, row, 1, tiny)
    content = scored(root, row)
    assert all("foreign_phase" not in content[which] for which in ("best", "last"))
    assert content["last"]["standard"]["phase"]["mae"] is not None


def test_a_network_whose_phase_follows_the_truth_keeps_its_scores(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    run = make_run(root, row, 1, tiny)
    before = scored(root, row)
    foreign(run, best=RETRIEVES, last=RETRIEVES)
    after = scored(root, row)
    for which in ("best", "last"):
        assert after[which].pop("foreign_phase") == {**RETRIEVES, "follows": True}
        assert after[which] == before[which]
    assert "runs/control/s1/foreign_phase.json" in after["evidence"]


def test_a_network_whose_phase_follows_a_prior_has_no_phase_score(
    root: Path, row: Arm, tiny: Dataset
) -> None:
    run = make_run(root, row, 1, tiny)
    before = scored(root, row)
    foreign(run, best=RETRIEVES, last=COPIES)
    after = scored(root, row)
    last = after["last"]
    assert set(last["standard"]["phase"].values()) == {None}
    assert set(last["published"]["phase"].values()) == {None}
    assert last["gate"]["phase"]["reason"] == PRIOR and not last["gate"]["phase"]["evaluable"]
    for set_name in METRIC_SETS:
        for name in last[set_name]["phase"]:
            assert last["reasons"][f"{set_name}.phase.{name}"].endswith(PRIOR)
        assert last[set_name]["amplitude"] == before["last"][set_name]["amplitude"]
    assert after["outcome"] == "ok"
    assert after["best"]["standard"] == before["best"]["standard"]
    found = numbers_of(after)
    assert found["last.foreign_phase.truth"] == COPIES["truth"]
    assert not any(".phase." in path for path in found if path.startswith("last.standard"))


def test_a_constant_phase_keeps_the_gates_reason(root: Path, row: Arm, tiny: Dataset) -> None:
    run = make_run(root, row, 1, tiny, last=lambda image: np.abs(image) + 0j)
    foreign(run, last={"truth": None, "from_amplitude": None})
    content = scored(root, row)
    assert content["last"]["gate"]["phase"]["reason"] == "constant phase"
    assert content["last"]["foreign_phase"]["follows"] is False


@pytest.mark.parametrize("text", ["{", '{"last": {"truth": "high", "from_amplitude": 0.1}}', "[]"])
def test_a_damaged_foreign_phase_file_is_refused(
    root: Path, row: Arm, tiny: Dataset, text: str
) -> None:
    run = make_run(root, row, 1, tiny)
    run.foreign_phase_file.write_text(text)
    with pytest.raises(UserError, match=r"foreign_phase\.json"):
        scored(root, row)


# --- measurements and mistakes


def test_a_measurement_has_an_r_factor_and_no_score(
    tmp_path: Path, row: Arm, tiny: Dataset
) -> None:
    splits = {name: replace(split, obj=None) for name, split in tiny.splits.items()}
    measured = replace(tiny, splits=splits)
    save_dataset(measured, tmp_path / "data" / "tiny")
    from study.formats.dataset import load_manifest

    run = make_run(tmp_path, row, 1, tiny)
    content_hash = load_manifest(tmp_path / "data" / "tiny").content_sha256
    run.update_status(
        manifest={"data_sha256": content_hash, "settings": leaves(row)},
        floors={"noise": None, "best_constant": 0.21, "zero": 1.0},
    )
    last = scored(tmp_path, row)["last"]
    assert last["standard"] is None and last["gate"] is None and last["skill"] is None
    assert "no truth" in last["reasons"]["standard"]
    assert last["r_factor"]["sum"] > 0


@pytest.mark.parametrize("state", ["queued", "running", "cancelled", "stopped"])
def test_a_run_that_was_cut_short_is_no_result(
    root: Path, row: Arm, tiny: Dataset, state: str
) -> None:
    make_run(root, row, 1, tiny).update_status(state=state)
    with pytest.raises(UserError, match=rf"its state is '{state}'.* finish it"):
        scored(root, row)
    assert not (root / "results").exists()


def test_a_folder_without_a_status_is_no_result(root: Path, row: Arm, tiny: Dataset) -> None:
    (make_run(root, row, 1, tiny).path / "status.json").unlink()
    with pytest.raises(UserError, match="no status"):
        scored(root, row)


@pytest.mark.parametrize("state", ["finished", "failed", "collapsed"])
def test_a_settled_run_is_a_result(root: Path, row: Arm, tiny: Dataset, state: str) -> None:
    make_run(root, row, 1, tiny).update_status(state=state)
    expected = {"finished": "ok"}.get(state, state)
    assert scored(root, row)["outcome"] == expected


def test_no_run_at_all_is_a_sentence(root: Path, row: Arm) -> None:
    with pytest.raises(UserError, match=r"contains no run of the seeds \[1, 2\]"):
        scored(root, row)


def test_a_run_on_other_data_is_refused(root: Path, row: Arm, tiny: Dataset) -> None:
    run = make_run(root, row, 1, tiny)
    run.update_status(manifest={"data_sha256": "0" * 64})
    with pytest.raises(UserError, match="computed with data 000000000000"):
        scored(root, row)


def test_a_torn_object_of_a_finished_run_is_refused(root: Path, row: Arm, tiny: Dataset) -> None:
    run = make_run(root, row, 1, tiny)
    run.object_file("last").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"object_last\.npz"):
        scored(root, row)

"""The regime stage: equal counts for all methods, nothing lost, nothing done twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from study.evidence.evaluable import PRIOR
from study.formats.dataset import Dataset, save_dataset
from study.investigations.regimes import run as regimes
from study.investigations.regimes import scan as regime_part
from study.iterative.back_projection import back_project
from study.metrics import score
from study.runs import RunFolder, read_json, write_json, write_yaml
from study.settings import Arm, DataParams, Rpie, RpieConverged, UserError
from study.training.checkpoints import Network, save_weights

SECTION: dict[str, Any] = {
    "seed": 0,
    "steps_px": [8, 12],
    "rpie": {"passes": 3, "alpha": 0.1, "update_probe": False},
    "rpie_damped": {"passes": 2, "alpha": 1.0, "update_probe": False},
    "network_rpie_passes": 2,
    "good": {
        "amplitude_mae": {"value": 0.05, "unit": "object units"},
        "phase_mae": {"value": 0.1, "unit": "rad"},
    },
    "cells": [
        {
            "dose": 1e6,
            "probe": probe,
            "data": "data/tiny",
            "control": "control",
            "better": "better",
        }
        for probe in ("known", "perturbed")
    ],
}
EVERY = {"control", "better", "back_projection", "rpie", "rpie_damped", "network_rpie"}


def write_params(root: Path, params: DataParams, arm: Arm, **changes: Any) -> None:
    row = arm.model_dump(mode="json")
    content = {
        "data": {"tiny": params.model_dump(mode="json")},
        "arms": {"control": row, "better": row},
        "regimes": {**SECTION, **changes},
    }
    write_yaml(root / "params.yaml", content)


def store_run(root: Path, arm: Arm, name: str, data_sha256: str, seed: int = 0) -> RunFolder:
    """A finished run with the network as it was before training."""
    run = RunFolder(root / "runs" / name / "s0")
    network = Network(arm.generator, n=16, channels=1)
    run.path.mkdir(parents=True, exist_ok=True)
    save_weights(run.last, network.build(seed), network, epoch=0)
    run.update_status(state="finished", manifest={"data_sha256": data_sha256})
    return run


@pytest.fixture
def pipeline(tmp_path: Path, tiny: Dataset, tiny_params: DataParams, control: Arm) -> Path:
    """A pipeline folder with one data set, two networks and two cells."""
    write_params(tmp_path, tiny_params, control)
    save_dataset(tiny, tmp_path / "data" / "tiny")
    for seed, name in enumerate(("control", "better")):
        store_run(tmp_path, control, name, tiny.manifest.content_sha256, seed)
    return tmp_path


def result(root: Path) -> dict[str, Any]:
    return read_json(root / "results" / "regimes.json")


def rows(root: Path, **wanted: Any) -> list[dict[str, Any]]:
    cells = result(root)["cells"]
    return [row for row in cells if all(row[key] == value for key, value in wanted.items())]


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(probe, step) of every scan that was really computed; the third one is stopped."""
    calls: list[tuple[str, int]] = []

    def counted(part: regime_part.Part) -> dict[str, Any]:
        if len(calls) == 2:
            calls.append(("stopped", 0))
            raise KeyboardInterrupt
        calls.append((part.cell.probe, part.step_px))
        return {
            "patterns": 49,
            "known_share": 1.0,
            "region": [],
            "lit_diameter_px": 8.0,
            "rows": [],
        }

    monkeypatch.setattr(regimes, "numbers", counted)
    return calls


# --- the whole stage --------------------------------------------------------------------------


def test_every_method_has_a_row_for_every_scan(pipeline: Path) -> None:
    regimes.run_regimes(pipeline, 1)
    for probe, methods in (("known", EVERY), ("perturbed", EVERY | {"rpie_blind"})):
        for step, patterns in ((8, 49), (12, 25)):
            here = rows(pipeline, probe=probe, step_px=step)
            assert {row["method"] for row in here} == methods
            assert {row["patterns"] for row in here} == {patterns}
    content = result(pipeline)
    kept = read_json(pipeline / "provenance" / "regimes.json")
    assert len(kept["row_seconds"]) == len(content["cells"]) and min(kept["row_seconds"]) > 0
    assert content["missing"] == []
    assert set(content["inputs"]["weights"]) == {
        "runs/control/s0/last.pt",
        "runs/better/s0/last.pt",
    }
    assert {entry["method"] for entry in content["fewest_patterns"]} == EVERY | {"rpie_blind"}


def test_a_network_whose_phase_follows_a_prior_has_amplitude_numbers_only(
    pipeline: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score = dict.fromkeys(regime_part.NUMBERS, 0.1)
    monkeypatch.setattr(
        regime_part, "judged", lambda *given: {**score, "evaluable": True, "reason": None}
    )
    for name, truth in (("control", 0.1), ("better", 0.99)):
        run = RunFolder(pipeline / "runs" / name / "s0")
        write_json(run.foreign_phase_file, {"last": {"truth": truth, "from_amplitude": 0.5}})
    regimes.run_regimes(pipeline, 1)
    for row in rows(pipeline):
        blank = row["method"] == "control"
        assert (row["phase_mae"], row["phase_ssim"]) == ((None, None) if blank else (0.1, 0.1))
        assert row["amplitude_mae"] == row["amplitude_ssim"] == 0.1
        assert row["reason"] == (PRIOR if blank else None)


@pytest.mark.slow
def test_two_processes_find_what_one_finds(pipeline: Path) -> None:
    regimes.run_regimes(pipeline, 1)
    alone = result(pipeline)["cells"]
    for file in (pipeline / "work" / "regimes").iterdir():
        file.unlink()
    regimes.run_regimes(pipeline, 2)
    assert result(pipeline)["cells"] == alone


def test_a_missing_run_is_named_and_the_other_methods_have_numbers(pipeline: Path) -> None:
    (pipeline / "runs" / "better" / "s0" / "last.pt").unlink()
    regimes.run_regimes(pipeline, 1)
    missing = result(pipeline)["missing"]
    assert len(missing) == 2
    assert "probe known: no better: runs/better/s0/last.pt is not here" in missing[0]
    assert {row["method"] for row in rows(pipeline, probe="known")} == EVERY - {
        "better",
        "network_rpie",
    }


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"state": "failed", "cause": "the loss is NaN"}, "'failed' (the loss is NaN)"),
        ({"manifest": {"data_sha256": "f" * 64}}, "other data than tiny"),
    ],
)
def test_a_run_that_cannot_serve_says_why(
    pipeline: Path, status: dict[str, Any], message: str
) -> None:
    RunFolder(pipeline / "runs" / "control" / "s0").update_status(**status)
    lines = regimes.run_regimes(pipeline, 1)
    assert message in result(pipeline)["missing"][0]
    assert any(message in line for line in lines)
    assert not rows(pipeline, method="control")


@pytest.mark.parametrize("manifest", [[], {"data_sha256": None}])
def test_a_run_with_a_damaged_status_is_named(pipeline: Path, manifest: Any) -> None:
    file = pipeline / "runs" / "control" / "s0" / "status.json"
    write_json(file, {"state": "finished", "manifest": manifest})
    regimes.run_regimes(pipeline, 1)
    assert "status.json: manifest" in result(pipeline)["missing"][0]


@pytest.mark.parametrize("content", [[], {}, {"patterns": 4, "rows": [{"method": "rpie"}]}])
def test_a_damaged_part_is_computed_again(pipeline: Path, content: Any) -> None:
    regimes.run_regimes(pipeline, 1)
    before = (pipeline / "results" / "regimes.json").read_text()
    part = sorted((pipeline / "work" / "regimes").glob("*.json"))[0]
    write_json(part, content)
    lines = regimes.run_regimes(pipeline, 1)
    assert "1 scans computed" in lines[0]
    assert (pipeline / "results" / "regimes.json").read_text() == before


def test_torn_weights_are_a_sentence_and_are_tried_again(
    pipeline: Path, control: Arm, tiny: Dataset
) -> None:
    file = pipeline / "runs" / "control" / "s0" / "last.pt"
    file.write_bytes(b"torn")
    regimes.run_regimes(pipeline, 1)
    assert "step 8 px" in result(pipeline)["missing"][0]
    store_run(pipeline, control, "control", tiny.manifest.content_sha256)
    regimes.run_regimes(pipeline, 1)
    assert result(pipeline)["missing"] == []
    assert len(rows(pipeline, method="control")) == 4


def test_a_missing_data_set_is_named(pipeline: Path) -> None:
    (pipeline / "data" / "tiny" / "manifest.json").unlink()
    regimes.run_regimes(pipeline, 1)
    assert result(pipeline)["cells"] == []
    assert "no data" in result(pipeline)["missing"][0]


def test_a_folder_without_regimes_is_refused(
    pipeline: Path, tiny_params: DataParams, control: Arm
) -> None:
    write_yaml(pipeline / "params.yaml", {"data": {}, "arms": {}})
    with pytest.raises(UserError, match="no key `regimes`"):
        regimes.run_regimes(pipeline, 1)


# --- resuming ---------------------------------------------------------------------------------


def test_after_a_stop_only_the_rest_is_computed(
    pipeline: Path, computed: list[tuple[str, int]]
) -> None:
    with pytest.raises(KeyboardInterrupt):
        regimes.run_regimes(pipeline, 1)
    assert result(pipeline) is None
    before = computed[:2]
    regimes.run_regimes(pipeline, 1)
    assert sorted(before + computed[3:]) == [
        ("known", 8),
        ("known", 12),
        ("perturbed", 8),
        ("perturbed", 12),
    ]
    regimes.run_regimes(pipeline, 1)
    assert len(computed) == 5  # nothing more


def test_new_bounds_compute_nothing_and_new_weights_everything(
    pipeline: Path,
    computed: list[tuple[str, int]],
    tiny: Dataset,
    tiny_params: DataParams,
    control: Arm,
) -> None:
    with pytest.raises(KeyboardInterrupt):
        regimes.run_regimes(pipeline, 1)
    regimes.run_regimes(pipeline, 1)
    done = len(computed)
    good = {**SECTION["good"], "phase_mae": {"value": 0.2, "unit": "rad"}}
    write_params(pipeline, tiny_params, control, good=good)
    regimes.run_regimes(pipeline, 1)
    assert len(computed) == done
    assert result(pipeline)["good"]["phase_mae"]["value"] == 0.2
    store_run(pipeline, control, "better", tiny.manifest.content_sha256, seed=9)
    regimes.run_regimes(pipeline, 1)
    assert len(computed) == done + 4


# --- one scan ---------------------------------------------------------------------------------


@pytest.fixture
def given(tiny: Dataset, tiny_params: DataParams) -> regime_part.Scanned:
    return regime_part.scanned(tiny, tiny_params, 4)


def weighted(patches: np.ndarray, given: regime_part.Scanned) -> np.ndarray:
    """Illumination-weighted average by plain loops; zero where no light falls."""
    light = np.abs(given.dataset.probe.astype(np.complex128)) ** 2
    summed, seen = np.zeros((64, 64), dtype=complex), np.zeros((64, 64))
    for patch, (y, x) in zip(patches, given.fitted.scan.positions_px[:, 0].int(), strict=True):
        summed[y : y + 16, x : x + 16] += light * patch
        seen[y : y + 16, x : x + 16] += light
    return np.where(seen > 0, summed / np.maximum(seen, 1e-300), 0)


def test_back_projection_scores_as_its_patches_stitched_by_hand(
    given: regime_part.Scanned, tiny: Dataset
) -> None:
    patches = back_project(given.fitted.amplitude[:, 0], given.probe, 1).numpy()
    y0, x0, y1, x1 = given.region
    image = tiny.manifest.object_norm["test"] * weighted(patches, given)[y0:y1, x0:x1]
    wanted = score(image, given.truth[0], "standard", given.lit[0])
    method = regime_part.reference(regime_part.BackProjection(name="back_projection", steps=1))
    got = regime_part.judged(method(given), given)
    assert got["amplitude_mae"] == pytest.approx(wanted["amplitude"]["mae"], rel=1e-4)
    assert got["phase_mae"] == pytest.approx(wanted["phase"]["mae"], rel=1e-4)


class Oracle(nn.Module):
    """The true patches of a scan, whatever the pattern."""

    def __init__(self, given: regime_part.Scanned, norm: float) -> None:
        super().__init__()
        obj = given.dataset.splits["test"].obj
        assert obj is not None
        self.corners, self.n = (
            given.fitted.scan.positions_px[:, 0].int().tolist(),
            given.fitted.scan.n,
        )
        self.obj, self.asked = torch.tensor(obj[0]) / norm, 0

    def forward(self, amplitude: Tensor) -> Tensor:
        corners = self.corners[self.asked : self.asked + len(amplitude)]
        self.asked = (self.asked + len(amplitude)) % len(self.corners)
        cut = [self.obj[y : y + self.n, x : x + self.n] for y, x in corners]
        return torch.stack(cut)[:, None]


def test_true_patches_have_no_error_and_are_a_perfect_start(
    given: regime_part.Scanned, tiny: Dataset
) -> None:
    oracle = Oracle(given, tiny.manifest.object_norm["test"])
    truth = regime_part.judged(regime_part.network(oracle)(given), given)
    assert truth["amplitude_mae"] < 1e-5
    assert truth["phase_mae"] < 1e-5
    settings = Rpie(name="rpie", passes=1, alpha=0.1, update_probe=False, seed=0)
    started = regime_part.judged(regime_part.started_by(oracle, settings)(given), given)
    flat = regime_part.judged(regime_part.reference(settings)(given), given)
    assert started["amplitude_mae"] < 0.1 * flat["amplitude_mae"]
    assert started["phase_mae"] < 0.1 * flat["phase_mae"]


def test_a_constant_object_has_no_score(given: regime_part.Scanned) -> None:
    canvas = torch.ones(1, 64, 64, dtype=torch.complex64)
    row = regime_part.judged(regime_part.Answer(canvas), given)
    assert row["evaluable"] is False
    assert row["reason"] == "constant amplitude; constant phase"
    assert all(row[number] is None for number in regime_part.NUMBERS)


def test_an_object_without_phase_has_no_score_at_all(given: regime_part.Scanned) -> None:
    canvas = torch.tensor(given.dataset.splits["test"].obj).abs().to(torch.complex64)
    row = regime_part.judged(regime_part.Answer(canvas), given)
    assert row["reason"] == "constant phase"
    assert row["amplitude_mae"] is None


def test_an_object_that_is_no_number_has_a_reason(given: regime_part.Scanned) -> None:
    canvas = torch.full((1, 64, 64), float("nan"), dtype=torch.complex64)
    row = regime_part.judged(regime_part.Answer(canvas), given)
    assert row["evaluable"] is False
    assert "non-finite" in row["reason"]


def test_only_probe_refinement_may_tilt_the_phase(given: regime_part.Scanned) -> None:
    truth = torch.tensor(given.dataset.splits["test"].obj)
    tilt = torch.exp(0.05j * torch.arange(64))
    canvas = truth / given.dataset.manifest.object_norm["test"] * tilt

    def judge(free: bool) -> float:
        answer = regime_part.Answer(canvas, ramp_free=free)
        return regime_part.judged(answer, given)["phase_mae"]

    assert judge(True) < 1e-4 < 0.1 < judge(False)


def test_wide_steps_leave_gaps_and_dense_ones_do_not(
    tiny: Dataset, tiny_params: DataParams
) -> None:
    shares = [regime_part.scanned(tiny, tiny_params, step).lit.mean() for step in (2, 4, 16, 24)]
    assert shares[0] > 0.95
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.6


def test_all_images_and_groups_are_scored(grouped: Dataset, tiny_params: DataParams) -> None:
    params = tiny_params.model_copy(update={"group_size": 4, "images_per_split": 2})
    given = regime_part.scanned(grouped, params, 8)
    settings = Rpie(name="rpie", passes=2, alpha=0.1, update_probe=False, seed=0)
    both = regime_part.reference(settings)(given)
    mean = regime_part.judged(both, given)["amplitude_mae"]
    single = [
        regime_part.judged(
            regime_part.Answer(both.canvas[i : i + 1]),
            replace(given, lit=given.lit[i : i + 1], truth=given.truth[i : i + 1]),
        )["amplitude_mae"]
        for i in range(2)
    ]
    assert mean == pytest.approx(np.mean(single))


# --- several runs, and rPIE to convergence ----------------------------------------------------

CONVERGED = {
    "passes": 30,
    "change": 0.01,
    "over": 5,
    "settings": {
        "sequential": {"alpha": 0.1, "update": "sequential"},
        "synchronous": {"alpha": 0.1, "update": "synchronous"},
    },
    "update_probe": False,
}


def with_runs(root: Path, params: DataParams, arm: Arm, sha256: str, seeds: list[int]) -> None:
    """Both networks with these seeds, each with weights of its own."""
    write_params(root, params, arm, seeds=seeds, rpie_converged=CONVERGED, steps_px=[12])
    for seed in seeds:
        for start, name in enumerate(("control", "better")):
            run = store_run(root, arm, name, sha256, 10 * start + seed)
            if seed:
                run.path.rename(run.path.parent / f"s{seed}")


@pytest.mark.slow
def test_networks_are_means_over_their_runs_and_rpie_converges(
    pipeline: Path, tiny: Dataset, tiny_params: DataParams, control: Arm
) -> None:
    with_runs(pipeline, tiny_params, control, tiny.manifest.content_sha256, [1, 2, 0])
    regimes.run_regimes(pipeline, 1)
    (row,) = rows(pipeline, method="control", probe="known")
    singles = row["seeds"]
    assert [one["seed"] for one in singles] == [1, 2, 0]
    assert row["training_patterns"] == tiny.manifest.patterns["train"]
    values = [one["amplitude_mae"] for one in singles]
    if None not in values:
        assert row["amplitude_mae"] == pytest.approx(np.mean(values)) and len(set(values)) == 3
    else:
        assert row["amplitude_mae"] is None and not row["evaluable"]
    (best,) = rows(pipeline, method="rpie_converged", probe="known")
    given = regime_part.scanned(tiny, tiny_params, 12)
    source = RpieConverged(name="rpie_converged", seed=SECTION["seed"], **CONVERGED)
    expected = regime_part.judged(regime_part.reference(source)(given), given)
    assert best["amplitude_mae"] == pytest.approx(expected["amplitude_mae"])
    (short,) = rows(pipeline, method="rpie", probe="known")
    assert best["amplitude_mae"] != pytest.approx(short["amplitude_mae"], rel=1e-3)
    assert "seeds" not in best and "training_patterns" not in best
    assert len(result(pipeline)["inputs"]["weights"]) == 6
    assert result(pipeline)["settings"]["rpie_converged"] == CONVERGED


def test_a_network_without_one_of_its_runs_has_no_row(
    pipeline: Path, tiny: Dataset, tiny_params: DataParams, control: Arm
) -> None:
    with_runs(pipeline, tiny_params, control, tiny.manifest.content_sha256, [1, 2, 0])
    (pipeline / "runs" / "control" / "s2" / "last.pt").unlink()
    regimes.run_regimes(pipeline, 1)
    assert rows(pipeline, method="control") == [] and rows(pipeline, method="better") != []
    assert any("no control" in line for line in result(pipeline)["missing"])


def part_row(value: float | None, reason: str | None = None) -> dict[str, Any]:
    evaluable = value is not None or reason is None
    return {
        **dict.fromkeys(regime_part.NUMBERS, value),
        "seconds": 1.0,
        "evaluable": evaluable,
        "reason": reason,
    }


def test_the_surviving_runs_alone_are_no_number() -> None:
    good, bad = part_row(0.1), part_row(None, "constant amplitude")
    both = regime_part.over_seeds({1: good, 2: part_row(0.3)})
    assert both["amplitude_mae"] == pytest.approx(0.2) and both["evaluable"]
    mixed = regime_part.over_seeds({1: good, 2: bad})
    assert mixed["amplitude_mae"] is None and not mixed["evaluable"]
    assert mixed["reason"] == "s2: constant amplitude"
    assert regime_part.over_seeds({1: bad, 2: bad})["reason"] == "constant amplitude"
    assert regime_part.over_seeds({7: good}) == good


def test_a_map_without_the_optional_settings_is_stored_as_before(pipeline: Path) -> None:
    regimes.run_regimes(pipeline, 1)
    assert set(result(pipeline)["settings"]) == set(regimes.SETTINGS)
    assert all("seeds" not in row for row in result(pipeline)["cells"])


def test_runs_that_repeat_are_refused(
    tmp_path: Path, tiny_params: DataParams, control: Arm
) -> None:
    write_params(tmp_path, tiny_params, control, seeds=[1, 1])
    with pytest.raises(UserError, match="seeds"):
        regimes.run_regimes(tmp_path, 1)

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from study.evidence.arms import numbers_of
from study.evidence.scores import score_run
from study.formats.dataset import Dataset
from study.formats.reconstruction import Reconstruction, load_reconstruction
from study.iterative.back_projection import back_project
from study.iterative.limit import limits
from study.iterative.references import run
from study.iterative.sources import SOURCES
from study.iterative.task import measured, on_one_canvas
from study.metrics import score
from study.optics import extract
from study.optics.assembly import assemble, stitch
from study.runs import RunFolder, read_json
from study.settings import Reference, UserError, read_yaml

EVERY = [
    {"name": "flat"},
    {"name": "oracle"},
    {"name": "back_projection", "steps": 2},
    {"name": "from_amplitude", "steps": 2},
    {
        "name": "group_steps",
        "steps": 2,
        "kind": "conjugate",
        "alpha": 0.1,
        "smoothing_px": 0.5,
        "synchronise": True,
    },
    {
        "name": "rpie_converged",
        "passes": 4,
        "change": 0.5,
        "over": 2,
        "settings": {"damped": {"alpha": 0.1, "update": "batches"}},
        "update_probe": False,
        "seed": 0,
    },
    {"name": "rpie", "passes": 3, "alpha": 0.1, "update_probe": False, "seed": 0},
]
RPIE = EVERY[-1]
JITTERED = {
    "kind": "jittered",
    "stride_px": {"train": 8, "validation": 8, "test": 4},
    "jitter_px": 1.5,
    "seed": 5,
}


@pytest.fixture
def made(tmp_path: Path, row: Callable[..., Reference]) -> Callable[..., Reconstruction]:
    """made(dataset, name="flat"): the stored reconstruction of a row."""

    def make_row(dataset: Dataset, **source: Any) -> Reconstruction:
        folder = RunFolder(tmp_path / f"{len(list(tmp_path.iterdir()))}")
        run(row(**source), dataset, folder)
        return load_reconstruction(folder.object_file("best"))

    return make_row


def true_crop(dataset: Dataset, region: np.ndarray) -> np.ndarray:
    y0, x0, y1, x1 = region
    obj = dataset.splits["test"].obj
    assert obj is not None
    return obj[:, y0:y1, x0:x1]


def test_every_source_of_params_has_a_function() -> None:
    assert {source["name"] for source in EVERY} == set(SOURCES)


@pytest.mark.parametrize("patterns", [1, 4])
def test_the_limit_row_holds_the_bound_and_no_object(
    tiny: Dataset, row: Callable[..., Reference], tmp_path: Path, patterns: int
) -> None:
    folder = RunFolder(tmp_path)
    run(row(name="cramer_rao", patterns=patterns), tiny, folder)
    expected = limits(tiny, "test", (patterns,))[0]
    found = read_json(folder.limit_file)
    assert found["amplitude_mae"] == expected.amplitude_mae
    assert found["phase_mae"] == expected.phase_mae
    assert folder.status()["patterns"] == patterns and folder.settled
    assert not folder.object_file("best").is_file()
    scored = score_run("bound", row(name="cramer_rao", patterns=patterns), 0, folder, tiny)
    numbers = numbers_of(scored)
    assert scored["label"] == "limit" and scored["outcome"] == "ok"
    assert numbers["last.standard.amplitude.mae"] == expected.amplitude_mae
    assert numbers["best.standard.phase.mae"] == expected.phase_mae


def test_a_measurement_has_no_limit(
    as_measured: Dataset, row: Callable[..., Reference], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="measurement"):
        run(row(name="cramer_rao", patterns=1), as_measured, RunFolder(tmp_path))


@pytest.mark.parametrize("stitching", ["average", "synchronised"])
def test_patches_follow_the_stitching_of_the_data_set(
    variant: Callable[..., Dataset], row: Callable[..., Reference], tmp_path: Path, stitching: str
) -> None:
    """Stitched here by hand from the same patches."""
    dataset = variant(stitching=stitching)
    folder = RunFolder(tmp_path)
    run(row(name="back_projection", steps=1), dataset, folder)
    patterns, probe = measured(dataset, "test"), torch.tensor(dataset.probe)
    patch = back_project(patterns.amplitude.flatten(0, 1), probe, 1)[:, None]
    what = "windows" if stitching == "synchronised" else None
    expected = stitch(patch, probe, patterns.scan, synchronise=what)
    whole = assemble(expected, probe, patterns, dataset.manifest.object_norm["test"])
    found = load_reconstruction(folder.object_file("best"))
    assert np.array_equal(found.region, whole.region)
    assert np.allclose(found.object, whole.object, atol=1e-5)


def test_the_oracle_is_the_crop_of_the_truth(tiny: Dataset, made: Any) -> None:
    result = made(tiny, name="oracle")
    truth = true_crop(tiny, result.region)
    assert result.distinct
    assert np.abs(result.object - truth).max() < 1e-5 * np.abs(truth).max()


def test_the_oracle_of_a_jittered_scan_is_the_truth_but_for_interpolation(
    variant: Callable[..., Dataset], made: Any
) -> None:
    dataset = variant(scan=JITTERED)
    result = made(dataset, name="oracle")
    truth = true_crop(dataset, result.region)
    assert np.abs(result.object - truth).mean() < 0.05 * np.abs(truth).mean()


def test_the_oracle_leaves_noise_alone_in_its_r_factor(tiny: Dataset, made: Any) -> None:
    """A Poisson draw moves sqrt(counts) by 1/2: R = about n^2 E|N(0, 1/4)| / sum sqrt(counts)."""
    result = made(tiny, name="oracle")
    counts = tiny.splits["test"].counts.astype(np.float64)
    expected = np.mean(256 * 0.5 * np.sqrt(2 / np.pi) / np.sqrt(counts).sum(axis=(1, 2, 3)))
    assert np.nanmedian(result.r_factor) == pytest.approx(expected, rel=0.2)


def test_the_flat_row_scores_what_any_constant_scores(tiny: Dataset, made: Any) -> None:
    result = made(tiny, name="flat")
    truth = true_crop(tiny, result.region)[0]
    constant = np.full(truth.shape, 1 + 0j, dtype=np.complex64)
    row = score(result.object[0], truth, "published")
    floor = score(constant, truth, "published")
    assert not result.distinct
    assert not row["gate"]["amplitude"]["evaluable"]
    for channel in ("amplitude", "phase"):
        for metric in ("mae", "ssim"):
            assert row[channel][metric] == pytest.approx(floor[channel][metric], abs=1e-5)


def test_the_flat_row_has_the_size_of_the_object(tiny: Dataset, made: Any) -> None:
    result = made(tiny, name="flat")
    truth = true_crop(tiny, result.region)
    assert np.abs(result.object).mean() == pytest.approx(np.abs(truth).mean(), rel=0.1)


def test_rows_are_ranked_floor_back_projection_rpie_ceiling(tiny: Dataset, made: Any) -> None:
    sources = [EVERY[0], EVERY[2], {**RPIE, "passes": 25}, EVERY[1]]
    results = [made(tiny, **source) for source in sources]
    scores = [
        score(result.object[0], true_crop(tiny, result.region)[0], "published")["amplitude"]
        for result in results
    ]
    for metric, worse_is_larger in (("ssim", False), ("mae", True)):
        values = [amplitude[metric] for amplitude in scores]
        assert values == sorted(values, reverse=worse_is_larger)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"group_size": 4, "object_px": 68}, id="groups"),
        pytest.param({"images_per_split": 2}, id="two images"),
        pytest.param({"scan": JITTERED}, id="jittered"),
    ],
)
def test_all_rows_of_a_set_cover_one_region(
    variant: Callable[..., Dataset], made: Any, changes: dict[str, Any]
) -> None:
    dataset = variant(**changes)
    results = [made(dataset, **source) for source in EVERY]
    assert {tuple(result.region) for result in results} == {tuple(results[0].region)}
    for result in results:
        assert len(result.object) == dataset.manifest.request["images_per_split"]
        assert np.isfinite(result.object).all()
        assert len(result.r_factor) == len(dataset.splits["test"].counts)
        assert np.isfinite(result.r_factor).any()


def test_a_copied_phase_has_the_amplitude_of_the_back_projection_and_follows_it(
    tiny: Dataset, grouped: Dataset, made: Any
) -> None:
    for dataset in (tiny, grouped):
        plain = made(dataset, name="back_projection", steps=2)
        copied = made(dataset, name="from_amplitude", steps=2)
        assert np.allclose(np.abs(copied.object), np.abs(plain.object), rtol=1e-5)
        amplitude, phase = np.abs(copied.object), np.angle(copied.object)
        order = np.argsort(amplitude, axis=None)
        # Increasing up to rounding: the phase is a function of the amplitude.
        assert np.diff(phase.flatten()[order]).min() > -1e-5
        assert np.ptp(phase) > 0.3


@pytest.mark.parametrize(
    "change",
    [{"steps": 4}, {"kind": "simultaneous"}, {"alpha": 0.5}, {"smoothing_px": 0.0}],
)
def test_every_setting_of_the_group_steps_reaches_them(
    grouped: Dataset, made: Any, change: dict[str, Any]
) -> None:
    source = next(each for each in EVERY if each["name"] == "group_steps")
    before, after = made(grouped, **source), made(grouped, **{**source, **change})
    assert np.abs(after.object - before.object).max() > 1e-3 * np.abs(before.object).max()


def test_rpie_brings_every_image_back(variant: Callable[..., Dataset], made: Any) -> None:
    dataset = variant(images_per_split=2, scan=JITTERED)
    result = made(dataset, **{**RPIE, "passes": 20, "alpha": 0.02})
    truth = true_crop(dataset, result.region)
    for found, true in zip(result.object, truth, strict=True):
        assert score(found, true, "published")["amplitude"]["ssim"] > 0.9
    assert score(result.object[0], truth[1], "published")["amplitude"]["ssim"] < 0.5


def test_a_canvas_of_all_images_holds_the_windows_of_each(variant: Callable[..., Dataset]) -> None:
    dataset = variant(images_per_split=2, scan=JITTERED)
    split, scan = dataset.splits["test"], measured(dataset, "test").scan
    assert split.obj is not None
    positions_px, shape = on_one_canvas(scan)
    together = torch.tensor(split.obj).reshape(shape)
    for index in (0, len(split.counts) - 1):
        own = torch.tensor(split.obj[split.image_index[index]])
        window = extract(own, torch.tensor(split.positions_px[index]), 16)
        found = extract(together, positions_px[index : index + 1], 16)
        assert torch.allclose(found, window, atol=1e-4)


# --- imported sets ----------------------------------------------------------------------------


@pytest.mark.parametrize("source", [EVERY[0], EVERY[2], {**RPIE, "update_probe": True}])
def test_the_patterns_that_judge_are_not_seen(
    as_measured: Dataset, made: Any, source: dict[str, Any]
) -> None:
    test = as_measured.splits["test"]
    other = replace(test, counts=test.counts[::-1].copy())
    swapped = replace(as_measured, splits={**as_measured.splits, "test": other})
    first, second = made(as_measured, **source), made(swapped, **source)
    assert np.array_equal(first.object, second.object)
    assert len(first.r_factor) == len(test.counts)
    assert not np.array_equal(first.r_factor, second.r_factor, equal_nan=True)


def test_a_measurement_has_no_oracle(
    as_measured: Dataset, tmp_path: Path, row: Callable[..., Reference]
) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(UserError, match="no oracle; choose"):
        run(row(name="oracle"), as_measured, folder)
    assert folder.status()["state"] == "stopped"
    assert "no oracle" in folder.status()["cause"]
    assert not folder.object_file("best").exists()


def test_an_updated_probe_is_stored(as_measured: Dataset, made: Any) -> None:
    kept = made(as_measured, **RPIE)
    refined = made(as_measured, **{**RPIE, "update_probe": True})
    assert np.array_equal(kept.probe, as_measured.probe)
    power = np.sum(np.abs(as_measured.probe) ** 2)
    assert not np.array_equal(refined.probe, as_measured.probe)
    assert np.sum(np.abs(refined.probe) ** 2) == pytest.approx(power, rel=1e-4)


# --- the run folder ---------------------------------------------------------------------------


def test_the_folder_of_rpie_tells_every_pass(
    tiny: Dataset, tmp_path: Path, row: Callable[..., Reference]
) -> None:
    folder, message = RunFolder(tmp_path), []
    run(row(**RPIE), tiny, folder, lambda *news: message.append(news))
    history, status = folder.history(), folder.status()
    assert list(history["epoch"]) == [1, 2, 3]
    assert list(history["r_factor"]) == pytest.approx([news[2]["r_factor"] for news in message])
    assert [news[:2] for news in message] == [(1, 3), (2, 3), (3, 3)]
    assert (status["state"], status["epoch"], status["patterns"]) == ("finished", 3, 49)
    assert status["seconds"] >= folder.timing()["seconds"].sum() * 0.99


@pytest.mark.parametrize("source", EVERY, ids=lambda source: source["name"])
def test_the_effective_settings_name_source_and_patterns(
    tiny: Dataset, tmp_path: Path, row: Callable[..., Reference], source: dict[str, Any]
) -> None:
    run(row(**source), tiny, RunFolder(tmp_path))
    settings = read_yaml(tmp_path / "params.yaml")
    assert source.items() <= settings["source"].items()
    assert settings["data"]["fitted"] == "test"
    assert settings["data"]["content_sha256"] == tiny.manifest.content_sha256


def test_a_settled_folder_is_left_alone(
    tiny: Dataset, tmp_path: Path, row: Callable[..., Reference]
) -> None:
    folder = RunFolder(tmp_path)
    folder.finish("finished")
    run(row(name="flat"), tiny, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]


def test_a_stop_is_no_failure(tiny: Dataset, tmp_path: Path, row: Callable[..., Reference]) -> None:
    def stop(*news: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(row(**RPIE), tiny, RunFolder(tmp_path), stop)
    assert RunFolder(tmp_path).status()["state"] == "cancelled"


def test_two_runs_of_a_row_are_bit_equal(
    tiny: Dataset, tmp_path: Path, row: Callable[..., Reference]
) -> None:
    files = []
    for name in ("a", "b"):
        run(row(**RPIE), tiny, RunFolder(tmp_path / name))
        files.append((tmp_path / name / "object_best.npz").read_bytes())
    assert files[0] == files[1]

"""The simulated data set: published scales, dose, noise, reproducibility."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from study.formats.dataset import Dataset, content_hash
from study.formats.probe import normalise, single
from study.settings import SPLITS, DataParams, Study, UserError, load_study
from study.simulate import simulate
from study.simulate.dataset import NoiselessSplit, set_light
from study.simulate.probes import make_probe
from study.stages import simulate as stage

ROOT = Path(__file__).parent.parent.parent


def change(params: DataParams, **changes: object) -> DataParams:
    return DataParams.model_validate({**params.model_dump(), **changes})


def full(smooth_sigma_px: float, images: int = 1) -> DataParams:
    return DataParams.model_validate(
        {
            "n": 64,
            "object_px": 392,
            "canvas_px": 784,
            "lines": 400,
            "phase": True,
            "images_per_split": images,
            "group_size": 1,
            "photons_per_pattern": 1e9,
            "object_seeds": {"train": 1, "validation": 3, "test": 2},
            "noise_seed": 7,
            "probe": {"kind": "ideal_disk", "smooth_sigma_px": smooth_sigma_px},
            "assumed_probe": None,
            "scan": {
                "kind": "raster",
                "stride_px": {"train": 4, "validation": 10, "test": 10},
            },
        }
    )


@pytest.mark.parametrize(
    ("sigma", "expected"), [(0.5, 934), pytest.param(0.0, 928, marks=pytest.mark.slow)]
)
def test_full_size_scales_are_the_published_ones(sigma: float, expected: float) -> None:
    params = full(sigma)
    light = set_light(params, {split: NoiselessSplit(split, params) for split in ("train", "test")})
    assert light.photon_scale == pytest.approx(expected, abs=2)
    assert light.object_norm["train"] == pytest.approx(4.163, abs=5e-4)
    assert light.object_norm["test"] == pytest.approx(4.230, abs=5e-4)


@pytest.mark.slow
def test_two_images_have_the_published_object_norms() -> None:
    params = full(0.5, images=2)
    scenes = {split: NoiselessSplit(split, params) for split in ("train", "test")}
    assert [len(scene.positions_px) for scene in scenes.values()] == [13778, 2178]
    light = set_light(params, scenes)
    assert light.object_norm["train"] == pytest.approx(4.146, abs=5e-4)
    assert light.object_norm["test"] == pytest.approx(4.264, abs=5e-4)


MEASURE = """
import sys
from study.settings import DataParams
from study.simulate import simulate
simulate("full", DataParams.model_validate_json(sys.argv[1]))
# Not ru_maxrss: a child inherits the peak of the process that started it.
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_the_full_size_set_needs_less_than_a_gigabyte() -> None:
    """Measured in a process of its own, imports included."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, full(0.5).model_dump_json()],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
    )
    assert float(done.stdout) < 1e6  # kB


# --- an assumed probe -------------------------------------------------------------------------

DISK = {"kind": "ideal_disk", "smooth_sigma_px": 0.5}


def test_without_an_assumed_probe_the_stored_one_is_the_true_one(
    tiny: Dataset, tiny_params: DataParams
) -> None:
    true = normalise(make_probe(tiny_params.probe, 16)[0])[0]
    assert tiny.probe.tobytes() == single(true).tobytes()
    assert tiny.manifest.statements == () and tiny.manifest.request["assumed_probe"] is None


def test_an_assumed_probe_changes_nothing_but_the_stored_probe(
    tiny: Dataset, tiny_params: DataParams
) -> None:
    message = simulate("tiny", change(tiny_params, assumed_probe=DISK))
    for split in SPLITS:
        for name in ("counts", "positions_px", "image_index", "obj"):
            a, b = (getattr(each.splits[split], name) for each in (message, tiny))
            assert a.tobytes() == b.tobytes()
    same = ("photon_scale", "probe_norm", "object_norm", "photons_per_pattern", "patterns")
    assert all(getattr(message.manifest, key) == getattr(tiny.manifest, key) for key in same)
    assert message.manifest.content_sha256 == content_hash(message.probe, message.splits)
    assert message.manifest.content_sha256 != tiny.manifest.content_sha256
    (output,) = message.manifest.statements
    assert "assumed" in output and "the counts come from another" in output


def test_the_assumed_probe_has_its_own_shape_and_the_power_of_the_true_one(
    tiny: Dataset, tiny_params: DataParams
) -> None:
    assumed = change(tiny_params, assumed_probe=DISK)
    message = simulate("tiny", assumed).probe
    raw = make_probe(assumed.assumed_probe, 16)[0]
    np.testing.assert_allclose(
        message / np.linalg.norm(message), raw / np.linalg.norm(raw), atol=1e-6
    )
    assert np.linalg.norm(message) == pytest.approx(np.linalg.norm(tiny.probe), rel=1e-6)


def test_assuming_the_true_probe_tells_the_truth(tiny: Dataset, tiny_params: DataParams) -> None:
    again = simulate("tiny", change(tiny_params, assumed_probe=tiny_params.probe.model_dump()))
    np.testing.assert_allclose(again.probe, tiny.probe, rtol=1e-6)


def test_an_assumed_probe_that_is_dark_is_refused(tiny_params: DataParams, tmp_path: Path) -> None:
    corner = np.zeros((16, 16), dtype=np.complex128)
    corner[0, 0] = 1.0
    np.savez(tmp_path / "probe.npz", probe=corner)
    file = {"kind": "file", "path": str(tmp_path / "probe.npz"), "fit": "pad"}
    with pytest.raises(UserError, match="zero or not finite within 4 px of its centre"):
        simulate("tiny", change(tiny_params, assumed_probe={**file, "smooth_sigma_px": 0}))


def test_two_simulations_are_bit_equal(tiny: Dataset, tiny_params: DataParams) -> None:
    again = simulate("tiny", tiny_params)
    assert again.manifest == tiny.manifest
    for split in SPLITS:
        assert np.array_equal(again.splits[split].counts, tiny.splits[split].counts)


def test_shapes_and_types_of_a_set(tiny: Dataset) -> None:
    for split, count in (("train", 169), ("validation", 49), ("test", 49)):
        content = tiny.splits[split]
        assert content.counts.shape == (count, 1, 16, 16)
        assert content.counts.dtype == np.uint32
        assert content.positions_px.shape == (count, 1, 2)
        assert content.positions_px.dtype == np.float32
        assert content.image_index.shape == (count,)
        assert content.obj is not None
        assert content.obj.shape == (1, 64, 64)
        assert content.obj.dtype == np.complex64
        assert tiny.manifest.patterns[split] == count
    assert tiny.splits["test"].stride_px == 8
    assert tiny.probe.dtype == np.complex64
    assert tiny.manifest.content_sha256 == content_hash(tiny.probe, tiny.splits)


def expected_intensity(dataset: Dataset, split: str, index: int) -> np.ndarray:
    """|F(S Y exp(i phi) P_sim)|^2 of one pattern of a raster, written again with numpy."""
    content, n = dataset.splits[split], dataset.manifest.n
    y, x = content.positions_px[index, 0].astype(int)
    patch = content.obj[content.image_index[index], y : y + n, x : x + n]
    patch = patch / dataset.manifest.object_norm[split]
    wave = dataset.manifest.photon_scale * patch * dataset.probe
    return np.abs(np.fft.fftshift(np.fft.fft2(wave, norm="ortho"))) ** 2


@pytest.mark.parametrize("split", SPLITS)
def test_counts_are_poisson_around_the_forward_model(tiny: Dataset, split: str) -> None:
    drawn = tiny.splits[split].counts[:, 0].astype(np.float64)
    mean = np.stack([expected_intensity(tiny, split, index) for index in range(len(drawn))])
    pulls = (drawn - mean) / np.sqrt(mean + 1e-12)
    bright = mean > 20
    assert bright.sum() > 1000
    assert abs(pulls[bright].mean()) < 5 / np.sqrt(bright.sum())
    assert pulls[bright].var() == pytest.approx(1, abs=0.05)


def test_object_norm_is_the_mean_patch_maximum(tiny: Dataset) -> None:
    for split in SPLITS:
        content = tiny.splits[split]
        corners = content.positions_px[:, 0].astype(int)
        amplitude = np.abs(content.obj[0])
        largest = [amplitude[y : y + 16, x : x + 16].max() for y, x in corners]
        assert tiny.manifest.object_norm[split] == pytest.approx(np.mean(largest), rel=1e-6)


@pytest.mark.parametrize("dose", [1e3, 1e6, 1e8])
def test_train_patterns_carry_the_dose(tiny_params: DataParams, dose: float) -> None:
    dataset = simulate("dose", change(tiny_params, photons_per_pattern=dose))
    totals = dataset.splits["train"].counts.sum(axis=(1, 2, 3), dtype=np.float64)
    assert totals.mean() == pytest.approx(dose, rel=5 / np.sqrt(dose * len(totals)))


def test_a_hundredfold_dose_scales_s_by_ten(tiny: Dataset, tiny_params: DataParams) -> None:
    brighter = simulate("bright", change(tiny_params, photons_per_pattern=1e8))
    assert brighter.manifest.photon_scale == pytest.approx(10 * tiny.manifest.photon_scale)
    assert brighter.manifest.object_norm == tiny.manifest.object_norm


def test_the_noise_seed_changes_the_counts_alone(tiny: Dataset, tiny_params: DataParams) -> None:
    other = simulate("noise", change(tiny_params, noise_seed=8))
    assert np.array_equal(other.splits["train"].obj, tiny.splits["train"].obj)
    assert other.manifest.photon_scale == tiny.manifest.photon_scale
    assert not np.array_equal(other.splits["train"].counts, tiny.splits["train"].counts)


def test_splits_have_noise_of_their_own(
    tiny_params: DataParams, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []

    def record(
        scene: NoiselessSplit, probe: object, object_norm: float, generator: np.random.Generator
    ) -> np.ndarray:
        drawn.append(generator.random())
        return np.zeros((len(scene.positions_px), 1, 16, 16), np.uint32)

    monkeypatch.setattr("study.simulate.dataset.expose", record)
    simulate("noise", tiny_params)
    simulate("noise", change(tiny_params, noise_seed=8))
    assert len(set(drawn)) == 6


def test_an_empty_object_is_refused(tiny_params: DataParams) -> None:
    with pytest.raises(UserError, match="empty with lines = 0"):
        simulate("empty", change(tiny_params, lines=0))


def test_groups_of_four_are_the_patches_of_a_window(tiny_params: DataParams) -> None:
    dataset = simulate("grouped", change(tiny_params, group_size=4, photons_per_pattern=1e8))
    content = dataset.splits["test"]
    assert content.counts.shape == (36, 4, 16, 16)
    assert content.stride_px is None
    y, x = content.positions_px[7, 3].astype(int)
    patch = content.obj[0, y : y + 16, x : x + 16] / dataset.manifest.object_norm["test"]
    wave = dataset.manifest.photon_scale * patch * dataset.probe
    mean = np.abs(np.fft.fftshift(np.fft.fft2(wave, norm="ortho"))) ** 2
    assert np.allclose(content.counts[7, 3], mean, atol=6 * np.sqrt(mean.max()))
    assert content.counts[7, 3].sum() == pytest.approx(mean.sum(), rel=1e-3)


def test_two_images_are_scanned_one_after_the_other(tiny_params: DataParams) -> None:
    dataset = simulate("two", change(tiny_params, images_per_split=2))
    content = dataset.splits["test"]
    assert content.image_index.tolist() == [0] * 49 + [1] * 49
    for index in (3, 60):
        mean = expected_intensity(dataset, "test", index)
        assert content.counts[index, 0].sum() == pytest.approx(mean.sum(), rel=0.01)


def test_jittered_scans_have_no_stride(tiny_params: DataParams) -> None:
    scan = {
        "kind": "jittered",
        "stride_px": tiny_params.scan.stride_px.model_dump(),
        "jitter_px": 1.5,
        "seed": 1,
    }
    dataset = simulate("jittered", change(tiny_params, scan=scan))
    assert dataset.splits["test"].stride_px is None
    assert (dataset.splits["train"].positions_px % 1 > 0).any()


def test_a_dose_beyond_32_bits_is_refused(tiny_params: DataParams) -> None:
    with pytest.raises(UserError, match="lower photons_per_pattern"):
        simulate("bright", change(tiny_params, photons_per_pattern=1e12))


def test_a_masked_set_has_the_counts_of_the_set_without_a_mask(
    tiny: Dataset, tiny_params: DataParams
) -> None:
    masked = simulate("masked", change(tiny_params, mask={"rows": [[7, 9]], "columns": [[0, 1]]}))
    known = np.ones((16, 16), bool)
    known[7:9] = known[:, 0] = False
    assert masked.mask is not None
    assert np.array_equal(masked.mask, known)
    for name in SPLITS:
        a, b = (each.splits[name].counts[:][..., known] for each in (tiny, masked))
        assert np.array_equal(a, b)
    assert masked.manifest.content_sha256 != tiny.manifest.content_sha256
    assert masked.manifest.request["mask"] == {"rows": [[7, 9]], "columns": [[0, 1]]}


def test_no_mask_leaves_no_trace(tiny: Dataset, tiny_params: DataParams) -> None:
    again = simulate("tiny", change(tiny_params, mask=None))
    assert "mask" not in again.manifest.request
    assert again.manifest == tiny.manifest


@pytest.mark.parametrize("rows", [[[7, 17]], [[3, 3]], [[-1, 2]], [[0, 9]]])
def test_a_mask_outside_the_detector_or_of_most_pixels_is_refused(
    tiny_params: DataParams, rows: list[list[int]]
) -> None:
    with pytest.raises(ValueError, match="mask"):
        change(tiny_params, mask={"rows": rows, "columns": []})


@pytest.mark.parametrize(
    "changes",
    [
        {"images_per_split": 1_000_000},
        {"object_px": 32_768, "canvas_px": 32_768},
        {"canvas_px": 32_768, "object_px": 32_000, "n": 512},
    ],
)
def test_a_set_beyond_the_memory_is_refused_before_it_is_computed(
    tiny_params: DataParams,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, int],
) -> None:
    monkeypatch.setattr(stage, "simulate", lambda *_: pytest.fail("it was computed"))
    monkeypatch.setattr(stage.environment, "memory", lambda: 8 * 10**9)
    large = Study.model_validate({"data": {"tiny": change(tiny_params, **changes)}, "arms": {}})
    with pytest.raises(UserError, match=r"tiny takes at least \S+ GB of memory, and 8 GB are free"):
        stage.simulate_all(large, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_the_memory_of_every_set_of_the_study_is_small() -> None:
    for folder in ("", "studies", "full"):
        study = load_study(ROOT / folder / "params.yaml")
        assert all(stage.memory_bytes(params) < 8e9 for params in study.data.values())

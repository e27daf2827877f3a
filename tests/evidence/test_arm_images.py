"""results/<arm>/images.png: what is written is what any PNG reader gives back."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.image import imread
from numpy.typing import NDArray
from PIL import Image

from study.evidence import images
from study.evidence.images import Facts, median_seed, write_images
from study.formats.dataset import Dataset, Split
from study.formats.reconstruction import Reconstruction, save_reconstruction
from study.runs import RunFolder


@dataclass(frozen=True)
class Images:
    """A file as another reader sees it: channel -> panel -> values, from the stored ranges."""

    facts: Facts
    pictures: dict[str, dict[str, NDArray[np.float64]]]


def read_images(file: Path) -> Images:
    with Image.open(file) as image:
        assert image.mode == "L"
        facts = Facts.model_validate_json(image.text["armature"])  # pyright: ignore
        pixels = np.asarray(image, dtype=np.float64)
    pictures: dict[str, dict[str, NDArray[np.float64]]] = {}
    for channel, half in zip(images.CHANNELS, np.array_split(pixels, 2), strict=True):
        low, high = getattr(facts, channel)
        columns = np.array_split(half, len(facts.panels), axis=1) if facts.panels else []
        pictures[channel] = {
            name: low + (high - low) * column / 255
            for name, column in zip(facts.panels, columns, strict=True)
        }
    return Images(facts, pictures)


def an_object(side: int, seed: int = 0) -> NDArray[np.complex64]:
    draw = np.random.default_rng(seed)
    phase = draw.normal(size=(side, side)) / 3
    return (draw.uniform(0.5, 1.5, (side, side)) * np.exp(1j * phase)).astype(np.complex64)


def reconstruction(obj: NDArray[np.complex64], tiny: Dataset) -> Reconstruction:
    return Reconstruction(
        object=obj[None],
        region=np.array([0, 0, *obj.shape]),
        r_factor=np.zeros(1, dtype=np.float32),
        predicted_amplitude=np.zeros((0, *tiny.probe.shape), dtype=np.float16),
        shown=np.zeros(0, dtype=np.int64),
        distinct=True,
        checkpoint="best",
        epoch=1,
        probe=tiny.probe,
    )


def split_of(truth: NDArray[np.complex64] | None, tiny: Dataset) -> Split:
    split = tiny.splits["test"]
    return type(split)(**{**vars(split), "obj": None if truth is None else truth[None]})


def written(
    folder: Path,
    tiny: Dataset,
    truth: NDArray[np.complex64] | None,
    found: NDArray[np.complex64] | None,
) -> Images:
    run = RunFolder(folder / "run")
    if found is not None:
        save_reconstruction(run.object_file("best"), reconstruction(found, tiny))
    write_images(folder / "images.png", 7, run, split_of(truth, tiny))
    return read_images(folder / "images.png")


def test_a_perfect_object_with_another_global_phase_looks_as_the_truth(
    tmp_path: Path, tiny: Dataset
) -> None:
    truth = an_object(40)
    shown = written(tmp_path, tiny, truth, (truth * np.exp(2j)).astype(np.complex64))
    assert shown.facts.seed == 7 and shown.facts.panels == ["truth", "reconstruction"]
    turned = truth * np.exp(-1j * np.angle(truth.sum()))
    for channel, expected in (("amplitude", np.abs(truth)), ("phase", np.angle(turned))):
        low, high = getattr(shown.facts, channel)
        for panel in shown.pictures[channel].values():
            assert panel.shape == truth.shape
            assert np.abs(panel - expected).max() <= 0.51 * (high - low) / 255
        assert (low, high) == pytest.approx((expected.min(), expected.max()), abs=1e-6)


def test_two_rows_of_two_panels_of_at_most_84_px(tmp_path: Path, tiny: Dataset) -> None:
    written(tmp_path, tiny, an_object(100), an_object(100, 1))
    assert imread(tmp_path / "images.png").shape == (2 * images.SIDE_PX, 2 * images.SIDE_PX)


@pytest.mark.parametrize("side", [30, 84, 85, 500])
def test_files_are_small_and_their_bytes_are_those_of_the_pixels(
    tmp_path: Path, tiny: Dataset, side: int
) -> None:
    truth, found = an_object(side), an_object(side, 1)
    contents = []
    for name in ("a", "b"):
        written(tmp_path / name, tiny, truth, found)
        contents.append((tmp_path / name / "images.png").read_bytes())
    assert contents[0] == contents[1] and len(contents[0]) <= 30_000


def test_there_is_a_picture_whatever_a_run_left(tmp_path: Path, tiny: Dataset) -> None:
    truth, found = an_object(30), an_object(30, 1)
    broken = np.full_like(found, np.nan)
    cases = {"no object": (truth, None), "no truth": (None, found), "neither": (None, None),
             "not finite": (truth, broken), "constant": (truth, np.ones_like(truth)),
             "flat truth": (np.ones_like(truth), found)}  # fmt: skip
    panels = {}
    for name, pair in cases.items():
        shown = written(tmp_path / name, tiny, *pair)
        panels[name] = shown.facts.panels
        assert all(np.isfinite(p).all() for c in shown.pictures.values() for p in c.values())
    both = ["truth", "reconstruction"]
    assert panels == {"no object": ["truth"], "no truth": ["reconstruction"], "neither": [],
                      "not finite": ["truth"], "constant": both, "flat truth": both}  # fmt: skip


@given(st.integers(1, 300), st.integers(1, 300))
def test_reduction_keeps_the_mean_and_small_axes(side: int, longest: int) -> None:
    weights = images._reduction(side, max(side, longest))
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights.sum(axis=0), len(weights) / side)
    if max(side, longest) <= images.SIDE_PX:
        np.testing.assert_array_equal(weights, np.eye(side))


@given(st.lists(st.tuples(st.sampled_from(["ok", "failed"]), st.floats(0, 1)), min_size=1))
def test_the_median_seed_has_as_many_before_it_as_behind(drawn: list[tuple[str, float]]) -> None:
    scored = {
        seed: {"outcome": outcome, "best": {"val_loss": loss}}
        for seed, (outcome, loss) in enumerate(drawn)
    }
    ranks = [(outcome == "failed", loss) for outcome, loss in drawn]
    chosen = ranks[median_seed(scored)]
    assert sum(rank < chosen for rank in ranks) <= (len(ranks) - 1) // 2
    assert sum(rank > chosen for rank in ranks) <= len(ranks) // 2

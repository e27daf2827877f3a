"""The stored object of one run beside the truth, aligned to its phase as for the scores.

This module draws nothing. A missing object, or one that was not scored, is reported in a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import load
from app.compare.chosen import Chosen
from study.evidence.evaluable import NOT_EVALUABLE, blanks
from study.formats.dataset import Dataset
from study.formats.reconstruction import Reconstruction
from study.metrics.gauge import angle
from study.metrics.pair import Pair, checked_scene
from study.metrics.standard import STANDARD
from study.reading import hash_of_file

CHANNELS = ("amplitude", "phase")
UNITS = {"amplitude": "object units", "phase": "rad"}


@dataclass(frozen=True)
class Scene:
    """One reconstruction of one test image.

    `images`: (h, w) by channel, global phase removed; `truth` the same of the true object, None
    for a measurement. `blank`: channel -> why it is not evaluable. `corner`: (y, x) of the first
    pixel in the object. `digest`: sha256 of the object's file.
    """

    arm: str
    seed: int
    checkpoint: str
    images: Mapping[str, np.ndarray]
    truth: Mapping[str, np.ndarray] | None
    blank: Mapping[str, str]
    corner: tuple[int, int]
    result: Reconstruction
    dataset: Dataset
    file: str
    digest: str

    def pair(self, channel: str) -> Pair | None:
        if self.truth is None:
            return None
        true = self.truth[channel]
        return Pair(channel, self.images[channel], true, np.ones(true.shape, dtype=bool))

    def difference(self, channel: str) -> np.ndarray | None:
        """Prediction minus truth; of the phase it is angle(a conj b), in (-pi, pi]."""
        return None if self.truth is None else self.images[channel] - self.truth[channel]


def find(chosen: Chosen, arms: Sequence[str]) -> tuple[list[Scene], dict[str, str]]:
    """The objects that can be shown, and for every other arm a sentence with the reason."""
    found: list[Scene] = []
    absent: dict[str, str] = {}
    for arm in arms:
        one = scene(arm, chosen.seed_of(arm), chosen.checkpoint)
        if isinstance(one, Scene):
            found.append(one)
        else:
            absent[arm] = one
    return found, absent


def scene(arm: str, seed: int, checkpoint: str) -> Scene | str:
    """The scored object, or a sentence. Raises UserError for a damaged file."""
    results = load.results()[arm]
    content = results.seeds.get(seed)
    if content is None:
        return f"{arm} has no seed {seed}; it has {', '.join(map(str, results.seeds))}."
    name = checkpoint if content["label"] == "arm" else "best"
    file = load.run_folder(arm, seed) / f"object_{name}.npz"
    scored = content["evidence"].get(f"runs/{arm.rpartition('/')[2]}/s{seed}/{file.name}")
    if scored is None:
        cause = f": {content['cause']}" if content["cause"] else "."
        return f"{arm} seed {seed} left no object of the {name} epoch ({content['outcome']}){cause}"
    if not file.is_file():
        return f"{arm} seed {seed} is not pulled: `study pull {arm}`"
    folder = load.data_folder(arm, seed)
    if folder is None:
        return f"The data set of {arm} is not pulled: `study pull {arm}`"
    places = load.stamp(file), load.stamp(folder)
    made_on = content["data"].get("seed_sha256", results.data_sha256)
    return _scene(arm, seed, name, str(file), str(folder), scored, made_on, places)


@st.cache_resource(show_spinner=False, max_entries=64)
def _scene(
    arm: str,
    seed: int,
    name: str,
    file: str,
    folder: str,
    scored: str,
    made_on: str | None,
    key: tuple[load.Stamp, load.Stamp],
) -> Scene | str:
    """Cached on what the files are."""
    if hash_of_file(Path(file)) != scored:
        return (
            f"{arm} seed {seed}: the stored object is not the one that was scored; "
            f"score it (`study evaluate --arm {arm}`) or pull the scored one (`study pull {arm}`)"
        )
    dataset = load.dataset(Path(folder))
    if dataset.manifest.content_sha256 != made_on:
        return f"The data set in {folder} is not the one that {arm} ran on; pull or simulate it."
    result = load.reconstruction(arm, seed, name)
    if result is None:
        return f"{arm} seed {seed} is not pulled: `study pull {arm}`"
    content = load.results()[arm].seeds[seed]
    images, truth = aligned(result, dataset)
    corner = int(result.region[0]), int(result.region[1])
    blank = blanked(content, name)
    return Scene(arm, seed, name, images, truth, blank, corner, result, dataset, file, scored)


def aligned(
    result: Reconstruction, dataset: Dataset
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray] | None]:
    """Amplitude (object units) and phase (rad) of the first image, and of its truth.

    Computed as in the metric set `standard`: both are rotated to the mean direction of the truth,
    and the phase is that of the truth plus the phase error. Without a truth, the mean direction of
    the object is 0 rad.
    """
    obj = result.object[0].astype(np.complex128)
    true = dataset.splits["test"].obj
    if true is None:
        turned = obj * np.exp(-1j * np.angle(obj.sum()))
        return {"amplitude": np.abs(turned), "phase": angle(turned)}, None
    y0, x0, y1, x1 = (int(edge) for edge in result.region)
    turned_scene, _ = STANDARD.align(checked_scene(obj, true[0, y0:y1, x0:x1], None), False)
    pairs = {channel: cut(turned_scene) for channel, cut in STANDARD.channels.items()}
    return (
        {channel: pair.prediction for channel, pair in pairs.items()},
        {channel: pair.truth for channel, pair in pairs.items()},
    )


def blanked(content: Mapping[str, Any], checkpoint: str) -> dict[str, str]:
    """channel -> why it is not evaluable, in the words of a cell."""
    found = blanks(content, checkpoint)
    return {channel: f"{NOT_EVALUABLE}: {reason}" for channel, reason in found.items()}


@dataclass(frozen=True)
class Window:
    """Rows and columns of the object that every scene has: [y0, y1) and [x0, x1), object px."""

    y0: int
    x0: int
    y1: int
    x1: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.y1 - self.y0, self.x1 - self.x0

    def of(self, one: Scene, image: np.ndarray) -> np.ndarray:
        """The window of one of the scene's images."""
        y, x = self.y0 - one.corner[0], self.x0 - one.corner[1]
        return image[y : y + self.shape[0], x : x + self.shape[1]]


def common_window(scenes: Sequence[Scene]) -> Window:
    """The intersection of the scored regions of at least one scene."""
    edges = np.array([one.result.region for one in scenes])
    return Window(*map(int, (*edges[:, :2].max(axis=0), *edges[:, 2:].min(axis=0))))

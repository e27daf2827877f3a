"""Stored reconstructions and their true object, with the phase aligned as for the scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from study.evidence.evaluable import blanks
from study.formats.dataset import Dataset
from study.formats.reconstruction import Reconstruction
from study.metrics.frc import centre_square, frc
from study.metrics.pair import Pair, checked_scene
from study.metrics.standard import STANDARD
from study.report.gather import Inputs, median_seed, not_here

CHANNELS = ("amplitude", "phase")
# Arms to show, in this order, if they are stored.
WANTED = (
    "control",
    "better",
    "agc",
    "stable",
    "stable_layerscale",
    "back_projection_5",
    "rpie",
)


@dataclass(frozen=True)
class Shown:
    """One reconstruction. `pairs`: channel -> prediction and truth; `blank`: channel -> why it is
    not evaluable."""

    arm: str
    seed: int
    pairs: dict[str, Pair]
    blank: dict[str, str]
    result: Reconstruction
    dataset: Dataset


def find_shown(inputs: Inputs, names: Sequence[str] = WANTED) -> tuple[list[Shown], dict[str, str]]:
    """The stored reconstructions of `names` (median seed of each arm), and why others are missing.

    All show the same true object as the first one found; if objects are drawn per seed, the seed of
    the first one is used for all.
    """
    found: list[Shown] = []
    absent: dict[str, str] = {}
    for name in names:
        arm = f"{inputs.main}{name}"
        if arm not in inputs.arms:
            continue
        results = inputs.arms[arm]
        same = results.objects_differ and found and found[0].seed in results.seeds
        one = _shown(inputs, arm, found[0].seed if same else median_seed(results))
        if isinstance(one, str):
            absent[name] = one
        elif found and found[0].dataset is not one.dataset:
            absent[name] = "computed on a different data set"
        else:
            found.append(one)
    return found, absent


def _shown(inputs: Inputs, arm: str, seed: int) -> Shown | str:
    result, dataset = inputs.reconstruction(arm, seed), inputs.dataset(arm, seed)
    if isinstance(result, str):
        return result
    if dataset is None or dataset.splits["test"].obj is None:
        return "its true object is not stored here"
    y0, x0, y1, x1 = (int(edge) for edge in result.region)
    truth = dataset.splits["test"].obj[0, y0:y1, x0:x1]
    scene, _ = STANDARD.align(checked_scene(result.object[0], truth, None), False)
    pairs = {channel: cut(scene) for channel, cut in STANDARD.channels.items()}
    return Shown(arm, seed, pairs, blanks(inputs.arms[arm].seeds[seed], "last"), result, dataset)


def ring_curve(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    """Fourier ring correlation of the central square, computed as for the scores: frequency (1/px,
    up to Nyquist) and correlation."""
    truth, prediction = centre_square(pair.truth), centre_square(pair.prediction)
    side = truth.shape[0]
    window = np.outer(np.hanning(side), np.hanning(side))
    found = frc((prediction - prediction.mean()) * window, (truth - truth.mean()) * window)
    kept = side // 2 + 1
    return np.arange(kept) / side, found[:kept]


def missing(what: str, absent: dict[str, str]) -> str:
    """The sentence that replaces a figure."""
    reasons = "; ".join(f"{name}: {why}" for name, why in absent.items())
    return not_here(what, reasons)


def same_size(shown: Sequence[Shown]) -> list[Shown]:
    """The reconstructions with the region of the first one."""
    region = shown[0].result.region
    return [one for one in shown if np.array_equal(one.result.region, region)]

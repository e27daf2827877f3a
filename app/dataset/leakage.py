"""Check for leakage between the splits of a data set: objects, patterns, scan areas.

The checks use the arrays; from the manifest they use only the seeds and the kind of data set.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from study.formats.dataset import Manifest
from study.formats.frames import Frames, blocks

HASHED_BYTES = 2**28  # for all splits; of larger data sets, evenly spaced patterns are compared


@dataclass(frozen=True)
class Check:
    """One question and its answer. `state`: a word of app.states."""

    state: str
    label: str
    question: str
    sentence: str


@dataclass(frozen=True)
class SplitScan:
    """The data of a split for the checks: frames (N, n, n), corners_px (N, 2), image_index (N,)."""

    frames: Frames
    corners_px: np.ndarray
    image_index: np.ndarray
    obj: np.ndarray | None
    object_shape: tuple[int, int]


def diameter_px(probe: np.ndarray) -> float:
    """Diameter of the disk with the effective area (sum I)^2 / sum I^2 of the probe, I = |P|^2."""
    light = np.abs(probe.astype(np.complex128)) ** 2
    area = light.sum() ** 2 / max((light**2).sum(), 1e-300)
    return float(2 * np.sqrt(area / np.pi))


def check(scans: Mapping[str, SplitScan], manifest: Manifest, diameter: float) -> list[Check]:
    """The three checks (objects, patterns, scan areas). `diameter`: illumination, in object px."""
    shared = shared_objects(scans, manifest)
    return [
        _objects(scans, manifest, shared),
        _patterns(scans),
        _areas(scans, shared, diameter),
    ]


def object_seeds(manifest: Manifest) -> Mapping[str, Any]:
    """Object seed per split; empty if the request states none."""
    seeds = manifest.request.get("object_seeds")
    return seeds if isinstance(seeds, Mapping) else {}


def shared_objects(scans: Mapping[str, SplitScan], manifest: Manifest) -> list[tuple[str, str]]:
    """Pairs of splits that share an object: equal truths, equal seeds, or one measured scan."""
    seeds = object_seeds(manifest)
    pairs = []
    for one, other in itertools.combinations(scans, 2):
        same_seed = one in seeds and seeds.get(one) == seeds.get(other)
        if same_seed or _same_object(scans[one], scans[other], manifest.kind):
            pairs.append((one, other))
    return pairs


def _same_object(one: SplitScan, other: SplitScan, kind: str) -> bool:
    if one.obj is None or other.obj is None:
        return kind == "imported" and one.object_shape == other.object_shape
    images = {_hash(image) for image in one.obj}
    return any(_hash(image) in images for image in other.obj)


def _hash(array: np.ndarray) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(array).data, digest_size=16).digest()


def _objects(
    scans: Mapping[str, SplitScan], manifest: Manifest, shared: Sequence[tuple[str, str]]
) -> Check:
    question = "Objects"
    if not shared:
        seeds = object_seeds(manifest)
        message = ", ".join(f"{name} {seeds[name]}" for name in scans if name in seeds)
        after = f" (object seeds: {message})" if message else ""
        return Check("ok", "separate", question, f"Every split has its own object{after}.")
    pairs = _pairs(shared)
    if manifest.kind == "imported":
        return Check(
            "unknown",
            "one object",
            question,
            "All splits are from one scan of one object: every 12th pattern is held out for "
            "testing and another 12th for validation. Held-out patterns show how well the "
            "reconstruction explains this scan, not how a network performs on a new object.",
        )
    return Check("failed", "shared", question, f"{pairs} share an object.")


def _pairs(pairs: Sequence[tuple[str, str]]) -> str:
    return "; ".join(f"{one} and {other}" for one, other in pairs)


def _patterns(scans: Mapping[str, SplitScan]) -> Check:
    """Check for bit-identical patterns in two splits; patterns without photons are ignored."""
    size = sum(scan.frames.nbytes for scan in scans.values())
    step = max(1, -(-size // HASHED_BYTES))
    seen = {name: _pattern_hashes(scan.frames, step) for name, scan in scans.items()}
    count = sum(len(found) for found in seen.values())
    read = f"{count:,} patterns compared" + (f", one in {step}" if step > 1 else ", all of them")
    equal = {
        (one, other): len(set(seen[one]) & set(seen[other]))
        for one, other in itertools.combinations(scans, 2)
    }
    found = {pair: number for pair, number in equal.items() if number}
    if found:
        message = "; ".join(f"{number} in {a} and {b}" for (a, b), number in found.items())
        return Check("failed", "repeated", "Patterns", f"Equal patterns: {message} ({read}).")
    return Check("ok", "distinct", "Patterns", f"No pattern is in two splits ({read}).")


def _pattern_hashes(frames: Frames, step: int) -> list[bytes]:
    if step > 1:
        chosen = frames[np.arange(0, len(frames), step)]
        return [_hash(frame) for frame in chosen if frame.any()]
    return [_hash(frame) for block in blocks(frames) for frame in block if frame.any()]


def _areas(
    scans: Mapping[str, SplitScan], shared: Sequence[tuple[str, str]], diameter: float
) -> Check:
    """Check how many patterns of a split lie in the area illuminated by another split."""
    if not shared:
        return Check("ok", "separate", "Scan areas", "No two splits scan the same object.")
    parts, worst = [], 0.0
    for one, other in shared:
        share, median = overlap(scans[one], scans[other], diameter)
        worst = max(worst, share)
        parts.append(
            f"{100 * share:.0f} % of the {other} patterns are closer to a {one} pattern than the "
            f"illumination diameter, {diameter:.1f} px (median distance {median:.1f} px)"
        )
    state, label = ("unknown", "overlapping") if worst else ("ok", "separate")
    return Check(state, label, "Scan areas", "; ".join(parts) + ".")


def overlap(one: SplitScan, other: SplitScan, diameter: float) -> tuple[float, float]:
    """Share of the patterns of `other` closer than `diameter` (px) to a pattern of `one`, and the
    median distance to the nearest pattern of `one` in px; (0, NaN) without a common image."""
    distances = []
    for image in np.unique(other.image_index):
        near = one.corners_px[one.image_index == image]
        if len(near):
            tree = KDTree(near)
            distances.append(tree.query(other.corners_px[other.image_index == image])[0])
    if not distances:
        return 0.0, float("nan")
    found = np.concatenate(distances)
    return float(np.mean(found < diameter)), float(np.median(found))

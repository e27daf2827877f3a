"""Parts of a data set for the page; counts remain in their files, and only a sample is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from app import load
from app.dataset import leakage
from study.formats.dataset import Split, load_dataset
from study.formats.frames import Frames
from study.settings import SPLITS

SAMPLE = 512  # patterns per histogram


@dataclass(frozen=True)
class Part:
    """One split and the probe.

    `probe`: (n, n) complex. In storage order: `frames` (N, n, n) photons, read on demand;
    `corners_px` (N, 2) as (y, x); `image_index` (N,).
    """

    split: Split
    probe: np.ndarray
    frames: Frames
    corners_px: np.ndarray
    image_index: np.ndarray


def part(folder: Path, name: str) -> Part:
    """Read one split. Raises UserError if a file is damaged or does not match its manifest."""
    return _part(str(folder), name, _key(folder, name))


def _key(folder: Path, *names: str) -> load.Stamp:
    return load.stamp(folder / "manifest.json", *(folder / f"{name}.cxi" for name in names))


@st.cache_resource(show_spinner=False, max_entries=12)
def _part(folder: str, name: str, key: load.Stamp) -> Part:
    dataset = load_dataset(Path(folder), (name,), limit_bytes=0)
    split = dataset.splits[name]
    group = split.counts.shape[1]
    return Part(
        split=split,
        probe=dataset.probe,
        frames=split.counts.reshape(-1, *split.counts.shape[2:]),
        corners_px=split.positions_px.reshape(-1, 2),
        image_index=np.repeat(split.image_index, group),
    )


@dataclass(frozen=True)
class Photons:
    """Photon statistics of `sampled` of `total` patterns.

    `sums`: photons per pattern. `edges`, `pixels`: histogram of photons per nonzero pixel.
    `dark_share`: share of pixels without photons. `brightest`: most photons in a pixel.
    """

    sampled: int
    total: int
    sums: np.ndarray
    edges: np.ndarray
    pixels: np.ndarray
    dark_share: float
    brightest: float


def photons(folder: Path, name: str) -> Photons:
    """Photons of up to SAMPLE patterns, evenly spread over the scan. Raises UserError for a damaged
    file."""
    return _photons(str(folder), name, _key(folder, name))


@st.cache_data(show_spinner=False, max_entries=24)
def _photons(folder: str, name: str, key: load.Stamp) -> Photons:
    frames = part(Path(folder), name).frames
    places = spread(len(frames), SAMPLE)
    counts = frames[places]
    lit = counts[counts > 0].astype(np.float64)
    brightest = float(counts.max(initial=0))
    edges = np.unique(np.geomspace(1, max(brightest, 1.0) + 1, 41).round())
    return Photons(
        sampled=len(places),
        total=len(frames),
        sums=counts.sum(axis=(1, 2), dtype=np.float64),
        edges=edges,
        pixels=np.histogram(lit, edges)[0],
        dark_share=1 - len(lit) / max(counts.size, 1),
        brightest=brightest,
    )


def spread(total: int, most: int) -> np.ndarray:
    """Up to `most` distinct, evenly spaced indices below `total`, including the first and last."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.int64))


def checks(folder: Path) -> list[leakage.Check]:
    """The leakage checks of all three splits. Raises UserError for a damaged file."""
    return _checks(str(folder), _key(folder, *SPLITS))


@st.cache_data(show_spinner="Comparing the patterns of all splits …", max_entries=24)
def _checks(folder: str, key: load.Stamp) -> list[leakage.Check]:
    parts: Mapping[str, Part] = {name: part(Path(folder), name) for name in SPLITS}
    scans = {
        name: leakage.SplitScan(
            p.frames, p.corners_px, p.image_index, p.split.obj, p.split.object_shape
        )
        for name, p in parts.items()
    }
    diameter = leakage.diameter_px(next(iter(parts.values())).probe)
    return leakage.check(scans, load.manifest(Path(folder)), diameter)

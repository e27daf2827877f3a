"""A data set: three scans, one probe, and a manifest that says all about them.

    data/quick/
        manifest.json   every parameter, seed and scale, and the hash of the arrays
        train.cxi       counts, positions, probe, and the true object where there is one
        validation.cxi
        test.cxi

Counts, probe and `photon_scale` are stored; every other unit follows from them (`optics.counts`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from study.params import Count, Model, Positive


class Manifest(Model):
    """What a data set is, for people and for checks.

    `request`: the parameters that were asked for (a simulation's `DataParams`, an import's options).
    `photon_scale`: S, from amplitude to sqrt(photons). `probe_norm`: divisor that made the probe
    P_sim. `object_norm`: per split, the divisor that brings the object to network units (1.0 where
    no truth is known). `content_sha256`: hash of all arrays, in the order split, name.
    `nominal`: true when lengths in metres are conventional, because only pixels are known.
    """

    format_version: Literal[1]
    name: str
    kind: Literal["simulated", "imported"]
    n: Count
    group_size: Literal[1, 4]
    patterns: Mapping[str, int]
    photon_scale: Positive
    probe_norm: Positive
    object_norm: Mapping[str, float]
    photons_per_pattern: Positive
    nominal: bool
    request: Mapping[str, Any]
    statements: tuple[str, ...]
    content_sha256: str
    code_version: str


@dataclass(frozen=True)
class Split:
    """One scan: counts (J, c, n, n) photons, positions_px (J, c, 2), image_index (J,).

    `obj`: (I, H, W) complex64 truth in object units, or None for a measurement. `image_index` says
    which of the I objects a pattern belongs to. `stride_px`: scan step of a regular raster (rows x
    columns in row-major order, per image), else None.
    """

    counts: np.ndarray
    positions_px: np.ndarray
    image_index: np.ndarray
    obj: np.ndarray | None
    object_shape: tuple[int, int]
    stride_px: int | None


@dataclass(frozen=True)
class Dataset:
    """A data set in memory. `probe`: P_sim, (n, n) complex64, dimensionless."""

    manifest: Manifest
    probe: np.ndarray
    splits: Mapping[str, Split]

"""The stored probe of a data set, and the true probe if that differs.

A data set with an assumed probe stores only the assumed one. The probe used to simulate its counts
is read from another data set whose stored probe has the same parameters.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from app import load
from app.dataset import reading
from app.dataset.sets import Entry
from study.formats.dataset import Manifest
from study.settings import UserError

FLOOR = 0.05  # share of the largest amplitude below which the phase of a probe means nothing


def assumed(manifest: Manifest) -> bool:
    """Whether the stored probe is an assumed one, not the one used to simulate the counts."""
    return manifest.request.get("assumed_probe") is not None


def sister_with_truth(manifest: Manifest, others: Iterable[Entry]) -> Entry | None:
    """A stored data set of the same size whose probe is the true one of `manifest`."""
    wanted = manifest.request.get("probe")
    for entry in others:
        if not entry.here:
            continue
        try:
            other = load.manifest(entry.folder)
        except UserError:
            continue
        same = other.n == manifest.n and other.request.get("probe") == wanted
        if other.kind == "simulated" and same and not assumed(other):
            return entry
    return None


def true_probe(entry: Entry) -> np.ndarray:
    """The stored probe of a data set, (n, n) complex. Raises UserError for a damaged file."""
    return reading.part(entry.folder, "test").probe


def phase_where_lit(field: np.ndarray) -> np.ndarray:
    """Phase in rad; NaN where the amplitude is below `FLOOR` times the largest amplitude."""
    amplitude = np.abs(field)
    lit = amplitude > FLOOR * max(float(amplitude.max()), 1e-300)
    return np.where(lit, np.angle(field), np.nan)

"""ptypy's .ptyd (patterns) and .ptyr (reconstruction without patterns).

chunks/N/{data (M, n, n), positions (M, 2) as (y, x) in metres, weights}, where a weight of 0
marks a pixel without a measurement; meta/{energy in keV, distance in m, psize in m} (older files:
info/).
"""

from __future__ import annotations

import re

import numpy as np

from study.formats.entries import Entries, first, number
from study.formats.geometry import ELECTRON_VOLT_J, Geometry
from study.formats.measured import RawScan, as_float
from study.formats.positions import Beside
from study.formats.scan_frames import joined, window_frames
from study.formats.windows import Window, choose_window
from study.settings import UserError

CHUNK = re.compile(r"chunks/(\d+)/data")
RECONSTRUCTION = re.compile(r"content/(?:probe|obj)/[^/]+/data")


def fits(entries: Entries) -> bool:
    return any(CHUNK.fullmatch(name) or RECONSTRUCTION.fullmatch(name) for name in entries.names)


def read(entries: Entries, beside: Beside) -> RawScan:
    """Raises UserError: a .ptyr, chunks of different shapes, no geometry."""
    chunks = sorted(
        (int(match[1]) for name in entries.names if (match := CHUNK.fullmatch(name))),
    )
    if not chunks:
        raise UserError(
            f"{entries.path} is a ptypy reconstruction: probe, object and positions without "
            "patterns. Import the scan's own file and give this one: --probe FILE.ptyr, and "
            "--positions FILE.ptyr:/content/positions/NAME --position-units m"
        )
    names = [f"chunks/{index}/data" for index in chunks]
    window, notes = choose_window(entries, names[0], beside.crop_px)
    shapes = {entries.shape(name)[1:] for name in names}
    if len(shapes) > 1:
        raise UserError(f"{entries.path} has chunks of {sorted(shapes)} px; accepted: one shape")
    geometry = _geometry(entries)
    positions = np.concatenate(
        [as_float(entries.read(f"chunks/{index}/positions"), entries.path) for index in chunks]
    )
    weights = [_weights(entries, index, window.shape) for index in chunks]
    return RawScan(
        patterns=joined([window_frames(entries, name, window) for name in names]),
        positions_px=positions / geometry.object_pixel_m(window.n),
        probe=None,
        object_shape=None,
        geometry=geometry,
        values="counts",
        zero_frequency="centre",
        notes=(f"layout: ptypy, {len(chunks)} chunks; positions in metres", *notes),
        mask=_mask(weights, window),
    )


def _geometry(entries: Entries) -> Geometry:
    keys = {"energy": 1e3 * ELECTRON_VOLT_J, "distance": 1.0, "psize": 1.0}
    found = {key: number(entries, f"meta/{key}", f"info/{key}", f"common/{key}") for key in keys}
    lacking = [key for key, value in found.items() if not value or value <= 0]
    if lacking:
        raise UserError(
            f"{entries.path} lacks {', '.join(f'meta/{key}' for key in lacking)}; accepted: "
            "positive numbers, energy in keV, lengths in metres"
        )
    energy, distance, pixel = (float(found[key] or 0) * factor for key, factor in keys.items())
    return Geometry(energy_j=energy, distance_m=distance, pixel_m=pixel)


def _weights(entries: Entries, index: int, frame: tuple[int, int]) -> np.ndarray | None:
    """Weights of one chunk, (M, h, w); None where it has none."""
    stored = first(entries, f"chunks/{index}/weights")
    count = entries.shape(f"chunks/{index}/data")[0]
    if stored is None or stored.size == 0:
        stored = first(entries, "meta/weight2d", "common/weight2d")
    if stored is None or stored.shape[-2:] != frame or stored.ndim > 3:
        return None
    return np.broadcast_to(stored, (count, *frame))


def _mask(weights: list[np.ndarray | None], window: Window) -> np.ndarray | None:
    """Pixels of weight 0, (n, n) where they are the same in all patterns, else (J, n, n)."""
    if any(each is None for each in weights):
        return None
    bad = [window.of(each) == 0 for each in weights if each is not None]
    mask = np.concatenate(bad)
    return mask[0] if (mask == mask[:1]).all() else mask

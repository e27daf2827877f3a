"""The pair *_dp.hdf5 and *_para.hdf5 of ptycho-fm, PtychoViT, ptychoml, pty-chi and fold_slice.

    *_dp.hdf5     dp (J, n, n) counts
    *_para.hdf5   object, probe (opr, modes, n, n), with attributes pixel_height_m, pixel_width_m;
                  probe_position_x_m, probe_position_y_m (fold_slice: ppX, ppY)

Positions are those of the probe on the object, in the units of their attributes `units`, else in
metres.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from study.formats.entries import METRES, Entries, Hdf5Entries, first, has, needed, number, units_of
from study.formats.hdf5 import open_hdf5
from study.formats.measured import RawScan, as_float
from study.formats.positions import Beside
from study.formats.scan_frames import window_frames
from study.formats.windows import Window, choose_window
from study.reading import quoted, real_path
from study.settings import UserError

FRAMES = "dp"
POSITIONS = (("probe_position_y_m", "probe_position_x_m"), ("ppY", "ppX"))
HALVES = (("_dp.", "_para."), ("_para.", "_dp."))


def other_half(path: Path) -> Path | None:
    """The file that belongs to `path` by its name; None where it is neither half of a pair."""
    for this, other in HALVES:
        head, found, tail = path.name.rpartition(this)
        if found:
            return path.with_name(f"{head}{other}{tail}")
    return None


def half_beside(path: Path) -> Path | None:
    """The other half of a pair, to be read; None where it is missing.

    Raises UserError for a link to another folder: a folder that somebody else made could read
    anything on this machine.
    """
    other = other_half(path)
    if other is None or not other.is_file():
        return None
    real = real_path(other).parent
    if real not in (real_path(path.parent), real_path(path).parent):
        raise UserError(
            f"{path} is one half of a pair; {other.name} is a link to {quoted(str(real))}; "
            "accepted: a file in the folder of the first: copy it beside it"
        )
    return other


def fits(entries: Entries) -> bool:
    return isinstance(entries, Hdf5Entries) and other_half(entries.path) is not None


def read(entries: Entries, beside: Beside) -> RawScan:
    """Either half may be given. Raises UserError: the other one is missing, a link to another
    folder, or lacks an entry."""
    path, other = entries.path, half_beside(entries.path)
    if other is None:
        named = other_half(path) or path
        raise UserError(f"{path} is one half of a pair; {named.name} is missing: copy it beside it")
    with contextlib.ExitStack() as stack:
        more = Hdf5Entries(stack.enter_context(open_hdf5(other, folder_links=True)), other)
        frames, parameters = (entries, more) if has(entries, FRAMES) else (more, entries)
        return _read(frames, parameters, beside)


def _read(frames: Entries, parameters: Entries, beside: Beside) -> RawScan:
    probe = first(parameters, "probe")
    side = probe.shape[-1] if probe is not None and probe.ndim >= 2 else None
    if not has(frames, FRAMES):
        raise UserError(f"{frames.path} lacks {FRAMES!r}, the frames of the pair")
    window, notes = choose_window(frames, FRAMES, beside.crop_px or side)
    pixel_m = _pixel_m(parameters)
    names = next(
        (pair for pair in POSITIONS if all(has(parameters, name) for name in pair)), POSITIONS[0]
    )
    y, x = (as_float(needed(parameters, name), parameters.path).ravel() for name in names)
    y_unit, x_unit = (units_of(parameters, name, METRES) or "m" for name in names)
    units = " and ".join(dict.fromkeys((y_unit, x_unit)))
    if len(y) != len(x):
        raise UserError(
            f"{parameters.path} holds {len(x)} {names[1]} and {len(y)} {names[0]}; they must agree"
        )
    return RawScan(
        patterns=window_frames(frames, FRAMES, window),
        positions_px=np.stack([y * METRES[y_unit], x * METRES[x_unit]], axis=1) / pixel_m,
        probe=probe,
        object_shape=None,
        geometry=None,
        values="counts",
        zero_frequency="centre",
        notes=(
            f"layout: dp and para pair; positions in {units}, object pixel {pixel_m:.6g} m",
            *notes,
        ),
        mask=_mask(frames, window),
        object_pixel_m=pixel_m,
    )


def _mask(frames: Entries, window: Window) -> np.ndarray | None:
    """`bad_pixels` (h, w) beside the frames, as ptychodus writes them."""
    stored = first(frames, "bad_pixels")
    if stored is None:
        return None
    if stored.shape != window.shape:
        raise UserError(
            f"{frames.path} has bad_pixels of shape {stored.shape} for frames of {window.shape}"
        )
    return window.of(stored) != 0


def _pixel_m(parameters: Entries) -> float:
    """Side of an object pixel. Raises UserError where it is not stated, or oblong."""
    for name in ("object", "probe"):
        if not has(parameters, name):
            continue
        stored = [parameters.attribute(name, key) for key in ("pixel_height_m", "pixel_width_m")]
        sides = [float(side) for side in stored if isinstance(side, (int, float, np.floating))]
        if len(sides) == 2 and all(0 < side < np.inf for side in sides):
            if not np.isclose(*sides, rtol=1e-3):
                raise UserError(
                    f"{parameters.path}: {name} has pixels of {sides[0]:g} x {sides[1]:g} m; "
                    "accepted: square pixels"
                )
            return sides[0]
    found = number(parameters, "dx", "dx_spec", "object_pixel_m")
    if found and found > 0:
        return found
    raise UserError(
        f"{parameters.path} does not state the object's pixel; accepted: attributes "
        "pixel_height_m and pixel_width_m of `object` or `probe`"
    )

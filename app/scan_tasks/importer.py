"""The only module of the app that calls the scan importer.

`look` runs in a child process (app/scan_tasks/child.py): the app process never reads files from
users.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from app.scan_tasks import mask as masks
from study.formats.bad_pixels import clean, with_mask_of
from study.formats.decision import Unclear
from study.formats.frames import Frames, blocks
from study.formats.importing import import_scan
from study.formats.mask_file import read_mask
from study.formats.positions import Beside
from study.formats.readers import read_raw
from study.runs import write_npz, write_whole
from study.settings import UserError

MEAN, READINGS, MASK = "mean.npz", "readings.npz", "drawn-mask.npy"
READ = "read"  # marker file: the scan was read without errors
SCALE = "--position-scale"
LEFT_OUT = 0.1  # the importer's own default


@dataclass(frozen=True)
class Request:
    """The input of the importer.

    `file`, `probe`, `positions`: paths. `units`: unit of positions that state none. `threshold`:
    pixels above this mean (photons) are masked. `shapes`: lines as read by `mask.parse`.
    `mask_file`: path of a mask, nonzero at bad pixels. `accept`: accepted row (from 1) of the table
    of an ambiguous scan. `options`: options of the importer that select this row.
    """

    file: str
    probe: str | None = None
    positions: str | None = None
    units: str | None = None
    threshold: float | None = None
    shapes: str = ""
    mask_file: str | None = None
    accept: int | None = None
    options: str = ""

    @property
    def masked(self) -> bool:
        """Whether the user masks pixels."""
        return bool(self.threshold is not None or self.shapes.strip() or self.mask_file)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Request:
        """Parse stored JSON; unknown keys are ignored. Raises UserError for invalid values."""
        known = {key: content[key] for key in cls.__dataclass_fields__ if key in content}
        try:
            return TypeAdapter(cls).validate_python(known)
        except ValidationError as error:
            first = error.errors()[0]
            raise UserError(
                f"request.json of the scan is damaged at {'.'.join(map(str, first['loc']))} "
                f"({first['msg']}); remove the scan and choose the file again"
            ) from None


def command(request: Request, folder: Path, name: str, track: bool = True) -> list[str]:
    """Arguments of `study` that import the scan as `name`.

    `folder`: contains the drawn mask. `track`: add the data set to DVC.
    """
    words = ["import", request.file, "--as", name]
    options = {
        "--probe": request.probe,
        "--positions": request.positions,
        "--position-units": request.units,
        "--mask": str(folder / MASK) if request.masked else None,
        **_accepted(request),
    }
    words += [word for key, value in options.items() if value for word in (key, value)]
    return words if track else [*words, "--no-track"]


def _accepted(request: Request) -> dict[str, str]:
    """Options that select the accepted row; for a table of position scales, the scale itself."""
    if request.accept is None:
        return {}
    if SCALE in request.options:  # may be followed by the options for the pixel order
        words = request.options.split()
        return dict(zip(words[::2], words[1::2], strict=True))
    return {"--accept": str(request.accept)}


def shown(words: list[str]) -> str:
    """A command as typed in a terminal."""
    return shlex.join(["study", *words])


def look(folder: Path, request: Request) -> dict[str, Any]:
    """Read a scan; write its mean pattern and, if it is ambiguous, short reconstructions.

    Returns the fields of `work.Facts` as JSON: patterns, n (px), masked (px), and either the
    importer's statements or the readings of an ambiguous scan. Raises UserError for invalid files.
    """
    probe = None if request.probe is None else Path(request.probe)
    beside = Beside(request.positions, request.units)
    path = Path(request.file)
    with np.errstate(all="ignore"):
        raw = read_raw(path, beside)
        mean = _mean(raw.patterns)
        drawn = _drawn(request, mean)
        if drawn is not None:
            write_whole(folder / MASK, partial(np.save, arr=drawn, allow_pickle=False))
            beside = Beside(request.positions, request.units, mask=folder / MASK)
        given = raw.mask if drawn is None else with_mask_of(raw.mask, drawn)
        known = clean(raw.patterns, given, LEFT_OUT, path).known
    write_npz(folder / MEAN, mean=mean.astype(np.float32), masked=~known)
    facts: dict[str, Any] = {
        "patterns": len(raw.patterns),
        "n": int(raw.patterns.shape[-1]),
        "masked": int((~known).sum()),
        "statements": [],
        "readings": [],
    }
    del raw
    try:
        scan = import_scan(path, "scan", probe=probe, beside=beside)
    except Unclear as unclear:
        found = unclear.readings()
        objects = {f"object_{i}": one.object for i, one in enumerate(found)}
        write_npz(folder / READINGS, **objects)
        rows = [{"misfit": one.misfit, "options": one.options} for one in found]
        return {**facts, "readings": rows, "why": str(unclear).splitlines()[0]}
    return {**facts, "statements": list(scan.manifest.statements)}


def _mean(patterns: Frames) -> np.ndarray:
    """Mean of the finite values per pixel, (n, n); computed in blocks, as scans can fill memory."""
    total, count = np.zeros(patterns.shape[1:]), np.zeros(patterns.shape[1:])
    for block in blocks(patterns):
        finite = np.isfinite(block)
        total += np.where(finite, block, 0).sum(axis=0, dtype=np.float64)
        count += finite.sum(axis=0)
    return total / np.maximum(count, 1)


def _drawn(request: Request, mean: np.ndarray) -> np.ndarray | None:
    """The user's mask in pixels of the file, (n, n), or None.

    Raises UserError if the mask is invalid or covers more than half of the pixels.
    """
    if not request.masked:
        return None
    n = mean.shape[-1]
    found = masks.of_shapes(request.shapes, n)
    if request.threshold is not None:
        found |= mean > request.threshold
    if request.mask_file is not None:
        found |= read_mask(Path(request.mask_file), n)
    if found.mean() > 0.5:
        raise UserError(
            f"the mask covers {int(found.sum())} of {found.size} pixels; at most half may be "
            "masked: raise the threshold or draw smaller shapes"
        )
    return found


def fit_of(statements: Sequence[str]) -> tuple[str, str]:
    """(misfit, runner-up) from the statement `fit: ...`; empty strings where absent."""
    line = next((one for one in statements if one.startswith("fit:")), "")
    fit = re.search(r"misfit ([0-9.]+|inf)", line)
    other = re.search(r"runner-up ([0-9.]+|inf)", line)
    return (fit[1] if fit else "", other[1] if other else "")

"""The only module of the app that calls the importer of scans.

`look` runs in a child process (app/scan_tasks/child.py): the app never reads files from outside.
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
READ = "read"  # exists once the scan was read without a fault
SCALE = "--position-scale"
LEFT_OUT = 0.1  # the importer's own default


@dataclass(frozen=True)
class Request:
    """What is asked of the importer.

    `file`, `probe`, `positions`: paths. `units`: of positions that state none. `threshold`: photons
    of the mean pattern above which pixels are masked. `shapes`: lines as `masks.parse` reads them.
    `mask_file`: bad pixels. `accept`: row of the table of an unclear scan, with its `options`.
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
        """Whether the user masks pixels in any way."""
        return bool(self.threshold is not None or self.shapes.strip() or self.mask_file)

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Request:
        """From stored JSON; entries of other versions are ignored. Raises UserError."""
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
    """Arguments of `study` that import the scan; `folder` holds the mask that was drawn."""
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
    """The option that takes the accepted row: of a table of scales, the scale itself."""
    if request.accept is None:
        return {}
    if SCALE in request.options:  # perhaps with the reading of the pixels that goes with it
        words = request.options.split()
        return dict(zip(words[::2], words[1::2], strict=True))
    return {"--accept": str(request.accept)}


def shown(words: list[str]) -> str:
    """A command as one types it in a terminal."""
    return shlex.join(["study", *words])


def look(folder: Path, request: Request) -> dict[str, Any]:
    """Read a scan and say what it is; writes the mean pattern and, if unclear, small objects.

    Returns facts as JSON: patterns, n, statements, or the readings (misfit, options) of an unclear
    scan. Raises UserError for every fault of the files.
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
    """Mean of the finite values of each pixel; block by block, as scans fill the memory."""
    total, count = np.zeros(patterns.shape[1:]), np.zeros(patterns.shape[1:])
    for block in blocks(patterns):
        finite = np.isfinite(block)
        total += np.where(finite, block, 0).sum(axis=0, dtype=np.float64)
        count += finite.sum(axis=0)
    return total / np.maximum(count, 1)


def _drawn(request: Request, mean: np.ndarray) -> np.ndarray | None:
    """The mask of the user, in the pixels of the file; None without one. Raises UserError."""
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
    """(misfit, runner-up) of the sentence `fit: ...`; empty where there is none."""
    line = next((one for one in statements if one.startswith("fit:")), "")
    fit = re.search(r"misfit ([0-9.]+|inf)", line)
    other = re.search(r"runner-up ([0-9.]+|inf)", line)
    return (fit[1] if fit else "", other[1] if other else "")

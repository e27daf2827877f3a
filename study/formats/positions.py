"""Scan positions from a file of their own, for detectors that store frames only.

CSV (a header such as `y_um,x_um`, or two columns y, x), npy (J, 2) as (y, x), or an array in HDF5
as FILE.h5:/path/inside. Units are those of the header, of the array's `units` attribute, or given.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64

from study.formats.arrays import TORN, read_npy
from study.formats.entries import METRES, PIXELS, Hdf5Entries, units_of
from study.formats.hdf5 import DAMAGED, open_hdf5
from study.formats.limits import check_memory
from study.formats.measured import as_float, squeeze_to
from study.reading import brief, hash_of_file, read_bytes
from study.settings import UserError

LARGEST_TEXT_BYTES = 2**28
TEXT_COPIES = 64  # a row of four characters takes two lists, two texts and two numbers
INSIDE = re.compile(r"(.+\.(?:h5|hdf5|cxi|nxs|ptyr|ptyd|mat)):(/.+)")
COLUMN = re.compile(r"(?P<axis>[xy])[\s_(\[]*(?P<units>[a-zµμÅ]*)[)\]]*", re.IGNORECASE)


@dataclass(frozen=True)
class Beside:
    """What a user gives with a scan file.

    `positions`: a file of positions, with a path inside it for HDF5. `units`: of positions that
    state none. `step_px`: raster step (y, x) of 4D-STEM scans without a calibration, object px.
    `crop_px`: side of the square to read around the beam. `mask`: a file of bad pixels of the
    patterns as they are read.
    """

    positions: str | None = None
    units: str | None = None
    step_px: tuple[float, float] | None = None
    crop_px: int | None = None
    mask: Path | None = None

    def request(self) -> dict[str, Any]:
        """What a manifest keeps: names and the hash of the positions' file; nothing not given."""
        kept: dict[str, Any] = {
            key: value for key, value in dataclasses.asdict(self).items() if value is not None
        }
        if self.mask is not None:
            kept["mask"], kept["mask_sha256"] = self.mask.name, hash_of_file(self.mask)
        if self.positions is not None:
            path, inside = self.place()
            kept["positions"] = f"{path.name}:{inside}" if inside else path.name
            kept["positions_sha256"] = hash_of_file(path)
        return kept

    def place(self) -> tuple[Path, str]:
        """File of the positions and the path inside it, empty for csv and npy."""
        given = self.positions or ""
        split = INSIDE.fullmatch(given)
        return (Path(split[1]), split[2]) if split else (Path(given), "")


@dataclass(frozen=True)
class Positions:
    """(J, 2) as (y, x) in `units`."""

    table: Float64[np.ndarray, "J 2"]
    units: str
    notes: str

    def in_px(self, object_pixel_m: float | None, where: Path) -> Float64[np.ndarray, "J 2"]:
        """In object pixels. Raises UserError for lengths where the object's pixel is unknown."""
        if self.units in PIXELS:
            return self.table
        if object_pixel_m is None:
            raise UserError(
                f"{where} does not state the pixel of the object, so that positions in "
                f"{self.units} have no place; give them in px"
            )
        return self.table * (METRES[self.units] / object_pixel_m)


def read_positions(beside: Beside) -> Positions:
    """The positions that the user gave. Raises UserError for files that hold none, or no units."""
    if beside.positions is None:
        raise UserError(
            "this file holds frames but no positions; give them: --positions FILE (csv, npy, or "
            "an HDF5 path as FILE.h5:/path)"
        )
    path, inside = beside.place()
    table, stated = _read(path, inside)
    units = stated or beside.units
    if units is None:
        raise UserError(
            f"{path} does not state the units of its positions; give them: --position-units, one "
            f"of {', '.join((*PIXELS[:1], *METRES))}"
        )
    if units not in (*PIXELS, *METRES):
        raise UserError(f"positions are in {units!r}; accepted: {', '.join((*PIXELS, *METRES))}")
    how = "as stated" if stated else "as given"
    return Positions(table, units, f"positions: from {path.name}, in {units} {how}")


def _read(path: Path, inside: str) -> tuple[Float64[np.ndarray, "J 2"], str | None]:
    try:
        if inside:
            return _from_hdf5(path, inside)
        if path.suffix == ".npy":
            return _from_npy(path), None
        return _from_csv(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give an existing file of positions") from None
    except (*DAMAGED, *TORN, csv.Error) as error:
        raise UserError(
            f"{path} holds no positions ({brief(error)}); accepted: csv with two columns y, x, "
            "npy of shape (J, 2), or FILE.h5:/path"
        ) from None


def _two_columns(array: np.ndarray, path: Path) -> Float64[np.ndarray, "J 2"]:
    table = squeeze_to(as_float(array, path), 2)
    if table.ndim == 2 and table.shape[0] == 2 and table.shape[1] != 2:
        table = table.T
    if table.ndim != 2 or table.shape[1] != 2:
        raise UserError(f"positions in {path} have shape {array.shape}; accepted: (J, 2), y and x")
    return table


def _from_hdf5(path: Path, inside: str) -> tuple[np.ndarray, str | None]:
    with open_hdf5(path, folder_links=True) as file:
        entries = Hdf5Entries(file, path)
        units = units_of(entries, inside, (*METRES, *PIXELS))
        return _two_columns(entries.read(inside), path), units


def _from_npy(path: Path) -> np.ndarray:
    return _two_columns(read_npy(path), path)


def _from_csv(path: Path) -> tuple[np.ndarray, str | None]:
    content = read_bytes(path, LARGEST_TEXT_BYTES)
    check_memory(TEXT_COPIES * len(content), f"{path} (npy needs less)")
    text = io.StringIO(content.decode("utf-8-sig"), newline=None)
    rows = [row for row in csv.reader(text) if row and not row[0].startswith("#")]
    columns = [COLUMN.fullmatch(cell.strip()) for cell in rows[0]] if rows else []
    found = {each["axis"].lower(): at for at, each in enumerate(columns) if each}
    if not found:
        return _two_columns(np.array(rows, dtype=np.float64), path), None
    if set(found) != {"x", "y"}:
        raise UserError(f"{path} has the columns {', '.join(rows[0])}; accepted: y and x")
    units = {each["units"] for each in columns if each}
    if len(units) > 1:
        raise UserError(f"{path} has columns in {', '.join(sorted(units))}; accepted: one unit")
    body = [(float(row[found["y"]]), float(row[found["x"]])) for row in rows[1:]]
    return _two_columns(np.array(body), path), units.pop() or None

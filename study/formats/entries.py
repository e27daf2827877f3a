"""Named arrays of a scan file, whatever its container: HDF5, MATLAB or Zarr.

Readers of layouts ask by name; shape and type are known before anything is read, and every array is
compared with the free memory when it is read.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import h5py
import numpy as np

from study.formats.geometry import ELECTRON_VOLT_J
from study.formats.hdf5 import array_at, attribute_at, check_readable
from study.settings import UserError

METRES = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "\u00b5m": 1e-6, "\u03bcm": 1e-6, "micron": 1e-6}
METRES |= {"nm": 1e-9, "pm": 1e-12, "A": 1e-10, "\u00c5": 1e-10, "\u212b": 1e-10}
METRES |= {"angstrom": 1e-10, "Angstrom": 1e-10, "angstroms": 1e-10}
METRES |= {"metre": 1.0, "meter": 1.0, "meters": 1.0, "metres": 1.0, "[n_m]": 1e-9, "[u_m]": 1e-6}
JOULES = {"J": 1.0, "eV": ELECTRON_VOLT_J, "ev": ELECTRON_VOLT_J}
JOULES |= {"keV": 1e3 * ELECTRON_VOLT_J, "kev": 1e3 * ELECTRON_VOLT_J, "KeV": 1e3 * ELECTRON_VOLT_J}
JOULES |= {"MeV": 1e6 * ELECTRON_VOLT_J, "GeV": 1e9 * ELECTRON_VOLT_J}
MOST_TEXT_BYTES = 2**16
PIXELS = ("px", "pixel", "pixels")


@runtime_checkable
class Entries(Protocol):
    """The arrays of one file by their path inside it."""

    @property
    def path(self) -> Path: ...

    @property
    def names(self) -> Collection[str]: ...

    def shape(self, name: str) -> tuple[int, ...]: ...

    def dtype(self, name: str) -> np.dtype[Any]: ...

    def read(self, name: str) -> np.ndarray:
        """The whole array. Raises KeyError: absent or not numbers; UserError: too large."""
        ...

    def part(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
        """A part of a real array. Raises UserError: too large."""
        ...

    def attribute(self, name: str, key: str) -> Any:
        """A word or number stored with the entry `name`; None where there is none."""
        ...

    def text(self, name: str) -> str | None:
        """The single word stored as the entry `name`; None where it is not a word."""
        ...


def is_complex_pair(dtype: np.dtype[Any]) -> bool:
    """Whether it is the way in which MATLAB writes complex numbers into HDF5."""
    return dtype.names == ("real", "imag")


class Hdf5Entries:
    """Entries of an open HDF5 file: all links, also those into files beside it."""

    def __init__(self, file: h5py.File, path: Path) -> None:
        self.file, self.path = file, path
        self._checked: set[str] = set()
        found: list[str] = []
        file.visit_links(found.append)
        self.names: frozenset[str] = frozenset(found)

    def _at(self, name: str) -> h5py.Dataset:
        node = self.file[name]
        if not isinstance(node, h5py.Dataset) or node.shape is None:
            raise KeyError(f"{name} is not an array")
        return node

    def shape(self, name: str) -> tuple[int, ...]:
        return self._at(name).shape

    def dtype(self, name: str) -> np.dtype[Any]:
        dtype = self._at(name).dtype
        return np.dtype(np.complex128) if is_complex_pair(dtype) else dtype

    def read(self, name: str) -> np.ndarray:
        stored = self._at(name)
        if not is_complex_pair(stored.dtype):
            return array_at(self.file, name)
        check_readable(stored, stored.shape)
        parts = np.asarray(stored[()])
        return parts["real"] + 1j * parts["imag"]

    def part(self, name: str, index: tuple[slice, ...]) -> np.ndarray:
        stored = self._at(name)
        lengths = [
            len(range(*each.indices(length)))
            for each, length in zip(index, stored.shape, strict=True)
        ]
        if name not in self._checked:
            check_readable(stored, lengths)
            self._checked.add(name)
        return np.asarray(stored[index])

    def attribute(self, name: str, key: str) -> Any:
        node = self.file[name] if name else self.file
        return attribute_at(node, key) if key in node.attrs else None

    def text(self, name: str) -> str | None:
        stored = self._at(name)
        if stored.size != 1 or h5py.check_string_dtype(stored.dtype) is None:
            return None
        if stored.id.get_storage_size() > MOST_TEXT_BYTES:
            raise UserError(f"{self.path}: the word {name} takes more than {MOST_TEXT_BYTES} bytes")
        return words(stored[()])


def has(entries: Entries, name: str) -> bool:
    """Whether `name` is an array of the file, followed through links."""
    try:
        entries.shape(name)
    except KeyError:
        return False
    return True


def first(entries: Entries, *names: str) -> np.ndarray | None:
    """The first of the arrays `names` that the file holds."""
    for name in names:
        if has(entries, name):
            return entries.read(name)
    return None


def needed(entries: Entries, *names: str) -> np.ndarray:
    """The same, raising UserError where the file holds none of them."""
    found = first(entries, *names)
    if found is None:
        raise UserError(f"{entries.path} lacks {' or '.join(names)}; export the scan again with it")
    return found


def number(entries: Entries, *names: str) -> float | None:
    """The single real number under the first of `names` that is there; None where none is."""
    found = first(entries, *names)
    if found is None or found.dtype.kind not in "iuf" or found.size < 1:
        return None
    value = float(found.flat[0])
    if not np.isfinite(value):
        raise UserError(f"{entries.path}: {names[0]} is {value}; accepted: a finite number")
    return value


def units_of(entries: Entries, name: str, accepted: Collection[str]) -> str | None:
    """The `units` attribute, None where there is none. Raises UserError for an unknown one."""
    text = words(entries.attribute(name, "units"))
    if text is None:
        return None
    if text not in accepted:
        raise UserError(f"{entries.path}: {name!r} is in {text!r}; accepted: {', '.join(accepted)}")
    return text


def words(value: Any) -> str | None:
    """A stored word as text without spaces around it; None for nothing or an empty word."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.flat[0]
    if value is None:
        return None
    text = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
    return text.strip() or None

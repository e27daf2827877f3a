"""The one way to open an HDF5 file for reading: it points to nothing outside its folder.

External links, external storage and virtual data sets make HDF5 open any file that the reader's
user may open. A scan from somebody else could thus bring private files into a data set that is
shared later, so every reference is looked at before anything is read. Data sets of this project
refer to no other file. A measured scan may refer to HDF5 files in its own folder (detectors write
frames beside a master file): they are looked at in the same way. External storage shows the bytes
of any file as numbers and is never accepted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from math import prod
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from study.formats.hdf5_chunks import check_chunks
from study.formats.limits import check_expansion, check_memory, working_bytes
from study.reading import open_regular
from study.settings import UserError

# What h5py raises on damaged files and on types that numpy lacks.
DAMAGED = (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError, OverflowError)
# Real scans hold some hundred objects, less than ten levels deep. Visiting millions would take
# minutes, and so would some thousand levels: HDF5 walks each path from the root.
MOST_OBJECTS = 100_000
DEEPEST = 64
MOST_FILES = 10_000
ATTRIBUTE_BYTES = 2**16
NUMERIC = "biufc"


@contextlib.contextmanager
def open_hdf5(path: Path, folder_links: bool = False) -> Iterator[h5py.File]:
    """The file, opened for reading after a look at every link and data set in it.

    `folder_links`: it may refer to HDF5 files in its own folder, which are looked at as well.

    Raises UserError for any other reference, and for one whose file is missing. Damaged files raise
    `DAMAGED`.
    """
    seen = linked_files(path) if folder_links else None
    with open_plain(path) as file:
        if seen is None:
            _references(file, path, None)
        yield file


def open_plain(path: Path | str) -> h5py.File:
    """The file without that look. Raises as `open_regular` does: HDF5 would wait for a pipe."""
    open_regular(path).close()
    return h5py.File(path, "r")


def linked_files(path: Path) -> list[Path]:
    """`path` and every HDF5 file that it refers to, directly or through others, in order.

    Raises UserError for references that leave the folder of `path`, that lead to a missing file, or
    that are external storage.
    """
    folder, seen, waiting = path.resolve().parent, list[Path](), [path]
    while waiting:
        each = waiting.pop(0)
        if each in seen:
            continue
        seen.append(each)
        if len(seen) > MOST_FILES:
            raise UserError(f"{path} refers to more than {MOST_FILES} files; merge them")
        with open_plain(each) as file:
            waiting += _references(file, each, folder)
    return seen


def _references(file: h5py.File, path: Path, folder: Path | None) -> list[Path]:
    """Files that `file` refers to, all in `folder`; None: it must refer to none."""
    found = [
        _target(path, name, "is an external link", target, folder)
        for name, target in _links(file, path)
    ]
    for name, node in objects(file, path):
        if not isinstance(node, h5py.Dataset):
            continue
        if node.external:
            raise _outside(path, name, "keeps its data in another file", node.external[0][0], None)
        if node.is_virtual:
            found += _virtual(node, path, name, folder)
    return found


def _links(file: h5py.File, path: Path) -> list[tuple[str, str]]:
    """Name and file of every external link.

    Soft links stay inside their file, so chains of them end at a link that is found here.
    """
    names: list[str | bytes] = []

    def visit(name: str | bytes) -> str | None:
        names.append(name)
        return _beyond(name, len(names))

    if (beyond := file.visit_links(visit)) is not None:
        raise _refused(path, beyond)
    if any(isinstance(name, bytes) for name in names):
        raise ValueError("a name in it is not text")
    links = ((str(name), file.get(name, getlink=True)) for name in names)
    return [
        (name, str(getattr(link, "filename", "")))
        for name, link in links
        if not isinstance(link, (h5py.HardLink, h5py.SoftLink))
    ]


def _virtual(node: h5py.Dataset, path: Path, name: str, folder: Path | None) -> list[Path]:
    """Source files of a virtual data set; UserError where some of its values have no source."""
    found, mapped = list[Path](), 0
    for source in node.virtual_sources():
        mapped += source.vspace.get_select_npoints()
        if source.file_name == ".":
            continue
        target = _target(path, name, "is a virtual data set", source.file_name, folder)
        found.append(target)
        with open_plain(target) as other:
            stored = other.get(source.dset_name)
            if not isinstance(stored, h5py.Dataset) or not _holds(stored, source):
                raise UserError(
                    f"{path}: {name!r} takes values from {source.dset_name!r} of {target}, which "
                    "does not hold them; copy the files again"
                )
    if mapped < prod(node.shape):
        raise UserError(
            f"{path}: only {mapped} of the {prod(node.shape)} values of the virtual data set "
            f"{name!r} have a source; write it again with all its sources"
        )
    return found


def _holds(stored: h5py.Dataset, source: Any) -> bool:
    """Whether a source array has all the values that a virtual data set takes from it."""
    if source.src_space.get_select_type() == h5py.h5s.SEL_ALL:
        return prod(stored.shape) >= source.vspace.get_select_npoints()
    last = source.src_space.get_select_bounds()[1]
    return len(stored.shape) == len(last) and all(
        length > bound for length, bound in zip(stored.shape, last, strict=True)
    )


def _target(path: Path, name: str, how: str, target: str, folder: Path | None) -> Path:
    """The file that the entry `name` of `path` refers to. UserError unless it is in `folder`."""
    if folder is None or not target or "%" in target:
        raise _outside(path, name, how, target, folder)
    real = (path.resolve().parent / target).resolve()
    if not real.is_relative_to(folder):
        raise _outside(path, name, how, target, folder)
    if not real.is_file():
        raise UserError(
            f"{path}: {name!r} {how} to {target!r}, which is missing; copy that file into {folder}"
        )
    return real


def _beyond(name: str | bytes, count: int) -> str | None:
    """What is too much for a walk that has come to `name`, its object number `count`."""
    levels = name.count(b"/") if isinstance(name, bytes) else name.count("/")
    if levels >= DEEPEST:
        return f"nests groups more than {DEEPEST} levels deep"
    return f"holds more than {MOST_OBJECTS} HDF5 objects" if count > MOST_OBJECTS else None


def _refused(path: Path, beyond: str) -> UserError:
    return UserError(f"{path} {beyond}; store the scan in a file of its own")


def _outside(path: Path, name: str, how: str, target: str | None, folder: Path | None) -> UserError:
    towards = f" (to {target!r})" if target else ""
    accepted = "" if folder is None else f" other than HDF5 files named one by one in {folder}"
    return UserError(
        f"{path}: {name!r} {how}{towards}; references to files{accepted} are refused because "
        "they could read anything on this machine. Copy the data into one file, for "
        "external links by h5py's `copy` with expand_external=True"
    )


def objects(file: h5py.File, path: Path) -> list[tuple[str, Any]]:
    """Every group and data set below the root, with its path.

    Raises UserError for too many of them, and for groups nested too deeply.
    """
    found: list[tuple[str, Any]] = []

    def visit(name: str | bytes, node: Any) -> str | None:
        # Errors raised in here would not pass through HDF5 unharmed.
        found.append((str(name), node))
        return _beyond(name, len(found))

    if (beyond := file.visititems(visit)) is not None:
        raise _refused(path, beyond)
    return found


def dataset_at(file: h5py.File, path: str) -> h5py.Dataset:
    """The stored data at `path`. Raises KeyError where there is no array or number."""
    node = file[path]
    if not isinstance(node, h5py.Dataset) or node.shape is None:
        raise KeyError(f"{path} is not an array or a number")
    return node


def array_at(file: h5py.File, path: str) -> np.ndarray:
    """The numbers at `path`, read. Raises KeyError where there is no array of numbers.

    Raises UserError for an array that is too large for the memory, or for the bytes stored of it.
    """
    stored = dataset_at(file, path)
    if stored.dtype.kind not in NUMERIC:
        raise KeyError(f"{path} holds {stored.dtype}, not numbers")
    check_readable(stored, stored.shape)
    return np.asarray(stored[()])


def check_readable(stored: h5py.Dataset, part: Sequence[int]) -> None:
    """Raise UserError when reading an array of shape `part` from `stored` takes too much memory.

    Also when fewer bytes are stored than `stored` could have been packed into.
    """
    what = f"{stored.name!r} of {stored.file.filename}, declared as {stored.shape} {stored.dtype},"
    size = stored.dtype.itemsize
    # HDF5 unpacks whole chunks, which may be larger than what is asked for.
    chunk = size * prod(stored.chunks or ())
    check_expansion(max(size * prod(stored.shape), chunk), _stored_bytes(stored, what), what)
    check_memory(max(working_bytes(part, stored.dtype), chunk), what)


def _stored_bytes(stored: h5py.Dataset, what: str) -> int:
    """Bytes on disk of an array, with all sources of a virtual one, after a look at its chunks."""
    if not stored.is_virtual:
        check_chunks(stored, what)
        return stored.id.get_storage_size()
    path, total = Path(stored.file.filename), 0
    for name, entry in {(each.file_name, each.dset_name) for each in stored.virtual_sources()}:
        with contextlib.ExitStack() as stack:
            here = name == "."
            target = path.resolve().parent / name
            file = stored.file if here else stack.enter_context(open_plain(target))
            source = file[entry]
            if not isinstance(source, h5py.Dataset) or source.is_virtual:
                raise UserError(f"{what} is a virtual data set of {entry!r}, which is not stored")
            total += _stored_bytes(source, what)
    return total


def attribute_at(node: h5py.HLObject, name: str) -> Any:
    """The attribute `name`, a word or a number. Raises ValueError for a larger one."""
    size = node.attrs.get_id(name).get_storage_size()
    if size > ATTRIBUTE_BYTES:
        raise ValueError(f"attribute {name!r} takes {size} bytes")
    return node.attrs[name]

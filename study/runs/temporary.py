"""Temporary files and folders beside their targets, and replacing a folder in one step.

A temporary file is called `.NAME.PID.THREAD.tmp` and locked (flock) while its writer runs. The
system releases the lock of a killed writer, so the next writer in the same folder, or `study
clean`, can remove the file: on any host that shares the folder, and even if the process id was
reused. Nothing is removed on a file system without locks.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from study.runs.links import refuse_links

# `.checkpoint.PID.tmp`: a second name of a checkpoint (study/training/checkpoints.py), not locked.
NAME = re.compile(r"\.(.+\.\d+|checkpoint)\.\d+\.tmp")
AT_FDCWD, RENAME_EXCHANGE = -100, 2  # linux/fcntl.h, linux/fs.h


@contextlib.contextmanager
def temporary_file(target: Path) -> Iterator[BinaryIO]:
    """A new file beside `target`, open for writing (its `name` is the path); removed at the end.

    The writer renames it to `target` when it is complete. Raises OSError, and UserError as
    `refuse_links` does.
    """
    refuse_links(target.parent)
    target.parent.mkdir(parents=True, exist_ok=True)
    sweep(target.parent)
    path = _beside(target)
    while True:
        stream = path.open("wb")
        if _locked(stream.fileno(), path):
            break
        stream.close()
    try:
        with stream:
            yield stream
    finally:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(target: Path) -> Iterator[Path]:
    """A new folder beside `target`. The writer renames it to `target`, or exchanges the two;
    whatever then has its name is removed. Raises OSError, and UserError as `refuse_links` does.
    """
    refuse_links(target.parent)
    path = _beside(target)
    while True:
        # Left by an earlier process with our id, on a file system without locks.
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            continue  # another process removed it as abandoned
        if _locked(descriptor, path):
            break
        os.close(descriptor)
    try:
        yield path
    finally:
        if path.is_symlink():  # it was `target`; the two were exchanged
            path.unlink()
        shutil.rmtree(path, ignore_errors=True)
        os.close(descriptor)


def remove_tree(folder: Path) -> None:
    """Remove a folder so that readers never see it half-removed: rename it first, then delete it.

    Raises OSError, for a link before anything is changed.
    """
    path = _beside(folder)
    shutil.rmtree(path, ignore_errors=True)  # see temporary_folder
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        _locked(descriptor, folder)
        folder.rename(path)
        shutil.rmtree(path)
    finally:
        os.close(descriptor)


def sync(path: Path) -> None:
    """Flush a file or folder to disk (fsync). Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# --- what killed writers left -----------------------------------------------------------------


def abandoned(folder: Path) -> list[Path]:
    """Temporary files in `folder` of writers that have ended."""
    try:
        with os.scandir(folder) as entries:
            found = [folder / entry.name for entry in entries if NAME.fullmatch(entry.name)]
    except OSError:
        return []
    return sorted(path for path in found if _taken(path, remove=False))


def sweep(folder: Path) -> None:
    """Remove the temporary files in `folder` of writers that have ended."""
    for path in abandoned(folder):
        remove_abandoned(path)


def remove_abandoned(path: Path) -> bool:
    """Remove one temporary file unless a writer holds its lock; returns whether it was removed."""
    return _taken(path, remove=True)


def _taken(path: Path, remove: bool) -> bool:
    """Whether the lock of a temporary file was free; with `remove` it is deleted under the lock."""
    try:
        is_folder = stat.S_ISDIR(path.lstat().st_mode)
        flags = (os.O_RDONLY | os.O_DIRECTORY) if is_folder else (os.O_RDWR | os.O_NONBLOCK)
        descriptor = os.open(path, flags | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if remove:
            shutil.rmtree(path) if is_folder else path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def _beside(target: Path) -> Path:
    return target.with_name(f".{target.name}.{os.getpid()}.{threading.get_ident()}.tmp")


def _locked(descriptor: int, path: Path) -> bool:
    """Lock the new file at `path`. False if another process removed it before the lock."""
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False


# --- replacing a folder -----------------------------------------------------------------------


def replace_folder(new: Path, target: Path) -> None:
    """Replace `target` by the folder `new`; the caller holds a lock on `target`.

    Afterwards `new` has the earlier content or is removed. If the system cannot exchange two
    folders in one step, a kill between two renames leaves the earlier content aside, and
    `restore_folder` puts it back. Raises OSError.
    """
    restore_folder(target)
    if not target.exists():
        new.rename(target)
        return
    try:
        exchange(new, target)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EINVAL, errno.EPERM, errno.EOPNOTSUPP):
            raise
        target.rename(_aside(target))
        new.rename(target)
        remove_tree(_aside(target))


def unfinished(target: Path) -> bool:
    """Whether a killed `replace_folder` left `target` aside."""
    return not target.exists() and _aside(target).is_dir()


def set_aside(parent: Path) -> list[Path]:
    """Folders in `parent` whose replacement was killed; each needs `restore_folder`."""
    names = (path.name for path in sorted(parent.glob(".*.old")))
    return [parent / name.removeprefix(".").removesuffix(".old") for name in names]


def restore_folder(target: Path) -> None:
    """Finish or undo a killed `replace_folder`; the caller holds a lock on `target`."""
    if unfinished(target):
        _aside(target).rename(target)
    elif _aside(target).is_dir():
        remove_tree(_aside(target))


def exchange(one: Path, other: Path) -> None:
    """Exchange two paths of one file system in one step. Raises OSError if that is impossible.

    ENOSYS: not Linux, or a C library without renameat2.
    """
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS)) from None
    if call(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(one), None, str(other))


def _aside(target: Path) -> Path:
    return target.with_name(f".{target.name}.old")

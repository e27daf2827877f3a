"""Plain arrays from npz files, also within bz2: never pickled, every fault a sentence."""

from __future__ import annotations

import bz2
import io
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path

import numpy as np

from study.params import UserError

# What numpy and zipfile raise on torn bytes, wherever the tear lies.
TORN = (
    OSError,
    EOFError,
    ValueError,
    TypeError,
    AttributeError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    SyntaxError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_arrays(path: Path, names: Collection[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays called `names` that the file holds (all of them for None).

    Entries that nobody asks for are left unread, pickled ones included. Raises UserError when the
    file is absent, torn, or pickled where it matters.
    """
    try:
        with path.open("rb") as stream, np.load(_unpacked(stream), allow_pickle=False) as stored:
            wanted = [name for name in stored.files if names is None or name in names]
            return {name: stored[name] for name in wanted}
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give the path of an existing file") from None
    except TORN as error:
        if "allow_pickle" in str(error) or "pickled" in str(error):
            raise UserError(
                f"{path} holds pickled Python objects, which can run code; store plain numeric "
                "arrays with numpy.savez"
            ) from None
        raise UserError(f"{path} is truncated or torn ({error}); fetch or make it again") from None


def _unpacked(stream: io.BufferedIOBase) -> io.BufferedIOBase:
    packed = stream.read(3) == b"BZh"
    stream.seek(0)
    return io.BytesIO(bz2.decompress(stream.read())) if packed else stream

"""Scores of stored objects: an npz with the key `object`, complex (h, w), object units."""

from __future__ import annotations

import tokenize
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex

from study.metrics import score
from study.metrics.pair import check_object
from study.params import UserError

# What numpy and zipfile raise for files that are cut, damaged, pickled or no npz at all.
DAMAGE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,
    NotImplementedError,
    RuntimeError,
    MemoryError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)


def read_object(path: Path) -> Complex[np.ndarray, "h w"]:
    """The array `object` of an npz.

    Raises UserError, naming the file, when it is absent, unreadable, pickled, without that key, not
    complex, not two-dimensional or not finite.
    """
    if not path.is_file():
        raise UserError(
            f"{path} does not exist or is no file; an npz with the key object is needed"
        )
    image = _read(path)
    check_object(image, f"object in {path}")
    return image


def score_files(prediction: Path, truth: Path, metrics: str) -> dict[str, Any]:
    """`study.metrics.score` of two npz files. Raises UserError as `read_object` and `score` do."""
    images = read_object(prediction), read_object(truth)
    try:
        return score(*images, metrics)
    except UserError as error:
        raise UserError(f"{prediction} against {truth}: {error}") from None


def _read(path: Path) -> np.ndarray:
    try:
        # numpy leaves a file open that it opened itself and could not read.
        with path.open("rb") as stream:
            archive = np.load(stream, allow_pickle=False)
            keys = list(getattr(archive, "files", ()))
            if "object" in keys:
                return archive["object"]
    except DAMAGE as error:
        raise UserError(
            f"{path} cannot be read as npz ({' '.join(str(error).split())}); it is cut, damaged or "
            "pickled: write it again with numpy.savez(path, object=...)"
        ) from None
    raise UserError(
        f"{path} has no key object; found: {', '.join(keys) or 'none'}; write it with "
        "numpy.savez(path, object=...)"
    )

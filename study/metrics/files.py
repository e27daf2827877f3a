"""Scores of stored objects: an npz with the key `object`, complex (h, w), object units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Complex

from study.formats.arrays import read_arrays
from study.metrics import score
from study.metrics.pair import check_object
from study.settings import UserError


def read_object(path: Path) -> Complex[np.ndarray, "h w"]:
    """The array `object` of an npz.

    Raises UserError, naming the file, when it is absent, unreadable, pickled, too large for the
    memory, without that key, not complex, not two-dimensional or not finite.
    """
    arrays = read_arrays(path, ["object"])
    if "object" not in arrays:
        raise UserError(
            f"{path} has no array called `object`; write it with numpy.savez(path, object=...)"
        )
    check_object(arrays["object"], f"object in {path}")
    return arrays["object"]


def score_files(prediction: Path, truth: Path, metrics: str) -> dict[str, Any]:
    """`study.metrics.score` of two npz files. Raises UserError as `read_object` and `score` do."""
    images = read_object(prediction), read_object(truth)
    try:
        return score(*images, metrics)
    except UserError as error:
        raise UserError(f"{prediction} against {truth}: {error}") from None

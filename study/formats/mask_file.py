"""The file that `study import --mask` takes: bad pixels of a detector."""

from __future__ import annotations

import warnings
from pathlib import Path

import h5py
import numpy as np
import PIL.Image
from jaxtyping import Bool

from study.formats.arrays import TORN, read_arrays, read_npy
from study.formats.hdf5 import DAMAGED, array_at, objects, open_hdf5
from study.formats.mat5 import Mat5Entries, is_mat5
from study.reading import brief, open_regular
from study.settings import UserError

LARGEST_BYTES = 2**28
PNG_END = b"IEND\xaeB`\x82"


def read_mask(path: Path, n: int) -> Bool[np.ndarray, "n n"]:
    """Bad pixels from a file: True where its number is not zero.

    npy, npz, HDF5 and MATLAB (an array called `mask`, or the only one), and TIFF or PNG. Raises
    UserError where the file cannot be read, holds another size, or marks most pixels: then it
    probably marks the good ones.
    """
    stored = _stored_mask(path)
    if stored.dtype.kind not in "biuf" or stored.shape != (n, n):
        raise UserError(
            f"the mask in {path} is {stored.dtype} of shape {stored.shape}; accepted: numbers of "
            f"shape ({n}, {n}), not zero at bad pixels"
        )
    bad = stored != 0
    if bad.mean() > 0.5:
        raise UserError(
            f"{path} marks {int(bad.sum())} of {bad.size} pixels as bad; a mask is not zero at bad "
            "pixels: invert it"
        )
    return bad


def _stored_mask(path: Path) -> np.ndarray:
    try:
        with open_regular(path) as stream:
            head = stream.read(520)
        if b"\x89HDF" in (head[:4], head[512:516]):
            with open_hdf5(path) as file:
                names = [
                    name for name, node in objects(file, path) if isinstance(node, h5py.Dataset)
                ]
                return array_at(file, _only(names, path))
        if is_mat5(head):
            entries = Mat5Entries(path)
            return entries.read(_only(sorted(entries.names), path))
        if head.startswith(b"\x93NUMPY"):
            return read_npy(path)
        if head.startswith((b"II*\0", b"MM\0*", b"\x89PNG")):
            return _image(path)
        arrays = read_arrays(path)
        return arrays[_only(sorted(arrays), path)]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give a mask file") from None
    except (*DAMAGED, *TORN, PIL.Image.DecompressionBombError) as error:
        raise UserError(
            f"{path} is not a mask that can be read ({brief(error)}); accepted: "
            f"npy, npz, HDF5, MATLAB, "
            "TIFF, PNG"
        ) from None


def _only(names: list[str], path: Path) -> str:
    marked = [name for name in names if name.rsplit("/", 1)[-1].lower() == "mask"]
    found = marked or names
    if len(found) != 1:
        raise UserError(
            f"{path} holds {', '.join(names) or 'no array'}; accepted: one array, or one called "
            "mask"
        )
    return found[0]


def _image(path: Path) -> np.ndarray:
    # PIL warns of metadata that no mask needs; sizes are checked here.
    with warnings.catch_warnings(action="ignore"), PIL.Image.open(path) as image:
        width, height = image.size
        if max(4 * width * height, path.stat().st_size) > LARGEST_BYTES:
            raise UserError(f"{path} has {height} x {width} px; accepted: one mask of a detector")
        # All pixels may decode from a PNG whose end is missing.
        if image.format == "PNG" and PNG_END not in path.read_bytes():
            raise ValueError("it ends before its last chunk")
        return np.asarray(image)

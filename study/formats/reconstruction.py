"""object_best.npz and object_last.npz: one reconstruction, as training and iterative write it and
as evidence reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from jaxtyping import Complex64, Float16, Float32, Int64

from study.formats.arrays import misfit, read_arrays
from study.formats.dataset import Dataset
from study.runs import write_npz
from study.settings import UserError

SHOWN = 64


@dataclass(frozen=True)
class Reconstruction:
    """A stitched test object and what the pages need from the forward model.

    `object`: object units, on the scored region. `region`: [y0, x0, y1, x1] in object px, the same
    for all images. `r_factor`: sum |sqrt(counts) - |far field|| / sum sqrt(counts) per pattern of
    the test split, NaN where its window leaves the region. `predicted_amplitude`: dimensionless
    amplitudes of the patterns `shown` (at most 64, indices along J; first channel). `distinct`: the
    output differs between different inputs. `probe`: P_sim, refined where it was updated.
    """

    object: Complex64[np.ndarray, "I h w"]
    region: Int64[np.ndarray, 4]
    r_factor: Float32[np.ndarray, " J"]
    predicted_amplitude: Float16[np.ndarray, "K n n"]
    shown: Int64[np.ndarray, " K"]
    distinct: bool
    checkpoint: str
    epoch: int
    probe: Complex64[np.ndarray, "n n"]


KINDS = {
    "object": ("c", 3),
    "region": ("iu", 1),
    "r_factor": ("f", 1),
    "predicted_amplitude": ("f", 3),
    "shown": ("iu", 1),
    "distinct": ("b", 0),
    "checkpoint": ("U", 0),
    "epoch": ("iu", 0),
    "probe": ("c", 2),
}


def _problem(arrays: Mapping[str, np.ndarray]) -> str | None:
    """What makes the arrays no reconstruction, as the end of a sentence, or None."""
    if (problem := misfit(arrays, KINDS)) is not None:
        return problem
    obj, region = arrays["object"], arrays["region"]
    if region.shape != (4,):
        return f"holds an object of shape {obj.shape} and a region of shape {region.shape}"
    y0, x0, y1, x1 = (int(edge) for edge in region)
    if obj.shape[1:] != (y1 - y0, x1 - x0):
        return f"holds an object of shape {obj.shape} for the region {[y0, x0, y1, x1]}"
    shown, predicted, probe = arrays["shown"], arrays["predicted_amplitude"], arrays["probe"]
    if predicted.shape != (len(shown), *probe.shape) or len(shown) > SHOWN:
        return f"holds {predicted.shape} predicted amplitudes for {len(shown)} patterns"
    if len(shown) and not 0 <= shown.min() <= shown.max() < len(arrays["r_factor"]):
        return f"shows patterns {shown.min()} to {shown.max()} of {len(arrays['r_factor'])}"
    return None


def save_reconstruction(path: Path, result: Reconstruction) -> None:
    """Write one object file whole. Raises ValueError when its arrays contradict each other."""
    arrays = {item.name: np.asarray(getattr(result, item.name)) for item in fields(result)}
    problem = _problem(arrays)
    if problem:
        raise ValueError(f"the reconstruction for {path.name} {problem}")
    write_npz(path, **arrays)


def load_reconstruction(path: Path) -> Reconstruction:
    """Read one object file. Raises UserError when it is absent, torn or inconsistent."""
    return checked(read_arrays(path), path)


def checked(arrays: Mapping[str, np.ndarray], path: Path) -> Reconstruction:
    """The arrays of the file `path` as a reconstruction. Raises UserError: inconsistent."""
    problem = _problem(arrays)
    if problem:
        raise UserError(f"{path} {problem}; run the arm again")
    return Reconstruction(
        object=arrays["object"],
        region=arrays["region"],
        r_factor=arrays["r_factor"],
        predicted_amplitude=arrays["predicted_amplitude"],
        shown=arrays["shown"],
        distinct=bool(arrays["distinct"]),
        checkpoint=str(arrays["checkpoint"]),
        epoch=int(arrays["epoch"]),
        probe=arrays["probe"],
    )


def amplitudes(
    dataset: Dataset, result: Reconstruction, index: int
) -> tuple[np.ndarray, np.ndarray]:
    """Measured and predicted amplitude of one stored pattern, centred as stored; masked pixels are
    NaN in the measured one."""
    split, scale = dataset.splits["test"], dataset.manifest.photon_scale
    # X = sqrt(counts) / S, as in `optics.counts`, which cannot be imported without torch.
    measured = np.sqrt(split.counts[index][0].astype(np.float64)) / scale
    if split.mask is not None:
        measured[~split.mask] = np.nan
    place = result.shown.tolist().index(index)
    return measured, result.predicted_amplitude[place].astype(np.float64)

"""The probe as an array: read from a file, brought to another size, normalised.

P_sim = P / norm with norm = 4 * mean |M P|, M a disk of radius n // 4 (physics: probe).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Complex, Complex64, Complex128

from study.formats.arrays import read_arrays
from study.params import UserError


def read_probe(path: Path) -> tuple[Complex128[np.ndarray, "m m"], tuple[str, ...]]:
    """Key `probe` of an npz file, and what is to be stated about it.

    Raises UserError where the file is absent, torn or pickled, or holds no usable probe.
    """
    arrays = read_arrays(path, {"probe"})
    if "probe" not in arrays:
        raise UserError(f"{path} has no key `probe`; store the probe under it")
    return one_mode(arrays["probe"], path)


def one_mode(
    stored: np.ndarray, where: Path
) -> tuple[Complex128[np.ndarray, "m m"], tuple[str, ...]]:
    """The probe of (..., m, m) stored modes, the first of several. Raises UserError if unusable."""
    square = stored.ndim >= 2 and stored.shape[-1] == stored.shape[-2]
    if not square or stored.size == 0 or not np.issubdtype(stored.dtype, np.number):
        raise UserError(
            f"the probe in {where} is {stored.dtype} of shape {stored.shape}; accepted: a complex "
            "(m, m) array, or modes of it"
        )
    modes = stored.reshape(-1, *stored.shape[-2:])
    probe = modes[0].astype(np.complex128)
    if not np.isfinite(probe).all() or not np.abs(probe).max() > 0:
        raise UserError(f"the probe in {where} is zero or not finite; give a usable one")
    said = (f"probe: the first of {len(modes)} modes",) if len(modes) > 1 else ()
    return probe, said


def pad(probe: Complex[np.ndarray, "m m"], n: int) -> Complex[np.ndarray, "n n"]:
    """Zeros around the probe up to n x n: same pixel, larger field. Needs m <= n."""
    before = n // 2 - len(probe) // 2
    return np.pad(probe, (before, n - len(probe) - before))


def resample(probe: Complex[np.ndarray, "m m"], n: int) -> Complex[np.ndarray, "n n"]:
    """Band-limited interpolation to n x n: same field, other pixel (spectrum cut or padded)."""
    m = len(probe)
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe)))
    spectrum = pad(spectrum, n) if n >= m else crop(spectrum, n)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(spectrum))) * (n / m) ** 2


def crop(array: np.ndarray, n: int) -> np.ndarray:
    """Central n x n of the last two axes; pixel m // 2 becomes pixel n // 2."""
    start = array.shape[-1] // 2 - n // 2
    return array[..., start : start + n, start : start + n]


def norm_mask(n: int) -> Bool[np.ndarray, "n n"]:
    """M: pixels within n // 4 of the centre between pixels. Used for the norm alone."""
    steps = np.arange(n) - (n - 1) / 2
    return np.hypot(steps[:, None], steps[None, :]) <= n // 4


def normalise(
    probe: Complex128[np.ndarray, "n n"],
) -> tuple[Complex128[np.ndarray, "n n"], float]:
    """P_sim = P / norm and norm = 4 * mean over all pixels of |M P|.

    Raises UserError for a probe that is dark inside M.
    """
    norm = float(4 * np.mean(norm_mask(len(probe)) * np.abs(probe)))
    if not (np.isfinite(norm) and norm > 0):
        raise UserError(
            f"the probe is zero or not finite within {len(probe) // 4} px of its centre; give a "
            "centred probe"
        )
    return probe / norm, norm


def single(probe: Complex128[np.ndarray, "n n"]) -> Complex64[np.ndarray, "n n"]:
    """The precision in which probes are stored."""
    return probe.astype(np.complex64)

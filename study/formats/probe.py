"""The probe as an array: read from a file, brought to another size, normalised.

P_sim = P / norm with norm = 4 * mean |M P|, M a disk of radius n // 4 (physics: probe).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Complex, Complex64, Complex128, Float64

from study.formats.arrays import read_arrays
from study.settings import UserError

LEAST_POWER = 1e-6  # of the whole: below, a mode is rounding


def read_probe(path: Path) -> np.ndarray:
    """Key `probe` of an npz file, (m, m) or modes of it, as stored.

    Raises UserError where the file is absent, torn or pickled, or lacks the key.
    """
    arrays = read_arrays(path, {"probe"})
    if "probe" not in arrays:
        raise UserError(f"{path} has no key `probe`; store the probe under it")
    return arrays["probe"]


def all_modes(
    stored: np.ndarray, where: Path, most: int | None = None
) -> tuple[Complex128[np.ndarray, "k m m"], tuple[str, ...]]:
    """Orthogonal modes, the strongest first, of (..., m, m) stored ones, and the sentence.

    `most`: how many are kept. Modes of no power are left out. Raises UserError if unusable.
    """
    check_probe(stored, where)
    flat = stored.reshape(-1, stored.shape[-1] ** 2).astype(np.complex128)
    power, mixture = np.linalg.eigh(flat @ flat.conj().T)
    share = np.maximum(power[::-1], 0) / power.sum()
    count = min(int((share > LEAST_POWER).sum()), most or len(share))
    if len(flat) == 1:
        return flat.reshape(1, *stored.shape[-2:]), ()
    modes = (mixture[:, ::-1].conj().T @ flat)[:count].reshape(count, *stored.shape[-2:])
    # A unitary mixture is free in its phases: the first mode keeps that of the strongest stored.
    main = flat[np.argmax((np.abs(flat) ** 2).sum(axis=1))]
    modes = modes * np.exp(-1j * np.angle(np.vdot(main, modes[0].ravel())))
    shown = ", ".join(f"{100 * each:.3g} %" for each in share[:count])
    lost = f"; {len(flat) - count} of less power left out" if count < len(flat) else ""
    return modes, (f"probe: {count} orthogonal modes with {shown} of the power{lost}",)


def powers(probe: Complex[np.ndarray, "*k m m"]) -> Float64[np.ndarray, " k"]:
    """Share of the whole power in each mode; they sum to 1."""
    light = np.sum(np.abs(probe.reshape(-1, *probe.shape[-2:])) ** 2, axis=(1, 2), dtype=np.float64)
    return light / light.sum()


def check_probe(stored: np.ndarray, where: Path) -> None:
    """Raise UserError unless `stored` is (..., m, m) numbers, finite and not all zero."""
    square = stored.ndim >= 2 and stored.shape[-1] == stored.shape[-2]
    if not square or stored.size == 0 or stored.dtype.kind not in "iufc":
        raise UserError(
            f"the probe in {where} is {stored.dtype} of shape {stored.shape}; accepted: a complex "
            "(m, m) array, or modes of it"
        )
    if not np.isfinite(stored).all() or not np.abs(stored).max() > 0:
        raise UserError(f"the probe in {where} is zero or not finite; give a usable one")


def one_mode(
    stored: np.ndarray, where: Path
) -> tuple[Complex128[np.ndarray, "m m"], tuple[str, ...]]:
    """The strongest of (..., m, m) stored modes. Raises UserError if unusable."""
    modes, notes = all_modes(stored, where, 1)
    return modes[0], notes


def in_corner(probe: Complex[np.ndarray, "n n"]) -> bool:
    """Whether the light is around the corner, as transforms store it, not around the middle."""
    light = np.abs(probe) ** 2
    steps = np.arange(len(probe)) - len(probe) // 2
    squared = steps[:, None] ** 2 + steps[None, :] ** 2
    return bool(np.sum(squared * np.fft.fftshift(light)) < 0.5 * np.sum(squared * light))


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

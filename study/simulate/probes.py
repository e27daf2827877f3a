"""Probes before normalisation: ideal disk, focusing optic, or a file; smoothed on request.

All in float64, (n, n), zero of the sample plane at n // 2 (the ideal disk: between pixels).
"""

from pathlib import Path

import numpy as np
from jaxtyping import Complex128, Float64
from scipy.ndimage import gaussian_filter
from skimage.restoration import unwrap_phase

from study.formats.probe import one_mode, pad, read_probe, resample
from study.settings import Focus, IdealDisk, ProbeFile, UserError


def _radius(n: int, centre: float) -> Float64[np.ndarray, "n n"]:
    """Distance of every pixel from (centre, centre), in px."""
    steps = np.arange(n) - centre
    return np.hypot(steps[:, None], steps[None, :])


def ideal_disk(n: int) -> Complex128[np.ndarray, "n n"]:
    """Disk where a 2-D Gaussian window of std n / (0.7 pi^2) exceeds 0.5, blurred by 1 px, + 1e-9.

    Real. The floor keeps the amplitude positive everywhere.
    """
    steps = np.arange(n) - (n - 1) / 2
    window = np.exp(-0.5 * (steps / (n / (0.7 * np.pi**2))) ** 2)
    window /= window.max()
    disk = (np.outer(window, window) > 0.5).astype(np.float64)
    return (gaussian_filter(disk, 1.0) + 1e-9).astype(np.complex128)


def focus(
    n: int, aperture_px: float, central_stop_px: float, defocus_rad: float
) -> Complex128[np.ndarray, "n n"]:
    """Field of a focusing optic, `defocus_rad` of phase at the aperture's rim out of focus.

    The pupil (diameter `aperture_px` in detector px, minus a central stop) carries the phase
    defocus_rad * (r / R)^2; its inverse far field is the probe (Goodman, Introduction to Fourier
    Optics, 6.4). Rims fade over one pixel, as an aperture averaged over pixels does. The spot is
    about n * defocus_rad / (pi R) px in radius, R = aperture_px / 2.
    """
    radius = _radius(n, n // 2)
    rim = np.clip(aperture_px / 2 + 0.5 - radius, 0, 1)
    stop = np.clip(central_stop_px / 2 + 0.5 - radius, 0, 1) if central_stop_px > 0 else 0.0
    phase = defocus_rad * (radius / (aperture_px / 2)) ** 2
    pupil = rim * (1 - stop) * np.exp(1j * phase)
    return np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(pupil), norm="ortho"))


def fitted(given: ProbeFile, n: int) -> tuple[Complex128[np.ndarray, "n n"], tuple[str, ...]]:
    """The probe of the file at n x n, and a sentence on how it was adapted."""
    probe, facts = one_mode(read_probe(Path(given.path)), Path(given.path))
    m = len(probe)
    if m == n:
        return probe, facts
    if given.fit == "pad":
        if m > n:
            raise UserError(
                f"probe in {given.path} has {m} px, more than n = {n}; `fit: pad` only enlarges: "
                "use `fit: resample` or a larger n"
            )
        return pad(probe, n), (
            *facts,
            f"probe of {m} px padded with zeros to {n} px",
        )
    return resample(probe, n), (
        *facts,
        f"probe of {m} px resampled to {n} px",
    )


def smooth(probe: Complex128[np.ndarray, "n n"], sigma_px: float) -> Complex128[np.ndarray, "n n"]:
    """Gaussian blur of the amplitude and of the unwrapped phase, each alone, then recombined."""
    if sigma_px == 0:
        return probe
    amplitude = gaussian_filter(np.abs(probe), sigma_px)
    angle = np.angle(probe)
    # unwrap_phase draws its merging order from a generator; a fixed one keeps the data equal.
    unwrapped = np.asarray(unwrap_phase(angle, rng=0)) if angle.any() else angle
    return amplitude * np.exp(1j * gaussian_filter(unwrapped, sigma_px))


def make_probe(
    given: IdealDisk | Focus | ProbeFile, n: int
) -> tuple[Complex128[np.ndarray, "n n"], tuple[str, ...]]:
    """The probe before normalisation, and what is to be stated about it."""
    facts: tuple[str, ...] = ()
    if isinstance(given, IdealDisk):
        probe = ideal_disk(n)
    elif isinstance(given, Focus):
        if given.central_stop_px >= given.aperture_px or given.aperture_px > n:
            raise UserError(
                f"aperture_px {given.aperture_px:g} and central_stop_px {given.central_stop_px:g} "
                f"leave no usable pupil at n = {n}; accepted: stop < aperture <= n"
            )
        probe = focus(n, given.aperture_px, given.central_stop_px, given.defocus_rad)
    else:
        probe, facts = fitted(given, n)
    return smooth(probe, given.smooth_sigma_px), facts

"""Probes: shape, size and normalisation."""

from pathlib import Path

import numpy as np
import pytest

from study.formats.probe import normalise
from study.settings import Focus, IdealDisk, ProbeFile, UserError
from study.simulate.probes import focus, ideal_disk, make_probe, smooth


def widths(probe: np.ndarray) -> tuple[float, np.ndarray]:
    """Radius that holds 90 % of the light, and the centre of mass (y, x)."""
    light = np.abs(probe) ** 2
    steps = np.indices(light.shape)
    centre = np.array([(light * axis).sum() / light.sum() for axis in steps])
    radius = np.hypot(*(axis - at for axis, at in zip(steps, centre, strict=True))).ravel()
    order = np.argsort(radius)
    gathered = np.cumsum(light.ravel()[order]) / light.sum()
    return float(radius[order][np.searchsorted(gathered, 0.9)]), centre


@pytest.mark.parametrize("n", [16, 33, 64])
def test_ideal_disk_is_real_positive_round_and_of_the_window_half_width(n: int) -> None:
    probe = ideal_disk(n)
    assert not probe.imag.any()
    assert probe.real.min() >= 1e-9
    assert np.allclose(probe, probe.T)
    assert np.allclose(probe, probe[::-1])
    # The outer product of Gaussians passes 0.5 at std * sqrt(2 ln 2); the blur keeps the sum.
    radius = n / (0.7 * np.pi**2) * np.sqrt(2 * np.log(2))
    assert probe.real.sum() == pytest.approx(np.pi * radius**2, rel=0.12)


@pytest.mark.parametrize(
    ("n", "aperture", "stop", "defocus"), [(64, 32.0, 6.0, 12.6), (32, 16.0, 3.0, 6.3)]
)
def test_focus_spot_has_half_the_window_and_stands_in_its_middle(
    n: int, aperture: float, stop: float, defocus: float
) -> None:
    probe = focus(n, aperture, stop, defocus)
    radius, centre = widths(probe)
    assert n / 4.5 < radius < n / 3.5
    assert np.allclose(centre, n // 2, atol=0.5)


def test_focus_without_defocus_is_the_airy_spot_of_its_aperture() -> None:
    probe = focus(64, 16.0, 0.0, 0.0)
    assert not np.allclose(probe, 0)
    assert np.abs(probe.imag).max() < 1e-12
    along = probe.real[32, 32:]
    first_zero = np.argmax(along < 0)
    # Airy: 1.22 n / diameter.
    assert first_zero == pytest.approx(1.22 * 64 / 16, abs=1.0)


def test_defocus_moves_no_light_between_sample_and_pupil() -> None:
    sharp, blurred = focus(32, 12.0, 2.0, 0.0), focus(32, 12.0, 2.0, 9.0)
    assert np.sum(np.abs(sharp) ** 2) == pytest.approx(np.sum(np.abs(blurred) ** 2))
    assert widths(blurred)[0] > 2 * widths(sharp)[0]


@pytest.mark.parametrize("n", [16, 17, 64])
def test_normalised_probe_has_mean_a_quarter_inside_the_disk(n: int) -> None:
    probe, norm = normalise(3 * ideal_disk(n))
    steps = np.arange(n) - (n - 1) / 2
    disk = steps[:, None] ** 2 + steps[None, :] ** 2 <= (n // 4) ** 2
    assert np.sum(disk * np.abs(probe)) / n**2 == pytest.approx(0.25)
    assert np.allclose(probe * norm, 3 * ideal_disk(n))


def test_dark_probe_is_refused() -> None:
    ring = np.zeros((16, 16), np.complex128)
    ring[0] = 1
    with pytest.raises(UserError, match="within 4 px of its centre"):
        normalise(ring)


def test_smoothing_acts_on_amplitude_and_phase_apart() -> None:
    steps = np.arange(32) - 16.0
    ramp = np.exp(1j * 0.9 * steps)[:, None] * np.ones(32)
    smoothed = smooth(ramp, 0.5)
    # A blur of the complex field would dim a ramp; the amplitude here stays 1, the slope stays.
    assert np.allclose(np.abs(smoothed), 1)
    assert np.allclose(np.angle(smoothed[9:23] / smoothed[8:22]), 0.9)
    assert smooth(ramp, 0.0) is ramp


def test_smoothing_keeps_a_real_probe_real() -> None:
    assert not smooth(ideal_disk(16), 0.5).imag.any()


def save(path: Path, probe: np.ndarray) -> str:
    np.savez(path, probe=probe)
    return str(path)


def test_probe_file_of_the_right_size_is_taken_as_it_is(tmp_path: Path) -> None:
    stored = focus(16, 7.0, 0.0, 3.0)
    path = save(tmp_path / "p.npz", stored[None, None])
    probe, output = make_probe(ProbeFile(kind="file", path=path, fit="pad", smooth_sigma_px=0), 16)
    assert np.array_equal(probe, stored)
    assert output == ()


def test_padding_keeps_the_pixel_and_resampling_the_field(tmp_path: Path) -> None:
    stored = focus(16, 7.0, 0.0, 3.0)
    path = save(tmp_path / "p.npz", stored)
    padded, output = make_probe(ProbeFile(kind="file", path=path, fit="pad", smooth_sigma_px=0), 20)
    assert np.array_equal(padded[2:18, 2:18], stored)
    assert np.abs(padded).sum() == np.abs(stored).sum()
    assert output == ("probe of 16 px padded with zeros to 20 px",)
    finer, output = make_probe(
        ProbeFile(kind="file", path=path, fit="resample", smooth_sigma_px=0), 32
    )
    assert np.allclose(finer[::2, ::2], stored)
    assert output == ("probe of 16 px resampled to 32 px",)
    coarse, _ = make_probe(ProbeFile(kind="file", path=path, fit="resample", smooth_sigma_px=0), 8)
    # All of this aperture's frequencies fit on 8 px: band-limited resampling loses nothing.
    assert np.allclose(coarse, stored[::2, ::2], atol=1e-12)


def test_a_file_larger_than_n_is_not_padded(tmp_path: Path) -> None:
    path = save(tmp_path / "p.npz", np.ones((16, 16), complex))
    with pytest.raises(UserError, match="has 16 px, more than n = 8"):
        make_probe(ProbeFile(kind="file", path=path, fit="pad", smooth_sigma_px=0), 8)


@pytest.mark.parametrize(("aperture", "stop"), [(40.0, 0.0), (8.0, 8.0)])
def test_impossible_pupils_are_refused(aperture: float, stop: float) -> None:
    wanted = Focus(
        kind="focus",
        aperture_px=aperture,
        central_stop_px=stop,
        defocus_rad=1,
        smooth_sigma_px=0,
    )
    with pytest.raises(UserError, match="stop < aperture <= n"):
        make_probe(wanted, 32)


def test_ideal_disk_by_its_params() -> None:
    probe, output = make_probe(IdealDisk(kind="ideal_disk", smooth_sigma_px=0), 16)
    assert np.array_equal(probe, ideal_disk(16))
    assert output == ()

"""Laws of the standard set: gauge, mask, units, the truth's own range."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.metrics import score
from study.metrics.gauge import angle, phase_ramp, ramp

CHANNELS = ("amplitude", "phase")


@pytest.fixture(scope="module")
def noisy(truth):
    return truth + complex_noise(truth.shape, 3, 0.2)


def complex_noise(shape, seed, sigma):
    rng = np.random.default_rng(seed)
    return sigma * (rng.normal(size=shape) + 1j * rng.normal(size=shape))


def numbers(scores):
    return {f"{c}.{key}": value for c in CHANNELS for key, value in scores[c].items()}


@settings(deadline=None, max_examples=10)
@given(turn=st.floats(-np.pi, np.pi))
def test_global_phase_of_either_image_changes_nothing(truth, noisy, turn):
    expected = numbers(score(noisy, truth, "standard"))
    turned = score(noisy * np.exp(1j * turn), truth, "standard")
    assert numbers(turned) == pytest.approx(expected, rel=1e-6)
    assert numbers(score(noisy, truth * np.exp(1j * turn), "standard")) == pytest.approx(
        expected, rel=1e-6
    )


def test_removed_phase_is_reported(truth):
    extra = score(truth * np.exp(0.6j), truth, "standard")["extra"]
    assert extra["global_phase_rad"] == pytest.approx(0.6)
    assert extra["ramp_x_rad_per_px"] == 0


@pytest.mark.parametrize("slopes", [(0.01, -0.02), (0.26, 0.13), (-1.1, 0.7)])
def test_ramp_is_removed_on_request_only(truth, noisy, slopes):
    y, x = np.indices(truth.shape)
    tilted = noisy * np.exp(1j * (slopes[0] * y + slopes[1] * x + 0.3))
    plain = score(noisy, truth, "standard", remove_ramp=True)
    removed = score(tilted, truth, "standard", remove_ramp=True)
    assert numbers(removed) == pytest.approx(numbers(plain), rel=1e-6)
    shift = removed["extra"]["ramp_y_rad_per_px"] - plain["extra"]["ramp_y_rad_per_px"]
    assert shift == pytest.approx(slopes[0], abs=1e-9)
    kept = score(tilted, truth, "standard")
    assert kept["phase"]["mae"] > 3 * plain["phase"]["mae"]


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), tilt=st.floats(-0.4, 0.4))
def test_nothing_is_left_of_a_removed_ramp(truth, seed, tilt):
    """Also where the noise wraps the phase, so that one linear fit is not enough."""
    mask = np.ones(truth.shape, dtype=bool)
    slopes = (tilt, -0.7 * tilt)
    wild = (truth + complex_noise(truth.shape, seed, 1.5)) * np.exp(1j * ramp(truth.shape, slopes))
    found = phase_ramp(wild, truth, mask)
    assert found == pytest.approx(slopes, abs=2e-3)
    again = phase_ramp(wild * np.exp(-1j * ramp(truth.shape, found)), truth, mask)
    assert again == pytest.approx((0, 0), abs=1e-5)


def test_dark_pixel_has_phase_zero():
    assert (angle(np.array([[complex(-0.0, 0.0), complex(-0.0, -0.0)]])) == 0).all()


def test_phase_error_is_the_angle_of_the_product(truth, noisy):
    aligned = noisy * np.exp(-1j * np.angle(np.vdot(truth, noisy)))
    expected = np.abs(np.angle(aligned * truth.conj())).mean()
    assert score(noisy, truth, "standard")["phase"]["mae"] == pytest.approx(expected, rel=1e-9)


def test_wraps_are_no_error():
    """A phase of 1.9 turns across the field, predicted 0.05 rad off at random."""
    ramp = np.linspace(0, 12, 64) * np.ones((64, 1))
    wobble = 0.05 * np.random.default_rng(0).choice([-1, 1], size=(64, 64))
    error = score(np.exp(1j * (ramp + wobble)), np.exp(1j * ramp), "standard")["phase"]["mae"]
    assert error == pytest.approx(0.05, rel=0.05)


def test_wrong_amplitude_scale_is_reported_and_costs(truth):
    scores = score(0.9 * truth, truth, "standard")
    assert scores["extra"]["amplitude_scale"] == pytest.approx(1 / 0.9)
    assert scores["amplitude"]["mae"] == pytest.approx(0.1 * np.abs(truth).mean())
    assert scores["phase"]["mae"] == pytest.approx(0, abs=1e-12)


def test_peak_is_the_truths_own(truth, noisy):
    scores = score(noisy, truth, "standard")
    amplitude, phase = np.abs(truth), np.angle(truth)
    for channel, peak in (("amplitude", amplitude.max()), ("phase", np.ptp(phase))):
        expected = 10 * np.log10(peak**2 / scores[channel]["mse"])
        assert scores[channel]["psnr"] == pytest.approx(expected, rel=1e-9)


def test_object_units_do_not_change_relative_scores(truth, noisy):
    """Range and peak follow the truth, so a common factor leaves every ratio alone."""
    small, large = score(noisy, truth, "standard"), score(50 * noisy, 50 * truth, "standard")
    for key in ("psnr", "ssim", "ms_ssim", "frc50"):
        assert large["amplitude"][key] == pytest.approx(small["amplitude"][key], rel=1e-9)
    assert large["amplitude"]["mae"] == pytest.approx(50 * small["amplitude"]["mae"])


def test_pixels_outside_the_mask_do_not_matter(truth, noisy):
    mask = np.zeros(truth.shape, dtype=bool)
    mask[10:110, 4:104] = True
    mask[60:64, 50:53] = False
    spoiled = np.where(mask, noisy, 40 - 7j)
    other_truth = np.where(mask, truth, -3j)
    expected = numbers(score(noisy, truth, "standard", mask=mask))
    assert None not in expected.values()
    assert numbers(score(spoiled, other_truth, "standard", mask=mask)) == pytest.approx(expected)


def test_full_mask_is_no_mask(truth, noisy):
    full = score(noisy, truth, "standard", mask=np.ones(truth.shape, dtype=bool))
    assert full == score(noisy, truth, "standard")


def test_window_of_the_mask_scores_like_the_window_alone(truth, noisy):
    window = slice(10, 110)
    mask = np.zeros(truth.shape, dtype=bool)
    mask[window, window] = True
    alone = score(noisy[window, window], truth[window, window], "standard")
    inside = score(noisy, truth, "standard", mask=mask)
    for key in ("mae", "mse", "psnr", "ssim", "frc50"):
        assert inside["amplitude"][key] == pytest.approx(alone["amplitude"][key], rel=1e-9), key


def test_mask_without_a_window_gives_reasons(truth, noisy):
    mask = np.zeros(truth.shape, dtype=bool)
    mask[:4, :] = True
    scores = score(noisy, truth, "standard", mask=mask)
    assert scores["amplitude"]["mae"] > 0
    assert scores["amplitude"]["ssim"] is None
    assert "no 7 x 7 window" in scores["reasons"]["amplitude.ssim"]
    assert "too small for an FRC" in scores["reasons"]["amplitude.frc50"]


def test_frc50_is_the_frequency_where_noise_takes_over():
    """White object plus noise that lives above 0.2 / px alone: the correlation ends there."""
    rng = np.random.default_rng(1)
    n = 128
    white = 5 + rng.normal(size=(n, n)).clip(-3, 3)
    high = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n))) > 0.2
    noise = np.fft.ifft2(np.fft.fft2(8 * rng.normal(size=(n, n))) * high).real
    scores = score(white + noise + 100 + 0j, white + 100 + 0j, "standard")
    assert scores["amplitude"]["frc50"] == pytest.approx(0.2, abs=2.5 / n)


def test_noise_beyond_nyquist_is_not_crossed():
    """The corners of the spectrum have no ring that is whole."""
    n = 64
    rng = np.random.default_rng(2)
    white = 100 + rng.normal(size=(n, n))
    corner = np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n))) > 0.56
    noise = np.fft.ifft2(np.fft.fft2(9 * rng.normal(size=(n, n))) * corner).real
    scores = score(white + noise + 0j, white + 0j, "standard")
    assert scores["reasons"]["amplitude.frc50"] == "not crossed"


def test_frc50_equals_a_plain_loop(truth, noisy):
    """Mean removed, Hann window, rings of the full spectrum one at a time."""
    n = truth.shape[0]
    window = np.outer(*[0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n) / (n - 1))] * 2)
    fa, fb = (np.fft.fft2(window * (np.abs(x) - np.abs(x).mean())) for x in (noisy, truth))
    radius = n * np.hypot(*np.meshgrid(np.fft.fftfreq(n), np.fft.fftfreq(n)))
    curve = []
    for ring in range(n // 2 + 1):
        a, b = fa[np.round(radius) == ring], fb[np.round(radius) == ring]
        curve.append(abs(np.vdot(a, b)) / np.linalg.norm(a) / np.linalg.norm(b))
    last = next(ring for ring, value in enumerate(curve) if value < 0.5)
    crossed = np.interp(-0.5, [-curve[last - 1], -curve[last]], [last - 1, last])
    expected = pytest.approx(crossed / n, rel=1e-9)
    assert score(noisy, truth, "standard")["amplitude"]["frc50"] == expected


def test_ms_ssim_is_the_weighted_mean_over_levels_of_two_by_two_means(truth, noisy):
    """91 px: levels of 91, 45, 22 and 11 px fit a window, 5 px does not."""
    from skimage.measure import block_reduce
    from skimage.metrics import structural_similarity

    a, b = np.abs(noisy[:91, :91]), np.abs(truth[:91, :91])
    data_range, total, weights = np.ptp(b), 0.0, (0.0448, 0.2856, 0.3001, 0.2363)
    for weight in weights:
        total += weight * np.log(structural_similarity(a, b, data_range=data_range))
        even = [slice(0, 2 * (extent // 2)) for extent in a.shape]
        a, b = (block_reduce(x[tuple(even)], 2, np.mean) for x in (a, b))
    expected = pytest.approx(np.exp(total / sum(weights)), rel=1e-9)
    window = noisy[:91, :91] * np.exp(-1j * 0.3)
    assert score(window, truth[:91, :91], "standard")["amplitude"]["ms_ssim"] == expected


def test_frc_of_equal_images_is_not_crossed(truth):
    scores = score(truth, truth, "standard")
    assert scores["amplitude"]["frc50"] is None
    assert scores["reasons"]["amplitude.frc50"] == "not crossed"


def test_ssim_uses_the_truths_range(truth, noisy):
    """The published phase score uses a whole turn and so praises; ours must be lower."""
    assert (
        score(noisy, truth, "standard")["phase"]["ssim"]
        < score(noisy, truth, "published")["phase"]["ssim"] - 0.05
    )


def test_dark_pixels_take_the_mean_phase(truth, noisy):
    """Amplitude 0 has no phase: it must score like the mean direction, not like a hit."""
    dark = noisy.copy()
    dark[20:40, 20:40] = 0
    turned = score(dark * np.exp(2.5j), truth, "standard")["phase"]["mae"]
    assert turned == pytest.approx(score(dark, truth, "standard")["phase"]["mae"], rel=1e-9)
    assert turned > score(noisy, truth, "standard")["phase"]["mae"]

"""The published definitions against the published floors and against plain numpy."""

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import gaussian_filter

from study.metrics import score
from study.metrics.published import without_plane
from study.settings import UserError

CHANNELS = ("amplitude", "phase")


def local_ssim(a: np.ndarray, b: np.ndarray, data_range: float) -> float:
    """SSIM of Wang et al. 2004, 7 x 7 windows inside the image, sample covariance."""
    wa, wb = (sliding_window_view(x, (7, 7)).reshape(-1, 49) for x in (a, b))
    ma, mb = wa.mean(1), wb.mean(1)
    va, vb = wa.var(1, ddof=1), wb.var(1, ddof=1)
    cov = ((wa - ma[:, None]) * (wb - mb[:, None])).sum(1) / 48
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    top = (2 * ma * mb + c1) * (2 * cov + c2)
    return float((top / ((ma**2 + mb**2 + c1) * (va + vb + c2))).mean())


def plain_frc50(a: np.ndarray, b: np.ndarray) -> float:
    """Rings of the full shifted spectrum, one at a time; first linear crossing of 0.5."""
    fa, fb = (np.fft.fftshift(np.fft.fft2(x)) for x in (a, b))
    y, x = np.indices(a.shape) - a.shape[0] // 2
    ring = np.round(np.sqrt(y**2 + x**2)).astype(int)
    previous = 1.0
    for r in range(ring.max() + 1):
        ra, rb = fa[ring == r], fb[ring == r]
        value = abs(np.vdot(rb, ra)) / np.sqrt(np.vdot(ra, ra).real * np.vdot(rb, rb).real)
        if value < 0.5:
            return r - 1 + (previous - 0.5) / (previous - value)
        previous = value
    return float(ring.max() + 1)


def prepared(image: np.ndarray, channel: str, mean: float | None = None) -> np.ndarray:
    """Trimmed channel: amplitude scaled to `mean`, phase without its least-squares plane."""
    inner = image[2:-2, 2:-2]
    if channel == "amplitude":
        amplitude = np.abs(inner)
        return amplitude if mean is None else amplitude * mean / amplitude.mean()
    y, x = np.indices(inner.shape)
    design = np.stack([x.ravel(), y.ravel(), np.ones(x.size)], axis=1)
    phase = np.angle(inner)
    plane = design @ np.linalg.lstsq(design, phase.ravel(), rcond=None)[0]
    return phase - plane.reshape(phase.shape)


@pytest.fixture
def noisy(truth):
    rng = np.random.default_rng(5)
    noise = rng.normal(size=truth.shape) + 1j * rng.normal(size=truth.shape)
    tilt = np.exp(1j * (0.4 + 0.004 * np.arange(truth.shape[1])))
    return 0.7 * tilt * (truth + 0.4 * noise)


def test_object_of_seed_2_is_the_published_one(published_object):
    amplitude = np.abs(published_object)
    assert amplitude.mean() == pytest.approx(2.7521, abs=1e-4)
    assert amplitude.std() == pytest.approx(0.6860, abs=1e-4)
    assert (amplitude.min(), amplitude.max()) == pytest.approx((0.735, 4.937), abs=1e-3)


def test_constant_amplitude_scores_the_published_floor(published_object):
    seen = np.abs(published_object[27:357, 27:357]).astype(np.complex64)
    scores = score(np.full_like(seen, 1.7), seen, "published")
    assert scores["amplitude"]["ssim"] == pytest.approx(0.2771, abs=1e-3)
    assert scores["amplitude"]["mae"] == pytest.approx(0.5131, abs=1e-3)
    assert scores["gate"]["amplitude"]["reason"] == "constant amplitude"
    assert scores["gate"]["phase"]["reason"] == "flat truth phase"


def test_flat_phase_scores_the_published_floor(published_object):
    seen = published_object[27:357, 27:357].astype(np.complex64)
    scores = score(np.ones_like(seen), seen, "published")
    assert scores["phase"]["ssim"] == pytest.approx(0.843, abs=1e-3)
    assert scores["gate"]["phase"]["reason"] == "constant phase"


@pytest.mark.parametrize("channel", CHANNELS)
def test_errors_equal_plain_numpy(truth, noisy, channel):
    b = prepared(truth, channel)
    a = prepared(noisy, channel, b.mean())
    scores = score(noisy, truth, "published")[channel]
    assert scores["mae"] == pytest.approx(np.abs(a - b).mean(), rel=1e-9)
    assert scores["mse"] == pytest.approx(((a - b) ** 2).mean(), rel=1e-9)
    assert scores["psnr"] == pytest.approx(10 * np.log10(255**2 / ((a - b) ** 2).mean()), rel=1e-9)


@pytest.mark.parametrize("channel", CHANNELS)
def test_ssim_equals_a_direct_computation(truth, noisy, channel):
    b = prepared(truth, channel)
    a = prepared(noisy, channel, b.mean())
    data_range = b.max() - b.min()
    if channel == "phase":
        a, b, data_range = (a + np.pi) / (2 * np.pi), (b + np.pi) / (2 * np.pi), 1.0
    expected = local_ssim(a, b, data_range)
    assert score(noisy, truth, "published")[channel]["ssim"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("channel", CHANNELS)
def test_ms_ssim_equals_a_plain_computation(truth, noisy, channel):
    b = prepared(truth, channel)
    a = prepared(noisy, channel, b.mean())
    if channel == "amplitude":
        a, b = gaussian_filter(a, 1), gaussian_filter(b, 1)
    else:
        a, b = (a + np.pi) / (2 * np.pi), (b + np.pi) / (2 * np.pi)
    data_range = max(np.ptp(a), np.ptp(b))
    expected = 1.0
    for level, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        small_a, small_b = a[:: 2**level, :: 2**level], b[:: 2**level, :: 2**level]
        expected *= max(local_ssim(small_a, small_b, data_range), 1e-4) ** weight
    assert score(noisy, truth, "published")[channel]["ms_ssim"] == pytest.approx(expected, rel=1e-9)


def test_ms_ssim_of_a_negative_has_a_floor(truth):
    """Inverted contrast makes SSIM negative; each level then counts as 1e-4."""
    amplitude = np.abs(truth)
    value = score(2 * amplitude.mean() - amplitude + 0j, truth, "published")["amplitude"]["ms_ssim"]
    assert value == pytest.approx(1e-4**1.0001, rel=1e-9)


def test_ms_ssim_stops_under_seven_pixels(truth):
    """20 x 20 px trimmed to 16: levels of 16 and 8 px count, 4 px does not."""
    a, b = truth[:20, :20] + 0.3 * truth[50:70, 50:70], truth[:20, :20]
    expected = 1.0
    blurred_b = prepared(b, "amplitude")
    blurred_a = gaussian_filter(prepared(a, "amplitude", blurred_b.mean()), 1)
    blurred_b = gaussian_filter(blurred_b, 1)
    data_range = max(np.ptp(blurred_a), np.ptp(blurred_b))
    for step, weight in ((1, 0.0448), (2, 0.2856)):
        level = local_ssim(blurred_a[::step, ::step], blurred_b[::step, ::step], data_range)
        expected *= max(level, 1e-4) ** weight
    assert score(a, b, "published")["amplitude"]["ms_ssim"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("channel", CHANNELS)
@pytest.mark.parametrize("rows", [120, 119])
def test_frc50_equals_a_plain_loop(truth, noisy, channel, rows):
    """Even and odd sides; 120 x 119 px also needs the centre square."""
    a, b = noisy[:rows], truth[:rows]
    b_flat = prepared(b, channel)
    a_flat = prepared(a, channel, b_flat.mean())
    side = rows - 4
    skip = (a_flat.shape[1] - side) // 2
    columns = slice(skip, skip + side)
    expected = plain_frc50(a_flat[:, columns], b_flat[:, columns])
    assert score(a, b, "published")[channel]["frc50"] == pytest.approx(expected, rel=1e-6)


def test_frc_of_equal_images_is_the_length_of_the_curve(truth):
    corner = round(np.sqrt(2) * (116 // 2))
    assert score(truth, truth, "published")["amplitude"]["frc50"] == corner + 1


def test_plane_is_removed_whatever_its_tilt():
    y, x = np.indices((31, 44))
    assert np.abs(without_plane(0.3 * y - 0.07 * x + 2.0)).max() < 1e-12


def test_scaling_hides_the_amplitude_but_is_reported(truth):
    scores = score(0.5 * truth, truth, "published")
    assert scores["amplitude"]["mae"] == pytest.approx(0, abs=1e-12)
    assert scores["extra"]["amplitude_scale"] == pytest.approx(2.0)


def test_zero_prediction_has_no_scaled_amplitude(truth):
    scores = score(np.zeros_like(truth), truth, "published")
    assert set(scores["amplitude"].values()) == {None}
    assert "zero everywhere" in scores["reasons"]["amplitude.ssim"]
    assert scores["extra"]["amplitude_scale"] is None
    assert scores["phase"]["ssim"] is not None


def test_mask_and_ramp_are_refused(truth):
    mask = np.ones(truth.shape, dtype=bool)
    assert score(truth, truth, "published", mask=mask)["amplitude"]["mae"] == 0
    mask[5, 5] = False
    with pytest.raises(UserError, match="got a mask"):
        score(truth, truth, "published", mask=mask)
    with pytest.raises(UserError, match="got remove_ramp"):
        score(truth, truth, "published", remove_ramp=True)

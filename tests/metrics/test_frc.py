import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.metrics.frc import centre_square, crossing, frc
from study.metrics.pair import Undefined


@settings(deadline=None, max_examples=20)
@given(n=st.integers(3, 40), seed=st.integers(0, 2**32 - 1))
def test_frc_equals_a_loop_over_rings(n, seed):
    rng = np.random.default_rng(seed)
    a = rng.normal(size=(n, n))
    b = a + rng.normal(size=(n, n))
    fa, fb = np.fft.fft2(a), np.fft.fft2(b)
    k = np.fft.fftfreq(n) * n
    radius = np.sqrt(k[:, None] ** 2 + k[None, :] ** 2)
    curve = frc(a, b)
    assert len(curve) == int(radius.max().round()) + 1
    for ring, value in enumerate(curve):
        on = np.abs(radius - ring) < 0.5
        power = (np.abs(fa[on]) ** 2).sum() * (np.abs(fb[on]) ** 2).sum()
        expected = abs((fa[on] * fb[on].conj()).sum()) / np.sqrt(power)
        assert value == pytest.approx(expected, abs=1e-9), ring


def test_frc_is_symmetric_and_blind_to_scale():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 33, 33))
    assert frc(a, b) == pytest.approx(frc(3e4 * b, a))


@pytest.mark.parametrize("n", [64, 326, 331])
def test_constant_image_correlates_with_nothing(n):
    """Not even by the rounding noise of the FFT, which prime sizes have most of."""
    curve = frc(np.full((n, n), 2.7521), np.random.default_rng(0).normal(size=(n, n)))
    assert curve[0] == 1
    assert not curve[1:].any()


def test_crossing_is_interpolated():
    assert crossing(np.array([1.0, 0.9, 0.6, 0.2, 0.9]), 0.5) == pytest.approx(2.25)
    assert crossing(np.array([0.4, 0.9]), 0.5) == 0
    with pytest.raises(Undefined, match="not crossed"):
        crossing(np.array([1.0, 0.9, 0.5]), 0.5)


@pytest.mark.parametrize("shape", [(5, 9), (9, 5), (6, 9), (7, 7)])
def test_centre_square_is_centred(shape):
    square = centre_square(np.arange(shape[0] * shape[1]).reshape(shape))
    side = min(shape)
    assert square.shape == (side, side)
    row, column = divmod(int(square[0, 0]), shape[1])
    assert (row, column) == ((shape[0] - side) // 2, (shape[1] - side) // 2)

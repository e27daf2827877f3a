"""Units of light: conversions and their inverses, the dose, the Poisson draw."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.optics import counts

laws = settings(deadline=None, max_examples=25)
scales = st.floats(1e-3, 1e4)


@laws
@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=9), scales)
def test_amplitude_and_counts_are_inverse_to_each_other(photons: list[int], scale: float) -> None:
    given_counts = np.array(photons, dtype=np.float64)
    amplitude = counts.amplitude_from_counts(given_counts, scale)
    assert np.allclose(counts.counts_from_amplitude(amplitude, scale), given_counts)
    assert np.allclose(amplitude * scale, np.sqrt(given_counts))


@laws
@given(scales)
def test_network_and_object_units_are_inverse_to_each_other(norm: float) -> None:
    obj = torch.tensor([1 + 2j, -0.5j, 0], dtype=torch.complex128)
    there = counts.to_network_units(obj, norm)
    assert torch.allclose(counts.to_object_units(there, norm), obj)
    assert torch.allclose(there * norm, obj)


@laws
@given(st.floats(1, 1e12), st.lists(st.floats(0.1, 1e3), min_size=1, max_size=8))
def test_photon_scale_brings_the_mean_pattern_to_the_dose(dose: float, sums: list[float]) -> None:
    relative = np.array(sums)
    scale = counts.photon_scale(dose, relative)
    assert np.mean(scale**2 * relative) == pytest.approx(dose)


@pytest.mark.parametrize("rate", [0.02, 3.0, 40.0, 1e6])
def test_counts_have_the_mean_and_variance_of_poisson(rate: float) -> None:
    drawn = counts.draw_counts(np.full((200, 500), rate), np.random.default_rng(0))
    assert drawn.dtype == np.uint32
    error = np.sqrt(rate / drawn.size)
    assert abs(drawn.mean() - rate) < 5 * error
    # Var of a sample variance: (mu4 - sigma^4) / N with mu4 = rate + 3 rate^2.
    spread = np.sqrt((rate + 2 * rate**2) / drawn.size)
    assert abs(drawn.var() - rate) < 5 * spread


def test_dark_pixels_stay_dark() -> None:
    drawn = counts.draw_counts(np.zeros((3, 4)), np.random.default_rng(0))
    assert not drawn.any()


class Recorder(np.random.Generator):
    """Keeps the rates that it was asked to draw from."""

    def poisson(self, lam: np.ndarray) -> np.ndarray:
        self.rates = lam
        return super().poisson(lam)


def test_the_draw_does_not_see_the_last_bits_of_the_intensity() -> None:
    grid = np.random.default_rng(1).integers(1, 2**27, 2000) * 2.0**-8
    seen = []
    for rates in (grid, grid * (1 + 3e-16), grid * (1 - 3e-16)):
        recorder = Recorder(np.random.PCG64(0))
        counts.draw_counts(rates, recorder)
        seen.append(recorder.rates)
    assert not np.array_equal(grid, grid * (1 + 3e-16))
    assert np.array_equal(seen[0], seen[1])
    assert np.array_equal(seen[0], seen[2])
    odd = np.random.default_rng(2).uniform(1e-3, 1e6, 2000)
    recorder = Recorder(np.random.PCG64(0))
    counts.draw_counts(odd, recorder)
    assert np.allclose(recorder.rates, odd, rtol=1e-9, atol=0)

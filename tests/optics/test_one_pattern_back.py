"""One pattern back through the probe: against numpy, pattern by pattern, and from a flat object."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.optics import back_project, diffract, far_field, inverse_far_field, own_constant
from study.optics.back_projection import ALPHA, regularised, replace_modulus

N = 6
laws = settings(deadline=None, max_examples=25)


def drawn(seed: int, *shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Measured amplitudes (shape, n, n) and a probe, complex128: rounding hides nothing."""
    random = np.random.default_rng(seed)
    amplitude = random.uniform(0.1, 2.0, (*shape, N, N))
    probe = random.normal(size=(N, N)) + 1j * random.normal(size=(N, N))
    return torch.from_numpy(amplitude), torch.from_numpy(probe)


def far(wave: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(np.fft.fft2(wave, norm="ortho"), axes=(-2, -1))


def near(field: np.ndarray) -> np.ndarray:
    return np.fft.ifft2(np.fft.ifftshift(field, axes=(-2, -1)), norm="ortho")


@laws
@given(st.integers(0, 2**31), st.integers(0, 3), st.floats(0.1, 3.0))
def test_steps_are_those_of_rpie_written_again_with_numpy(
    seed: int, steps: int, level: float
) -> None:
    amplitude, probe = drawn(seed, 3)
    x, p = amplitude.numpy(), probe.numpy()
    p2 = np.abs(p) ** 2
    patch = np.full(x.shape, level, dtype=np.complex128)
    for _ in range(steps):
        field = far(p * patch)
        wave = near(x * field / np.abs(field))
        patch = patch + p.conj() * (wave - p * patch) / ((1 - ALPHA) * p2 + ALPHA * p2.max())
    found = back_project(amplitude, probe, level, steps).numpy()
    np.testing.assert_allclose(found, patch, rtol=1e-8, atol=1e-8)


@laws
@given(st.integers(0, 2**31))
def test_the_own_constant_is_the_least_squares_fit_of_each_pattern(seed: int) -> None:
    amplitude, probe = drawn(seed, 4, 2)
    pattern = np.abs(far(probe.numpy())).ravel()
    found = own_constant(amplitude, probe)
    assert found.shape == (4, 2, 1, 1)
    for x, a in zip(amplitude.flatten(0, 1).numpy(), found.flatten(), strict=True):
        fit = np.linalg.lstsq(pattern[:, None], x.ravel(), rcond=None)[0]
        assert float(a) == pytest.approx(float(fit[0]), rel=1e-10)


def test_what_a_pattern_gives_does_not_depend_on_its_batch() -> None:
    amplitude, probe = drawn(3, 5, 2)

    def given_by(some: torch.Tensor) -> torch.Tensor:
        return back_project(some, probe, own_constant(some, probe), 2)

    whole = given_by(amplitude)
    alone = torch.stack([given_by(one) for one in amplitude])
    torch.testing.assert_close(alone, whole, rtol=1e-12, atol=1e-12)
    order = torch.tensor([4, 1, 0, 3, 2])
    torch.testing.assert_close(given_by(amplitude[order]), whole[order], rtol=1e-12, atol=1e-12)


@laws
@given(st.integers(0, 2**31), st.floats(0.05, 20.0))
def test_a_flat_object_is_a_fixed_point(seed: int, level: float) -> None:
    _, probe = drawn(seed)
    flat = torch.full((1, N, N), level, dtype=torch.complex128)
    amplitude = diffract(probe, flat)
    assert float(own_constant(amplitude, probe)) == pytest.approx(level, rel=1e-10)
    found = back_project(amplitude, probe, own_constant(amplitude, probe), 3)
    torch.testing.assert_close(found, flat, rtol=1e-10, atol=1e-10)


def test_a_dark_pattern_gives_a_dark_patch() -> None:
    _, probe = drawn(1)
    dark = torch.zeros(1, N, N, dtype=torch.float64)
    assert back_project(dark, probe, own_constant(dark, probe), 2).eq(0).all()


def test_a_replaced_modulus_is_the_measured_one_and_keeps_the_phase() -> None:
    amplitude, probe = drawn(2, 1)
    correction, modulus = replace_modulus(probe[None], amplitude)
    before, after = far(probe[None].numpy()), far((probe + correction).numpy())
    np.testing.assert_allclose(modulus.numpy(), np.abs(before), rtol=1e-10)
    np.testing.assert_allclose(np.abs(after), amplitude.numpy(), rtol=1e-8)
    np.testing.assert_allclose(np.angle(after / before), 0, atol=1e-8)


def test_rounding_in_the_dark_of_a_pupil_is_no_phase() -> None:
    """A probe with a sharp pupil is dark outside it; what is measured there must not be sown with
    the phases of rounding, which no two machines share."""
    random = np.random.default_rng(0)
    radius = np.hypot(*np.mgrid[-8:8, -8:8])
    pupil = (radius < 4.5) * np.exp(1j * 0.3 * radius**2)
    amplitude = torch.from_numpy(random.uniform(0.1, 1.0, (3, 16, 16)).astype(np.float32))
    patches = []
    for change in (0.0, 1e-7):
        noisy = near(pupil) * (1 + change * random.normal(size=(16, 16)))
        probe = torch.from_numpy(noisy.astype(np.complex64))
        patches.append(back_project(amplitude, probe, own_constant(amplitude, probe), 1))
    torch.testing.assert_close(*patches, rtol=1e-4, atol=1e-4)


def test_what_an_update_is_divided_by_lies_between_the_weight_and_its_maximum() -> None:
    weight = torch.tensor([[0.0, 1.0], [2.0, 4.0]])
    assert regularised(weight, 0.25).tolist() == [[1.0, 1.75], [2.5, 4.0]]


def test_the_derivative_of_the_correction_is_the_numerical_one() -> None:
    """One pixel of each far field is exactly dark."""
    amplitude, probe = drawn(5, 2)
    field = far_field(probe * (1 + 0.3j * amplitude))
    field[:, 1, 2] = 0
    wave = inverse_far_field(field).requires_grad_()
    assert torch.autograd.gradcheck(lambda wave: replace_modulus(wave, amplitude)[0], (wave,))

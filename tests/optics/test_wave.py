"""Laws of the forward model: energy, inverse, symmetry, gradients."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from study.optics import diffract, exit_wave, extract, far_field, inverse_far_field

laws = settings(deadline=None, max_examples=25)
sizes = st.integers(1, 17)
seeds = st.integers(0, 2**31)


def field(seed: int, *shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.complex128, generator=generator)


def diffraction(obj: torch.Tensor, probe: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
    """Intensity at every scan position."""
    return diffract(probe, extract(obj, positions, probe.shape[-1])).square()


@laws
@given(seeds, sizes, sizes)
def test_far_field_keeps_energy(seed: int, height: int, width: int) -> None:
    wave = field(seed, 2, height, width)
    assert torch.allclose(far_field(wave).abs().square().sum(), wave.abs().square().sum())


@laws
@given(seeds, sizes, sizes)
def test_inverse_far_field_undoes_far_field_on_odd_and_oblong_grids(
    seed: int, height: int, width: int
) -> None:
    wave = field(seed, height, width)
    assert torch.allclose(inverse_far_field(far_field(wave)), wave)
    assert torch.allclose(far_field(inverse_far_field(wave)), wave)


@laws
@given(seeds, sizes, sizes)
def test_inverse_far_field_is_the_adjoint(seed: int, height: int, width: int) -> None:
    wave, other = field(seed, height, width), field(seed + 1, height, width)
    left = torch.vdot(far_field(wave).flatten(), other.flatten())
    right = torch.vdot(wave.flatten(), inverse_far_field(other).flatten())
    assert torch.allclose(left, right)


@pytest.mark.parametrize("n", [4, 5])
def test_far_field_is_the_fourier_sum_with_zero_frequency_at_the_middle(n: int) -> None:
    wave = field(0, n, n).numpy()
    index, frequency = np.arange(n), np.arange(n) - n // 2
    kernel = np.exp(-2j * np.pi * np.outer(frequency, index) / n) / math.sqrt(n)
    expected = kernel @ wave @ kernel.T
    assert np.allclose(far_field(torch.from_numpy(wave)).numpy(), expected)


def test_flat_exit_wave_puts_all_light_on_the_central_pixel() -> None:
    amplitude = diffract(torch.ones(6, 6, dtype=torch.complex128), field(0, 6, 6) * 0 + 1)
    assert amplitude[3, 3] == pytest.approx(6.0)
    assert amplitude.square().sum() == pytest.approx(36.0)


@laws
@given(seeds, st.floats(-math.pi, math.pi))
def test_a_global_phase_leaves_amplitudes_unchanged(seed: int, phase_rad: float) -> None:
    probe, patch = field(seed, 8, 8), field(seed + 1, 3, 8, 8)
    turned = patch * complex(math.cos(phase_rad), math.sin(phase_rad))
    assert torch.allclose(diffract(probe, patch), diffract(probe, turned))


@laws
@given(seeds, st.integers(0, 5), st.integers(0, 5))
def test_shifting_object_and_positions_together_leaves_intensity_unchanged(
    seed: int, down: int, right: int
) -> None:
    obj, probe = field(seed, 14, 11), field(seed + 1, 6, 6)
    positions = torch.rand(4, 2, generator=torch.Generator().manual_seed(seed)) * 5
    moved = torch.zeros(14 + down, 11 + right, dtype=torch.complex128)
    moved[down:, right:] = obj
    shifted = positions + torch.tensor([down, right])
    assert torch.allclose(
        diffraction(obj, probe, positions), diffraction(moved, probe, shifted), atol=1e-5
    )


def test_predicted_amplitude_of_a_pattern_does_not_depend_on_its_batch() -> None:
    probe, patch = field(0, 16, 16), field(1, 5, 4, 16, 16)
    together = diffract(probe, patch)
    assert together.shape == (5, 4, 16, 16)
    for index in range(5):
        assert torch.allclose(together[index], diffract(probe, patch[index]), rtol=1e-12)


def test_intensity_grows_with_the_square_of_the_probe() -> None:
    obj, probe = field(0, 12, 12), field(1, 8, 8)
    positions = torch.tensor([[0.0, 0.0], [3.5, 2.25]])
    assert torch.allclose(
        diffraction(obj, 10 * probe, positions), 100 * diffraction(obj, probe, positions)
    )


def test_exit_wave_sees_the_same_probe_in_every_pattern() -> None:
    probe, patch = field(0, 4, 4), field(1, 3, 4, 4)
    assert torch.allclose(exit_wave(probe, patch) / patch, probe.expand(3, -1, -1))


def test_gradients_of_the_forward_model_are_exact() -> None:
    obj, probe = field(0, 6, 7).requires_grad_(), field(1, 4, 4).requires_grad_()
    positions = torch.tensor([[0.0, 1.0], [1.5, 2.25]])
    assert torch.autograd.gradcheck(lambda o, p: diffraction(o, p, positions), (obj, probe))
    patch = field(2, 2, 4, 4).requires_grad_()
    assert torch.autograd.gradcheck(diffract, (probe, patch))

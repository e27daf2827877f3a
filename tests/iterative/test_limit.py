"""The Cramer-Rao bound against finite differences, closed forms, and drawn counts."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from study.formats.dataset import Dataset
from study.iterative.limit import information, jacobian, limit, limits, lit
from study.optics import diffract, extract
from study.settings import UserError

N, SIDE = 8, 14
PHOTONS = 1e6


@pytest.fixture(scope="module")
def scene() -> tuple[Tensor, Tensor, Tensor]:
    """Object, probe (a lit disk with a curved phase) and a 3 x 3 scan, one place between pixels."""
    generator = torch.Generator().manual_seed(1)
    y = torch.arange(N, dtype=torch.float64) - (N - 1) / 2
    r2 = y[:, None] ** 2 + y**2
    probe = (r2 < 9) * torch.exp(0.3j * r2)
    probe = probe * math.sqrt(PHOTONS / float(probe.abs().square().sum()))
    size = 1 + 0.2 * torch.rand(SIDE, SIDE, generator=generator, dtype=torch.float64)
    phase = 0.5 * torch.rand(SIDE, SIDE, generator=generator, dtype=torch.float64)
    places = torch.cartesian_prod(torch.arange(0.0, 7, 3), torch.arange(0.0, 7, 3))
    places[4] += 0.4
    return torch.polar(size, phase), probe.to(torch.complex128), places


def amplitudes(obj: Tensor, probe: Tensor, places: Tensor) -> Tensor:
    return diffract(probe, extract(obj, places, N))


@pytest.mark.parametrize("pattern", [0, 4])
def test_the_jacobian_is_that_of_finite_differences(
    scene: tuple[Tensor, Tensor, Tensor], pattern: int
) -> None:
    obj, probe, places = scene
    place = places[pattern : pattern + 1]
    unknown = lit(probe, places, (SIDE, SIDE))
    derivative, columns = jacobian(obj, probe, place, unknown)
    pixels, step = unknown.nonzero(), 1e-6
    some = slice(0, None, 5)
    for column, which in zip(derivative.T[some], columns[some].tolist(), strict=True):
        part, index = divmod(which, len(pixels))
        factor = torch.ones(SIDE, SIDE, dtype=torch.complex128)
        y, x = pixels[index].tolist()
        factor[y, x] = np.exp(step * (1j if part else 1))
        up, down = (amplitudes(obj * one, probe, place)[0] for one in (factor, 1 / factor))
        assert torch.allclose(((up - down) / (2 * step)).flatten(), column, atol=1e-4, rtol=1e-4)


def test_no_pattern_tells_the_global_phase(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    obj, probe, places = scene
    fisher = information(obj, probe, places, lit(probe, places, (SIDE, SIDE)))
    constant = np.r_[np.zeros(len(fisher) // 2), np.ones(len(fisher) // 2)]
    assert np.abs(fisher @ constant).max() < 1e-9 * np.abs(fisher).max()


def test_every_photon_tells_once(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    """Of a pixel, amplitude and phase share 4 |P O|^2: the transform is unitary."""
    obj, probe, _ = scene
    place = torch.tensor([[2.0, 3.0]])
    unknown = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    unknown[2 : 2 + N, 3 : 3 + N] = probe.abs() > 0
    message = np.diag(information(obj, probe, place, unknown))
    count = len(message) // 2
    light = (probe * obj[2 : 2 + N, 3 : 3 + N]).abs().square()[probe.abs() > 0]
    assert np.allclose(message[:count] + message[count:], 4 * light.numpy())


def test_one_pixel_has_the_error_of_its_photons() -> None:
    """N photons give |O| to |O| / (2 sqrt N), and no phase."""
    probe = torch.zeros(N, N, dtype=torch.complex128)
    probe[3, 4] = math.sqrt(PHOTONS)
    obj = torch.full((N, N), 0.5 + 0.5j, dtype=torch.complex128)
    found = limit(obj, probe, torch.zeros(1, 2))
    photons = PHOTONS * 0.5
    assert (found.pixels, found.undetermined, found.phase_rad) == (1, 0, 0.0)
    assert found.amplitude == pytest.approx(math.sqrt(0.5) / (2 * math.sqrt(photons)))


def test_two_equal_pixels_under_flat_light() -> None:
    """Fringes of two beams tell sum and relative phase; equal beams do not tell their difference.

    With N photons: sd of each log|O| and of each phase about their mean is 1 / (2 sqrt N).
    """
    probe = torch.zeros(N, N, dtype=torch.complex128)
    probe[3, 4:6] = math.sqrt(PHOTONS / 2)
    obj = torch.ones(N, N, dtype=torch.complex128)
    obj[3, 5] *= np.exp(0.3j)  # no detector pixel is dark
    found = limit(obj, probe, torch.zeros(1, 2))
    assert (found.pixels, found.undetermined) == (2, 1)
    assert found.amplitude == pytest.approx(1 / (2 * math.sqrt(PHOTONS)), rel=1e-6)
    assert found.phase_rad == pytest.approx(1 / (2 * math.sqrt(PHOTONS)), rel=1e-6)


def test_the_bound_falls_with_the_root_of_the_dose(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    obj, probe, places = scene
    bright, dim = limit(obj, probe, places), limit(obj, probe / 10, places)
    assert bright.amplitude == pytest.approx(dim.amplitude / 10)
    assert bright.phase_rad == pytest.approx(dim.phase_rad / 10)


def test_more_patterns_of_the_same_place_tell_more(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    obj, probe, places = scene
    once, twice = limit(obj, probe, places), limit(obj, probe, places.repeat(2, 1))
    assert twice.amplitude == pytest.approx(once.amplitude / math.sqrt(2))


def test_drawn_counts_scatter_as_the_bound_says(scene: tuple[Tensor, Tensor, Tensor]) -> None:
    """Fits (Gauss-Newton on sqrt(counts), from the truth) have its standard deviations."""
    obj, probe, places = scene
    unknown = lit(probe, places, (SIDE, SIDE))
    count, generator = int(unknown.sum()), torch.Generator().manual_seed(2)
    bound = limit(obj, probe, places)
    assert bound.undetermined == 0
    rows = torch.zeros(len(places), N * N, 2 * count, dtype=torch.float64)
    for index in range(len(places)):
        part, columns = jacobian(obj, probe, places[index : index + 1], unknown)
        rows[index][:, columns] = part
    solve = torch.linalg.pinv(rows.flatten(0, 1), rtol=1e-6)
    errors, expected = [], amplitudes(obj, probe, places).square()
    for _ in range(100):
        measured, fit = torch.poisson(expected, generator).sqrt(), obj.clone()
        for _ in range(3):
            move = solve @ (measured - amplitudes(fit, probe, places)).flatten()
            fit[unknown] *= torch.exp(torch.complex(move[:count], move[count:]))
        phase = (fit / obj)[unknown].angle()
        errors.append(torch.stack([(fit.abs() - obj.abs())[unknown], phase - phase.mean()]))
    amplitude, phase_rad = torch.stack(errors).square().mean(dim=0).sqrt().mean(dim=1).tolist()
    assert amplitude == pytest.approx(bound.amplitude, rel=0.06)
    assert phase_rad == pytest.approx(bound.phase_rad, rel=0.06)


# --- of a data set ----------------------------------------------------------------------------


def test_more_patterns_lower_the_bound_of_the_same_spot(tiny: Dataset) -> None:
    one, four = limits(tiny, "train", (1, 4))
    assert one.pixels == four.pixels
    # One pattern leaves directions undetermined, whose errors its numbers do not contain.
    assert four.undetermined < one.undetermined or four.amplitude < one.amplitude


@pytest.mark.parametrize("patterns", [0, 10_000])
def test_patterns_that_are_not_there_are_refused(tiny: Dataset, patterns: int) -> None:
    with pytest.raises(UserError, match=str(patterns)):
        limits(tiny, "test", (patterns,))


def test_a_measurement_has_no_bound(as_measured: Dataset) -> None:
    with pytest.raises(UserError, match="measurement"):
        limits(as_measured)


def test_too_many_pixels_are_refused_before_they_are_computed(
    tiny: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("study.iterative.limit.MOST_UNKNOWNS", 10)
    with pytest.raises(UserError, match="10"):
        limits(tiny, "test", (1,))


def test_an_object_that_is_zero_where_it_is_lit_is_refused(
    scene: tuple[Tensor, Tensor, Tensor],
) -> None:
    obj, probe, places = scene
    with pytest.raises(UserError, match="zero"):
        limit(torch.zeros_like(obj), probe, places)

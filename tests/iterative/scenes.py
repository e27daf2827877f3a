"""Small noiseless scenes whose object, probe and positions are all known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from study.iterative.rpie import Result, RpieOptions, rpie
from study.optics import diffract, extract, illumination

N = 12
SHAPE = (30, 34)  # not square: a swapped axis would show


def diffraction(obj: Tensor, probe: Tensor, positions_px: Tensor) -> Tensor:
    """Expected photons at every scan position; `probe` in sqrt(photons)."""
    return diffract(probe, extract(obj, positions_px, probe.shape[-1])).square()


@dataclass(frozen=True)
class Scene:
    """`counts`: expected photons of every pattern; `probe` in sqrt(photons)."""

    obj: Tensor
    probe: Tensor
    positions_px: Tensor

    @property
    def counts(self) -> Tensor:
        return diffraction(self.obj, self.probe, self.positions_px)

    @property
    def lit(self) -> Tensor:
        seen = illumination(self.probe, self.positions_px, SHAPE)
        return seen > 0.1 * seen.median()

    def error(self, obj: Tensor) -> float:
        """Distance to the true object where it is lit, relative, global phase taken out."""
        found, true = obj[self.lit], self.obj[self.lit]
        found = found * torch.exp(-1j * torch.vdot(true, found).angle())
        return float((found - true).norm() / true.norm())


def smooth(shape: tuple[int, int], generator: torch.Generator, cutoff: float) -> Tensor:
    """Band-limited noise of standard deviation 1."""
    noise = torch.randn(shape, generator=generator, dtype=torch.float64)
    ky, kx = (torch.fft.fftfreq(size, dtype=torch.float64) for size in shape)
    low = torch.exp(-(ky[:, None] ** 2 + kx**2) / (2 * cutoff**2))
    image = torch.fft.ifft2(torch.fft.fft2(noise) * low).real
    return (image - image.mean()) / image.std()


def make_scene(sub_pixel: bool, seed: int = 5) -> Scene:
    """A complex object under a spot with an uneven phase; steps of 3 px, three quarters overlap."""
    generator = torch.Generator().manual_seed(seed)
    amplitude = 1 + 0.15 * smooth(SHAPE, generator, 0.12)
    phase_rad = 0.4 * smooth(SHAPE, generator, 0.12)
    y = torch.arange(N, dtype=torch.float64) - (N - 1) / 2
    spot = torch.exp(-(y[:, None] ** 2 + y**2) / (2 * 2.5**2))
    probe = 100 * spot * torch.exp(1j * smooth((N, N), generator, 0.15))
    steps = torch.cartesian_prod(torch.arange(0, 18, 3.0), torch.arange(0, 22, 3.0)) + 0.5
    moves = torch.rand(steps.shape, generator=generator) - 0.5
    positions_px = steps + moves if sub_pixel else steps.floor()
    return Scene(
        torch.polar(amplitude, phase_rad).to(torch.complex64),
        probe.to(torch.complex64),
        positions_px,
    )


def run_rpie(*arrays: Any, **settings: Any) -> Result:
    """`rpie` with its options given one by one; `start`, `known` and `progress` are no options."""
    more = {key: settings.pop(key) for key in ("start", "known", "progress") if key in settings}
    return rpie(*arrays, RpieOptions(**settings), **more)

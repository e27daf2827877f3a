from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import N, make_scene, run_rpie

from study.iterative.back_projection import CHUNK, back_project
from study.iterative.rpie import best_constant
from study.optics.back_projection import ALPHA


def test_one_step_is_the_closed_formula() -> None:
    """From a constant a: patch = a + a P* F^-1[(X / (a B) - 1) F P] / damped |P|^2, B = |F P|."""
    scene = make_scene(False)
    measured = np.sqrt(scene.counts.numpy().astype(np.float64))
    probe = scene.probe.numpy().astype(np.complex128)
    field = np.fft.fftshift(np.fft.fft2(probe, norm="ortho"))
    pattern = np.abs(field)
    level = (measured * pattern).sum() / (len(measured) * (pattern**2).sum())
    change = (measured / (level * pattern) - 1) * field
    wave = np.fft.ifft2(np.fft.ifftshift(change, axes=(-2, -1)), norm="ortho")
    p2 = np.abs(probe) ** 2
    expected = level + level * probe.conj() * wave / ((1 - ALPHA) * p2 + ALPHA * p2.max())
    found = back_project(scene.counts.sqrt(), scene.probe, 1).numpy()
    assert np.abs(found - expected).max() < 1e-4


@pytest.mark.parametrize("steps", [1, 5])
def test_it_is_rpie_on_a_scan_of_one_pattern(steps: int) -> None:
    scene = make_scene(False)
    counts = scene.counts[7:8]
    patch = back_project(counts.sqrt(), scene.probe, steps)[0]
    alone = run_rpie(
        counts,
        scene.probe,
        torch.zeros(1, 2),
        (N, N),
        passes=steps,
        alpha=ALPHA,
        update_probe=False,
        seed=0,
    )
    assert torch.allclose(patch, alone.obj, atol=1e-5)


def test_no_pattern_learns_from_its_neighbours() -> None:
    scene = make_scene(False)
    amplitude = scene.counts.sqrt()
    order = torch.randperm(len(amplitude), generator=torch.Generator().manual_seed(0))
    patches = back_project(amplitude, scene.probe, 3)
    assert torch.allclose(back_project(amplitude[order], scene.probe, 3), patches[order], atol=1e-6)


def test_chunks_leave_no_seam() -> None:
    scene = make_scene(False)
    amplitude = scene.counts.sqrt().repeat(CHUNK // len(scene.counts) + 1, 1, 1)
    patches = back_project(amplitude, scene.probe, 2)
    assert len(amplitude) > CHUNK
    assert torch.allclose(patches[-1], patches[len(scene.counts) - 1], atol=1e-6)


def test_every_step_fits_the_pattern_better() -> None:
    scene = make_scene(False)
    amplitude = scene.counts.sqrt()

    def misfit(steps: int) -> float:
        patch = back_project(amplitude, scene.probe, steps)
        field = torch.fft.fftshift(torch.fft.fft2(scene.probe * patch, norm="ortho"), dim=(-2, -1))
        return float((field.abs() - amplitude).square().sum())

    flat = torch.full((1, N, N), best_constant(amplitude, scene.probe), dtype=torch.complex64)
    assert torch.equal(back_project(amplitude, scene.probe, 0)[:1], flat)
    falling = [misfit(steps) for steps in range(4)]
    assert falling == sorted(falling, reverse=True)

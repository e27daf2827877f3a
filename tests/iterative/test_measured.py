"""The measured Siemens star, where it lies beside the checkout."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scenes import run_rpie

from checking import measured_star
from study.formats.dataset import Dataset
from study.formats.importing import import_scan
from study.formats.reconstruction import Reconstruction
from study.iterative.apply import reconstruct_rpie
from study.iterative.task import measured

EPIE_R_FACTOR = 0.20  # what six passes of plain ePIE with probe update reach
SPOKES, HUB_PX = 30, (230, 209)  # counted and read off a picture of the star


@pytest.fixture(scope="module")
def siemens() -> Dataset:
    return import_scan(measured_star(), "siemens")


@pytest.mark.slow
def test_a_corner_of_the_star_fits_below_plain_epie(siemens: Dataset) -> None:
    patterns = measured(siemens, "train")
    near = (patterns.scan.positions_px[:, 0] < 120).all(dim=1)
    chosen = patterns.only(near)
    result = run_rpie(
        chosen.amplitude[:, 0].square(),
        torch.tensor(siemens.probe),
        chosen.scan.positions_px[:, 0],
        siemens.splits["train"].object_shape,
        passes=6,
        alpha=0.5,
        update_probe=True,
        seed=0,
    )
    assert result.r_factor[-1] < EPIE_R_FACTOR < result.r_factor[0]


@pytest.mark.slow
def test_the_whole_star_fits_and_predicts_below_plain_epie_and_shows_its_spokes(
    siemens: Dataset,
) -> None:
    done = reconstruct_rpie(siemens, 10, 0.5)
    assert done.r_factor_fitted is not None
    assert done.r_factor_held_out is not None
    assert done.r_factor_fitted < done.r_factor_held_out < EPIE_R_FACTOR
    assert spoke_share(done.reconstruction) > 0.5


def spoke_share(found: Reconstruction, radius_px: float = 110.0) -> float:
    """Share of the phase's variance on a circle about the hub that repeats once a spoke."""
    angle_rad = np.arange(720) / 720 * 2 * np.pi
    centre = np.array(HUB_PX) - found.region[:2]
    y = centre[0] + radius_px * np.sin(angle_rad)
    x = centre[1] + radius_px * np.cos(angle_rad)
    phase_rad = np.angle(found.object[0] / found.object[0].mean())[y.astype(int), x.astype(int)]
    power = np.abs(np.fft.rfft(phase_rad)[1:]) ** 2
    return float(power[SPOKES - 1] / power.sum())

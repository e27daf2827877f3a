"""A scan whose frames and positions do not belong together is accepted with a warning only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from formats.scenes import scene
from formats.test_scan_faults import (
    DATA,
    PIXEL_M,
    PROBE,
    TRANSLATION,
    good,
    good_error,
    object_error,
    write,
)

from study.formats.agreement import describe_fit, noise_misfit
from study.formats.importing import import_scan
from study.formats.trial import Convention, Prepared, TrialScan

CONVENTION = Convention("counts", (0, 0))
Fault = Callable[[TrialScan], TrialScan]


def scan_of(photons: float = 1e5, n: int = 32) -> TrialScan:
    given = scene(n=n, photons=photons)
    everywhere = np.ones((n, n), bool)
    return TrialScan(given.counts.astype(np.float32), everywhere, given.probe, given.corners)


def warning_of(scan: TrialScan) -> str:
    found = describe_fit(scan, CONVENTION)
    return " ".join(sentence for sentence in found if "agree poorly" in sentence)


def places(change: Callable[[np.ndarray], np.ndarray]) -> Fault:
    return lambda scan: replace(scan, positions_px=change(scan.positions_px))


def background(scan: TrialScan) -> TrialScan:
    added = np.random.default_rng(1).poisson(30, scan.patterns.shape)
    return replace(scan, patterns=scan.patterns[:] + added.astype(np.float32))


FAULTS: dict[str, tuple[Fault, str]] = {
    "a frame lost at the start": (places(lambda p: np.roll(p, 1, axis=0)), "of the frame after"),
    "a frame too many": (places(lambda p: np.roll(p, -1, axis=0)), "of the frame before"),
    "lines in reverse": (places(lambda p: p[::-1]), "in the reverse order"),
    "a position counted twice": (places(lambda p: np.concatenate([p[:50], p[49:-1]])), "check"),
    "a drift": (places(lambda p: p + np.linspace(0, 10, len(p))[:, None]), "check"),
    "positions wrong by a pixel": (
        places(lambda p: p + np.random.default_rng(1).normal(size=p.shape)),
        "check",
    ),
    "light added": (background, "background"),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_patterns_that_do_not_agree_are_warned_of(kind: str) -> None:
    fault, hint = FAULTS[kind]
    sentence = warning_of(fault(scan_of()))
    assert sentence.startswith("warning: the patterns agree poorly")
    assert hint in sentence


@pytest.mark.parametrize(("photons", "n"), [(3e3, 32), (1e4, 32), (1e5, 32), (1e6, 32), (1e5, 48)])
def test_a_scan_without_fault_is_not(photons: float, n: int) -> None:
    assert warning_of(scan_of(photons, n)) == ""


def test_the_misfit_of_noise_is_that_of_poisson_numbers() -> None:
    draw = np.random.default_rng(2)
    means = np.broadcast_to(draw.gamma(0.5, 20, (8, 8)), (500, 8, 8))
    amplitude = np.sqrt(draw.poisson(means)).astype(np.float32)
    everywhere, probe = np.ones((8, 8), bool), np.ones((8, 8), np.complex64)
    found = noise_misfit(Prepared(amplitude, everywhere, probe, np.zeros((500, 2))))
    truth = np.abs(amplitude - np.sqrt(means)).sum() / amplitude.sum()
    assert found == pytest.approx(truth, rel=0.02)


def test_the_warning_is_a_statement_of_the_manifest(tmp_path: Path) -> None:
    given, entries = scene(), good()
    metres = np.pad(given.corners[:, ::-1] * PIXEL_M, ((0, 0), (0, 1)))
    entries |= {DATA: given.counts, PROBE: given.probe, TRANSLATION: np.roll(metres, 1, axis=0)}
    found = import_scan(write(tmp_path / "scan.cxi", entries), "scan").manifest.statements
    assert any("of the frame after" in sentence for sentence in found)


def test_wrong_conventions_that_are_all_given_are_warned_of(tmp_path: Path) -> None:
    given: dict[str, Any] = {"values": "counts", "zero_frequency": "centre", "beam_offset": (0, 0)}
    given |= {"position_order": "yx", "position_flip": "none"}
    path = write(tmp_path / "scan.cxi", good())

    def poor(orientation: str) -> bool:
        found = import_scan(path, "scan", frame_orientation=orientation, **given)
        return any("agree poorly" in each for each in found.manifest.statements)

    assert not poor("as_stored")
    assert poor("flip_x")


def statements(tmp_path: Path, change: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    """The warnings of an import of counts that were changed."""
    entries = good()
    path = write(tmp_path / "scan.cxi", {**entries, DATA: change(entries[DATA])})
    found = import_scan(path, "scan").manifest.statements
    return [sentence for sentence in found if sentence.startswith("warning")]


def test_light_that_rises_during_the_scan_is_warned_of(tmp_path: Path) -> None:
    assert not statements(tmp_path, lambda counts: counts)
    rising = statements(
        tmp_path, lambda counts: counts * np.linspace(1, 2, len(counts))[:, None, None]
    )
    assert any("light of the frames" in sentence for sentence in rising)


def test_pixels_that_are_cut_at_one_value_are_warned_of(tmp_path: Path) -> None:
    cut = statements(tmp_path, lambda counts: np.minimum(counts, np.quantile(counts, 0.98)))
    assert any("saturate" in sentence for sentence in cut)


def test_pixels_in_unknown_units_are_held_to_the_misfit_alone(tmp_path: Path) -> None:
    """Fourth roots of the counts are small numbers, whose noise as photons would excuse them."""
    roots = statements(tmp_path, lambda counts: counts.astype(np.float64) ** 0.25)
    assert any("agree poorly" in sentence for sentence in roots)


# --- the probe --------------------------------------------------------------------------------


def defocused(probe: np.ndarray, strength: float) -> np.ndarray:
    """The probe after free propagation: a quadratic phase of its spectrum, `strength` rad."""
    frequency = np.fft.fftfreq(len(probe))
    square = frequency[:, None] ** 2 + frequency[None, :] ** 2
    return np.fft.ifft2(np.fft.fft2(probe) * np.exp(1j * strength * square))


@pytest.mark.parametrize("photons", [500.0, 3e3, 1e4, 1e5, 1e6])
@pytest.mark.parametrize("seed", [4, 5])
def test_the_probe_that_made_the_patterns_agrees_with_them(photons: float, seed: int) -> None:
    given = scene(photons=photons, seed=seed)
    scan = TrialScan(
        given.counts.astype(np.float32), np.ones((32, 32), bool), given.probe, given.corners
    )
    assert "probe: agrees" in " ".join(describe_fit(scan, CONVENTION))


@pytest.mark.parametrize("strength", [-60.0, -20.0, 20.0, 60.0])
@pytest.mark.parametrize("photons", [1e4, 1e6])
def test_a_probe_out_of_focus_is_warned_of(photons: float, strength: float) -> None:
    scan = scan_of(photons)
    spoiled = replace(scan, probe=defocused(scan.probe, strength))
    assert "warning: the patterns fit a probe" in " ".join(describe_fit(spoiled, CONVENTION))


@pytest.mark.parametrize("strength", [10.0, -25.0])
def test_a_held_probe_that_spoils_the_object_is_warned_of(tmp_path: Path, strength: float) -> None:
    entries = good()
    entries[PROBE] = defocused(entries[PROBE], strength)
    imported = import_scan(write(tmp_path / "a.cxi", entries), "a")
    assert object_error(imported) > 3 * good_error(tmp_path)  # the probe is held
    assert any("a probe other than" in each for each in imported.manifest.statements)

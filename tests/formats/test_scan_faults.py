"""One fault of the field per scan: accepted as good as without it, or refused in a sentence."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from formats.hostile import DETECTOR, SOURCE, TRANSLATION
from formats.scenes import scene
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from study.formats.bad_pixels import clean
from study.formats.dataset import Dataset
from study.formats.importing import import_scan
from study.formats.orientation import ALL_AXES, turn
from study.iterative.apply import reconstruct_rpie
from study.settings import UserError

Entries = dict[str, Any]
DATA, MASK = f"{DETECTOR}/data", f"{DETECTOR}/mask"
PROBE, ENERGY = f"{SOURCE}/illumination", f"{SOURCE}/energy"
N = 32
PIXEL_M = 1.9864458571489286e-25 / 1.28e-15 * 2.0 / (N * 75e-6)


def good() -> Entries:
    """The entries of a CXI file without a fault."""
    given = scene(symmetric=True)
    metres = np.pad(given.corners[:, ::-1] * PIXEL_M, ((0, 0), (0, 1)))
    return {
        DATA: given.counts.copy(),
        f"{DETECTOR}/distance": 2.0,
        f"{DETECTOR}/x_pixel_size": 75e-6,
        f"{DETECTOR}/y_pixel_size": 75e-6,
        ENERGY: 1.28e-15,
        PROBE: given.probe,
        TRANSLATION: metres,
    }


def write(path: Path, entries: Entries) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in entries.items():
            if isinstance(value, tuple):
                file[name] = value[0]
                file[name].attrs["units"] = value[1]
            else:
                file[name] = value
    return path


# --- how good an import is --------------------------------------------------------------------


def object_error(imported: Dataset) -> float:
    """sqrt(1 - |correlation|^2) of a known-probe rPIE with the true object, best orientation."""
    found = reconstruct_rpie(imported, 8, 0.1, update_probe=False).reconstruction.object[0]
    middle = scene(symmetric=True).obj[20:53, 20:53]
    size = (max(found.shape) + 40,) * 2
    spectrum = np.fft.fft2(found, size)
    energy = np.fft.fft2(np.abs(found) ** 2, size)
    box = np.fft.fft2(np.ones(middle.shape), size)
    local = np.abs(np.fft.ifft2(energy * box.conj()))
    norm = np.sqrt(np.maximum(local, 0.1 * local.max())) * np.linalg.norm(middle)
    best = 0.0
    for axes in ALL_AXES:
        for truth in (turn(middle, axes), turn(middle, axes).conj()):
            lag = np.fft.ifft2(spectrum * np.fft.fft2(truth, size).conj())
            best = max(best, float((np.abs(lag) / norm).max()))
    return float(np.sqrt(max(0.0, 1 - min(best, 1.0) ** 2)))


@lru_cache
def good_error(folder: Path) -> float:
    return object_error(import_scan(write(folder / "good.cxi", good()), "good"))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> float:
    error = good_error(tmp_path_factory.mktemp("good"))
    assert error < 0.15
    return error


# --- faults that are put right ----------------------------------------------------------------


def frames(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Entries], None]:
    def apply(entries: Entries) -> None:
        entries[DATA] = change(entries[DATA])

    return apply


def pixel(value: float, kind: str = "u4", where: Any = (slice(None), 5, 7)) -> Any:
    def change(counts: np.ndarray) -> np.ndarray:
        counts = counts.astype(kind)
        counts[where] = value
        return counts

    return frames(change)


def mask_of(value: int, rows: slice, hide: bool = True) -> Callable[[Entries], None]:
    def apply(entries: Entries) -> None:
        entries[MASK] = np.zeros((N, N), np.uint32)
        entries[MASK][rows] = value
        if hide:
            entries[DATA][:, rows] = 0

    return apply


def moved(name: str, change: Callable[[Any], Any]) -> Callable[[Entries], None]:
    def apply(entries: Entries) -> None:
        entries[name] = change(entries[name])

    return apply


GAP = (slice(None), slice(16, 18))
ACCEPTED: dict[str, Callable[[Entries], None]] = {
    "mask, has signal": mask_of(0x1000, slice(12, 20), hide=False),
    "mask, gap through the beam": mask_of(1, slice(15, 17)),
    "dead at 2^32 - 1": pixel(2**32 - 1),
    "dead at 2^16 - 1": pixel(2**16 - 1, "u2"),
    "gap of -1": pixel(-1, "i4", GAP),
    "gap of NaN": pixel(np.nan, "f4", GAP),
    "gap of zeros": pixel(0, "u4", GAP),
    "dead pixel in the beam": pixel(0, "u4", (slice(None), 17, 15)),
    "hot pixel": pixel(1e6, "u4", (slice(None), 5, 5)),
    "cosmic ray in one frame": pixel(1e6, "u4", (17, 3, 4)),
    "two cosmic rays": pixel(1e7, "f4", ([17, 40], [3, 9], [4, 20])),
    "five empty frames": pixel(0, "u4", slice(40, 45)),
    "one NaN frame": pixel(np.nan, "f4", 12),
    "amplitudes": frames(np.sqrt),
    "amplitudes rounded to uint8": frames(lambda c: np.round(np.sqrt(c)).astype(np.uint8)),
    "zero frequency in the corner": frames(lambda c: np.fft.ifftshift(c, axes=(1, 2))),
    "beam off centre": frames(lambda c: np.roll(c, (4, 3), axis=(1, 2))),
    "frames transposed": frames(lambda c: c.transpose(0, 2, 1)),
    "frames mirrored": frames(lambda c: turn(c, ("yx", "x"))),
    "frames in a raster of 4 axes": frames(lambda c: c.reshape(10, 10, N, N)),
    "positions negated": moved(TRANSLATION, lambda t: -t),
    "positions swapped": moved(TRANSLATION, lambda t: t[:, [1, 0, 2]]),
    "positions (3, J)": moved(TRANSLATION, lambda t: t.T),
    "positions in um": moved(TRANSLATION, lambda t: (t * 1e6, "um")),
    "energy in keV": moved(ENERGY, lambda e: (e / 1.602176634e-16, "keV")),
    "energy in eV without units": moved(ENERGY, lambda e: e / 1.602176634e-19),
    "probe in the corner": moved(PROBE, np.fft.ifftshift),
    "probe as a stack of one mode": moved(PROBE, lambda p: p[None, None]),
    "probe of another scale": moved(PROBE, lambda p: 1e-3j * p),
}


@pytest.mark.parametrize("kind", ACCEPTED)
def test_a_fault_that_is_put_right_costs_no_quality(
    tmp_path: Path, reference: float, kind: str
) -> None:
    entries = good()
    ACCEPTED[kind](entries)
    imported = import_scan(write(tmp_path / "scan.cxi", entries), "scan")
    assert object_error(imported) < 2 * reference


# --- faults that are refused ------------------------------------------------------------------

REFUSED: dict[str, tuple[Callable[[Entries], None], str]] = {
    "positions in the wrong order": (
        moved(TRANSLATION, lambda t: np.random.default_rng(0).permutation(t)),
        "not clear",
    ),
    "positions three times too far": (moved(TRANSLATION, lambda t: 3 * t), "not clear"),
    "positions off by a tenth": (moved(TRANSLATION, lambda t: 1.1 * t), "scale"),
    "positions in nanometres without units": (moved(TRANSLATION, lambda t: t * 1e9), "span"),
    "a fifth of the frames empty": (pixel(0, "u4", slice(0, 20)), "unusable"),
    "a fifth of the frames NaN": (pixel(np.nan, "f4", slice(0, 20)), "unusable"),
    "background subtracted": (frames(lambda c: c - 3.7), "negative"),
    "no light": (frames(np.zeros_like), "zero"),
    "most pixels masked": (mask_of(1, slice(0, 24)), "masked"),
    "one position missing": (moved(TRANSLATION, lambda t: t[:-1]), "translations"),
    "NaN in the positions": (moved(TRANSLATION, lambda t: t * np.nan), "finite"),
    "no probe": (lambda entries: entries.pop(PROBE), "probe"),
    "probe of NaN": (moved(PROBE, lambda p: p * np.nan), "probe"),
    "near field": (moved(f"{DETECTOR}/distance", lambda d: d * 1e-3), "Fresnel|not clear|span"),
    "unknown units": (moved(ENERGY, lambda e: (e, "erg")), "units|erg"),
    "noise instead of patterns": (
        frames(lambda c: np.random.default_rng(1).poisson(20, c.shape)),
        "not clear",
    ),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_a_fault_that_cannot_be_put_right_is_refused(tmp_path: Path, kind: str) -> None:
    entries = good()
    change, word = REFUSED[kind]
    change(entries)
    with pytest.raises(UserError, match=word):
        import_scan(write(tmp_path / "scan.cxi", entries), "scan")


def test_a_missing_source_of_a_virtual_set_is_named(tmp_path: Path) -> None:
    entries = good()
    shape = entries.pop(DATA).shape
    path = write(tmp_path / "scan.cxi", entries)
    layout = h5py.VirtualLayout(shape, "u4")
    layout[...] = h5py.VirtualSource("gone.h5", "data", shape)
    with h5py.File(path, "r+") as file:
        file.create_virtual_dataset(DATA, layout)
    with pytest.raises(UserError, match=r"gone\.h5"):
        import_scan(path, "scan")


def test_a_count_of_65535_among_brighter_ones_is_no_flag() -> None:
    counts = np.random.default_rng(0).poisson(65_500, (20, 16, 16)).astype(np.uint32)
    counts[3, 4, 5], counts[7, 4, 6] = 2**16 - 1, 2**16 + 9
    assert clean(counts, None, 0.1, Path("scan")).known.all()
    dark = np.minimum(counts, 60_000)
    dark[:, 4, 5] = 2**16 - 1
    assert np.argwhere(~clean(dark, None, 0.1, Path("scan")).known).tolist() == [[4, 5]]


def test_a_row_of_the_table_is_accepted_on_request(tmp_path: Path) -> None:
    entries = good()
    entries[TRANSLATION] = np.random.default_rng(0).permutation(entries[TRANSLATION])
    imported = import_scan(write(tmp_path / "scan.cxi", entries), "scan", accept=1)
    assert any("accepted as given" in output for output in imported.manifest.statements)


# --- mutations --------------------------------------------------------------------------------


@pytest.mark.slow
@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    first=st.sampled_from(sorted(ACCEPTED)),
    axes=st.sampled_from(ALL_AXES),
    cut=st.integers(0, 80),
)
def test_no_mutation_is_accepted_that_spoils_the_object(
    tmp_path: Path, reference: float, first: str, axes: Any, cut: int
) -> None:
    entries = good()
    entries[DATA] = turn(entries[DATA], axes)
    ACCEPTED[first](entries)
    if cut > 70 and entries[DATA].ndim == 3:
        entries[DATA] = entries[DATA][: 100 - cut // 8]
    try:
        imported = import_scan(write(tmp_path / "scan.cxi", entries), "scan")
    except UserError:
        return
    assert object_error(imported) < 3 * reference


@pytest.mark.slow
@pytest.mark.parametrize("scale", [0.5, 0.9, 0.95, 1.1, 1.5, 2.0])
def test_positions_in_a_wrong_scale_are_refused_with_the_right_one(
    tmp_path: Path, reference: float, scale: float
) -> None:
    entries = good()
    entries[TRANSLATION] = entries[TRANSLATION] * scale
    path = write(tmp_path / "scan.cxi", entries)
    with pytest.raises(UserError, match="--position-scale") as refused:
        import_scan(path, "scan")
    found = re.search(r"--position-scale ([0-9.]+)", str(refused.value))
    assert found is not None
    assert float(found[1]) * scale == pytest.approx(1, rel=0.03)
    imported = import_scan(path, "scan", position_scale=float(found[1]))
    assert object_error(imported) < 3 * reference
    assert imported.manifest.request["position_scale"] == float(found[1])


@pytest.mark.slow
def test_a_wrong_energy_is_refused(tmp_path: Path) -> None:
    entries = good()
    entries[ENERGY] = entries[ENERGY] * 1.12
    with pytest.raises(UserError, match="energy"):
        import_scan(write(tmp_path / "scan.cxi", entries), "scan")


def test_a_scale_as_given_is_not_searched(tmp_path: Path) -> None:
    entries = good()
    entries[TRANSLATION] = entries[TRANSLATION] * 0.9
    imported = import_scan(write(tmp_path / "scan.cxi", entries), "scan", position_scale=1)
    assert any(
        "as given" in output and "scale" in output for output in imported.manifest.statements
    )

"""Scan files from outside: refused in a sentence, within bounded memory, with nothing written."""

from __future__ import annotations

import bz2
import json
import os
import subprocess
import sys
import tracemalloc
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from formats import hostile
from formats.hostile import DETECTOR, LINKS, OUTSIDE, SOURCE, TRANSLATION

from study.formats import limits
from study.formats.conventions import Given, search
from study.formats.cxi import TRUTH
from study.formats.dataset import Dataset, load_dataset, save_dataset
from study.formats.hdf5 import array_at, open_hdf5
from study.formats.importing import held_out, import_scan
from study.formats.trial import TrialScan
from study.runs import environment
from study.settings import UserError

TESTS = Path(__file__).parents[1]
PEAK_BYTES = 700e6  # of the whole process; the modules themselves take 270 MB


def good(folder: Path, container: str) -> Path:
    path = folder / f"good.{container}"
    arrays = hostile.good_arrays(container)
    if container == "cxi":
        hostile.write_cxi(path, arrays)
    else:
        path.write_bytes(hostile.write_npz(arrays))
    return path


def imported(path: Path, name: str) -> Dataset:
    return import_scan(path, name, **hostile.known(path))


def run_campaign(first: int, last: int) -> dict[str, list[int]]:
    """Outcomes of these numbers in a process of their own, which warns by exceptions."""
    command = [sys.executable, "-W", "error", "-m", "formats.hostile", str(first), str(last)]
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    message = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    assert message.returncode == 0, f"died at {message.stderr[-2000:]}"
    result = json.loads(message.stdout)
    assert result["peak_bytes"] < PEAK_BYTES
    return result["found"]


@pytest.mark.slow
def test_a_sample_of_hostile_files_is_accepted_or_refused() -> None:
    assert set(run_campaign(0, 45)) == {"accepted", "refused"}


@pytest.mark.slow
@pytest.mark.campaign
@pytest.mark.faults
def test_all_hostile_files_are_accepted_or_refused() -> None:
    found = run_campaign(0, 300)
    assert set(found) == {"accepted", "refused"}
    assert len(found["refused"]) > 150, "the faults are faults"


@pytest.mark.parametrize("container", ["npz", "cxi"])
def test_the_scan_without_a_fault_is_accepted(tmp_path: Path, container: str) -> None:
    dataset = imported(good(tmp_path, container), "good")
    assert sum(dataset.manifest.patterns.values()) == hostile.PATTERNS


# --- files that point elsewhere ---------------------------------------------------------------


@pytest.mark.parametrize("how", LINKS)
@pytest.mark.parametrize(
    "name", [f"{DETECTOR}/data", f"{DETECTOR}/mask", f"{SOURCE}/illumination", TRANSLATION]
)
def test_a_scan_that_points_elsewhere_is_refused(tmp_path: Path, name: str, how: str) -> None:
    (tmp_path / "scan").mkdir()
    path, secret = good(tmp_path / "scan", "cxi"), tmp_path / "secret.cxi"
    hostile.write_cxi(secret, hostile.good_arrays("cxi"))
    with h5py.File(path, "r+") as file:
        hostile.point_elsewhere(file, name, secret, how)
    with pytest.raises(UserError) as refused:
        imported(path, "bad")
    if how in OUTSIDE:
        assert "secret.cxi" in str(refused.value)


@pytest.mark.parametrize("how", OUTSIDE)
@pytest.mark.parametrize("name", [f"{DETECTOR}/data", TRUTH, "entry_1/armature_1/object_shape"])
def test_a_stored_set_that_points_elsewhere_is_refused(
    tiny: Dataset, tmp_path: Path, name: str, how: str
) -> None:
    save_dataset(tiny, tmp_path / "set")
    path, secret = tmp_path / "set" / "test.cxi", tmp_path / "secret.cxi"
    secret.write_bytes(path.read_bytes())
    with h5py.File(path, "r+") as file:
        hostile.point_elsewhere(file, name, secret, how)
    with pytest.raises(UserError, match=r"secret\.cxi"):
        load_dataset(tmp_path / "set")


def test_a_virtual_array_of_the_file_itself_is_read(tmp_path: Path) -> None:
    path = good(tmp_path, "cxi")
    with h5py.File(path, "r+") as file:
        file.move(f"{DETECTOR}/data", "frames")
        shape = (hostile.PATTERNS, hostile.N, hostile.N)
        layout = h5py.VirtualLayout(shape, "f4")
        layout[...] = h5py.VirtualSource(".", "frames", shape)
        file.create_virtual_dataset(f"{DETECTOR}/data", layout)
    virtual = imported(path, "scan")
    plain = imported(good(tmp_path, "cxi"), "scan")
    assert virtual.manifest.content_sha256 == plain.manifest.content_sha256


# --- sizes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["npz", "npz.bz2", "cxi"])
def test_a_scan_beyond_the_free_memory_is_refused_unread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str
) -> None:
    path = tmp_path / f"large.{container}"
    arrays = hostile.good_arrays(container)
    for other in (f"{DETECTOR}/mask", f"{SOURCE}/illumination"):
        arrays.pop(other, None)
    name = f"{DETECTOR}/data" if container == "cxi" else "diffraction"
    arrays[name] = np.tile(arrays[name], (1, 64, 64))
    write_packed(path, arrays)
    needed = limits.working_bytes(arrays[name].shape, arrays[name].dtype)
    monkeypatch.setattr(environment, "memory", lambda: needed / limits.FREE_SHARE / 2)
    tracemalloc.start()
    with pytest.raises(UserError, match="memory"):
        imported(path, "large")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    unpacked = arrays[name].nbytes if container == "npz.bz2" else 0
    assert peak < arrays[name].nbytes / 2 + 2.5 * unpacked
    monkeypatch.setattr(environment, "memory", lambda: 8 * needed)
    with pytest.raises(UserError, match="probe"):
        imported(path, "large")  # read, as there is memory, and refused for another reason


@pytest.mark.parametrize("container", ["npz", "npz.bz2", "cxi"])
def test_what_unfolds_to_a_thousand_times_its_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, container: str
) -> None:
    path = tmp_path / f"bomb.{container}"
    arrays = hostile.good_arrays(container)
    for other in (f"{DETECTOR}/mask", f"{SOURCE}/illumination"):
        arrays.pop(other, None)
    name = f"{DETECTOR}/data" if container == "cxi" else "diffraction"
    arrays[name] = np.zeros((hostile.PATTERNS, 256, 256), np.float32)
    write_packed(path, arrays)
    with pytest.raises(UserError, match="zero"):
        imported(path, "bomb")
    monkeypatch.setattr(limits, "SMALL_BYTES", 2**16)
    monkeypatch.setattr("study.formats.arrays.SMALL_BYTES", 2**16)
    with pytest.raises(UserError, match="stored"):
        imported(path, "bomb")


def write_packed(path: Path, arrays: hostile.Arrays) -> None:
    if path.suffix == ".cxi":
        with h5py.File(path, "w") as file:
            for key, value in arrays.items():
                packing = {"compression": "gzip"} if np.ndim(value) == 3 else {}
                file.create_dataset(key, data=value, **packing)
    elif path.suffix == ".bz2":
        path.write_bytes(bz2.compress(hostile.write_npz(arrays)))
    else:
        path.write_bytes(hostile.write_npz(arrays))


def test_a_scan_of_millions_of_objects_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = good(tmp_path, "cxi")
    monkeypatch.setattr("study.formats.hdf5.MOST_OBJECTS", 5)
    with pytest.raises(UserError, match="more than 5 HDF5 objects"):
        imported(path, "many")


def test_far_clusters_of_positions_are_compared_in_little_memory() -> None:
    arrays = hostile.good_arrays("npz")
    corners = np.array([(0.0, 0.0), (0.0, 1e4), (1e4, 0.0), (1e4, 1e4)]).repeat(6, axis=0)
    every = np.ones((hostile.N, hostile.N), bool)
    scan = TrialScan(arrays["diffraction"], every, arrays["probeGuess"], corners)
    tracemalloc.start()
    search(scan, Given())
    assert tracemalloc.get_traced_memory()[1] < 20e6  # the whole object would take 800 MB
    tracemalloc.stop()


# --- values -----------------------------------------------------------------------------------


@pytest.mark.parametrize("container", ["npz", "cxi"])
@pytest.mark.parametrize("scale", [1e-30, 1e-20, 1e25])
def test_values_outside_single_precision_are_refused(
    tmp_path: Path, container: str, scale: float
) -> None:
    arrays = hostile.good_arrays(container)
    name = f"{DETECTOR}/data" if container == "cxi" else "diffraction"
    arrays[name] = arrays[name].astype(np.float64) * scale
    path = tmp_path / f"scaled.{container}"
    write_packed(path, arrays)
    with pytest.raises(UserError, match="photons"):
        imported(path, "scaled")


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_dark_patterns_are_left_out_unless_they_are_many(tmp_path: Path, split: str) -> None:
    chosen = np.isin(np.arange(hostile.PATTERNS), held_out(hostile.PATTERNS)[split])
    arrays = hostile.good_arrays("npz")
    arrays["diffraction"][chosen] = 0
    path = tmp_path / "dark.npz"
    write_packed(path, arrays)
    if chosen.mean() > 0.1:
        with pytest.raises(UserError, match="unusable"):
            imported(path, "dark")
        return
    dataset = imported(path, "dark")
    assert sum(dataset.manifest.patterns.values()) == hostile.PATTERNS - chosen.sum()
    assert any(output.startswith("left out: ") for output in dataset.manifest.statements)


@pytest.mark.parametrize("more", [0, 2**30])
def test_a_chunk_that_unpacks_to_more_than_it_declares_is_refused(
    tmp_path: Path, more: int
) -> None:
    """A gigabyte of zeros in a chunk of a megabyte: HDF5 alone would unpack all of it."""
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as file:
        noise = np.random.default_rng(1).bytes(2**20)
        stored = file.create_dataset("a", (2**20,), "u1", chunks=(2**20,), compression="gzip")
        packer = zlib.compressobj()
        packed = packer.compress(noise)
        for _ in range(more // 2**20):
            packed += packer.compress(bytes(2**20))
        stored.id.write_direct_chunk((0,), packed + packer.flush())
    with open_hdf5(path) as file:
        if not more:
            assert array_at(file, "a").tobytes() == noise
            return
        tracemalloc.start()
        with pytest.raises(UserError, match="unpacks to more"):
            array_at(file, "a")
        assert tracemalloc.get_traced_memory()[1] < 2**24
        tracemalloc.stop()

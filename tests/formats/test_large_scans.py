"""Scans larger than the memory: imported block by block, equal to what small ones give."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from formats import hostile
from formats.hostile import DETECTOR, SOURCE, TRANSLATION
from formats.scenes import scene

from study.formats import bad_pixels, frames
from study.formats.bad_pixels import clean
from study.formats.dataset import Dataset, content_hash, save_dataset, verify_dataset
from study.formats.frames import Frames
from study.formats.importing import import_scan
from study.formats.scan_frames import ByChunk
from study.runs import environment
from study.settings import UserError
from study.stages.importing import import_file

TESTS = Path(__file__).parents[1]
SMALL_PIXELS = 2**17
PATTERNS, SIDE = 2400, 96
DECODED_BYTES = 4 * PATTERNS * SIDE**2  # as counts in single precision
PIXEL_M = 1.9864458571489286e-25 / 1.28e-15 * 2.0 / 75e-6


def write(path: Path, counts: np.ndarray, corners: np.ndarray, probe: np.ndarray, **how: object):
    with h5py.File(path, "w") as file:
        file.create_dataset(f"{DETECTOR}/data", data=counts, **how)  # type: ignore[arg-type]
        file[f"{DETECTOR}/distance"] = 2.0
        file[f"{DETECTOR}/x_pixel_size"] = file[f"{DETECTOR}/y_pixel_size"] = 75e-6
        file[f"{SOURCE}/energy"], file[f"{SOURCE}/illumination"] = 1.28e-15, probe
        metres = np.pad(corners[:, ::-1], ((0, 0), (0, 1))) * PIXEL_M / counts.shape[-1]
        file[TRANSLATION] = metres


# --- memory -----------------------------------------------------------------------------------


def sparse_scan(path: Path) -> None:
    """Few different patterns: packed to a hundredth, unpacked to `DECODED_BYTES`."""
    draw = np.random.default_rng(0)
    steps = np.hypot(*np.mgrid[-SIDE // 2 : SIDE // 2, -SIDE // 2 : SIDE // 2])
    some = draw.poisson(50 * np.exp(-steps / 4), (64, SIDE, SIDE)).astype(np.uint16)
    corners = np.stack(np.divmod(np.arange(PATTERNS), 64), axis=1) * 3.0
    probe = np.exp(-((steps / 9) ** 2) + 0.1j * steps)
    counts = np.tile(some, (-(-PATTERNS // 64), 1, 1))[:PATTERNS]
    write(path, counts, corners, probe, chunks=(16, SIDE, SIDE), compression="gzip")


def peak_bytes() -> int:
    """Not `ru_maxrss`, which keeps the peak of the process that started this one."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def child(file: str, held_bytes: int) -> None:
    """Import and save `file` with small blocks; print by how much the peak of memory grew."""
    frames.BLOCK_PIXELS = bad_pixels.MEDIAN_PIXELS = SMALL_PIXELS
    frames.BLOCK_BYTES = 4 * SMALL_PIXELS
    path = Path(file)
    before = peak_bytes()
    dataset = import_scan(path, "large", held_bytes=held_bytes, **hostile.known(path))
    save_dataset(dataset, path.with_name("large"))
    facts = {"grown": peak_bytes() - before, "hash": dataset.manifest.content_sha256}
    print(json.dumps(facts))


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_scan(tmp_path: Path) -> None:
    """A tenth of the counts; the same import with the counts in memory shows what is measured."""
    path = tmp_path / "large.cxi"
    sparse_scan(path)
    assert path.stat().st_size < DECODED_BYTES / 20
    found = {}
    for held in (0, 2**40):
        folder = tmp_path / str(held)
        folder.mkdir()
        path = path.rename(folder / path.name)
        paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
        done = subprocess.run(
            [sys.executable, "-m", "formats.test_large_scans", str(path), str(held)],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr[-2000:]
        found[held] = json.loads(done.stdout)
    assert found[0]["grown"] < DECODED_BYTES / 5
    assert found[2**40]["grown"] > DECODED_BYTES
    assert found[0]["hash"] == found[2**40]["hash"]
    assert verify_dataset(tmp_path / "0" / "large").content_sha256 == found[0]["hash"]


# --- the same result --------------------------------------------------------------------------


def spoiled() -> np.ndarray:
    """Counts with every fault that the checks look for."""
    counts = scene(symmetric=True).counts.astype(np.float32)
    counts[:, 2, 3] = 2**32 - 1
    counts[:, 5, 5], counts[:, 6, 20] = 1e6, 7
    counts[60:, 9, 9] = -1
    counts[17, 3, 4] = 1e6
    counts[40:43] = 0
    counts[50] = np.nan
    counts[:, 14] = 0
    return counts


CHUNKS = {"frame": (1, 32, 32), "rows": (7, 32, 32), "pieces": (9, 8, 16), "all": (100, 4, 4)}


@pytest.mark.parametrize("chunks", CHUNKS)
def test_the_size_of_blocks_and_chunks_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunks: str
) -> None:
    given = scene(symmetric=True)
    path = tmp_path / "scan.cxi"
    options = {**hostile.known(path), "photons_per_pattern": 1e4, "bin": 2}
    write(path, spoiled(), given.corners, given.probe)
    whole = import_scan(path, "scan", **options)
    write(path, spoiled(), given.corners, given.probe, chunks=CHUNKS[chunks], compression="gzip")
    monkeypatch.setattr(frames, "BLOCK_PIXELS", 5000)
    monkeypatch.setattr(frames, "BLOCK_BYTES", 20_000)
    parts = import_scan(path, "scan", held_bytes=0, **options)
    assert isinstance(whole.splits["train"].counts, np.ndarray)
    assert not isinstance(parts.splits["train"].counts, np.ndarray)
    assert parts.manifest.statements == whole.manifest.statements
    assert parts.manifest.content_sha256 == whole.manifest.content_sha256
    assert parts.manifest.photon_scale == whole.manifest.photon_scale
    assert content_of(parts) == whole.manifest.content_sha256


def content_of(dataset: Dataset) -> str:
    return content_hash(dataset.probe, dataset.splits, dataset.modes)


@pytest.mark.parametrize("pixels", [1, 3000, 2**23])
def test_bad_pixels_are_those_of_the_whole_scan(
    monkeypatch: pytest.MonkeyPatch, pixels: int
) -> None:
    monkeypatch.setattr(frames, "BLOCK_PIXELS", pixels)
    given = np.zeros((100, 32, 32), bool)
    given[3:9, 20, 21] = True
    cleaned = clean(spoiled(), given, 0.1, Path("scan"))
    bad = {tuple(place) for place in np.argwhere(~cleaned.known).tolist()}
    row = {(14, column) for column in range(32)}
    assert bad - row == {(2, 3), (5, 5), (6, 20), (9, 9), (3, 4), (20, 21)}
    assert sorted(set(range(100)) - set(cleaned.frames.tolist())) == [40, 41, 42, 50]
    assert not cleaned.patterns[:][:, ~cleaned.known].any()


def test_counts_that_do_not_fit_are_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks of them are read as before."""
    path = tmp_path / "scan.cxi"
    hostile.write_cxi(path, hostile.good_arrays("cxi"))
    train = import_scan(path, "scan", held_bytes=0, **hostile.known(path)).splits["train"]
    monkeypatch.setattr(environment, "memory", lambda: train.counts.nbytes)
    with pytest.raises(UserError, match="memory"):
        train.all_counts()
    assert len(train.counts[:4]) == 4


def test_a_damaged_chunk_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    given = scene(symmetric=True)
    path = tmp_path / "scan.cxi"
    write(path, given.counts, given.corners, given.probe, chunks=(1, 32, 32), compression="gzip")
    with h5py.File(path) as file:
        place = file[f"{DETECTOR}/data"].id.get_chunk_info(97)  # type: ignore[union-attr]
    content = bytearray(path.read_bytes())
    content[place.byte_offset : place.byte_offset + place.size] = bytes(place.size)
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"scan\.cxi"):
        import_file(tmp_path, path, "scan", None, hostile.known(path), track=False)
    assert not (tmp_path / "imported").exists()


class Counting:
    """Frames that remember which patterns were read."""

    def __init__(self, source: np.ndarray) -> None:
        self.source, self.shape, self.dtype = source, source.shape, source.dtype
        self.nbytes, self.read = source.nbytes, 0

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: slice | np.ndarray) -> np.ndarray:
        found = self.source[index]
        self.read += len(found)
        return found

    def reshape(self, *shape: int) -> Frames:
        return self.source.reshape(*shape)


def test_a_chunk_is_unpacked_once_for_patterns_in_order() -> None:
    source = Counting(np.arange(120).reshape(120, 1, 1))
    kept = ByChunk(source, 16)
    found = [kept[np.arange(start, start + 12)].ravel() for start in range(0, 120, 12)]
    assert np.array_equal(np.concatenate(found), np.arange(120))
    assert source.read == 120


if __name__ == "__main__":
    child(sys.argv[1], int(sys.argv[2]))

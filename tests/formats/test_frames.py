"""Frames left on disk are the array that was written, however they are asked for."""

from __future__ import annotations

import multiprocessing
import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.formats.frames import Frames, FramesOnDisk, blocks
from study.settings import UserError

LAYOUTS: dict[str, dict[str, Any]] = {
    "contiguous": {},
    "chunked": {"chunks": (1, 2, 3)},
    "compressed": {"chunks": (1, 3, 2), "compression": "gzip", "shuffle": True},
}


def stored(path: Path, array: np.ndarray, **layout: Any) -> FramesOnDisk:
    with h5py.File(path, "w") as file:
        file["before"] = np.arange(7)
        file.create_dataset("group/data", data=array, **layout)
    with h5py.File(path) as file:
        return FramesOnDisk.of(path, file["group/data"])


def numbered(count: int, dtype: str = "<u4") -> np.ndarray:
    return np.arange(count * 9).reshape(count, 3, 3).astype(dtype)


@settings(deadline=None, max_examples=25)
@given(
    layout=st.sampled_from([*LAYOUTS]),
    dtype=st.sampled_from(["<u4", ">u4", "<f4", "<u2"]),
    group=st.sampled_from([1, 4]),
    count=st.integers(1, 12),
    data=st.data(),
)
def test_any_places_give_what_the_array_gives(
    tmp_path_factory: pytest.TempPathFactory,
    layout: str,
    dtype: str,
    group: int,
    count: int,
    data: st.DataObject,
) -> None:
    array = numbered(count * group, dtype)
    path = tmp_path_factory.mktemp("frames") / "frames.h5"
    frames = stored(path, array, **LAYOUTS[layout]).reshape(-1, group, 3, 3)
    array = array.reshape(-1, group, 3, 3)
    assert isinstance(frames, Frames) and isinstance(array, Frames)
    assert (frames.shape, frames.dtype, frames.nbytes) == (array.shape, array.dtype, array.nbytes)
    assert (frames.offset is None) == (layout != "contiguous")
    places = data.draw(st.lists(st.integers(0, count - 1), max_size=20))
    ends = st.none() | st.integers(-count, count)
    parts = slice(data.draw(ends), data.draw(ends), data.draw(st.sampled_from([None, 1, 2, -1])))
    for index in (np.array(places, dtype=np.int64), parts):
        found = frames[index]
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array[index])


@settings(deadline=None, max_examples=25)
@given(count=st.integers(1, 9), size=st.integers(1, 400))
def test_blocks_are_the_frames_in_order_and_never_larger(count: int, size: int) -> None:
    array = numbered(count)
    parts = list(blocks(array, size))
    np.testing.assert_array_equal(np.concatenate(parts), array)
    assert all(part.nbytes <= max(size, array[0].nbytes) for part in parts)


def test_what_is_read_is_the_readers_own(tmp_path: Path) -> None:
    frames = stored(tmp_path / "frames.h5", numbered(4))
    frames[:][:] = 0
    np.testing.assert_array_equal(frames[:], numbered(4))


@pytest.mark.parametrize("places", [[4], [0, -1]])
def test_a_place_outside_is_refused(tmp_path: Path, places: list[int]) -> None:
    with pytest.raises(IndexError, match="of 4 patterns"):
        stored(tmp_path / "frames.h5", numbered(4))[np.array(places)]


def test_frames_are_grouped_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no shape"):
        stored(tmp_path / "frames.h5", numbered(6)).reshape(-1, 4, 3, 3)


def test_reading_all_takes_no_memory_of_the_process(tmp_path: Path) -> None:
    """Pages of a mapped file would count."""
    path, count = tmp_path / "sparse", 16_384
    with path.open("wb") as file:
        file.truncate(count * 2**14)  # 256 MiB
    facts = path.stat()
    stamp = (facts.st_size, facts.st_mtime_ns)
    frames = FramesOnDisk(path, "sparse", (count, 64, 64), np.dtype("<u4"), 0, stamp)
    order = np.random.default_rng(0).permutation(count)
    before = psutil.Process().memory_info().rss
    assert not any(frames[chunk].any() for chunk in np.array_split(order, count // 64))
    assert psutil.Process().memory_info().rss - before < 2**25


@pytest.mark.parametrize("layout", [*LAYOUTS])
def test_processes_and_threads_share_frames(tmp_path: Path, layout: str) -> None:
    array = numbered(500)
    frames = stored(tmp_path / "frames.h5", array, **LAYOUTS[layout])
    wrong: list[int] = []

    def read(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for _ in range(20):
            index = generator.integers(0, 500, 8)
            if not np.array_equal(frames[index], array[index]):
                wrong.append(seed)

    def body(seed: int) -> None:
        read(seed)
        os._exit(len(wrong))

    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=body, args=(seed,)) for seed in range(2)]
    for child in children:
        child.start()
    threads = [threading.Thread(target=read, args=(seed,)) for seed in (2, 3)]
    for thread in threads:
        thread.start()
    for one in (*threads, *children):
        one.join()
    assert not wrong and [child.exitcode for child in children] == [0, 0]


# --- files that are not what they were --------------------------------------------------------


@pytest.mark.parametrize("layout", [*LAYOUTS])
def test_a_file_that_shrank_is_told(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "frames.h5"
    frames = stored(path, numbered(40), **LAYOUTS[layout])
    os.truncate(path, path.stat().st_size - 100)
    with pytest.raises(UserError, match=r"frames.h5 (is torn|cannot be read)"):
        frames[np.array([0])]


@pytest.mark.parametrize("layout", [*LAYOUTS])
def test_a_file_that_vanished_is_told(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "frames.h5"
    frames = stored(path, numbered(4), **LAYOUTS[layout])
    path.unlink()
    with pytest.raises(UserError, match=r"frames.h5 is gone while it was in use"):
        frames[:]


@pytest.mark.parametrize("layout", [*LAYOUTS])
def test_a_file_written_anew_is_told_not_mixed_in(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "frames.h5"
    frames = stored(path, numbered(4), **LAYOUTS[layout])
    stored(path, numbered(4) + 1, **LAYOUTS[layout])
    os.utime(path, ns=(0, frames.stamp[1] + 1))  # the clock of a file system may be coarse
    with pytest.raises(UserError, match=r"frames.h5 was replaced"):
        frames[:]


def test_an_array_beyond_the_end_of_its_file_is_told(tmp_path: Path) -> None:
    path, short = tmp_path / "frames.h5", tmp_path / "short.h5"
    frames = stored(path, numbered(400))
    assert frames.offset is not None
    short.write_bytes(path.read_bytes()[:5000])
    with h5py.File(path) as file, pytest.raises(UserError, match=r"short.h5 is torn"):
        FramesOnDisk.of(short, file["group/data"])
    with pytest.raises(UserError, match="the end of the file found"):
        replace(frames, offset=frames.offset + 5000)[:]

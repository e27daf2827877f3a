"""Data sets larger than memory: speed of reading patterns from disk, and its effect on training.

    python -m bench.reader                      10^6 patterns of 64 x 64 (16.4 GB, temporary)
    python -m bench.reader --patterns 50000     smaller

- The reader by itself, in a separate process: shuffled patterns per second in batches of 16, both
  raw and as used in training (float32 amplitudes, prefetched), and peak memory. Measured from disk
  (the file is dropped from the page cache first) and from the page cache (the file is read once
  first); the cached share of the file is recorded.
- Training of one network with data streamed from disk compared with data in memory: alternating
  blocks of steps in one process, median of the ratios. On a CPU the process is limited to one core,
  as when every core has its own run, so that the figure includes the work of the reader.

The patterns repeat a simulated scan; in each repetition another constant is added to the counts, so
that all patterns are different.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch

from bench.figure import Figure, Goal
from study.formats.cxi import DETECTOR
from study.formats.dataset import (
    HELD_BYTES,
    Dataset,
    Split,
    content_hash,
    load_dataset,
    memory_share,
    save_dataset,
)
from study.formats.frames import FramesOnDisk
from study.settings import Arm, DataParams, GeneratorParams, find_row, load_study
from study.simulate import simulate
from study.training.data import TrainData
from study.training.setup import build_run

ROOT = Path(__file__).parent.parent
N, BATCH, WIDTH = 64, 16, 8
CPU = torch.device("cpu")
Numbers = dict[str, float]

DATA = {
    "n": N,
    "object_px": 160,
    "canvas_px": 320,
    "lines": 160,
    "phase": True,
    "images_per_split": 1,
    "group_size": 1,
    "photons_per_pattern": 1e9,
    "object_seeds": {"train": 1, "validation": 3, "test": 2},
    "noise_seed": 4,
    "probe": {
        "kind": "focus",
        "aperture_px": 40.0,
        "central_stop_px": 0.0,
        "defocus_rad": 8.0,
        "smooth_sigma_px": 0.0,
    },
    "assumed_probe": None,
    "scan": {"kind": "raster", "stride_px": {"train": 4, "validation": 24, "test": 24}},
}

# --- a large data set -------------------------------------------------------------------------


@dataclass(frozen=True)
class Repeated:
    """`count` patterns computed on access: pattern i is base[i mod m] + i // m, m = len(base)."""

    base: np.ndarray
    count: int

    @property
    def shape(self) -> tuple[int, ...]:
        return self.count, *self.base.shape[1:]

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.base.dtype

    @property
    def nbytes(self) -> int:
        return self.base[0].nbytes * self.count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: slice | np.ndarray, /) -> np.ndarray:
        places = np.arange(*index.indices(len(self))) if isinstance(index, slice) else index
        turn, place = np.divmod(places, len(self.base))
        added = turn.astype(self.dtype).reshape(-1, *(1,) * (self.base.ndim - 1))
        return self.base[place] + added

    def reshape(self, *shape: int) -> Repeated:
        return Repeated(self.base.reshape(-1, *shape[1:]), self.count)


def make_set(folder: Path, patterns: int) -> None:
    """Write a data set folder with `patterns` training patterns, block by block."""
    small = simulate("bench", DataParams.model_validate(DATA))
    train = small.splits["train"]
    large = Split(
        counts=Repeated(train.all_counts(), patterns),
        positions_px=np.resize(train.positions_px, (patterns, 1, 2)),
        image_index=np.resize(train.image_index, patterns),
        obj=train.obj,
        object_shape=train.object_shape,
        stride_px=None,
    )
    splits = {**small.splits, "train": large}
    told = {
        "patterns": {**small.manifest.patterns, "train": patterns},
        "content_sha256": content_hash(small.probe, splits),
    }
    manifest = small.manifest.model_copy(update=told)
    save_dataset(Dataset(manifest, small.probe, splits), folder)


# --- the reader by itself ---------------------------------------------------------------------


def drop_cache(file: Path) -> None:
    """Ask the system to drop the file from the page cache; does not need privileges."""
    descriptor = os.open(file, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(descriptor)


def fill_cache(file: Path) -> None:
    """Read the file once, so that the page cache holds as much of it as fits."""
    with file.open("rb", buffering=0) as stream:
        while stream.read(2**24):
            pass


def cached_share(file: Path, samples: int = 2000) -> float:
    """Estimate the share of the file in the page cache at random positions, without disk reads."""
    size, page = file.stat().st_size, bytearray(1)
    places = np.random.default_rng(0).integers(0, size, samples)
    descriptor, found = os.open(file, os.O_RDONLY), 0
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)  # no readahead after a miss
    for place in places.tolist():
        try:
            found += os.preadv(descriptor, [page], place, os.RWF_NOWAIT)
        except BlockingIOError:
            continue
    os.close(descriptor)
    return found / samples


def peak_bytes() -> int:
    """Peak resident memory of this process, without that of its parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def read_speed(folder: Path, patterns: int, prepare: Callable[[Path], None]) -> Numbers:
    """Shuffled patterns per second, raw and as training batches, and peak memory in bytes.

    `patterns`: number of patterns read. `prepare`: sets the state of the page cache before each
    measurement.
    """
    torch.set_num_threads(1)
    file = folder / "train.cxi"
    dataset = load_dataset(folder, ("train",), limit_bytes=0)
    frames = dataset.splits["train"].counts
    order = np.random.default_rng(0).permutation(len(frames))[:patterns]
    check_frames(file, frames, order[:64])
    facts: Numbers = {"patterns": len(frames), "read": len(order)}
    facts["stays_on_disk"] = HELD_BYTES * math.prod(frames.shape) > memory_share()

    def measure(name: str, read: Callable[[], None]) -> None:
        prepare(file)
        facts[f"{name}_cached_share"] = cached_share(file)
        began = time.perf_counter()
        read()
        facts[f"{name}_per_second"] = len(order) / (time.perf_counter() - began)

    def bare() -> None:
        for start in range(0, len(order), BATCH):
            frames[order[start : start + BATCH]]

    def batches() -> None:
        data = TrainData(dataset, "train", CPU)
        for _ in islice(data.shuffled(BATCH, 1, 0), len(order) // BATCH):
            pass

    measure("bare", bare)
    measure("batches", batches)
    return {**facts, "peak_bytes": peak_bytes()}


def check_frames(file: Path, frames: Any, places: np.ndarray) -> None:
    """Assert that the patterns remain on disk and equal those read with h5py."""
    assert isinstance(frames, FramesOnDisk), "the data set remains on disk"
    with h5py.File(file) as stored:
        data = stored[f"{DETECTOR}/data"]
        assert isinstance(data, h5py.Dataset), "the data set contains patterns"
        expected = np.stack([data[place] for place in places.tolist()])
    assert np.array_equal(frames[places][:, 0], expected), "the reader returns wrong patterns"


# --- training ---------------------------------------------------------------------------------


def training_ratio(folder: Path, steps: int, block: int) -> Numbers:
    """Training speed with data from disk relative to the speed with the same data in memory.

    `steps`: total steps per variant; `block`: steps per alternating block.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        torch.set_num_threads(1)
        os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])
    arm = small_arm()
    runs = {
        name: build_run(arm, load_dataset(folder, limit_bytes=limit), 0, device).module
        for name, limit in (("memory", math.inf), ("disk", 0))
    }
    held = [module.train_data.held for module in runs.values()]
    assert held == ["memory", "disk"], held
    turns = {name: seconds_of(module, steps, block, device) for name, module in runs.items()}
    pairs = list(zip(turns["memory"], turns["disk"], strict=True))  # block by block
    weights = [[*module.generator.parameters()] for module in runs.values()]
    assert all(a.equal(b) for a, b in zip(*weights, strict=True)), "both train the same weights"
    warm = pairs[1:]  # the first block includes one-time costs
    return {
        "steps": steps,
        "memory_step_s": statistics.median(memory for memory, _ in warm) / block,
        "disk_step_s": statistics.median(disk for _, disk in warm) / block,
        "speed_ratio": statistics.median(memory / disk for memory, disk in warm),
        "peak_bytes": peak_bytes(),
    }


def small_arm() -> Arm:
    """The control arm with a narrow network, so that reading has a larger share of a step."""
    arm = find_row(load_study(ROOT / "params.yaml"), "control")
    assert isinstance(arm, Arm) and arm.generator.name == "hybrid", "the control is a hybrid"
    options = {**arm.generator.options, "width": WIDTH}
    generator = GeneratorParams(name=arm.generator.name, options=options)
    return arm.model_copy(update={"generator": generator, "batch_size": BATCH})


def seconds_of(module: Any, steps: int, block: int, device: torch.device) -> Iterator[float]:
    """Seconds of each block of steps; a block runs each time the iterator is advanced."""
    batches = iter(module.train_data.shuffled(BATCH, module.order_seed, 0))
    for _ in range(steps // block):
        began = time.perf_counter()
        for batch in islice(batches, block):
            module.step(batch)
        if device.type == "cuda":
            torch.cuda.synchronize()
        yield time.perf_counter() - began


# --- all measurements -------------------------------------------------------------------------


def fresh(function: Callable[..., Numbers], *arguments: Any) -> Numbers:
    """The result of `function` in a fresh process, so that its peak memory can be measured."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


PATTERNS, READ, TWIN, STEPS, BLOCK = 1_000_000, 200_000, 20_000, 200, 10
NEEDED_BYTES = PATTERNS * N**2 * 4 * 1.2
SPEED = Goal("R1", "shuffled 64 x 64 patterns from disk, set of 10^6, cold", 20_000, "/s", True)
MEMORY = Goal("R2", "peak memory of that reader", 2.0, "GB", False)
TRAINING = Goal("R3", "training from disk, share of the speed in memory, w = 8", 0.8, "", True)


def measure() -> list[Figure]:
    with tempfile.TemporaryDirectory() as scratch:
        room = shutil.disk_usage(scratch).free
        if room < NEEDED_BYTES:
            why = f"needs {NEEDED_BYTES / 1e9:.0f} GB of disk, {room / 1e9:.0f} GB are free"
            return [Figure(goal, None, why=why) for goal in (SPEED, MEMORY, TRAINING)]
        large, twin = Path(scratch) / "large", Path(scratch) / "twin"
        make_set(large, PATTERNS)
        cold = fresh(read_speed, large, READ, drop_cache)
        warm = fresh(read_speed, large, READ, fill_cache)
        make_set(twin, TWIN)
        training = fresh(training_ratio, twin, STEPS, BLOCK)
    details = {"from the disk": cold, "from the page cache": warm}
    peak = max(cold["peak_bytes"], warm["peak_bytes"]) / 1e9
    return [
        Figure(SPEED, cold["bare_per_second"], details),
        Figure(MEMORY, peak, details),
        Figure(TRAINING, training["speed_ratio"], training),
    ]


def show(title: str, facts: Numbers) -> None:
    print(title)
    for name, value in facts.items():
        print(f"  {name:22} {value:.4g}" if isinstance(value, float) else f"  {name:22} {value:,}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--patterns", type=int, default=PATTERNS, help="in the large data set")
    parser.add_argument("--read", type=int, default=READ, help="patterns read per measurement")
    parser.add_argument("--twin", type=int, default=TWIN, help="patterns in the training data set")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--block", type=int, default=BLOCK, help="steps per alternating block")
    parser.add_argument("--folder", type=Path, default=None, help="parent of the temporary folder")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as scratch:
        large, twin = Path(scratch) / "large", Path(scratch) / "twin"
        began = time.perf_counter()
        make_set(large, given.patterns)
        print(f"{given.patterns:,} patterns written in {time.perf_counter() - began:.0f} s")
        for title, prepare in (("the disk", drop_cache), ("the page cache", fill_cache)):
            show(f"reader, from {title}", fresh(read_speed, large, given.read, prepare))
        make_set(twin, given.twin)
        show("training", fresh(training_ratio, twin, given.steps, given.block))


if __name__ == "__main__":
    main()

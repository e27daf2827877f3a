"""C7: simulate the full data set in a separate process, including imports and writing.

The goal is for one image per split: 6,889 training and 1,089 test patterns of 64 x 64, as in the
earlier work. Ours also simulates 1,089 validation patterns. full/params.yaml has two images per
split; its cost is in the details.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.figure import Figure, Goal
from bench.program import Cost, run, study
from study.formats.dataset import load_dataset
from study.runs import write_yaml
from study.settings import DataParams, load_study

ROOT = Path(__file__).parent.parent
PUBLISHED = {"train": 6889, "validation": 1089, "test": 1089}  # patterns per image

SECONDS = Goal("C7-seconds", "simulate the full data set, one image per split", 9.0, "CPU s", False)
MEMORY = Goal("C7-memory", "the same, peak resident memory", 1.0, "GB", False)


def full(images: int) -> DataParams:
    """The data set of the full study with `images` images per split."""
    params = load_study(ROOT / "full" / "params.yaml").data["full"]
    return params.model_copy(update={"images_per_split": images})


def simulated(params: DataParams, patterns: dict[str, int]) -> Cost:
    """Cost of `study simulate`.

    `patterns`: expected number per split. Raises AssertionError if it or the dose is wrong.
    """
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_yaml(root / "params.yaml", {"data": {"full": params.model_dump()}, "arms": {}})
        cost = run(study("simulate", "--out", "data"), root)
        check(root / "data" / "full", params, patterns)
    return cost


def check(folder: Path, params: DataParams, patterns: dict[str, int]) -> None:
    """Assert the number of patterns, and their mean dose to within six Poisson sigma."""
    train = load_dataset(folder, ("train",))
    assert dict(train.manifest.patterns) == patterns
    counts = train.splits["train"].all_counts()
    assert counts.shape == (patterns["train"], params.group_size, params.n, params.n)
    dose, mean = params.photons_per_pattern, counts.sum(axis=(2, 3), dtype=np.float64).mean()
    allowed = 6 / (dose * counts.shape[0] * counts.shape[1]) ** 0.5
    assert abs(mean / dose - 1) < allowed, f"{mean:.8g} photons per pattern, not {dose:.8g}"


def record(cost: Cost) -> dict[str, Any]:
    return {
        "CPU s": round(cost.cpu_s, 2),
        "wall s": round(cost.wall_s, 2),
        "GB": round(cost.peak_bytes / 1e9, 3),
    }


def measure() -> list[Figure]:
    one = simulated(full(1), PUBLISHED)
    two = simulated(full(2), {split: 2 * count for split, count in PUBLISHED.items()})
    details = {"one image": record(one), "two images, as in full/params.yaml": record(two)}
    return [
        Figure(SECONDS, one.cpu_s, details),
        Figure(MEMORY, one.peak_bytes / 1e9, details),
    ]

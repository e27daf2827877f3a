"""One thread, and data sets of every shape that a reference row may meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from study.formats.dataset import Dataset
from study.settings import DataParams, Reference


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def variant(tiny_params: DataParams) -> Callable[..., Dataset]:
    """variant(group_size=4): the tiny data set with other fields."""
    from study.simulate import simulate

    def make(**changes: Any) -> Dataset:
        params = DataParams.model_validate({**tiny_params.model_dump(), **changes})
        return simulate("variant", params)

    return make


@pytest.fixture(scope="session")
def as_measured(tiny: Dataset) -> Dataset:
    """The train scan of the tiny set as an import would give it: one object frame, no truth."""
    scan = tiny.splits["train"]
    twelfth = {"validation": 11, "test": 5}
    part = [i % 12 for i in range(len(scan.counts))]
    members = {name: [p == at for p in part] for name, at in twelfth.items()}
    members["train"] = [p not in twelfth.values() for p in part]
    splits = {
        name: replace(
            scan,
            counts=scan.counts[chosen],
            positions_px=scan.positions_px[chosen],
            image_index=scan.image_index[chosen],
            obj=None,
            stride_px=None,
        )
        for name, chosen in members.items()
    }
    manifest = tiny.manifest.model_copy(
        update={
            "kind": "imported",
            "object_norm": dict.fromkeys(splits, 1.0),
            "patterns": {name: len(split.counts) for name, split in splits.items()},
        }
    )
    return Dataset(manifest=manifest, probe=tiny.probe, splits=splits)


@pytest.fixture(scope="session")
def row() -> Callable[..., Reference]:
    """row(name="flat"): a reference row with this source."""

    def make(**source: Any) -> Reference:
        prose = {"asks": "-", "versus": None, "changes": [], "data": "data/tiny"}
        return Reference.model_validate({**prose, "source": source})

    return make

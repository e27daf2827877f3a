"""Variants of the tiny control arm, and runs of them in a folder of the test's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study.formats.dataset import Dataset
from study.runs import RunFolder
from study.settings import Arm


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def vary(control: Arm) -> Callable[..., Arm]:
    """vary(loss="poisson", epochs=3): the control arm with other sections.

    `generator` updates the network's options and `loss` may be a name, which adds no overlap; every
    other section is replaced.
    """

    def make(**sections: Any) -> Arm:
        given = control.model_dump()
        if isinstance(name := sections.get("loss"), str):
            overlap = {} if name == "supervised" else {"overlap_weight": 0.0}
            sections["loss"] = {"name": name, **overlap}
        given["generator"] = {**control.generator.flat(), **sections.pop("generator", {})}
        return Arm.model_validate({**given, **sections})

    return make


@pytest.fixture
def trained(tiny: Dataset, tmp_path: Path) -> Callable[..., RunFolder]:
    """trained(arm, seed): a whole run of `arm` in a folder of its own."""
    from study.training.fit import fit

    def make(arm: Arm, seed: int = 0, name: str = "run", dataset: Dataset = tiny) -> RunFolder:
        folder = RunFolder(tmp_path / name)
        fit(arm, dataset, seed, folder)
        return folder

    return make

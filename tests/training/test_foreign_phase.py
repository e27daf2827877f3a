"""The foreign-phase test of networks: one that knows the truth, one that copies, one that runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from checking import events_of
from study.formats.dataset import Dataset
from study.reading import read_mapping
from study.runs import RunFolder
from study.settings import Arm, DataParams
from study.simulate import simulate
from study.simulate.foreign import copied_phase, with_foreign_phase
from study.training import fit as fitting
from study.training.data import TruePatches
from study.training.foreign import ForeignTest, phase_correlation
from study.training.reconstruct import measured


class Recalling(nn.Module):
    """Answers each measured test pattern of a data set with the patch of `obj` at its place."""

    def __init__(self, dataset: Dataset, obj: np.ndarray) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))
        split = replace(dataset.splits["test"], obj=obj.astype(np.complex64))
        patches = TruePatches(split, dataset.manifest.n, dataset.manifest.object_norm["test"])[:]
        patterns = measured(dataset, "test", torch.device("cpu")).amplitude
        self.known = {
            x.numpy().tobytes(): patch for x, patch in zip(patterns, patches, strict=True)
        }

    def forward(self, amplitude: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.known[x.numpy().tobytes()] for x in amplitude])


@pytest.fixture
def test_of(tmp_path: Path) -> Callable[[Dataset], tuple[ForeignTest, np.ndarray]]:
    """The foreign-phase test of a data set, and its true objects."""

    def make(dataset: Dataset) -> tuple[ForeignTest, np.ndarray]:
        test = ForeignTest.of(dataset, RunFolder(tmp_path))
        assert test is not None
        obj = test.dataset.splits["test"].obj
        assert obj is not None
        return test, obj

    return make


def test_a_network_that_retrieves_phase_follows_the_truth(
    tiny: Dataset, grouped: Dataset, test_of: Callable[..., tuple[ForeignTest, np.ndarray]]
) -> None:
    for dataset in (tiny, grouped):
        test, obj = test_of(dataset)
        found = test.correlations(Recalling(test.dataset, 1j * obj))
        assert found["truth"] == pytest.approx(1, abs=1e-3)
        assert found["from_amplitude"] is not None and found["from_amplitude"] < 0.8


def test_a_network_that_copies_follows_the_amplitude(
    tiny: Dataset, test_of: Callable[..., tuple[ForeignTest, np.ndarray]]
) -> None:
    test, obj = test_of(tiny)
    found = test.correlations(Recalling(test.dataset, copied_phase(obj)))
    assert found["from_amplitude"] == pytest.approx(1, abs=1e-3)
    assert found["truth"] is not None and found["truth"] < 0.8


def test_a_constant_or_broken_phase_has_no_correlation(
    tiny: Dataset, test_of: Callable[..., tuple[ForeignTest, np.ndarray]]
) -> None:
    test, obj = test_of(tiny)
    flat = test.correlations(Recalling(test.dataset, np.abs(obj)))
    assert flat == {"truth": None, "from_amplitude": None}
    broken = test.correlations(Recalling(test.dataset, np.full_like(obj, np.nan)))
    assert broken == {"truth": None, "from_amplitude": None}


def test_a_global_phase_does_not_change_the_correlation() -> None:
    rng = np.random.default_rng(0)
    phase, other = rng.normal(0, 0.3, (2, 32, 32))
    expected = np.corrcoef(phase.ravel(), other.ravel())[0, 1]
    for turn in (0.0, 3.0):
        found = phase_correlation(np.exp(1j * (phase + turn)), np.exp(1j * other))
        assert found == pytest.approx(expected, abs=0.01)


def test_a_run_stores_the_correlations_of_both_weights(
    trained: Callable[..., RunFolder], control: Arm
) -> None:
    found = read_mapping(trained(control).foreign_phase_file)
    assert found is not None
    for which in ("best", "last"):
        assert -1 <= found[which]["truth"] <= 1
        assert -1 <= found[which]["from_amplitude"] <= 1


def test_the_test_changes_nothing_else_of_a_run(
    trained: Callable[..., RunFolder], control: Arm, monkeypatch: pytest.MonkeyPatch
) -> None:
    tested = trained(control, name="tested")
    monkeypatch.setattr(fitting.ForeignTest, "of", lambda *given: None)
    untested = trained(control, name="untested")
    assert not untested.foreign_phase_file.exists()
    for name in ("object_best.npz", "object_last.npz", "best.pt", "last.pt"):
        assert (tested.path / name).read_bytes() == (untested.path / name).read_bytes()
    assert tested.status()["stored"] == untested.status()["stored"]
    assert [e["kind"] for e in events_of(tested)] == [e["kind"] for e in events_of(untested)]


def test_data_without_a_phase_leave_no_file(
    trained: Callable[..., RunFolder], control: Arm, tiny_params: DataParams
) -> None:
    flat = simulate("flat", tiny_params.model_copy(update={"phase": False}))
    run = trained(control, dataset=flat)
    assert run.settled and not run.foreign_phase_file.exists()


def test_counts_that_cannot_be_simulated_leave_a_sound_run_with_the_reason(
    trained: Callable[..., RunFolder], control: Arm, tiny: Dataset
) -> None:
    torn = tiny.manifest.model_copy(update={"request": {"phase": True}})
    run = trained(control, dataset=replace(tiny, manifest=torn))
    assert run.status()["state"] == "finished" and not run.foreign_phase_file.exists()
    assert [e["cause"] for e in events_of(run) if e["kind"] == "foreign_phase_not_tested"]


def test_an_independent_phase_can_be_trained_on(
    trained: Callable[..., RunFolder], control: Arm, tiny_params: DataParams
) -> None:
    free = simulate("free", tiny_params.model_copy(update={"phase": "independent"}))
    assert with_foreign_phase(free) is not None
    assert trained(control, dataset=free).foreign_phase_file.exists()

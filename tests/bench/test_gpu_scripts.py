"""The GPU scripts at small size on a CPU: their logic, their arithmetic, and their reasons."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # bench is no installed package

from bench import gpu, loop  # noqa: E402
from bench.__main__ import MODULES  # noqa: E402
from bench.subject import Subject, full, whole_batches  # noqa: E402
from study.formats.dataset import Dataset  # noqa: E402
from study.settings import Arm, DataParams, UserError, load_study  # noqa: E402
from study.training import reconstructor  # noqa: E402

CPU = torch.device("cpu")
no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")


@pytest.fixture(autouse=True)
def settings_of_this_test_alone() -> Iterator[None]:
    """The benchmarks settle their process; here it is that of all other tests too."""
    torch.set_num_threads(1)
    yield
    torch.set_flush_denormal(False)


@pytest.fixture(scope="module")
def subject(tiny_params: DataParams, control: Arm) -> Subject:
    """169 patterns of 16 x 16: ten whole batches of 16 and a partial one."""
    return Subject(tiny_params, control)


# --- without a GPU ----------------------------------------------------------------------------


@no_cuda
def test_without_cuda_every_goal_has_a_reason_and_no_value() -> None:
    figures = gpu.measure()
    assert tuple(figure.goal.id for figure in figures) == MODULES["gpu"]
    assert all(f.value is None and f.met is None and f.why == "no CUDA device" for f in figures)


@no_cuda
def test_without_cuda_the_script_writes_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["script", "--out", str(tmp_path)])
    gpu.main()
    written = json.loads((tmp_path / "gpu.json").read_text())
    assert {entry["why"] for entry in written.values()} == {"no CUDA device"}


def test_precisions_that_are_not_begun_are_named(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(gpu, "has_tf32", lambda: False)
    monkeypatch.setattr(gpu, "full", lambda *_, **__: subject)
    figures = gpu.measure(minutes=-1)
    assert [figure.why for figure in figures] == [gpu.LATE] * 4
    assert all(gpu.DECIDES in figure.details for figure in figures)


# --- G4 ---------------------------------------------------------------------------------------


@pytest.mark.slow
def test_seeds_at_once_are_measured_on_a_cpu_too(subject: Subject) -> None:
    facts = gpu.at_once(subject, CPU, seeds=2, steps=5, rounds=1)
    together, alone = list(facts.values())[1:]
    assert facts["value"] == pytest.approx(together / alone) and alone > 0


@pytest.mark.slow
def test_a_process_that_fails_says_so_and_the_others_do_not_wait(subject: Subject) -> None:
    broken = subject.but(generator=subject.arm.generator.model_copy(update={"name": "hybird"}))
    start = time.monotonic()
    with pytest.raises(UserError, match="'hybird' is unknown"):
        gpu.processes(broken, 2, 1, CPU)
    assert time.monotonic() - start < gpu.MEETING_S / 2


# --- G1 to G3 ---------------------------------------------------------------------------------


def test_batches_are_whole_and_an_epoch_has_them_all(subject: Subject, tiny: Dataset) -> None:
    batches = whole_batches(subject.run(0, CPU))
    assert {len(batch.amplitude) for batch in batches} == {16}
    assert len(batches) == len(tiny.splits["train"].counts) // 16
    places = (full().data.object_px - 64) // 4 + 1
    assert places**2 % 16 == 0  # so the full subject has no partial batch


def test_the_graphed_step_is_compared_with_the_eager_one(subject: Subject) -> None:
    facts = gpu.against_lightning(subject, CPU, rounds=1, epochs=2)
    assert facts["largest difference over 20 steps"] == 0.0  # on a CPU they are one code
    assert facts["value"] == pytest.approx(facts["ms"]["eager"] / facts["ms"]["graphed"], rel=0.02)


def test_a_difference_above_rounding_stops_the_measurement(subject: Subject) -> None:
    with pytest.raises(AssertionError, match="graphed against eager step in fp32"):
        subject.check(1e-3, "graphed against eager step")
    assert subject.but(precision="bf16").check(1e-3, "") == 1e-3


def test_the_steps_of_a_call_are_put_back() -> None:
    before = dict(reconstructor.STEPS_PER_CALL)
    with pytest.raises(KeyError), loop.steps_per_call(3, CPU):
        assert reconstructor.STEPS_PER_CALL["cpu"] == 3
        raise KeyError
    assert before == reconstructor.STEPS_PER_CALL


def test_the_operations_of_a_step_grow_with_its_batch(subject: Subject) -> None:
    small, large = (gpu.counted_flops(subject.but(batch_size=size), CPU) for size in (4, 8))
    assert large == 2 * small > 0


def test_the_floor_is_the_larger_of_operations_and_bytes(subject: Subject) -> None:
    facts = gpu.against_floor(subject, CPU, size=64, copied=1 << 12, rounds=1)
    floor = max(facts["flop_floor_ms"], facts["byte_floor_ms"])
    assert facts["value"] == pytest.approx(facts["step_ms"] / floor)
    weights = sum(p.numel() for p in subject.run(0, CPU).generator.parameters())
    assert facts["megabytes"] == pytest.approx(11 * 4 * weights / 1e6)


def test_a_whole_arm_is_timed_by_its_history(subject: Subject) -> None:
    facts = gpu.whole_arm(subject.but(epochs=2), CPU)
    assert facts["epochs"] == 2 and facts["patterns"] == 169
    steps, validation = facts["seconds of the steps"], facts["seconds of the validation"]
    assert 0 < steps + validation <= facts["value"]
    assert facts["value"] <= facts["seconds of all, with weights and checkpoints written"]


# --- waits, and what full/ costs --------------------------------------------------------------


def test_steps_are_watched_and_what_waits_is_said(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert gpu.first_wait(subject, CPU) is None
    output = "called a synchronizing CUDA operation"

    def fail(*_: Any) -> None:
        raise RuntimeError(f"{output}\nmore")

    monkeypatch.setattr(gpu, "train", fail)
    assert gpu.first_wait(subject, CPU) == output


def test_patterns_are_counted_before_there_is_data(tiny_params: DataParams, tiny: Dataset) -> None:
    assert gpu.patterns(tiny_params) == len(tiny.splits["train"].counts)
    study = load_study(ROOT / "full" / "params.yaml")
    assert gpu.patterns(study.data["full"]) == 2 * 6889


def test_the_cost_of_an_arm_is_its_steps() -> None:
    arm = load_study(ROOT / "full" / "params.yaml").arms["control"]
    assert isinstance(arm, Arm)
    steps = len(arm.seeds) * arm.epochs * 862  # 13,778 patterns in batches of 16
    assert gpu.full_cost(3.6)["control"] == pytest.approx(steps * 3.6 / 3600)
    assert "rpie" not in gpu.full_cost(1.0)

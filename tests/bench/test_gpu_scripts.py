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

from bench import gpu, gpu_full, gpu_profile, gpu_seeds, loop  # noqa: E402
from bench.__main__ import MODULES  # noqa: E402
from bench.batched import SeedsStep, joined  # noqa: E402
from bench.subject import Subject, endless, full, relative, whole_batches  # noqa: E402
from study.formats.dataset import Dataset  # noqa: E402
from study.params import Arm, Clip, DataParams, Legacy, MaeLoss, UserError, load_study  # noqa: E402
from study.runs import RunFolder  # noqa: E402
from study.stages.train import Job  # noqa: E402
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
@pytest.mark.parametrize(
    ("module", "file"),
    [
        (gpu, "G3.json"),
        (gpu_seeds, "gpu_seeds_fp32.json"),
        (gpu_profile, "gpu_profile.json"),
        (gpu_full, "gpu_full.json"),
    ],
)
def test_without_cuda_every_script_writes_why(
    module: Any, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["script", "--out", str(tmp_path)])
    module.main()
    assert json.loads((tmp_path / file).read_text())["why"] == "no CUDA device"


# --- several seeds as one network -------------------------------------------------------------


@pytest.mark.parametrize("loss", ["mae", "poisson", "supervised"])
def test_the_batched_step_is_every_seeds_own_step(loss: str, subject: Subject) -> None:
    """Records and weights after three steps; each seed has its own weights and order."""
    overlap = {} if loss == "supervised" else {"overlap_weight": 0.0}
    asked = {**subject.calm().arm.model_dump(), "loss": {"name": loss, **overlap}}
    subject = Subject(subject.data, Arm.model_validate(asked))
    single = [subject.run(seed, CPU) for seed in (3, 4)]
    together = SeedsStep([subject.run(seed, CPU) for seed in (3, 4)])
    orders = [endless(run) for run in single]
    for _ in range(3):
        batches = [next(order) for order in orders]
        pairs = zip(single, batches, strict=True)
        expected = torch.stack([run.module.step(batch) for run, batch in pairs])
        assert relative(together(joined(batches)), expected) < 1e-4
    assert relative(expected[0], expected[1]) > 1e-3
    for name, weight in single[1].generator.named_parameters():
        torch.testing.assert_close(
            together.weights[f"generator.{name}"][1], weight, rtol=1e-3, atol=1e-5
        )


@pytest.mark.parametrize(("rule", "limit"), [("norm", 1e-2), ("norm", 1e4), ("none", None)])
def test_every_seed_is_clipped_by_its_own_norm(
    rule: str, limit: float | None, subject: Subject
) -> None:
    clip = Clip(gradient_clip_algorithm=rule, gradient_clip_val=limit, exclude_head=False)
    subject = subject.but(clip=clip)
    assert gpu_seeds.batched_difference(subject.calm(), 2, CPU) < 1e-4
    together = SeedsStep([subject.run(seed, CPU) for seed in (0, 1)])
    order = endless(subject.run(0, CPU))
    _, before, after, fraction, _ = together(joined([next(order), next(order)])).unbind(dim=1)
    clipped = rule == "norm" and limit == 1e-2
    assert fraction.tolist() == [float(clipped)] * 2
    expected = torch.full((2,), limit) if clipped else before
    torch.testing.assert_close(after, expected, rtol=1e-3, atol=0)


def test_what_a_batched_network_cannot_do_is_refused(subject: Subject) -> None:
    clip = Clip(gradient_clip_algorithm="agc", gradient_clip_val=0.01, exclude_head=False)
    with pytest.raises(ValueError, match="'agc'"):
        SeedsStep([subject.but(clip=clip).run(0, CPU)])
    with pytest.raises(ValueError, match="bf16"):
        SeedsStep([subject.but(precision="bf16").run(0, CPU)])
    overlap = MaeLoss(name="mae", overlap_weight=0.5)
    for whole in ({"loss": overlap}, {"legacy": Legacy(batch_coupled_probe=True)}):
        with pytest.raises(ValueError, match="need every seed's batch on its own"):
            SeedsStep([subject.but(**whole).run(0, CPU)])


def test_seeds_side_by_side_are_held_against_single_steps(
    subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_seeds, "SIDE_BY_SIDE_STEPS", 3)
    assert gpu_seeds.streams_difference(subject, 2, CPU) == 0.0  # on a CPU they are one code


@pytest.mark.slow
def test_seeds_at_once_are_measured_on_a_cpu_too(subject: Subject) -> None:
    alone = gpu_seeds.processes(subject, 1, 5, CPU)
    given = (subject, 2, 5, CPU)
    rates = [gpu_seeds.processes(*given), gpu_seeds.batched(*given), gpu_seeds.streams(*given)]
    assert [rate.way for rate in (alone, *rates)] == ["alone", "processes", "batched", "streams"]
    assert all(rate.total > 0 for rate in (alone, *rates[:2]))
    assert rates[2].total is None and rates[2].why == "streams are CUDA's; the device is cpu"
    gpu_seeds.show([alone, *rates])


@pytest.mark.slow
def test_a_process_that_fails_says_so_and_the_others_do_not_wait(subject: Subject) -> None:
    broken = subject.but(generator=subject.arm.generator.model_copy(update={"name": "hybird"}))
    start = time.monotonic()
    with pytest.raises(UserError, match="'hybird' is unknown"):
        gpu_seeds.processes(broken, 2, 1, CPU)
    assert time.monotonic() - start < gpu_seeds.MEETING_S / 2


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


# --- the trace --------------------------------------------------------------------------------


def event(cat: str, name: str, ts: float, dur: float) -> dict[str, Any]:
    return {"ph": "X", "cat": cat, "name": name, "ts": ts, "dur": dur}


def trace() -> list[dict[str, Any]]:
    return [
        event("cuda_runtime", "cudaDeviceSynchronize", 5, 1),  # before the region: ours
        event("user_annotation", gpu_profile.REGION, 10, 90),
        event("cuda_runtime", "cudaGraphLaunch_v10000", 11, 2),
        event("cuda_runtime", "cudaMemcpyAsync", 12, 2),
        event("cuda_driver", "cuMemcpyDtoHAsync_v2", 14, 2),
        event("cuda_runtime", "cudaStreamSynchronize", 20, 2),
        event("cuda_runtime", "cudaMemcpy", 30, 2),
        event("kernel", "gemm", 20, 10),
        event("kernel", "elementwise", 25, 10),  # overlaps: 20 to 35 is busy
        event("gpu_memcpy", "Memcpy DtoH (Device -> Pageable)", 115, 5),  # ends after the region
        {"ph": "M", "name": "process_name"},
    ]


def test_a_trace_counts_waits_copies_and_kernels_per_step() -> None:
    facts = gpu_profile.facts_of(trace(), steps=4)
    assert facts["waits"] == {"cudaStreamSynchronize": 1, "cudaMemcpy": 1}
    assert facts["waits_per_step"] == 0.5
    assert facts["copies_to_host_per_step"] == 0.25
    assert facts["kernels_per_step"] == 0.5
    assert facts["graph_launches_per_step"] == 0.25
    assert facts["busy_share"] == pytest.approx((15 + 5) / 100)
    assert facts["ms_per_step_in_the_trace"] == pytest.approx(90e-3 / 4)


def test_what_speaks_against_the_proof() -> None:
    good = {
        "kernels_per_step": 340.0,
        "waits_per_step": 0.0,
        "waits": {},
        "copies_to_host_per_step": 0.0,
        "raised_under_the_ban": None,
    }
    assert gpu_profile.objection_to(good) is None
    for name, bad in (
        ("kernels_per_step", 0.0),
        ("waits_per_step", 0.1),
        ("copies_to_host_per_step", 1.0),
        ("raised_under_the_ban", "called a synchronizing CUDA operation"),
    ):
        assert gpu_profile.objection_to({**good, name: bad})


def test_the_loop_is_traced_from_one_call_to_another(subject: Subject, tmp_path: Path) -> None:
    facts = gpu_profile.traced(subject, CPU, tmp_path / "trace.json.gz")
    assert facts["steps"] == 2  # a CPU takes one step a call
    assert facts["busy_share"] is None and facts["kernels_per_step"] == 0
    assert facts["ms_per_step_in_the_trace"] > 0
    assert gpu_profile.banned(subject, CPU) is None


def test_a_watch_is_closed_when_the_training_ends_by_an_error(subject: Subject) -> None:
    seen: list[str] = []

    class Raising:
        def begin(self) -> None:
            seen.append("begin")

        def end(self) -> None:
            seen.append("end")

    def fail(batch: Any) -> torch.Tensor:
        if seen:
            raise RuntimeError("called a synchronizing CUDA operation")
        return torch.zeros(5)

    run = subject.run(0, CPU)
    run.module.advance = fail
    with pytest.raises(RuntimeError, match="synchronizing"):
        loop.train(run, gpu_profile.Between(Raising()))
    assert seen == ["begin", "end"]


# --- the full protocol ------------------------------------------------------------------------


def test_patterns_are_counted_before_there_is_data(tiny_params: DataParams, tiny: Dataset) -> None:
    assert gpu_full.patterns(tiny_params) == len(tiny.splits["train"].counts)
    study = load_study(ROOT / "full" / "params.yaml")
    assert gpu_full.patterns(study.data["full"]) == 2 * 6889


def test_the_plan_names_the_commands_of_the_pipeline_and_adds_up() -> None:
    study = load_study(ROOT / "full" / "params.yaml")
    arms = gpu_full.arms_of(study, ["control", "stable"])
    text = "\n".join(gpu_full.plan_lines(study, ["control", "stable"], 9, None))
    assert "study train --arm control" in text and "study train --arm stable\n" in text
    assert "rpie" not in text and "--arm control stable" in text
    pipeline = (ROOT / "full" / "dvc.yaml").read_text()
    for command in gpu_full.commands({"${key}": arms["control"]}):
        assert f"cmd: {' '.join(command)}\n" in pipeline
    seeds, steps, minutes = gpu_full.estimate(study, arms, seconds=0.001)["control"]
    assert (seeds, steps) == (len(arms["control"].seeds), 50 * 862)
    assert minutes == pytest.approx(seeds * (50 * 862 * 0.001 + gpu_full.START_S) / 60)


def test_an_unknown_arm_is_refused() -> None:
    study = load_study(ROOT / "full" / "params.yaml")
    with pytest.raises(SystemExit, match="no arm 'controll'"):
        gpu_full.arms_of(study, ["controll"])


def test_a_measured_arm_replaces_the_goal(tmp_path: Path) -> None:
    assert gpu_full.step_seconds(tmp_path)[0] == gpu_full.GOAL_S / gpu_full.GOAL_STEPS
    (tmp_path / "G3.json").write_text(json.dumps({"value": 43.1}))
    assert gpu_full.step_seconds(tmp_path) == (pytest.approx(2e-3), "G3 as measured")


@pytest.mark.slow
def test_a_command_whose_time_is_over_is_stopped(tmp_path: Path) -> None:
    start = time.monotonic()
    assert gpu_full.run_command(tmp_path, ("http.server", "0"), 1.0) is None
    assert time.monotonic() - start < 20
    assert gpu_full.run_command(tmp_path, ("json.tool", "--help"), 20.0) == 0


def test_minutes_come_from_the_history_and_weights_stay_where_they_are(
    tmp_path: Path, control: Arm
) -> None:
    folder = RunFolder(tmp_path / "work" / "hash")
    folder.start("control", 1, 3, {})
    folder.write_history([{"epoch": k, "seconds": 30.0} for k in (1, 2)])
    folder.best.write_bytes(b"weights")
    job = Job(tmp_path, "control", control, 1, folder.path, {}, False, devices=1)
    facts = gpu_full.facts_of(job)
    assert facts["gpu_minutes"] == pytest.approx(1.0) and facts["epochs"] == 2
    assert facts["state"] == "running"
    gpu_full.copy_small(job, tmp_path / "out")
    copied = {path.name for path in (tmp_path / "out" / "full" / "control" / "s1").iterdir()}
    assert copied == {"status.json", "history.csv"}

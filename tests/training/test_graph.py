"""The graphed step is the same step: equal records, partial batches, schedules, and a reason."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from study.formats.dataset import Dataset
from study.runs import RunFolder
from study.settings import Adam, Arm, Sgd
from study.training.checkpoints import read_state, write_state
from study.training.data import Batch
from study.training.fit import fit
from study.training.graph import WARM_UP, GraphedStep, capturable, reason_against
from study.training.losses import LOSSES
from study.training.optimizers import build_optimizer, effective, load_state, set_rate, used_rate
from study.training.ranks import ALONE, Ranks
from study.training.setup import build_run
from study.training.step import TrainStep

CPU = torch.device("cpu")


def test_without_cuda_the_step_is_taken_as_it_is_and_the_reason_said(
    control: Arm, tiny: Dataset
) -> None:
    a, b = (build_run(control, tiny, 0, CPU).module for _ in range(2))
    graphed = GraphedStep(a.step, control.batch_size)
    output = "the device is cpu; graphs are CUDA's"
    assert graphed.why_eager == reason_against(a.step, ALONE) == output
    assert "2 devices average" in str(reason_against(a.step, Ranks(0, 2)))
    for group in a.train_dataloader():
        for batch in group:
            assert graphed(batch).equal(b.step(batch))


def test_an_overlap_is_a_reason_on_cuda_too(vary: Callable[..., Arm], tiny: Dataset) -> None:
    for weight, reason in ((0.0, None), (0.5, "the overlap of a batch is looked up on the host")):
        arm = vary(loss={"name": "mae", "overlap_weight": weight})
        step = build_run(arm, tiny, 0, CPU).module.step
        step.probe = SimpleNamespace(device=torch.device("cuda"))
        assert reason_against(step, ALONE) == reason


def test_groups_hold_every_batch_once_in_order(control: Arm, tiny: Dataset) -> None:
    data = build_run(control, tiny, 0, CPU).module.train_data
    single = [batch.index for batch in data.shuffled(16, 1, 0)]
    for size in (1, 3, 64):
        groups = list(data.shuffled(16, 1, 0).in_groups(size))
        assert len(groups) == len(data.shuffled(16, 1, 0).in_groups(size))
        assert all(len(group) == size for group in groups[:-1])
        flat = [batch.index for group in groups for batch in group]
        assert torch.cat(flat).equal(torch.cat(single)) and len(flat) == len(single)


def test_a_rate_in_a_tensor_stays_that_tensor_when_a_state_is_loaded() -> None:
    """A captured graph reads the rate from one address."""
    weight = torch.nn.Parameter(torch.ones(3))
    optimizer = build_optimizer(Adam(name="adam", lr=1e-3), [weight], CPU)
    rate = torch.tensor(1e-3)
    optimizer.param_groups[0]["lr"] = rate
    weight.grad = torch.ones(3)
    optimizer.step()
    state = optimizer.state_dict()
    state["param_groups"][0]["lr"] = 5e-4
    load_state(optimizer, state)
    assert optimizer.param_groups[0]["lr"] is rate
    assert used_rate(optimizer) == pytest.approx(5e-4)
    set_rate(optimizer, 2e-4)
    assert float(rate) == pytest.approx(2e-4)


@pytest.mark.parametrize("rate", [1e-3, 3e-4, 7e-5, 0.1])
def test_a_rate_in_a_tensor_reads_as_it_was_asked_for(rate: float) -> None:
    """float32 holds 0.001 as 0.0010000000475; what is written down must equal the setting."""
    optimizer = build_optimizer(
        Adam(name="adam", lr=1e-3), [torch.nn.Parameter(torch.ones(3))], CPU
    )
    optimizer.param_groups[0]["lr"] = torch.tensor(1e-3)
    set_rate(optimizer, rate)
    assert used_rate(optimizer) == effective(optimizer)["lr"] == rate


def test_a_rate_in_a_tensor_passes_a_checkpoint(tmp_path: Path) -> None:
    """Written by a GPU, read without pickle, taken up by a CPU."""
    weight = torch.nn.Parameter(torch.ones(3))
    gpu_like, cpu = (build_optimizer(Adam(name="adam", lr=1e-3), [weight], CPU) for _ in range(2))
    gpu_like.param_groups[0]["lr"] = torch.tensor(3e-4)
    weight.grad = torch.ones(3)
    gpu_like.step()
    write_state(tmp_path / "state.pt", gpu_like.state_dict())
    load_state(cpu, read_state(tmp_path / "state.pt"))
    assert cpu.param_groups[0]["lr"] == 3e-4
    assert cpu.state[weight]["step"] == 1


def test_adam_is_capturable_while_it_is_recorded_and_no_longer() -> None:
    """Outside, torch warns; without, it refuses. SGD knows no such flag and gets none."""
    weight = torch.nn.Parameter(torch.ones(3))
    adam = build_optimizer(Adam(name="adam", lr=1e-3), [weight], CPU)
    sgd = build_optimizer(Sgd(name="sgd", lr=1e-3, momentum=0.9), [weight], CPU)
    for optimizer in (adam, sgd):
        with contextlib.suppress(KeyError), capturable(optimizer):
            assert all(group.get("capturable", True) for group in optimizer.param_groups)
            raise KeyError
    assert adam.param_groups[0]["capturable"] is False
    assert "capturable" not in sgd.param_groups[0]


def test_a_loaded_state_forgets_the_graph(control: Arm, tiny: Dataset) -> None:
    """The moments of a loaded state lie elsewhere than where a graph writes."""
    module = build_run(control, tiny, 0, CPU).module
    state = module.state_dict_of_run()
    module.advance._graph, module.advance._warm = object(), WARM_UP
    module.load_state_dict_of_run(state)
    assert module.advance._graph is None and module.advance._warm == 0


@pytest.mark.slow
def test_a_step_leaves_no_autograd_graph_behind(control: Arm, tiny: Dataset) -> None:
    """A node that outlives its step brings the stream of its birth into a recording."""
    run = build_run(control, tiny, 0, CPU)
    batch = next(iter(run.module.train_dataloader()))[0]

    def nodes() -> int:
        return sum(type(x).__name__ == "_ModeProductBackward" for x in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        prediction = run.module.step.forward(batch)
        assert nodes() > 0
        del prediction
        kept = run.module.step(batch)
        assert nodes() == 0
    finally:
        gc.enable()
    assert kept.grad_fn is None


# --- the order of things, on a machine that only plays CUDA -----------------------------------


class Counted(TrainStep):
    """A step that counts its calls and returns a number of its batch, five times."""

    def __init__(self) -> None:
        self.probe = SimpleNamespace(device=torch.device("cuda"))
        self.loss = LOSSES["mae"]
        weight = torch.nn.Parameter(torch.ones(3))
        self.optimizer = build_optimizer(Adam(name="adam", lr=1e-3), [weight], CPU)
        self.calls = 0
        self.error: BaseException | None = None

    def __call__(self, batch: Batch) -> torch.Tensor:
        self.calls += 1
        if self.error is not None and self.optimizer.param_groups[0]["capturable"]:
            raise self.error
        return batch.amplitude.mean().expand(5).clone()


class FakeGraph:
    def __init__(self) -> None:
        self.replays = 0

    def replay(self) -> None:
        self.replays += 1


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """torch.cuda by what `GraphedStep` calls; keeps the current stream and those recorded on."""
    seen = SimpleNamespace(current="default", recorded_on=[], graphs=[])

    @contextlib.contextmanager
    def graph(graph: FakeGraph, stream: object, capture_error_mode: str) -> Iterator[None]:
        seen.recorded_on.append(stream)
        seen.graphs.append(graph)
        seen.current = stream
        try:
            yield
        except BaseException as error:
            raise RuntimeError("CUDA error: previous error during capture") from error
        seen.current = "default"

    plays = {
        "Stream": lambda: SimpleNamespace(wait_stream=lambda other: None),
        "current_stream": lambda: SimpleNamespace(wait_stream=lambda other: None, name="default"),
        "stream": lambda stream: contextlib.nullcontext(),
        "set_stream": lambda stream: setattr(seen, "current", stream.name),
        "synchronize": lambda: None,
        "CUDAGraph": FakeGraph,
        "graph": graph,
    }
    for name, value in plays.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return seen


def batch_of(size: int, value: float = 0.0) -> Batch:
    return Batch(torch.full((size, 1, 2, 2), value), None, None, torch.arange(size))


def test_whole_batches_warm_up_then_are_replayed_and_partial_ones_are_not(
    played: SimpleNamespace,
) -> None:
    step = Counted()
    graphed = GraphedStep(step, batch_size=4)
    for value in range(10):
        graphed(batch_of(4, float(value)))
        graphed(batch_of(3))
    (graph,) = played.graphs
    assert graph.replays == 10 - WARM_UP  # the step that is recorded is replayed too
    assert step.calls == WARM_UP + 1 + 10
    assert graphed._batch.amplitude.eq(9.0).all()
    assert graphed.why_eager is None


def test_every_graph_has_a_stream_of_its_own(played: SimpleNamespace) -> None:
    for graphed in [GraphedStep(Counted(), batch_size=4) for _ in range(2)]:
        for _ in range(WARM_UP + 1):
            graphed(batch_of(4))
    assert played.recorded_on[0] is not played.recorded_on[1]


def test_a_recording_that_fails_is_told_and_the_step_is_taken(played: SimpleNamespace) -> None:
    """The reason is the first error; work goes on on the stream where it was."""
    step = Counted()
    step.error = RuntimeError("operation not permitted when stream is capturing\nmore")
    graphed = GraphedStep(step, batch_size=4)
    results = [graphed(batch_of(4, float(value))) for value in range(6)]
    assert [float(result[0]) for result in results] == [0, 1, 2, 3, 4, 5]
    failed = "recording the graph failed: operation not permitted when stream is capturing"
    assert graphed.why_eager == failed
    assert played.current == "default" and len(played.graphs) == 1


def test_what_is_no_failure_of_the_recording_ends_the_run(played: SimpleNamespace) -> None:
    step = Counted()
    step.error = KeyboardInterrupt()
    graphed = GraphedStep(step, batch_size=4)
    with pytest.raises(KeyboardInterrupt):
        for _ in range(WARM_UP + 1):
            graphed(batch_of(4))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("rule", ["none", "norm", "value", "agc", "agc_tensor"])
@pytest.mark.parametrize("name", ["mae", "poisson", "supervised"])
def test_the_graph_equals_the_step_for_twenty_steps(
    rule: str, name: str, vary: Callable[..., Arm], tiny: Dataset
) -> None:
    """Two epochs, the last batch of each a partial one, with a new rate for the second."""
    limit = None if rule == "none" else 0.01
    clip = {"gradient_clip_algorithm": rule, "gradient_clip_val": limit, "exclude_head": False}
    arm = vary(batch_size=17, clip=clip, loss=name)
    device = torch.device("cuda")
    plain, graphed = (build_run(arm, tiny, 0, device).module for _ in range(2))
    records: tuple[list, list] = ([], [])
    for epoch in range(2):
        for module in (plain, graphed):
            set_rate(module.step.optimizer, 1e-3 * 0.5**epoch)
        for batch in plain.train_data.shuffled(17, 0, epoch):
            records[0].append(plain.step(batch))
            records[1].append(graphed.advance(batch))
    assert graphed.advance.why_eager is None
    torch.testing.assert_close(torch.stack(records[0]), torch.stack(records[1]), rtol=1e-4, atol=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize(
    "optimizer",
    [
        {"name": "adam", "lr": 3e-4},
        {"name": "adamw", "lr": 3e-4, "weight_decay": 0.01},
        {"name": "sgd", "lr": 3e-4, "momentum": 0.9},
    ],
    ids=["adam", "adamw", "sgd"],
)
def test_a_whole_run_is_trained_by_a_graph(
    optimizer: dict, precision: str, vary: Callable[..., Arm], tiny: Dataset, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path)
    arm = vary(optimizer=optimizer, precision=precision, epochs=2)
    fit(arm, tiny, 0, folder, device=torch.device("cuda"))
    assert folder.status()["state"] == "finished"
    assert folder.status()["why_eager"] is None
    assert set(folder.history()["learning_rate"]) == {3e-4}

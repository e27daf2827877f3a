"""The graphed step is the same step: equal records, partial batches, schedules, and a reason."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from study.formats.dataset import Dataset
from study.params import Adam, Arm
from study.training.graph import GraphedStep, reason_against
from study.training.optimizers import build_optimizer, load_state, set_rate, used_rate
from study.training.ranks import ALONE, Ranks
from study.training.setup import build_run

CPU = torch.device("cpu")


def test_without_cuda_the_step_is_taken_as_it_is_and_the_reason_said(
    control: Arm, tiny: Dataset
) -> None:
    a, b = (build_run(control, tiny, 0, CPU).module for _ in range(2))
    graphed = GraphedStep(a.step, control.batch_size)
    assert graphed.why_eager == reason_against(CPU, ALONE) == "the device is cpu; graphs are CUDA's"
    assert "2 devices average" in str(reason_against(CPU, Ranks(0, 2)))
    for group in a.train_dataloader():
        for batch in group:
            assert graphed(batch).equal(b.step(batch))


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
    arm = vary(batch_size=17, clip=clip, loss={"name": name})
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

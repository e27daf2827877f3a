"""A traced run is the run that training does, and its numbers are those of the tensors."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import pandas
import pytest
import torch
import torch.nn.functional as F

from study.formats.dataset import Dataset
from study.investigations.traces.follow import (
    EVERY,
    Errors,
    batches,
    one_step,
    shown_steps,
    trace_run,
)
from study.investigations.traces.hooks import Watch, parts
from study.runs import RunFolder
from study.settings import Arm, UserError
from study.training.floors import best_constant, best_constant_loss
from study.training.reconstructor import Reconstructor
from study.training.setup import build_run

CPU = torch.device("cpu")
STABLE = {"name": "stable_hybrid", "layerscale_init": 0.1, "decoder_norm": "group"}


def errors(module: Reconstructor) -> Errors:
    return Errors(module.step.probe, best_constant(module.train_data, module.step.probe))


def weights(arm: Arm, dataset: Dataset, traced: bool) -> list[torch.Tensor]:
    """All weights after 20 steps, which end in the second epoch."""
    module = build_run(arm, dataset, 3, CPU).module
    watch = Watch(module.generator)
    for batch in islice(batches(module), 20):
        if traced:
            one_step(module, watch, errors(module), batch, at_parts=True)
        else:
            module.step(batch)
    return list(module.generator.parameters())


@pytest.mark.parametrize("generator", [{}, STABLE])
@pytest.mark.slow
def test_looking_on_leaves_every_weight_equal_to_the_bit(
    generator: dict, vary: Callable[..., Arm], tiny: Dataset
) -> None:
    arm = vary(generator=generator, schedule={"name": "exponential", "gamma": 0.5})
    for seen, unseen in zip(weights(arm, tiny, True), weights(arm, tiny, False), strict=True):
        assert torch.equal(seen, unseen)


def test_the_hooks_are_gone_after_a_step(control: Arm, tiny: Dataset) -> None:
    module = build_run(control, tiny, 0, CPU).module
    one_step(
        module, Watch(module.generator), errors(module), next(iter(module.batches())), at_parts=True
    )
    assert not any(part._forward_hooks for part in module.generator.modules())
    assert not any(p._post_accumulate_grad_hooks for p in module.generator.parameters())


@pytest.mark.parametrize(
    "schedule",
    [
        {"name": "warmup_cosine", "warmup_epochs": 1, "final_ratio": 0.01},
        {"name": "plateau", "factor": 0.5, "patience": 0},
    ],
)
@pytest.mark.slow
def test_the_traced_run_is_the_one_that_fit_trains(
    schedule: dict,
    vary: Callable[..., Arm],
    tiny: Dataset,
    trained: Callable[..., RunFolder],
) -> None:
    arm = vary(schedule=schedule, optimizer={"name": "adam", "lr": 0.05}, epochs=3)
    history = pandas.read_csv(trained(arm, 5).history_file)
    traced = trace_run(arm, tiny, 5, 33)
    epochs = pandas.DataFrame(traced["columns"]).groupby([k // 11 for k in range(33)])
    assert list(epochs["learning_rate"].first()) == list(history["learning_rate"])
    assert list(epochs["loss"].mean()) == pytest.approx(list(history["train_loss"]), rel=1e-12)
    assert list(epochs["gradient_norm"].max()) == list(history["gradient_norm_max"])


def test_the_parts_of_a_hybrid_are_its_levels_with_each_merge_apart(
    vary: Callable[..., Arm], tiny: Dataset
) -> None:
    names = [
        "lifter",
        "encoder.0",
        "encoder.1",
        "down.0",
        "bottleneck",
        "decoder.0.merge",
        "decoder.0.norm",
        "decoder.0",
        "head",
    ]
    normed = build_run(vary(generator={"decoder_norm": "group"}), tiny, 0, CPU)
    assert [*parts(normed.generator)] == names
    plain = build_run(vary(), tiny, 0, CPU)
    assert [*parts(plain.generator)] == [name for name in names if name != "decoder.0.norm"]


def test_a_part_shows_what_its_gelu_takes(control: Arm, tiny: Dataset) -> None:
    module = build_run(control, tiny, 0, CPU).module
    network, watch = module.generator, Watch(module.generator)
    batch = next(iter(module.batches()))
    with torch.no_grad():  # before the step: it moves the weights
        x = batch.amplitude.contiguous(memory_format=torch.channels_last)
        first = network.lifter[0](x)
        lifted = network.lifter(x)
        block = network.encoder[0]
        summed = block.local_conv(lifted) + block.spectral(lifted)
        down = network.down[0](lifted + F.gelu(summed))
    one_step(module, watch, errors(module), batch, at_parts=True)
    seen = watch.facts()
    for name, values in (("lifter", first), ("encoder.0", summed), ("down.0", down)):
        assert seen[name]["largest"] == pytest.approx(float(values.abs().max()), rel=1e-5)
        assert seen[name]["rms"] == pytest.approx(float(values.square().mean().sqrt()), rel=1e-5)


def test_gradient_norms_of_the_parts_make_up_the_whole(control: Arm, tiny: Dataset) -> None:
    module = build_run(control, tiny, 0, CPU).module
    watch = Watch(module.generator)
    facts = one_step(module, watch, errors(module), next(iter(module.batches())), at_parts=True)
    squares = sum(part["gradient"] ** 2 for part in watch.facts().values())
    assert squares**0.5 == pytest.approx(facts["gradient_norm"], rel=1e-5)


def test_a_saturated_merge_is_dead_and_stops_all_gradients_behind_it(
    control: Arm, tiny: Dataset
) -> None:
    module = build_run(control, tiny, 0, CPU).module
    network, watch = module.generator, Watch(module.generator)
    with torch.no_grad():
        network.decoder[0].merge.bias.fill_(-1e4)
    facts = one_step(module, watch, errors(module), next(iter(module.batches())), at_parts=True)
    seen = watch.facts()
    assert seen["decoder.0.merge"]["dead"] == seen["decoder.0"]["dead"] == 1
    assert seen["encoder.0"]["dead"] == 0
    stopped = [name for name, numbers in seen.items() if numbers["gradient"] == 0]
    assert stopped == [name for name in watch.parts if name not in ("decoder.0", "head")]
    # The refining weights take a zero input: only its bias and the head's two tensors are left.
    assert facts["zero_tensors"] == watch.tensors - 3


def test_the_error_does_not_depend_on_the_loss(vary: Callable[..., Arm], tiny: Dataset) -> None:
    plain = trace_run(vary(), tiny, 0, 2)["columns"]
    assert plain["mae"] == pytest.approx(plain["loss"], rel=1e-6)
    poisson = trace_run(vary(loss="poisson"), tiny, 0, 1)["columns"]
    assert poisson["mae"][0] == pytest.approx(plain["mae"][0], rel=1e-6)
    assert poisson["loss"][0] != plain["loss"][0]


def test_other_networks_have_parts_too(tiny: Dataset, vary: Callable[..., Arm]) -> None:
    given = vary().model_dump()
    cnn = {"name": "cnn", "width": 4, "input_transform": "none"}
    arm = Arm.model_validate({**given, "generator": cnn})
    traced = trace_run(arm, tiny, 0, 1)
    assert traced["parts"] == ["encoder", "amplitude", "phase", "head"]


def test_more_steps_than_the_arm_trains_are_refused(control: Arm, tiny: Dataset) -> None:
    with pytest.raises(UserError, match="23 steps are more than the 2 epochs of 11 steps"):
        trace_run(control, tiny, 0, 23)


def test_parts_are_looked_at_in_every_early_step_and_in_the_last() -> None:
    assert shown_steps(71) == [*range(1, EVERY + 1), 68, 71]


def test_a_constant_object_has_the_error_of_a_constant_object(control: Arm, tiny: Dataset) -> None:
    """One epoch's batches weigh in with their light, and together give the floor of the split."""
    module = build_run(control, tiny, 0, CPU).module
    probe, seen = module.step.probe, errors(module)
    light, error = 0.0, 0.0
    for batch in module.batches():
        seen(module.generator, (batch.amplitude,), torch.ones(1, 1, 16, 16) + 0j)
        light += float(batch.amplitude.sum())
        error += seen.constant * float(batch.amplitude.sum())
    assert error / light == pytest.approx(best_constant_loss(module.train_data, probe), rel=1e-5)

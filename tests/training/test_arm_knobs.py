"""Every knob of an arm, turned and followed to what it does: nothing is lost on the way.

One row a knob: the change, and a question to the live run that must get another answer than the
control arm gives, the answer that the change asks for.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from study.formats.dataset import Dataset
from study.generators import build
from study.generators.heads import OUTPUT_MODES
from study.runs import RunFolder, environment
from study.settings import CLIP_LIMITS, Arm, UserError, differences, leaves, load_study
from study.settings.effective import HEADS, NOT_REPORTED, READINGS
from study.training import check
from study.training import fit as fit_module
from study.training.clipping import CLIP_RULES
from study.training.fit import fit
from study.training.losses import LOSSES
from study.training.optimizers import OPTIMIZERS
from study.training.scaled_step import scaled_step
from study.training.schedules import SCHEDULES
from study.training.setup import Run, build_run, describe

CPU = torch.device("cpu")
ROOT = Path(__file__).parents[2]
CLIP = {"gradient_clip_algorithm": "norm", "gradient_clip_val": 1.0, "exclude_head": False}


def clip(rule: str, limit: float | None, exclude_head: bool = False) -> dict[str, Any]:
    return {
        "gradient_clip_algorithm": rule,
        "gradient_clip_val": limit,
        "exclude_head": exclude_head,
    }


def group(run: Run) -> dict[str, Any]:
    return run.module.step.optimizer.param_groups[0]


def optimizer_class(run: Run) -> str:
    return type(run.module.step.optimizer).__name__


def curve(run: Run) -> list[float]:
    return [run.module.schedule.rate(epoch) for epoch in range(run.arm.epochs)]


def first_weight(run: Run) -> float:
    return float(next(run.module.generator.parameters()).detach().flatten()[0])


def first_batch(run: Run) -> list[int]:
    return next(iter(run.module.train_dataloader()))[0].index.tolist()


def stands_together(run: Run) -> bool:
    """Three in four of the first batch have a neighbour in it, above or below, on 13 x 13."""
    batch = set(first_batch(run))
    return sum(not batch.isdisjoint({j - 13, j + 13}) for j in batch) >= 12


def first_block(run: Run) -> dict[str, Any]:
    return run.generator.effective()["blocks"]["encoder.0"]


def dtype_within(run: Run) -> torch.dtype:
    """What the first convolution gives when the step calls the network."""
    seen: list[torch.dtype] = []
    convolution = run.generator.get_submodule("encoder.0.local_conv")
    convolution.register_forward_hook(lambda module, given, result: seen.append(result.dtype))
    run.module.step.forward(next(iter(run.module.train_dataloader()))[0])
    return seen[0]


def width_of_first_batch(run: Run) -> int:
    return len(first_batch(run))


def told_the_probe(run: Run) -> bool:
    return run.generator.effective()["knows_probe"]


def input_channels(run: Run) -> int:
    return run.generator.get_submodule("lifter.0").in_channels


def of_a_zeroed_head(run: Run) -> complex:
    """What the network gives for a pattern when its head gives nothing."""
    with torch.no_grad():
        for value in run.generator.head.parameters():
            value.zero_()
        patch = run.generator(next(iter(run.module.train_dataloader()))[0].amplitude)
    return complex(patch.mean())


def loss_of_overlap(run: Run) -> tuple[float, bool]:
    """The weight, and whether the batches bring what it needs."""
    batch = next(iter(run.module.train_dataloader()))[0]
    return run.module.step.loss.overlap_weight, batch.corners is not None


def effective(key: str) -> Callable[[Run], Any]:
    return lambda run: run.generator.effective()[key]


Question = Callable[[Run], Any]
KNOBS: list[tuple[str, dict[str, Any], Question, Any]] = [
    (
        "adamw",
        {"optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.3}},
        optimizer_class,
        "AdamW",
    ),
    (
        "weight_decay",
        {"optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 0.3}},
        lambda run: group(run)["weight_decay"],
        0.3,
    ),
    ("sgd", {"optimizer": {"name": "sgd", "lr": 1e-3, "momentum": 0.7}}, optimizer_class, "SGD"),
    (
        "momentum",
        {"optimizer": {"name": "sgd", "lr": 1e-3, "momentum": 0.7}},
        lambda run: group(run).get("momentum"),
        0.7,
    ),
    ("lr", {"optimizer": {"name": "adam", "lr": 2e-3}}, lambda run: group(run)["lr"], 2e-3),
    ("exponential", {"schedule": {"name": "exponential", "gamma": 0.5}}, curve, [1e-3, 5e-4]),
    (
        "warmup_cosine",
        {"schedule": {"name": "warmup_cosine", "warmup_epochs": 1, "final_ratio": 0}},
        curve,
        [1e-4, 1e-3],
    ),
    ("epochs", {"epochs": 3}, curve, [1e-3] * 3),
    ("width", {"generator": {"width": 6}}, effective("channels_per_level"), [6, 12]),
    ("fno_blocks", {"generator": {"fno_blocks": 3}}, effective("channels_per_level"), [4, 8, 16]),
    ("cap", {"generator": {"max_hidden_channels": 5}}, effective("channels_per_level"), [4, 5]),
    ("modes", {"generator": {"modes": 3}}, lambda run: first_block(run)["modes_kept"], [6, 3]),
    (
        "mode_set",
        {"generator": {"mode_set": "corner"}},
        lambda run: (first_block(run)["mode_set"], first_block(run)["modes_kept"]),
        ("corner", [4, 4]),
    ),
    ("input", {"generator": {"input_transform": "log1p"}}, effective("input_transform"), "log1p"),
    (
        "output",
        {"generator": {"output_mode": "amp_phase_logits"}},
        effective("head"),
        "AmpPhaseLogitsHead",
    ),
    (
        "network",
        {"generator": {"name": "stable_hybrid", "layerscale_init": 1e-3}},
        lambda run: first_block(run)["block"],
        "StablePtychoBlock",
    ),
    (
        "zero_gamma",
        {"generator": {"name": "stable_hybrid", "layerscale_init": None}},
        lambda run: (first_block(run)["norm"], first_block(run)["layerscale"]),
        ("InstanceNorm2d", False),
    ),
    ("inputs", {"generator": {"inputs": "with_back_projection"}}, input_channels, 3),
    (
        "inputs_know_the_probe",
        {"generator": {"inputs": "with_back_projection"}},
        told_the_probe,
        True,
    ),
    (
        "decoder_norm",
        {"generator": {"decoder_norm": "group"}},
        effective("decoder_norms"),
        ["GroupNorm"],
    ),
    ("start", {"generator": {"start": "one"}}, of_a_zeroed_head, 1),
    ("start_knows_the_probe", {"generator": {"start": "back_projection"}}, told_the_probe, True),
    (
        "overlap",
        {"loss": {"name": "mae", "overlap_weight": 0.5}},
        loss_of_overlap,
        (0.5, True),
    ),
    (
        "overlap_of_poisson",
        {"loss": {"name": "poisson", "overlap_weight": 0.25}},
        loss_of_overlap,
        (0.25, True),
    ),
    (
        "legacy",
        {"legacy": {"batch_coupled_probe": True}},
        lambda run: run.module.step.coupled_to,
        16,
    ),
    ("poisson", {"loss": "poisson"}, lambda run: run.module.step.loss.name, "poisson"),
    (
        "supervised",
        {"loss": "supervised"},
        lambda run: run.module.step.loss.name,
        "supervised",
    ),
    ("batch_size", {"batch_size": 24}, width_of_first_batch, 24),
    ("batch_order", {"batch_order": "neighbours"}, stands_together, True),
    (
        "exclude_head",
        {"clip": clip("norm", 1.0, True)},
        lambda run: run.module.step.clip.excluded,
        ["head.weight", "head.bias"],
    ),
    ("precision", {"precision": "bf16"}, dtype_within, torch.bfloat16),
    ("order_seed", {"order_seed": 5}, lambda run: run.module.order_seed, 5),
]


@pytest.mark.parametrize(
    ("sections", "ask", "answer"), [k[1:] for k in KNOBS], ids=[k[0] for k in KNOBS]
)
def test_a_knob_reaches_what_it_turns(
    sections: dict, ask: Question, answer: Any, vary: Callable[..., Arm], tiny: Dataset
) -> None:
    before = ask(build_run(vary(), tiny, 0, CPU))
    after = ask(build_run(vary(**sections), tiny, 0, CPU))
    assert before != answer
    assert after == (pytest.approx(answer) if ask is curve else answer)


@pytest.mark.parametrize("sections", [k[1] for k in KNOBS], ids=[k[0] for k in KNOBS])
def test_a_setting_that_is_lost_is_named(
    sections: dict, vary: Callable[..., Arm], tiny: Dataset
) -> None:
    """The report of a run agrees with its own arm, and names what another arm asks for."""
    control, turned = vary(), vary(**sections)
    before, asked = leaves(control), leaves(turned)
    changed = {name for name, value in asked.items() if value != before.get(name)}
    assert differences(asked, describe(build_run(turned, tiny, 0, CPU), tiny)) == {}
    lost = differences(asked, describe(build_run(control, tiny, 0, CPU), tiny))
    assert lost.keys() == changed - NOT_REPORTED.keys()


NETWORKS: dict[str, dict[str, Any]] = {
    "fno": {"width": 4, "fno_blocks": 2, "modes": 4, "mode_set": "corner", "spectral_init": "old",
            "input_transform": "none", "output_mode": "amp_phase"},
    "cnn": {"width": 4, "input_transform": "none"},
    "unrolled": {"patterns": 1, "iterations": 3, "steps": 2, "final_steps": 1, "alpha": 0.1,
                 "smoothing_px": 0.5, "modulus": "replaced", "refinement": "own", "width": 6,
                 "layers": 2, "kernel": 3, "coarsening": 1, "synchronise": False},
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_reports_its_options(name: str, control: Arm, tiny: Dataset) -> None:
    generator = {"name": name, **NETWORKS[name]}
    arm = Arm.model_validate({**control.model_dump(mode="json"), "generator": generator})
    assert differences(leaves(arm), describe(build_run(arm, tiny, 0, CPU), tiny)) == {}


def test_nothing_is_trained_where_a_setting_is_lost(
    control: Arm, tiny: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_another_limit(arm: Arm, *rest: Any) -> Run:
        clip = arm.clip.model_copy(update={"gradient_clip_val": 0.5})
        return build_run(arm.model_copy(update={"clip": clip}), *rest)

    monkeypatch.setattr(fit_module, "build_run", with_another_limit)
    with pytest.raises(UserError, match=r"clip\.gradient_clip_val is 0\.5, requested was 1\.0"):
        fit(control, tiny, 0, RunFolder(tmp_path / "run"))
    assert not (tmp_path / "run" / "params.yaml").exists()
    assert not (tmp_path / "run" / "history.csv").exists()


@pytest.mark.parametrize("folder", ["", "studies", "full"])
def test_every_setting_of_the_studies_has_a_reading(folder: str) -> None:
    arms = load_study(ROOT / folder / "params.yaml").arms.values()
    names = {name for arm in arms if isinstance(arm, Arm) for name in leaves(arm)}
    assert names <= READINGS.keys() | NOT_REPORTED.keys()
    assert not READINGS.keys() & NOT_REPORTED.keys()


def test_the_names_of_reported_classes_are_those_of_the_code() -> None:
    assert {name: head.__name__ for name, head in OUTPUT_MODES.items()} == HEADS


def test_the_spectral_init_sets_the_spread_of_the_weights(vary: Callable[..., Arm]) -> None:
    """variance: std 1/sqrt(2 C); old: std 1/(sqrt(12) C^2) (physics: networks)."""
    spread = {}
    for init in ("variance", "old"):
        arm = vary(generator={"spectral_init": init, "width": 8})
        weight = build(arm.generator, 16, 1, 0).encoder[0].spectral.weight
        spread[init] = float(weight.detach().std())
    assert spread["variance"] == pytest.approx(1 / 4, rel=0.1)
    assert spread["old"] == pytest.approx(1 / (12**0.5 * 64), rel=0.1)


def test_the_seed_moves_weights_and_order(control: Arm, tiny: Dataset) -> None:
    zero, one = (build_run(control, tiny, seed, CPU) for seed in (0, 1))
    assert first_weight(zero) != first_weight(one)
    assert first_batch(zero) != first_batch(one)


def test_a_fixed_order_seed_leaves_the_weights_to_the_seed(
    vary: Callable[..., Arm], tiny: Dataset
) -> None:
    zero, one = (build_run(vary(order_seed=42), tiny, seed, CPU) for seed in (0, 1))
    assert first_weight(zero) != first_weight(one)
    assert first_batch(zero) == first_batch(one)


def expected_norm(rule: str, run: Run) -> float:
    """Largest norm that a rule leaves of a huge gradient, from the weights it is tied to."""
    step = run.module.step
    weights = [value.detach() for value in step.generator.parameters()]
    count = sum(w.numel() for w in weights)
    agc = 0.01 * sum(max(float(w.norm()), 1e-3) ** 2 for w in weights) ** 0.5
    return {"norm": 0.01, "value": 0.01 * count**0.5, "agc_tensor": agc}.get(rule, 0.0)


@pytest.mark.parametrize("rule", ["norm", "value", "agc_tensor"])
def test_a_clip_rule_acts_on_large_gradients(
    rule: str, vary: Callable[..., Arm], tiny: Dataset
) -> None:
    arm = vary(clip=clip(rule, 0.01))
    before, after, share = scaled_step(arm, tiny, 0, factor=1e6)["clip"]
    limit = expected_norm(rule, build_run(arm, tiny, 0, CPU))
    assert before > 1e3 and share > 0.9
    assert after == pytest.approx(limit, rel=0.1)


def test_unit_wise_and_tensor_wise_clips_differ(vary: Callable[..., Arm], tiny: Dataset) -> None:
    unit, tensor = (
        scaled_step(vary(clip=clip(rule, 0.01)), tiny, 0, factor=1e6)["gradients"]
        for rule in ("agc", "agc_tensor")
    )
    assert unit != tensor
    assert unit == pytest.approx(tensor, rel=0.5, abs=1e-4)  # the same limits, shared out otherwise


def test_without_a_clip_gradients_pass(vary: Callable[..., Arm], tiny: Dataset) -> None:
    before, after, share = scaled_step(vary(clip=clip("none", None)), tiny, 0, factor=1e6)["clip"]
    assert before == after > 1e3 and share == 0


def test_the_loss_decides_the_gradient(vary: Callable[..., Arm], tiny: Dataset) -> None:
    found = [
        scaled_step(vary(loss=name, clip=clip("none", None)), tiny, 0, 1.0)["gradients"]
        for name in LOSSES
    ]
    assert found[0] != found[1] != found[2] != found[0]


def test_the_overlap_moves_the_gradient(vary: Callable[..., Arm], tiny: Dataset) -> None:
    found = [
        scaled_step(
            vary(loss={"name": "mae", "overlap_weight": weight}, clip=clip("none", None)),
            tiny,
            0,
            1.0,
        )["gradients"]
        for weight in (0.0, 0.5)
    ]
    assert found[0] != found[1]


def test_the_new_knobs_are_told_as_they_act(vary: Callable[..., Arm], tiny: Dataset) -> None:
    options = {"inputs": "with_back_projection", "start": "one", "decoder_norm": "group"}
    overlap = {"name": "poisson", "overlap_weight": 0.25}
    legacy = {"batch_coupled_probe": True}
    arm = vary(generator=options, loss=overlap, legacy=legacy, batch_order="neighbours")
    printed = describe(build_run(arm, tiny, 0, CPU), tiny)
    network = {**options, "decoder_norms": ["GroupNorm"], "knows_probe": True}
    del network["decoder_norm"]
    assert network == {key: printed["generator"][key] for key in network}
    assert printed["loss"] == overlap and printed["legacy"] == legacy
    assert printed["batch_order"] == "neighbours"


def test_tables_hold_every_name_that_params_accept() -> None:
    """A name that passes validation exists, and no table has a name that cannot be asked for."""
    fields = Arm.model_fields
    for section, table in (("loss", LOSSES), ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
        models = fields[section].annotation.__args__
        assert {model.model_fields["name"].annotation.__args__[0] for model in models} == set(table)


def test_every_leaf_of_the_control_is_turned_above(control: Arm) -> None:
    """A knob that no test turns is one that may be lost."""
    turned = {"data", "generator.name", "generator.spectral_init", "loss.name", "optimizer.name"}
    turned |= {"clip.gradient_clip_algorithm", "clip.gradient_clip_val", "schedule.name"}
    names = {
        "lr": "optimizer.lr", "width": "generator.width", "fno_blocks": "generator.fno_blocks",
        "cap": "generator.max_hidden_channels", "modes": "generator.modes",
        "mode_set": "generator.mode_set", "input": "generator.input_transform",
        "output": "generator.output_mode", "batch_size": "batch_size", "epochs": "epochs",
        "exclude_head": "clip.exclude_head", "order_seed": "order_seed",
        "precision": "precision", "batch_order": "batch_order",
        "inputs": "generator.inputs", "start": "generator.start",
        "decoder_norm": "generator.decoder_norm", "overlap": "loss.overlap_weight",
        "legacy": "legacy.batch_coupled_probe",
    }  # fmt: skip
    turned |= {names[knob[0]] for knob in KNOBS if knob[0] in names}
    assert set(leaves(control)) <= turned


def test_check_names_what_cannot_work(vary: Callable[..., Arm]) -> None:
    check(vary(), 16, 1)
    cases = [
        ({"clip": clip("agc_tenso", 0.1)}, "no clip rule 'agc_tenso'; did you mean 'agc_tensor'"),
        ({"generator": {"name": "hybird"}}, "'hybird' is unknown; did you mean 'hybrid'"),
        ({"generator": {"fno_blocks": 6}}, "does not fit n = 16"),
        ({"generator": {"max_hidden_channels": 2}}, "max_hidden_channels 2 is below width 4"),
        ({"generator": {"mode_set": "edges"}}, "edges"),
    ]
    for sections, sentence in cases:
        with pytest.raises(UserError, match=sentence):
            check(vary(**sections), 16, 1)
    assert set(CLIP_RULES) == set(CLIP_LIMITS)


@pytest.mark.parametrize(
    ("sections", "what"),
    [
        ({"loss": {"name": "mae", "overlap_weight": 0.5}}, "loss.overlap_weight"),
        ({"loss": {"name": "poisson", "overlap_weight": 0.5}}, "loss.overlap_weight"),
        ({"legacy": {"batch_coupled_probe": True}}, "legacy.batch_coupled_probe"),
    ],
)
def test_what_looks_at_a_whole_batch_is_refused_on_two_devices(
    sections: dict,
    what: str,
    vary: Callable[..., Arm],
    tiny: Dataset,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(environment, "cores", lambda: 4)
    arm, folder = vary(**sections), RunFolder(tmp_path / "run")
    check(arm, 16, 1, devices=1)
    check(vary(), 16, 1, devices=2)
    with pytest.raises(UserError, match=f"--devices is 2, but {what}"):
        check(arm, 16, 1, devices=2)
    with pytest.raises(UserError, match="--devices is 2"):
        fit(arm, tiny, 0, folder, devices=2)
    assert not folder.best.exists()

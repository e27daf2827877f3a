"""The alarms ring at the right epoch and only then; diagnostics change nothing and say all."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import psutil
import pytest
import torch

from checking import events_of
from study.formats.dataset import Dataset
from study.runs import RunFolder, read_json, write_json, write_yaml
from study.settings import Arm, UserError
from study.training import watch
from study.training.checkpoints import save_weights
from study.training.fit import fit
from study.training.reconstructor import Reconstructor
from study.training.setup import build_run, read_in_effect

# Lightning uses a torch name that torch renamed; `fit` keeps it quiet, a bare Trainer does not.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*LeafSpec.*is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:The `srun` command is available:UserWarning"),
]
CPU = torch.device("cpu")
FILES = {"loader_stats.jsonl", "activations.jsonl", "gradients.jsonl", "patch_metrics.json"}


@pytest.fixture
def frozen(control: Arm) -> Arm:
    """Four epochs at a rate that moves no weight: a fault stays exactly where a test put it."""
    optimizer = control.optimizer.model_copy(update={"lr": 1e-12})
    return control.model_copy(update={"optimizer": optimizer, "epochs": 4})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


class At(lightning.Callback):
    """Does something to the module when it has finished `epoch` epochs, before the alarm looks."""

    def __init__(self, deeds: dict[int, Callable[[Reconstructor], object]]) -> None:
        self.deeds = deeds

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        self.deeds.get(pl_module.epoch, lambda _: None)(pl_module)


def train(module: Reconstructor, epochs: int, callbacks: list[lightning.Callback]) -> None:
    trainer = lightning.Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
    )
    progress = trainer.fit_loop.epoch_progress.current
    progress.processed = progress.completed = module.epoch
    trainer.fit(module)


def scale_head(factor: float) -> Callable[[Reconstructor], object]:
    """Multiply the head's weights (not its bias): at 0 every patch is the same constant."""
    return lambda module: module.generator.head.weight.data.mul_(factor)


def records_in(path: Path) -> list[dict[str, Any]]:
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def lines(folder: RunFolder, name: str) -> list[dict[str, Any]]:
    return records_in(folder.diagnostics / name)


def alarms(folder: RunFolder) -> list[tuple[str, int]]:
    return [(event["kind"], event["epoch"]) for event in events_of(folder)]


# --- collapse ---------------------------------------------------------------------------------


def test_alarm_follows_a_collapse_and_its_end(
    frozen: Arm, tiny: Dataset, folder: RunFolder
) -> None:
    module = build_run(frozen, tiny, 0, CPU).module
    deeds = {2: scale_head(1e-9), 4: scale_head(1e9)}
    seen: list[int | None] = []
    look = {epoch: lambda _: seen.append(watch.collapsed_at_epoch(folder)) for epoch in (1, 2, 3)}
    train(module, 4, [At(deeds), *watch.callbacks(False, folder, tiny), At(look)])
    assert seen == [None, 2, 2]
    assert alarms(folder) == [("collapse", 2), ("dead_layers", 3), ("collapse_over", 4)]
    assert folder.status()["collapsed_at_epoch"] is None
    collapse = events_of(folder)[0]
    assert collapse["relative_spread"] < collapse["spread_limit"] < 1
    assert collapse["measured_spread"] > 0
    written = {path.name for path in folder.diagnostics.iterdir()}
    assert written == FILES
    labels = {(r["source"], r["epoch"]) for r in lines(folder, "gradients.jsonl")}
    assert labels == {("collapse", 2), ("dead_layers", 3)}


def test_alarm_is_silent_on_a_healthy_run(control: Arm, tiny: Dataset, folder: RunFolder) -> None:
    module = build_run(control, tiny, 0, CPU).module
    train(module, 2, watch.callbacks(False, folder, tiny))
    assert events_of(folder) == []
    assert folder.status()["collapsed_at_epoch"] is None
    assert not folder.diagnostics.exists()


def test_a_dead_layer_is_told_but_is_no_collapse(
    frozen: Arm, tiny: Dataset, folder: RunFolder
) -> None:
    module = build_run(frozen, tiny, 0, CPU).module
    bottleneck = module.generator.bottleneck
    kill = {1: lambda _: [weight.data.zero_() for weight in bottleneck.parameters()]}
    train(module, 2, [At(kill), *watch.callbacks(False, folder, tiny)])
    # The share is measured while the epoch is validated: the deed of epoch 1 shows in epoch 2.
    assert alarms(folder) == [("dead_layers", 2)]
    assert folder.status()["dead_layers_at_epoch"] == 2
    assert folder.status()["collapsed_at_epoch"] is None
    dead = events_of(folder)[0]["dead_layers"]
    assert {"bottleneck", "bottleneck.spectral", "bottleneck.local_conv"} <= set(dead)
    assert set(dead.values()) == {1.0}


def test_a_flat_measurement_raises_no_alarm(frozen: Arm, tiny: Dataset, folder: RunFolder) -> None:
    module = build_run(frozen, tiny, 0, CPU).module
    amplitude = module.validation_data.whole.amplitude
    amplitude[:] = amplitude[0].clone()
    module.dead = {}
    judgement = watch.check_collapse(module)
    assert judgement.relative_spread is None
    assert not judgement.rings("collapse")


@pytest.mark.parametrize(("done", "known"), [(1, None), (2, 2), (3, 2)])
def test_a_resumed_run_takes_up_a_collapse_that_is_behind_it(
    frozen: Arm, tiny: Dataset, folder: RunFolder, done: int, known: int | None
) -> None:
    folder.update_status(collapsed_at_epoch=2)
    module = build_run(frozen, tiny, 0, CPU).module
    module.epoch = done
    module.generator.head.weight.data.zero_()
    train(module, done + 1, watch.callbacks(False, folder, tiny))
    again = [] if known else [("collapse", done + 1)]
    assert [alarm for alarm in alarms(folder) if "collapse" in alarm[0]] == again
    assert watch.collapsed_at_epoch(folder) == (known or done + 1)


def test_a_run_that_ends_collapsed_says_so(
    frozen: Arm, tiny: Dataset, folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = watch.callbacks

    def sabotaged(*given: Any) -> list[lightning.Callback]:
        return [At({1: scale_head(0.0)}), *add(*given)]

    monkeypatch.setattr("study.training.fit.callbacks", sabotaged)
    fit(frozen.model_copy(update={"epochs": 2}), tiny, 0, folder)
    status = folder.status()
    assert status["state"] == "collapsed"
    assert status["epoch"] == 2
    assert status["collapsed_at_epoch"] == 1


# --- diagnostics ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def diagnosed(control: Arm, tiny: Dataset, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A finished run of two epochs with diagnostics; shared, so no test may write into it."""
    folder = RunFolder(tmp_path_factory.mktemp("diagnosed") / "run")
    fit(control, tiny, 0, folder, diagnose=True)
    return folder


def test_diagnosing_changes_no_weight(diagnosed: RunFolder, control: Arm, tiny: Dataset) -> None:
    plain = RunFolder(diagnosed.path.with_name("plain"))
    fit(control, tiny, 0, plain)
    left, right = (torch.load(f.last, weights_only=True)["weights"] for f in (diagnosed, plain))
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert not plain.diagnostics.exists()


def test_only_the_alarm_is_mounted_when_nobody_asks(tiny: Dataset, folder: RunFolder) -> None:
    assert [type(c) for c in watch.callbacks(False, folder, tiny)] == [watch.CollapseAlarm]
    both = [watch.CollapseAlarm, watch.Diagnose]
    assert [type(c) for c in watch.callbacks(True, folder, tiny)] == both


@pytest.mark.parametrize("diagnose", [False, True])
def test_no_hook_is_there_during_a_step(
    control: Arm, tiny: Dataset, folder: RunFolder, diagnose: bool
) -> None:
    module = build_run(control, tiny, 0, CPU).module
    step, hooks = module.step.backward, []

    def counted(batch: Any) -> Any:
        hooks.append(sum(len(m._forward_hooks) for m in module.generator.modules()))
        return step(batch)

    module.step.backward = counted
    train(module, 2, watch.callbacks(diagnose, folder, tiny))
    assert set(hooks) == {0}


def test_the_files_hold_what_was_asked_for(diagnosed: RunFolder, tiny: Dataset) -> None:
    assert {path.name for path in diagnosed.diagnostics.iterdir()} == FILES
    loader = {(r["split"], r["quantity"]) for r in lines(diagnosed, "loader_stats.jsonl")}
    common = {"amplitude", "position_y_px", "position_x_px", "photon_scale", "object_norm"}
    assert loader >= {(split, q) for split in ("train", "validation") for q in common}
    assert loader >= {(None, f"probe_{part}") for part in ("real", "imag", "abs")}
    last = lines(diagnosed, "loader_stats.jsonl")[-1]
    assert (last["quantity"], last["exists"]) == ("loader", True)
    assert last["batches"] == -(-len(tiny.splits["validation"].counts) // 16)
    kinds = {r["kind"] for r in lines(diagnosed, "activations.jsonl")}
    branches = {"lifter", "block", "spectral", "local_conv"}
    assert kinds >= {"input", "output", "patch_abs", "patch_angle"} | branches
    patches = read_json(diagnosed.diagnostics / "patch_metrics.json")["training"]
    assert [scaling["scaling"] for scaling in patches["scalings"]] == ["none", "mean"]


def test_every_layer_has_its_gradient_in_every_epoch(
    diagnosed: RunFolder, control: Arm, tiny: Dataset
) -> None:
    names = [n for n, _ in build_run(control, tiny, 0, CPU).generator.named_parameters()]
    records = lines(diagnosed, "gradients.jsonl")
    for epoch in (1, 2):
        here = [r for r in records if r["epoch"] == epoch]
        assert [r["layer"] for r in here if r["kind"] == "parameter"] == names
        ratios = [r["local_over_spectral"] for r in here if r["kind"] == "block"]
        assert len(ratios) == 3
        assert min(ratios) > 0


def test_the_first_gradients_are_those_of_the_first_step(
    diagnosed: RunFolder, control: Arm, tiny: Dataset
) -> None:
    module = build_run(control, tiny, 0, CPU).module
    module.step.backward(next(iter(module.train_dataloader()))[0])
    records = lines(diagnosed, "gradients.jsonl")
    found = {r["layer"]: r for r in records if r["epoch"] == 1}
    for name, parameter in module.generator.named_parameters():
        assert found[name]["norm"] == pytest.approx(float(parameter.grad.norm()), rel=1e-5)


def test_parts_of_lines_that_a_kill_left_do_not_stop_a_resumed_run(
    control: Arm, tiny: Dataset, folder: RunFolder
) -> None:
    folder.diagnostics.mkdir(parents=True)
    whole = json.dumps({"source": "last", "epoch": 1})
    for name in (watch.LOADER, watch.ACTIVATIONS, watch.GRADIENTS):
        torn = f'{whole}\n{{"source": "tra{whole}\n[]\n{{"epoch": 1}}\n{{"source": "train'
        (folder.diagnostics / name).write_text(torn)
    write_json(folder.diagnostics / watch.PATCHES, [])
    module = build_run(control, tiny, 0, CPU).module
    train(module, 1, watch.callbacks(True, folder, tiny))
    for name in (watch.LOADER, watch.ACTIVATIONS, watch.GRADIENTS):
        first, *rest = lines(folder, name)
        assert first == json.loads(whole) and {one["source"] for one in rest} == {"training"}
    assert set(read_json(folder.diagnostics / watch.PATCHES)) == {"training"}


@pytest.mark.parametrize(
    ("changes", "key"),
    [({"loss": "mae"}, "loss"), ({"loss": {"name": "x", "overlap_weight": 0.0}}, r"loss\.name"),
     ({"batch_size": "16"}, "batch_size"), ({"seeds": {}}, r"seeds\.order")],
)  # fmt: skip
def test_damaged_settings_in_effect_are_named(
    control: Arm, tiny: Dataset, folder: RunFolder, changes: dict[str, Any], key: str
) -> None:
    file = folder.path / "params.yaml"
    good = {"loss": {"name": "mae", "overlap_weight": 0.0}, "batch_size": 16,
            "batch_order": "shuffled", "seeds": {"order": 1}}  # fmt: skip
    write_yaml(file, good)
    assert read_in_effect(file).batch_size == 16
    write_yaml(file, {**good, **changes})
    with pytest.raises(UserError, match=rf"params\.yaml: .*{key}"):
        read_in_effect(file)


@pytest.mark.parametrize("steps", [0, 1])
@pytest.mark.slow
def test_a_resumed_run_repeats_no_record(
    control: Arm, tiny: Dataset, folder: RunFolder, steps: int
) -> None:
    train(build_run(control, tiny, 0, CPU).module, 2, watch.callbacks(True, folder, tiny))
    before = {name: lines(folder, name) for name in ("activations.jsonl", "gradients.jsonl")}
    resumed = build_run(control, tiny, 0, CPU).module
    resumed.epoch, resumed.records = 1, [torch.zeros(5)] * steps
    train(resumed, 2, watch.callbacks(True, folder, tiny))
    for name, records in before.items():
        labels = [(r["epoch"], r["layer"], r["kind"]) for r in lines(folder, name)]
        assert labels == [(r["epoch"], r["layer"], r["kind"]) for r in records]
    loader = [(r["split"], r["quantity"]) for r in lines(folder, "loader_stats.jsonl")]
    assert len(loader) == len(set(loader))


# --- a stored checkpoint ----------------------------------------------------------------------


@pytest.mark.parametrize("which", ["best", "last"])
def test_a_stored_checkpoint_gives_the_same_files(
    diagnosed: RunFolder, tiny: Dataset, tmp_path: Path, which: str
) -> None:
    files = watch.diagnose_run(diagnosed, tiny, which, out=tmp_path)
    assert {file.name for file in files} == FILES
    assert all(file.is_file() for file in files)
    during = lines(diagnosed, "gradients.jsonl")
    stored = records_in(tmp_path / "gradients.jsonl")
    assert {record["source"] for record in stored} == {which}
    epoch_1 = [record["layer"] for record in during if record["epoch"] == 1]
    assert [record["layer"] for record in stored] == epoch_1


def test_untrained_weights_give_the_records_of_the_first_epoch(
    diagnosed: RunFolder, control: Arm, tiny: Dataset, folder: RunFolder
) -> None:
    run = build_run(control, tiny, 0, CPU)
    save_weights(folder.last, run.generator, run.network, 0)
    (folder.path / "params.yaml").write_bytes((diagnosed.path / "params.yaml").read_bytes())
    watch.diagnose_run(folder, tiny)
    for name in ("activations.jsonl", "gradients.jsonl"):
        stored = [{**r, "source": "training", "epoch": 1} for r in lines(folder, name)]
        assert stored == [r for r in lines(diagnosed, name) if r["epoch"] == 1]


def test_a_diagnosis_takes_the_first_batch_in_the_order_of_the_run(
    control: Arm, tiny: Dataset, folder: RunFolder
) -> None:
    """During training, at the alarm, and from stored weights."""
    arm = control.model_copy(update={"batch_order": "neighbours"})
    fit(arm, tiny, 0, folder, diagnose=True)
    run = build_run(arm, tiny, 0, CPU)
    first = next(iter(run.module.batches())).index
    assert watch.subject_of(run.module, tiny).first_batch().index.equal(first)
    save_weights(folder.last, run.generator, run.network, 0)
    watch.diagnose_run(folder, tiny)
    for name in ("activations.jsonl", "gradients.jsonl"):
        stored, during = (
            [{**r, "source": "", "epoch": 1} for r in lines(folder, name) if chosen(r)]
            for chosen in (
                lambda r: r["source"] == "last",
                lambda r: r["source"] == "training" and r["epoch"] == 1,
            )
        )
        assert stored == during
    top = tiny.splits["train"].positions_px[first, :, 0]
    found = [r for r in lines(folder, "loader_stats.jsonl") if r["quantity"] == "position_y_px"]
    printed = {r["source"]: r["mean"] for r in found if r["split"] == "train"}
    assert printed == pytest.approx({"training": top.mean(), "last": top.mean()})


def test_a_second_diagnosis_replaces_its_own_records_alone(
    diagnosed: RunFolder, tiny: Dataset, tmp_path: Path
) -> None:
    for which in ("best", "last", "best"):
        watch.diagnose_run(diagnosed, tiny, which, out=tmp_path)
    sources = [record["source"] for record in records_in(tmp_path / "gradients.jsonl")]
    assert sources == sorted(sources, reverse=True)
    assert sources.count("best") == sources.count("last")
    assert set(read_json(tmp_path / "patch_metrics.json")) == {"best", "last"}


def test_diagnosis_refuses_what_it_cannot_read(
    diagnosed: RunFolder, tiny: Dataset, folder: RunFolder
) -> None:
    with pytest.raises(UserError, match="accepted: best, last"):
        watch.diagnose_run(diagnosed, tiny, "newest")
    with pytest.raises(UserError, match="does not exist"):
        watch.diagnose_run(folder, tiny)
    other = tiny.manifest.model_copy(update={"n": 32})
    with pytest.raises(UserError, match=r"n = 16 .* n = 32"):
        watch.diagnose_run(diagnosed, dataclasses.replace(tiny, manifest=other))


def test_diagnosis_waits_for_a_run_that_trains(tiny: Dataset, folder: RunFolder) -> None:
    started = psutil.Process().create_time()
    folder.update_status(state="running", pid=os.getpid(), pid_started=started)
    with pytest.raises(UserError, match="still training"):
        watch.diagnose_run(folder, tiny)

"""One run from settings to reconstruction: train or resume, store the weights, stitch the test set.

    check -> data, network, step -> the run's params.yaml, with the settings in effect -> epochs
    -> weights -> objects

Design choices
- Deterministic on a CPU with a fixed thread count (`torch.set_num_threads(1)` by the caller; the
  count is recorded): two runs of one seed are bit-equal, and so are a resumed and a whole one.
- Two seeds: initial weights = the run's seed, data order = `arm.order_seed` or, when that is null,
  the run's seed too.
- An epoch ends with the row, the best weights, the checkpoint, in this order: kill -9 loses at most
  the epoch it hits. SIGTERM and Ctrl-C checkpoint after the current step.
- A survival run ends at its event (`study.metrics.survival`): nothing is trained after it.
- A loss that is not finite is a result: the state is `failed`, the cause names the epoch, and the
  best weights so far are still reconstructed.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Sequence

import lightning
import torch
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy
from torch import nn

from study.formats.dataset import Dataset
from study.metrics.survival import Event
from study.runs import RunFolder, write_yaml
from study.settings import Arm, UserError, leaves, refuse_differences
from study.training import check
from study.training.checkpoint_callback import CheckpointCallback, Diverged, Progress
from study.training.checkpoints import State, load_checkpoint, remove_checkpoints, save_weights
from study.training.ddp_workers import TIMEOUT, together
from study.training.floors import floors
from study.training.foreign import ForeignTest
from study.training.foreign import store as store_foreign_phase
from study.training.ranks import Ranks
from study.training.reconstruct import store_reconstruction, weights_file
from study.training.reconstructor import HistoryRow, Reconstructor
from study.training.schedules import learning_rates
from study.training.setup import Run, build_run, describe
from study.training.stopping import Cancelled, Stop, listening
from study.training.validation import evaluate
from study.training.watch import callbacks, collapsed_at_epoch

__all__ = ["fit", "learning_rates"]


def fit(
    arm: Arm,
    dataset: Dataset,
    seed: int,
    folder: RunFolder,
    *,
    diagnose: bool = False,
    progress: Progress | None = None,
    device: torch.device | None = None,
    devices: int = 1,
) -> None:
    """Train `arm` with `seed`, or continue from its checkpoint, then reconstruct the test split.

    Writes into `folder`: params.yaml, status.json, history.csv, best.pt, last.pt, checkpoint.pt
    while unfinished, object_best.npz, object_last.npz, and foreign_phase.json for simulated data
    with a phase. `progress(epoch, epochs, row)` is called
    after every epoch. `device` None is CUDA where there is one, else the CPU. On several `devices`
    the result is that of one, up to rounding (`ranks`). A settled run is not changed.

    Raises UserError for settings that cannot work and for a folder that holds another run, and
    KeyboardInterrupt after SIGTERM or Ctrl-C. Any other error leaves the state `stopped` and its
    cause, and is raised again.
    """
    if folder.settled:
        return
    check(arm, dataset.manifest.n, dataset.manifest.group_size, devices)
    with listening() as stop, folder.heartbeat(), _accounted(folder):
        ranks = Ranks(0, devices)
        run = prepare(arm, dataset, seed, folder, device or ranks.device, ranks)
        checkpoints = CheckpointCallback(run, folder, stop, progress)
        cause = _train(
            run, dataset, [*callbacks(diagnose, folder, dataset), checkpoints], checkpoints
        )
        _conclude(run, dataset, folder, stop, cause, checkpoints.event())


@contextlib.contextmanager
def _accounted(folder: RunFolder) -> Iterator[None]:
    """Whatever ends the body early ends as a state with a cause."""
    try:
        yield
    except Cancelled as error:
        folder.finish("cancelled", cause=str(error))
        raise KeyboardInterrupt(str(error)) from None
    except KeyboardInterrupt:
        folder.finish("cancelled", cause="stopped by SIGINT")
        raise
    except BaseException as error:
        folder.finish("stopped", cause=f"{type(error).__name__}: {error}")
        raise


# --- before training --------------------------------------------------------------------------


def prepare(
    arm: Arm, dataset: Dataset, seed: int, folder: RunFolder, device: torch.device, ranks: Ranks
) -> Run:
    """The run as it starts or resumes, with its effective settings and floors on disk.

    Raises UserError, with nothing written, if a built object does not have the requested setting.
    """
    run = build_run(arm, dataset, seed, device, ranks)
    refuse_differences(leaves(arm), describe(run, dataset), str(folder.path))
    state = load_checkpoint(folder)
    if state is not None:
        _resume(run, state, folder)
    write_yaml(folder.path / "params.yaml", describe(run, dataset))
    folder.update_status(
        state="running",
        cause=None,
        epoch=run.module.epoch,
        epochs=arm.epochs,
        floors=floors(dataset, device),
    )
    return run


def _resume(run: Run, state: State, folder: RunFolder) -> None:
    if state["identity"] != run.identity:
        differing = sorted(
            key
            for key in state["identity"].keys() | run.identity.keys()
            if state["identity"].get(key) != run.identity.get(key)
        )
        raise UserError(
            f"{folder.path} holds an unfinished run that differs in {', '.join(differing)}; choose "
            "another folder or remove this one"
        )
    run.module.load_state_dict_of_run(state["run"])
    epoch, steps = run.module.epoch, len(run.module.records)
    folder.event("resumed", epoch=epoch, steps=steps)
    folder.log(f"resumed after epoch {epoch} and {steps} steps")


# --- training ---------------------------------------------------------------------------------


def _train(
    run: Run, dataset: Dataset, watchers: list[lightning.Callback], checkpoints: CheckpointCallback
) -> str | None:
    """All epochs that are left; returns why the run diverged, or None."""
    if run.module.epoch == run.arm.epochs or checkpoints.event() is not None:
        return None
    if not checkpoints.folder.checkpoint.is_file():
        checkpoints.save()
    try:
        with together(run.module.ranks, _help, (run.arm, dataset, run.seed)):
            _run_epochs(run, watchers)
    except Diverged as error:
        return str(error)
    return None


def _help(ranks: Ranks, arm: Arm, dataset: Dataset, seed: int) -> None:
    """The part of all ranks but the first: the same epochs, without writing."""
    _run_epochs(build_run(arm, dataset, seed, ranks.device, ranks), [])


def _run_epochs(run: Run, watchers: Sequence[lightning.Callback]) -> None:
    """The epochs that are left, on this rank. All take the state of rank 0, itself included: a
    state that was loaded may differ from one that was made in where its tensors lie."""
    module, ranks = run.module, run.module.ranks
    if ranks.several:
        module.load_state_dict_of_run(ranks.agree_on_state(module.state_dict_of_run()))
    with _quiet_lightning():
        _trainer(run, watchers).fit(module)


def _trainer(run: Run, watchers: Sequence[lightning.Callback]) -> lightning.Trainer:
    ranks = run.module.ranks
    # The processes are there already (`workers`): Lightning joins them.
    shared = DDPStrategy(process_group_backend=ranks.backend, timeout=TIMEOUT)
    return lightning.Trainer(
        accelerator="gpu" if run.module.step.probe.device.type == "cuda" else "cpu",
        devices=ranks.size,
        strategy=shared if ranks.several else "auto",
        max_epochs=run.arm.epochs - run.module.epoch,
        callbacks=[*watchers],
        use_distributed_sampler=False,  # every rank's batches are its pieces already
        # Slurm jobs are requeued by our own launcher, not by Lightning's guess at the environment.
        plugins=[LightningEnvironment()],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
    )


@contextlib.contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Lightning's banners (devices, tips, `max_epochs reached`) are not news; its warnings are.

    Three warnings are left out: its use of a torch name that torch renamed, that a GPU is not used
    where the CPU was asked for, as by a fingerprint, and that `srun` is not used where Slurm is.
    """
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r".*LeafSpec.*is deprecated", FutureWarning)
            warnings.filterwarnings("ignore", "GPU available but not used", UserWarning)
            warnings.filterwarnings("ignore", "The `srun` command is available", UserWarning)
            yield
    finally:
        logger.setLevel(level)


# --- after training ---------------------------------------------------------------------------


def _conclude(
    run: Run,
    dataset: Dataset,
    folder: RunFolder,
    stop: Stop,
    cause: str | None,
    event: Event | None,
) -> None:
    """Store weights, reconstruct from the stored files, write the last state."""
    module = run.module
    if cause is None:
        save_weights(folder.last, module.generator, run.network, module.epoch)
    stored, correlations = {}, {}
    foreign = ForeignTest.of(dataset, folder)
    for which in ("best", "last"):
        if weights_file(folder, which).is_file():
            stop.check()
            generator = store_reconstruction(folder, which, dataset, module.step.probe.device)
            stored[which] = stored_facts(generator, module)
            if foreign is not None:
                correlations[which] = foreign.correlations(generator)
    if correlations:
        store_foreign_phase(folder, correlations)
    state, cause = last_state(folder, cause, event)
    folder.finish(state, cause=cause, stored=stored)
    remove_checkpoints(folder)


def last_state(
    folder: RunFolder, diverged: str | None, event: Event | None = None
) -> tuple[str, str | None]:
    """failed where the loss diverged, collapsed at a survival run's event and where the alarm still
    rings, else finished."""
    if diverged is not None:
        return "failed", diverged
    if event is not None:
        return "collapsed", f"{event.kind} in epoch {event.epoch}, seen in epoch {event.seen_at}"
    since = collapsed_at_epoch(folder)
    return ("finished", None) if since is None else ("collapsed", f"collapsed since epoch {since}")


def stored_facts(generator: nn.Module, module: Reconstructor) -> HistoryRow:
    """Validation losses of the stored weights, to which the images belong."""
    step = module.step
    return evaluate(generator, step.probe, step.photon_scale, module.validation_data, step.loss)

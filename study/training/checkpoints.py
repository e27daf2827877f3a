"""Weights and checkpoints on disk: written whole, read without pickle.

    best.pt, last.pt         network by name and options, its weights, the epoch they are from
    checkpoint.pt            everything a run needs to continue, only while it is unfinished
    checkpoint.previous.pt   the one before, for a disk that lost the newest

Weights are float32 while the run is unfinished. At its end they are stored as float16 and
reconstructed from that very file, so what is scored is what is kept. Weights that float16 cannot
hold (over 65504) stay float32; the file says which.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from study.generators import Generator, build
from study.reading import quoted
from study.runs import RunFolder, write_whole
from study.settings import GeneratorParams, UserError
from study.terminal import describe

State = dict[str, Any]
# What torch.load raises for a file that is cut short, overwritten, or something else.
BROKEN_FILE = (
    EOFError,
    RuntimeError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    pickle.UnpicklingError,
)


@dataclass(frozen=True)
class Network:
    """Everything needed to build a network again. `channels`: group size c."""

    params: GeneratorParams
    n: int
    channels: int

    def build(self, seed: int) -> Generator:
        return build(self.params, self.n, self.channels, seed)


def read_state(path: Path) -> State:
    """Content of a .pt file of tensors and plain values, on the CPU.

    Raises UserError when it is absent or cannot be read.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist; train the run, or `dvc pull` it")
    try:
        # torch warns of other pickle protocols, and asks for an issue.
        with warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {describe(error)}") from None
    except BROKEN_FILE:
        # torch's own message advises weights_only=False, which would run code from the file.
        raise UserError(
            f"{path} is damaged or not a file of weights; train the run again, or `dvc pull` it"
        ) from None


def write_state(path: Path, state: State) -> None:
    """Write `state` whole. Raises OSError for a full or missing disk."""

    def save(stream: Any) -> None:
        kept: Any = _Kept(stream)
        try:
            torch.save(state, kept)
        except RuntimeError:
            if kept.error is not None:
                raise kept.error from None
            raise

    write_whole(path, save)


class _Kept:
    """A stream that keeps the disk error, which torch replaces by one of its file format."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return self.stream.write(data)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.stream.flush()


# --- weights ----------------------------------------------------------------------------------


def save_weights(path: Path, generator: nn.Module, network: Network, epoch: int) -> None:
    """Write the weights of the network (float32)."""
    weights = {name: value.detach() for name, value in generator.state_dict().items()}
    write_state(path, _weights_file(weights, network, epoch))


def _weights_file(weights: dict[str, Tensor], network: Network, epoch: int) -> State:
    params = {"name": network.params.name, "options": dict(network.params.options)}
    facts = {"generator": params, "n": network.n, "channels": network.channels, "epoch": epoch}
    return {**facts, "weights": weights}


def halve_weights(path: Path) -> str:
    """Rewrite a file of weights as float16 where that holds them; returns the type it now has."""
    state = read_state(path)
    halved = {name: _half(value) for name, value in state["weights"].items()}
    if not all(bool(value.isfinite().all()) for value in halved.values()):
        return "float32"
    write_state(path, {**state, "weights": halved})
    return "float16"


def _half(value: Tensor) -> Tensor:
    return value.half() if value.is_floating_point() else value


def load_weights(path: Path) -> tuple[nn.Module, Network, int]:
    """The stored network in evaluation mode (float32, CPU), what it is, and its epoch.

    Raises UserError when the file is absent, torn, or of another architecture.
    """
    state = read_state(path)
    try:
        params = GeneratorParams.model_validate(state["generator"])
        network = Network(params, state["n"], state["channels"])
        generator = network.build(seed=0)
        generator.load_state_dict(state["weights"])  # copies into the network's own float32
    except (LookupError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        raise UserError(
            f"{path} holds weights of another version of the network "
            f"({quoted(str(error))}); train it again"
        ) from None
    return generator.eval(), network, state["epoch"]


# --- checkpoints ------------------------------------------------------------------------------


def _previous(folder: RunFolder) -> Path:
    return folder.checkpoint.with_name("checkpoint.previous.pt")


def save_checkpoint(folder: RunFolder, state: State) -> None:
    """Write checkpoint.pt; the one it replaces stays as the previous one.

    A kill at any moment leaves checkpoint.pt whole: the old file gets its second name by a link.
    """
    if folder.checkpoint.is_file():
        link = folder.checkpoint.with_name(f".checkpoint.{os.getpid()}.tmp")
        while True:
            link.unlink(missing_ok=True)
            link.hardlink_to(folder.checkpoint)
            with contextlib.suppress(FileNotFoundError):  # another process removed it as abandoned
                link.replace(_previous(folder))
                break
    write_state(folder.checkpoint, state)


# Epochs whose checkpoints a traced run keeps: the event shows one or two epochs after it happened.
KEPT_EPOCHS = 4


def kept_checkpoint(folder: RunFolder, epoch: int) -> Path:
    """Where a traced run keeps the checkpoint from the end of `epoch`."""
    return folder.path / "checkpoints" / f"epoch_{epoch:03d}.pt"


def keep_checkpoint(folder: RunFolder, epoch: int) -> None:
    """Give the newest checkpoint, that of `epoch`, a second name; drop the oldest of those kept."""
    kept = kept_checkpoint(folder, epoch)
    kept.parent.mkdir(exist_ok=True)
    kept.unlink(missing_ok=True)
    kept.hardlink_to(folder.checkpoint)
    for old in sorted(kept.parent.glob("epoch_*.pt"))[:-KEPT_EPOCHS]:
        old.unlink()


def load_checkpoint(folder: RunFolder) -> State | None:
    """The newest checkpoint that can be read, None when there is none; a bad one is reported."""
    return next(_readable(folder), None)


def _readable(folder: RunFolder) -> Iterator[State]:
    for path in (folder.checkpoint, _previous(folder)):
        if not path.is_file():
            continue
        try:
            yield read_state(path)
        except UserError as error:
            folder.event("checkpoint_unreadable", file=path.name, cause=str(error))
            folder.log(f"{error}; trying the previous one")


def remove_checkpoints(folder: RunFolder) -> None:
    """A finished run needs no optimiser state."""
    for path in (folder.checkpoint, _previous(folder)):
        path.unlink(missing_ok=True)

"""The base class of all networks.

    amplitude (b, c, n, n) --input transform--> features --head--> object patch (b, c, n, n) complex

Design choices
- c, the group size, and n, the window in px, are the data's; everything else is an option, spelled
  in full in YAML and checked by the network's own frozen model (`options`).
- The input is measured amplitude, without positions. A network may ask for the patch that its
  pattern gives by one step through the known probe (`wants_back_projection`), as two more input
  channels or added to its output, or for the probe itself (`wants_probe`);
  `training.conditioning` provides both.
- Memory is channels_last from end to end, for the convolutions and the spectral layers alike.
- `head` is the module of the output layers, so that a clip rule can leave it out.
- `precision` bf16: the network computes under autocast, weights and result stay float32.
- `effective()` is read from the live modules, never from the options that asked for them.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Complex, Float
from pydantic import ConfigDict
from torch import Tensor, nn

from study.generators.blocks import PtychoBlock
from study.generators.heads import INPUT_TRANSFORMS, Inputs, InputTransform, Start
from study.generators.spectral import SpectralConv2d
from study.settings import Model, Precision, UserError


class Options(Model):
    """Options of one network, none with a default; "12" is not a number and 4.0 no count."""

    model_config = ConfigDict(strict=True)


class Generator(nn.Module, ABC):
    """Measured amplitude (b, c, n, n) to object patch (b, c, n, n) complex64, O of the physics."""

    options: ClassVar[type[Options]]
    head: nn.Module

    wants_probe: ClassVar[bool] = False
    # Whether the global phases of its patches are synchronised before they are stitched; None, for
    # a network without this option: as the data set asks of all its rows.
    synchronise: bool | None = None

    back_project: Callable[[Tensor], Tensor] | None

    def __init__(
        self,
        channels: int,
        n: int,
        input_transform: InputTransform,
        inputs: Inputs = "amplitude",
        start: Start = "zero",
    ) -> None:
        super().__init__()
        self.channels, self.n = channels, n
        self.input_transform: InputTransform = input_transform
        self.inputs: Inputs = inputs
        self.start: Start = start
        self.back_project = None
        self._probe: Tensor | None = None
        self.known: Tensor | None = None
        self.precision: Precision = "fp32"

    @classmethod
    def from_options(cls, options: Options, *, n: int, channels: int) -> Generator:
        """The network of these options for windows of n px and c = `channels`."""
        # Every network's own __init__ takes these three.
        return cls(options, n, channels)  # pyright: ignore[reportArgumentType]

    @classmethod
    @abstractmethod
    def check_geometry(cls, options: Any, n: int) -> None:
        """Raise UserError with the numbers when the network does not fit n x n pixels."""

    @abstractmethod
    def features(self, x: Float[Tensor, "b c n n"]) -> Any:
        """From transformed amplitude to what `head` takes, channels_last."""

    @abstractmethod
    def channels_per_level(self) -> list[int]:
        """Widths of the network in order of depth, one per level or block."""

    def channels_last(self) -> None:
        """Bring the weights into the memory order of the features; at the end of every __init__."""
        self.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, amplitude: Float[Tensor, "b c n n"]) -> Complex[Tensor, "b c n n"]:
        """Dimensionless amplitude X to object patch O.

        Raises UserError when the patterns are not those that the network was built for.
        """
        expected = (self.channels, self.n, self.n)
        if tuple(amplitude.shape[1:]) != expected:
            raise UserError(
                f"the network takes patterns of (c, n, n) = {expected} but got "
                f"{tuple(amplitude.shape[1:])}; build it for this data"
            )
        x = INPUT_TRANSFORMS[self.input_transform](amplitude)
        back = self._back_projected(amplitude)
        if self.inputs == "with_back_projection":
            x = torch.cat([x, back.real, back.imag], dim=1)
        with self._computing(amplitude.device):
            patch = self.head(self.features(x.contiguous(memory_format=torch.channels_last)))
        return patch if self.start == "zero" else patch + (1 if self.start == "one" else back)

    @property
    def wants_back_projection(self) -> bool:
        return self.inputs == "with_back_projection" or self.start == "back_projection"

    def learn_probe(
        self,
        probe: Complex[Tensor, "n n"],
        photon_scale: float | None,
        known: Bool[Tensor, "n n"] | None = None,
    ) -> None:
        """Store the known probe (P_sim units) and the noise of an amplitude, 1 / (2 S).

        Without `photon_scale` the noise stays that of the weights. `known`: measured pixels of the
        detector, None for all.
        """
        self._probe, self.known = probe, known
        noise = getattr(self, "noise", None)
        if isinstance(noise, Tensor) and photon_scale is not None:
            noise.fill_(0.5 / photon_scale)

    @property
    def probe(self) -> Complex[Tensor, "n n"]:
        """The known probe. Raises UserError when it has not been provided."""
        if self._probe is None:
            raise UserError(
                "this network computes with the known probe, which was not provided; call "
                "study.training.conditioning.provide_probe(network, probe, photon_scale) first"
            )
        return self._probe

    def _back_projected(self, amplitude: Float[Tensor, "b c n n"]) -> Tensor:
        if not self.wants_back_projection:
            return amplitude
        if self.back_project is None:
            raise UserError(
                "this network needs the known probe, which was not provided; "
                "call study.training.conditioning.provide_probe(network, probe) first"
            )
        with torch.no_grad():
            return self.back_project(amplitude)

    def _computing(self, device: torch.device) -> contextlib.AbstractContextManager[Any]:
        if self.precision == "bf16":
            return torch.autocast(device.type, torch.bfloat16)
        return contextlib.nullcontext()

    def effective(self) -> dict[str, Any]:
        """Description of the network as plain JSON values."""
        return {
            "network": type(self).__name__,
            "n": self.n,
            "channels": self.channels,
            "input_transform": self.input_transform,
            "inputs": self.inputs,
            "start": self.start,
            "knows_probe": self.back_project is not None or self._probe is not None,
            "head": type(self.head).__name__,
            "parameters": count(self.parameters()),
            "spectral_parameters": sum(count(m.parameters()) for m in _layers(self)),
            "channels_per_level": self.channels_per_level(),
            "blocks": {
                name: _describe(module)
                for name, module in self.named_modules()
                if isinstance(module, PtychoBlock)
            },
        }


def count(parameters: Iterable[Tensor]) -> int:
    """Stored real numbers; a complex weight is two."""
    return sum(p.numel() for p in parameters)


def _layers(network: nn.Module) -> list[SpectralConv2d]:
    return [module for module in network.modules() if isinstance(module, SpectralConv2d)]


def _describe(block: PtychoBlock) -> dict[str, Any]:
    spectral, norm, scale = block.spectral, block.norm, block.layerscale
    return {
        "block": type(block).__name__,
        "channels": block.local_conv.out_channels,
        "mode_set": spectral.mode_set,
        "modes": spectral.modes,
        "modes_kept": [len(spectral.ky), len(spectral.kx)],
        "spectral_init": spectral.init,
        "norm": None if norm is None else type(norm).__name__,
        "layerscale": scale is not None,
    }

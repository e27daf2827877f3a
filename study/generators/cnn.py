"""PtychoNN-like convolutional network: one encoder, a decoder each for amplitude and phase.

                                        /-> decoder 4w 2w w -> Conv3x3 -> sigmoid    -> |O|
    X -> encoder w 2w 4w (n/8 at the end)
                                        \\-> decoder 4w 2w w -> Conv3x3 -> pi tanh   -> arg O

    encoder level   2 x [Conv3x3 - ReLU], max pool 2
    decoder level   2 x [Conv3x3 - ReLU], nearest-neighbour upsampling by 2

Convolutions before a ReLU start with He et al. 2015 (arXiv:1502.01852) weights: torch's default
shrinks the signal 2.4 times a layer, so that after these 12 every pattern gave nearly one patch.

PtychoNN: Cherukara et al. 2020, Appl. Phys. Lett. 117, 044103, doi:10.1063/5.0013065. What it is
not: a U-Net, there are no skip connections, so everything passes the n/8 grid; and not unbounded:
|O| < 1 clips what is brighter than `object_norm` (see heads.py). With the loss `supervised` it is
the supervised baseline.

Size at w = 64: 4,612,418 real numbers, whatever n.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar

from jaxtyping import Complex, Float
from torch import Tensor, nn

from study.generators.base import Generator, Options
from study.generators.heads import InputTransform, bounded
from study.settings import Channels, UserError

LEVELS = 3


class CnnOptions(Options):
    width: Channels
    input_transform: InputTransform


class CnnGenerator(Generator):
    """See the module docstring."""

    options: ClassVar[type[Options]] = CnnOptions

    def __init__(self, options: CnnOptions, n: int, channels: int) -> None:
        super().__init__(channels, n, options.input_transform)
        check_pooling(n)
        width = options.width
        widths = [width << level for level in range(LEVELS)]
        self.encoder = _levels([channels, *widths], lambda: nn.MaxPool2d(2))
        self.amplitude = _levels([widths[-1], *widths[::-1]], _up)
        self.phase = _levels([widths[-1], *widths[::-1]], _up)
        self.head = BoundedHead(width, channels)
        self.channels_last()

    @classmethod
    def check_geometry(cls, options: CnnOptions, n: int) -> None:
        check_pooling(n)

    def features(self, x: Float[Tensor, "b c n n"]) -> tuple[Tensor, Tensor]:
        code = self.encoder(x)
        return self.amplitude(code), self.phase(code)

    def channels_per_level(self) -> list[int]:
        convs = [module for module in self.encoder if isinstance(module, nn.Conv2d)]
        return [conv.out_channels for conv in convs[1::2]]


class BoundedHead(nn.Module):
    """The last convolution of each decoder and its bound."""

    def __init__(self, width: int, channels: int) -> None:
        super().__init__()
        self.amplitude = nn.Conv2d(width, channels, 3, padding=1)
        self.phase = nn.Conv2d(width, channels, 3, padding=1)

    def forward(
        self, decoded: tuple[Float[Tensor, "b w n n"], Float[Tensor, "b w n n"]]
    ) -> Complex[Tensor, "b c n n"]:
        amplitude, phase = decoded
        return bounded(self.amplitude(amplitude), self.phase(phase))


def _up() -> nn.Module:
    return nn.Upsample(scale_factor=2, mode="nearest")


def _levels(widths: list[int], resample: Callable[[], nn.Module]) -> nn.Sequential:
    """Two Conv3x3 - ReLU to each width after the first, then `resample()`."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        for inputs in (before, after):
            conv = nn.Conv2d(inputs, after, 3, padding=1)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            layers += [conv, nn.ReLU()]
        layers.append(resample())
    return nn.Sequential(*layers)


def check_pooling(n: int) -> None:
    """Raise UserError unless n halves three times."""
    if n % 2**LEVELS:
        raise UserError(
            f"cnn does not fit n = {n}: it halves the grid {LEVELS} times and {n}/{2**LEVELS} is "
            f"not whole; choose an n that is a multiple of {2**LEVELS}"
        )

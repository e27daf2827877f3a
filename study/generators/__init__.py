"""The networks: measured amplitude in, complex object patch out.

One file a network and one line in `GENERATORS`; everything here and every table-wide test then
includes it. A network's options are a frozen model beside it, checked before anything is allocated.

    parse           params -> (class, options)
    check_geometry  params, n -> the same, or UserError with the numbers
    size            params, n, channels -> Size, nothing allocated
    build           params, n, channels, seed -> the network, on the CPU
"""

from __future__ import annotations

import torch
from pydantic import ValidationError

from study.generators.base import Generator, Options
from study.generators.cnn import CnnGenerator
from study.generators.fno import CascadedFNOGenerator
from study.generators.hybrid import HybridUNOGenerator
from study.generators.size import Size, measure
from study.generators.stable_hybrid import StableHybridUNOGenerator
from study.generators.unrolled import UnrolledGenerator
from study.reading import quoted
from study.settings import GeneratorParams, UserError, explain, nearest

GENERATORS: dict[str, type[Generator]] = {
    "hybrid": HybridUNOGenerator,
    "stable_hybrid": StableHybridUNOGenerator,
    "fno": CascadedFNOGenerator,
    "cnn": CnnGenerator,
    "unrolled": UnrolledGenerator,
}


def parse(params: GeneratorParams) -> tuple[type[Generator], Options]:
    """The class and the checked options of a generator.

    Raises UserError for an unknown name and for every option that is unknown, missing, of the wrong
    type or out of range.
    """
    if params.name not in GENERATORS:
        raise UserError(
            f"generator {quoted(params.name)} is unknown{nearest(params.name, GENERATORS)}"
        )
    cls = GENERATORS[params.name]
    try:
        return cls, cls.options.model_validate(dict(params.options))
    except ValidationError as error:
        problems = explain(error, params.options, "", cls.options)
        raise UserError(f"generator {params.name}: {problems}") from None


def check_geometry(params: GeneratorParams, n: int) -> tuple[type[Generator], Options]:
    """`parse`, and UserError with the numbers when the network does not fit n x n pixels."""
    cls, options = parse(params)
    cls.check_geometry(options, n)
    return cls, options


def size(params: GeneratorParams, n: int, channels: int) -> Size:
    """Parameters and memory of a network for c = `channels` and n px, nothing allocated.

    Raises UserError as `check_geometry` does.
    """
    cls, options = check_geometry(params, n)
    return measure(cls, options, n, channels)


def build(params: GeneratorParams, n: int, channels: int, seed: int) -> Generator:
    """The network for c = `channels` and n px, float32 on the CPU, with weights drawn from `seed`.

    The global random stream is not changed. Weights are drawn on the CPU, so that a seed gives the
    same network on every machine. Raises UserError as `check_geometry` does.
    """
    cls, options = check_geometry(params, n)
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        return cls.from_options(options, n=n, channels=channels)

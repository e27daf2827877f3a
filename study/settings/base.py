"""The model that every setting is made of, bounded numbers, and names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from study.reading import UserError, quoted

NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


class Model(BaseModel):
    """Frozen, strict about keys, finite numbers only."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @classmethod
    def known_keys(cls) -> list[str]:
        """The keys that a file may give this model."""
        return list(cls.model_fields)


Scalar = StrictBool | StrictInt | StrictFloat | StrictStr | None
Positive = Annotated[float, Field(gt=0)]
# Upper bounds, far above any use: they refuse a slip of the keyboard before it takes all memory.
MOST = 1_000_000  # epochs, passes, patterns per batch, lines: counts that a loop or an array takes
LARGEST_PX = 32_768  # a complex64 canvas of this side has 8.6 GB
WIDEST = 16_384  # channels; one 3x3 convolution between two such layers has 9.7 GB of weights
MOST_SEEDS = 1000
MOST_NAMED = 8  # names that a sentence lists
BRIGHTEST = 1e12  # photons per pattern
Count = Annotated[int, Field(ge=1, le=MOST)]
CountOrZero = Annotated[int, Field(ge=0, le=MOST)]
Pixels = Annotated[int, Field(ge=1, le=LARGEST_PX)]
Channels = Annotated[int, Field(ge=1, le=WIDEST)]
Length = Annotated[float, Field(gt=0, le=LARGEST_PX)]  # in px
LengthOrZero = Annotated[float, Field(ge=0, le=LARGEST_PX)]
LARGEST_FACTOR = 1e6  # learning rates, weights of terms, radians: a float32 holds their products
LARGEST_LIMIT = 1e12  # of a gradient, which nothing reaches
Factor = Annotated[float, Field(gt=0, le=LARGEST_FACTOR)]
FactorOrZero = Annotated[float, Field(ge=0, le=LARGEST_FACTOR)]
Photons = Annotated[float, Field(gt=0, le=BRIGHTEST)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1, max_length=MOST_SEEDS)]


def check_once(seeds: Sequence[int]) -> None:
    """Raise ValueError for seeds that repeat."""
    if len(set(seeds)) < len(seeds):
        raise ValueError(f"seeds {quoted(list(seeds))} repeat; list every seed once")


def check_name(name: str) -> str:
    """A name that is safe as a file name: lower-case letters, digits, underscores.

    Raises UserError for anything else, path parts above all.
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"{quoted(name)} is not a name; accepted: up to 64 lower-case letters, digits and "
            "underscores, starting with a letter"
        )
    return name


def nearest(name: str, known: Any) -> str:
    """`; did you mean 'x'?` or what is known, for the end of a sentence: all of a few names, and
    of many how many there are and the first ones."""
    options = sorted(str(option) for option in known)
    match = difflib.get_close_matches(name, options, n=1)
    if match:
        return f"; did you mean {match[0]!r}?"
    if len(options) > MOST_NAMED:
        return f"; {len(options)} are known, for example {', '.join(options[:3])}"
    return f"; known: {', '.join(options)}"


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds as people write them: (1, 2, 3, 11) is "1-3, 11" (`study.editing.arms.parse_seeds`)."""
    parts: list[list[int]] = []
    for seed in seeds:
        if parts and seed == parts[-1][-1] + 1:
            parts[-1].append(seed)
        else:
            parts.append([seed])
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts)

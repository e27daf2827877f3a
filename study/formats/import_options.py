"""Options of an import: what the user knows better than the data, and what the manifest keeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from study.formats.conventions import Given
from study.formats.measured import Values, ZeroFrequency
from study.formats.orientation import ORIENTATIONS, Orientation
from study.formats.positions import Beside
from study.formats.readers import hash_of
from study.settings import Model, Positive, UserError, explain


class Overrides(Model):
    """What the user knows better; None means: find it from the data.

    `frame_orientation`: how stored frames are moved to agree with the positions; `position_flip`:
    which axes of the positions run backwards. `beam_offset`: (y, x) px by which the direct beam is
    off the pixel n // 2 (or the corner). `position_scale`: factor on all positions; 1 takes them as
    stated, without a search. `bin`: detector pixels added along each axis. `accept`: number
    of the row to take of the table that an unclear search ends with. `left_out`: largest share of
    frames that may be unusable.
    `photons_per_pattern`: rescales the patterns to this mean, for files whose unit is not the
    photon.
    """

    values: Values | None = None
    zero_frequency: ZeroFrequency | None = None
    position_order: Literal["yx", "xy"] | None = None
    position_flip: Literal["none", "y", "x", "both"] | None = None
    photons_per_pattern: Positive | None = None
    frame_orientation: Orientation | None = None
    beam_offset: tuple[int, int] | None = None
    position_scale: Positive | None = None
    bin: Annotated[int, Field(ge=2, le=64)] | None = None
    accept: Annotated[int, Field(ge=1, le=3)] | None = None
    left_out: Annotated[float, Field(ge=0, lt=1)] = 0.1

    def request(self) -> dict[str, Any]:
        """What the manifest keeps; options that came later only where they are used."""
        every = self.model_dump(mode="json")
        later = {"frame_orientation", "beam_offset", "position_scale", "bin", "accept"}
        kept = {k: v for k, v in every.items() if k not in later or v is not None}
        return {k: v for k, v in kept.items() if k != "left_out" or v != 0.1}

    def limits(self, n: int) -> Given:
        """The part of them that a search has to respect, for patterns of n px."""
        positions = None
        if self.position_order is not None or self.position_flip is not None:
            positions = (self.position_order or "yx", self.position_flip or "none")
        frames = None if self.frame_orientation is None else ORIENTATIONS[self.frame_orientation]
        fixed = Given(self.values, None, self.zero_frequency, frames, positions)
        if self.zero_frequency is None:
            return fixed
        home = n // 2 if self.zero_frequency == "corner" else 0
        y, x = self.beam_offset or (0, 0)
        whole = self.beam_offset is not None or (self.values and frames and positions)
        return replace(fixed, shift=(home - y, home - x)) if whole else fixed


def request_of_import(
    path: Path, probe: Path | None = None, beside: Beside | None = None, **overrides: Any
) -> tuple[Overrides, dict[str, Any]]:
    """The options, checked, and what the manifest keeps of the request: names and hashes.

    Names, not paths: the manifest must not depend on the machine. Raises UserError for an unknown
    option and for files that cannot be read.
    """
    try:
        chosen = Overrides.model_validate(overrides)
    except ValidationError as error:
        raise UserError(f"import: {explain(error, overrides, '', Overrides)}") from None
    files = {"file": Path(path), "probe": None if probe is None else Path(probe)}
    names = {key: None if file is None else file.name for key, file in files.items()}
    hashes = {f"{key}_sha256": hash_of(file) for key, file in files.items() if file is not None}
    more = {} if beside is None else beside.request()
    return chosen, {**names, **hashes, **chosen.request(), **more}

"""Options of the commands that read a scan file, as one object."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_type_hints

import typer

from study.formats.orientation import Orientation

if TYPE_CHECKING:
    from study.formats.scan_request import ScanRequest

BESIDE = ("positions", "position_units", "step_px", "crop", "mask")


@dataclass(frozen=True)
class ScanOptions:
    """The user's statements about a scan; the rest is taken from the file or determined from the
    data."""

    probe: Annotated[Path | None, typer.Option(help="File whose probe replaces the stored one")] = (
        None
    )
    positions: Annotated[
        str | None, typer.Option(help="Positions (y, x): csv, npy or FILE.h5:/path")
    ] = None
    position_units: Annotated[
        str | None, typer.Option(help="Units of positions that state none: px, m, um, nm, ...")
    ] = None
    position_scale: Annotated[
        float | None,
        typer.Option(help="Factor on all positions; 1 takes them as stated, without a search"),
    ] = None
    step_px: Annotated[
        tuple[float, float] | None, typer.Option(help="Raster step (y, x) of a 4D-STEM scan")
    ] = None
    crop: Annotated[
        int | None, typer.Option(min=4, help="Side of the square around the beam, px")
    ] = None
    bin: Annotated[
        int | None, typer.Option(min=2, help="Detector pixels to add along each axis")
    ] = None
    values: Annotated[
        Literal["detect", "counts", "amplitudes"], typer.Option(help="Quantity of the pixels")
    ] = "detect"
    zero_frequency: Annotated[
        Literal["detect", "corner", "centre"], typer.Option(help="Position of the direct beam")
    ] = "detect"
    frame_orientation: Annotated[
        Orientation | None,
        typer.Option(help="How frames are moved to agree with the positions"),
    ] = None
    position_order: Annotated[
        Literal["detect", "yx", "xy"], typer.Option(help="Order of the position columns")
    ] = "detect"
    position_flip: Annotated[
        Literal["detect", "none", "y", "x", "both"], typer.Option(help="Reversed position axes")
    ] = "detect"
    beam_offset: Annotated[
        tuple[int, int] | None, typer.Option(help="Direct beam off centre by (y, x) px")
    ] = None
    mask: Annotated[
        Path | None,
        typer.Option(help="Bad pixels, not zero: npy, npz, HDF5, MATLAB, TIFF or PNG"),
    ] = None
    left_out: Annotated[
        float | None, typer.Option(help="Largest share of unusable frames (default 0.1)")
    ] = None
    accept: Annotated[
        int | None, typer.Option(min=1, max=3, help="Row of the table of an unclear search")
    ] = None

    def request(self) -> ScanRequest:
        """The same options as an object of the library."""
        from study.formats.positions import Beside
        from study.formats.scan_request import ScanRequest

        beside = (self.positions, self.position_units, self.step_px, self.crop, self.mask)
        stated = any(each is not None for each in beside)
        return ScanRequest(self.overrides(), self.probe, Beside(*beside) if stated else None)

    def overrides(self) -> dict[str, Any]:
        """Fields of `study.formats.import_options.Overrides` that were given."""
        given = {each.name: getattr(self, each.name) for each in fields(self)}
        return {
            name: value
            for name, value in given.items()
            if name not in ("probe", *BESIDE) and value not in ("detect", None)
        }


def with_options(**groups: type) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Turn the arguments of a command that are named in `groups` into one option per field.

    `@with_options(options=ScanOptions)`: Typer reads the options of a command from its signature,
    where those of a group take the place of its argument.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def spelled_out(**given: Any) -> None:
            objects = {
                name: kind(**{each.name: given.pop(each.name) for each in fields(kind)})
                for name, kind in groups.items()
            }
            command(**given, **objects)

        every = [
            parameter
            for each in inspect.signature(command, eval_str=True).parameters.values()
            for parameter in (
                _options(groups[each.name])
                if each.name in groups
                else [each.replace(kind=inspect.Parameter.KEYWORD_ONLY)]
            )
        ]
        spelled_out.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
        spelled_out.__annotations__ = {each.name: each.annotation for each in every}
        del spelled_out.__wrapped__  # type: ignore[attr-defined]
        return spelled_out

    return decorate


def _options(kind: type) -> list[inspect.Parameter]:
    """One parameter per field of a dataclass whose annotations are those of Typer."""
    hints = get_type_hints(kind, include_extras=True)
    return [
        inspect.Parameter(
            each.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=each.default,
            annotation=hints[each.name],
        )
        for each in fields(kind)
    ]

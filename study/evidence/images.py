"""results/<arm>/images.png: one reconstruction next to the true object, small enough for git.

    amplitude   truth | reconstruction
    phase       truth | reconstruction

8-bit grey, at most 30 kB, so that a fresh clone has an image of every arm before any pull.

Design choices
- The seed is the one with the median validation loss of the best weights (of two, the lower);
  failed and collapsed runs rank last. If it has no reconstruction, only the true object is shown.
- Both images are rotated to the mean phase of the true object (`study.metrics.standard`) and have
  its range. For a measured data set, the ranges are those of the reconstruction.
- Panels larger than 84 px are reduced by area: the mean of |O|, and the angle of the mean of O.
- The bytes depend only on the pixels, which are stored uncompressed because compression differs
  between builds of zlib. Seed, ranges and region are in the text chunk `armature` (JSON), so that
  any PNG reader can recover the values.
"""

from __future__ import annotations

import io
import json
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from jaxtyping import Complex, Float, UInt8
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field

from study.evidence.model import ArmFinding
from study.formats.dataset import Split
from study.formats.reconstruction import Reconstruction, load_reconstruction
from study.metrics import METRIC_SETS
from study.metrics.gauge import angle
from study.metrics.pair import checked_scene
from study.reading import read_bytes
from study.runs import RunFolder, write_whole
from study.settings import UserError

NAME = "images.png"
LARGEST_BYTES = 64_000
SIDE_PX = 84  # two rows of two panels: 28,224 bytes
FLAT = 1e-9  # rounding of a constant
SIGNATURE = b"\x89PNG\r\n\x1a\n"
KEYWORD = b"armature\0"
PANELS = ("truth", "reconstruction")
CHANNELS = ("amplitude", "phase")

Panel = Literal["truth", "reconstruction"]
Range = tuple[float, float]
Object = Complex[np.ndarray, "h w"]


class Facts(BaseModel):
    """The metadata of an image file.

    `seed`: seed of the run; `checkpoint`: best, only (a reference) or none; `region`: [y0, x0, y1,
    x1] in object px; `amplitude` (object units), `phase` (rad): values of the grey levels 0 and
    255. `panels`: columns from left to right; empty if there is nothing to show.
    """

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)
    seed: int
    checkpoint: str
    region: Annotated[list[int], Field(min_length=4, max_length=4)]
    amplitude: Annotated[list[float], Field(min_length=2, max_length=2)]
    phase: Annotated[list[float], Field(min_length=2, max_length=2)]
    panels: list[Panel]


def median_seed(scored: Mapping[int, Mapping[str, Any]]) -> int:
    """The seed with the median validation loss of the best weights; failed runs rank last."""

    def rank(seed: int) -> tuple[bool, float, int]:
        best = scored[seed]["best"]
        loss = None if best is None else best["val_loss"]
        return scored[seed]["outcome"] != "ok", math.inf if loss is None else loss, seed

    return sorted(scored, key=rank)[(len(scored) - 1) // 2]


def write_images(file: Path, seed: int, run: RunFolder, split: Split) -> None:
    """Write the image file for the best reconstruction of a run (the first of several images)."""
    result = _stored(run)
    truth = None if split.obj is None or result is None else _cropped(split, result)
    pair = {"truth": truth, "reconstruction": None if result is None else result.object[0]}
    if truth is None and result is None and split.obj is not None:
        pair["truth"] = split.obj[0]
    panels = _aligned({name: image for name, image in pair.items() if image is not None})
    ranges = {channel: _range(channel, panels) for channel in CHANNELS}
    facts = Facts(
        seed=seed,
        checkpoint="none" if result is None else result.checkpoint,
        region=[0, 0, 0, 0] if result is None else [int(edge) for edge in result.region],
        panels=[name for name in PANELS if name in panels],
        **{channel: list(found) for channel, found in ranges.items()},
    )
    rows = [
        np.hstack(
            [_grey(_channel(channel, panels[name]), ranges[channel]) for name in facts.panels]
        )
        for channel in CHANNELS
        if facts.panels
    ]
    pixels = np.vstack(rows) if rows else np.zeros((1, 1), dtype=np.uint8)
    write_whole(file, lambda stream: stream.write(_png(pixels, facts)))


def read_images(file: Path, root: Path) -> tuple[Facts, dict[tuple[Panel, str], Image.Image]]:
    """Read metadata, and grey panels by (column, channel), each at most `SIDE_PX` wide and high.

    Size, format, dimensions and metadata of the file are checked before its pixels are read. Raises
    FileNotFoundError, and UserError for an invalid file or a link that leads out of the checkout
    `root`.
    """
    if not file.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{file} is a link out of this checkout; replace it with the file")
    content = read_bytes(file, LARGEST_BYTES)
    try:
        picture = Image.open(io.BytesIO(content), formats=["PNG"])
        facts = Facts.model_validate_json(picture.info.get("armature", ""))
        columns = max(1, len(facts.panels))
        if picture.mode != "L" or max(picture.width / columns, picture.height / 2) > SIDE_PX:
            raise ValueError(f"{picture.mode}, {picture.width} x {picture.height} px")
        picture.load()
    except (ValueError, OSError, SyntaxError) as error:  # of pydantic and of Pillow
        raise UserError(
            f"{file} is not an image of this study ({str(error).splitlines()[0][:80]}); restore "
            f"it with `git checkout -- {file}`"
        ) from None
    w, h = picture.width // columns, picture.height // 2
    return facts, {
        (name, channel): picture.crop((i * w, j * h, (i + 1) * w, (j + 1) * h))
        for i, name in enumerate(facts.panels)
        for j, channel in enumerate(CHANNELS)
    }


def blank_channels(arm: ArmFinding, facts: Facts) -> dict[str, str]:
    """Channels of the shown seed without a score, with the reason."""
    checkpoint = "best" if facts.checkpoint == "only" else facts.checkpoint
    seed = f"s{facts.seed}"
    reasons = {c: arm.degenerate.get(f"{checkpoint}.{c}", {}).get(seed) for c in CHANNELS}
    return {channel: reason for channel, reason in reasons.items() if reason}


def _stored(run: RunFolder) -> Reconstruction | None:
    """The best reconstruction of a run; None if there is none or it is invalid (failed runs)."""
    try:
        result = load_reconstruction(run.object_file("best"))
    except UserError:
        return None
    return result if np.isfinite(result.object[0]).all() else None


def _cropped(split: Split, result: Reconstruction) -> Object:
    assert split.obj is not None
    y0, x0, y1, x1 = (int(edge) for edge in result.region)
    return split.obj[0, y0:y1, x0:x1]


def _aligned(panels: Mapping[str, Object]) -> dict[str, Object]:
    """The images aligned to the mean phase of the true object; a single image to its own."""
    if len(panels) == len(PANELS):
        scene = checked_scene(panels["reconstruction"], panels["truth"], None)
        aligned, _ = METRIC_SETS["standard"].align(scene, False)
        return {"truth": aligned.truth, "reconstruction": aligned.prediction}
    return {
        name: image.astype(np.complex128) * np.exp(-1j * np.angle(image.sum()))
        for name, image in panels.items()
    }


def _channel(channel: str, image: Object) -> Float[np.ndarray, "rows columns"]:
    """Amplitude or phase of an image (h, w), reduced to at most `SIDE_PX` per side."""
    weights = [_reduction(side, max(image.shape)) for side in image.shape]
    source = np.abs(image) if channel == "amplitude" else image
    reduced = weights[0] @ source @ weights[1].T
    return reduced if channel == "amplitude" else angle(reduced)


def _reduction(side: int, longest: int) -> Float[np.ndarray, "out in"]:
    """Weights that average an axis of `side` pixels by area; the `longest` becomes `SIDE_PX`."""
    count = max(1, round(side * min(1.0, SIDE_PX / longest)))
    edges = np.linspace(0, side, count + 1)
    pixel = np.arange(side)
    overlap = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    return np.clip(overlap, 0, None) * count / side


def _range(channel: str, panels: Mapping[str, Object]) -> Range:
    """Values of grey levels 0 and 255: the range of the true object, or else of the image shown."""
    shown = next((_channel(channel, panels[name]) for name in PANELS if name in panels), None)
    low, high = (0.0, 0.0) if shown is None else (float(shown.min()), float(shown.max()))
    if high - low > FLAT * max(1.0, abs(high)):
        return low, high
    return (0.0, 1.0) if channel == "amplitude" else (-math.pi, math.pi)  # no image, or a constant


def _grey(image: Float[np.ndarray, "h w"], shown: Range) -> UInt8[np.ndarray, "h w"]:
    low, high = shown
    return np.round(255 * np.clip((image - low) / (high - low), 0, 1)).astype(np.uint8)


# --- PNG (ISO/IEC 15948) ----------------------------------------------------------------------


def _png(pixels: UInt8[np.ndarray, "h w"], facts: Facts) -> bytes:
    height, width = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    text = KEYWORD + json.dumps(facts.model_dump(), sort_keys=True).encode("ascii")
    lines = np.hstack([np.zeros((height, 1), dtype=np.uint8), pixels]).tobytes()
    chunks = {b"IHDR": header, b"tEXt": text, b"IDAT": _stored_deflate(lines), b"IEND": b""}
    return SIGNATURE + b"".join(_chunk(name, content) for name, content in chunks.items())


def _chunk(name: bytes, content: bytes) -> bytes:
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def _stored_deflate(content: bytes) -> bytes:
    """A zlib stream (RFC 1950, 1951) of one block without compression; under 65,536 bytes."""
    block = struct.pack("<BHH", 1, len(content), len(content) ^ 0xFFFF) + content
    return b"\x78\x01" + block + struct.pack(">I", zlib.adler32(content))

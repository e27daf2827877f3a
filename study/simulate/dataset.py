"""Simulate a data set: object, patch, exit wave, far field, intensity, counts, in this order.

Design choices
- The forward model is `study.optics`, as in the training loss: an inverse crime
  (docs/physics.md). It runs in complex128 on the CPU, chunk by chunk, so that memory stays small.
- Every split has its own object seed and its own noise generator; the dose scale S comes from the
  train split and serves all three.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Complex128, Float32, Float64, Int64, UInt32

from study import __version__
from study.formats.dataset import Dataset, Geometry, Manifest, Split, content_hash, with_mask
from study.formats.probe import normalise, single
from study.formats.requests import request_of
from study.optics.counts import draw_counts, photon_scale, to_network_units
from study.optics.patches import extract
from study.optics.wave import diffract
from study.settings import SPLITS, DataParams, DetectorMask, Raster, UserError
from study.simulate.objects import grid_lines
from study.simulate.probes import make_probe
from study.simulate.scans import scan_positions

CHUNK = 256


class NoiselessSplit:
    """One split before noise: objects (object units) and window positions.

    `obj`: objects to measure instead of those that the split's seed draws.
    """

    def __init__(
        self,
        split: str,
        params: DataParams,
        obj: Complex128[np.ndarray, "images h w"] | None = None,
    ) -> None:
        images = params.images_per_split
        self.split = split
        self.obj = drawn(split, params) if obj is None else obj
        self.positions_px: Float32[np.ndarray, "J c 2"] = scan_positions(
            params.scan,
            split,
            n=params.n,
            object_px=params.object_px,
            group_size=params.group_size,
            images=images,
        )
        self.image_index: Int64[np.ndarray, " J"] = np.repeat(
            np.arange(images), len(self.positions_px) // images
        )
        self.n = params.n

    def patches(self) -> Iterator[Complex128[torch.Tensor, "b n n"]]:
        """All object windows in storage order (window, channel), in chunks."""
        channels = self.positions_px.shape[1]
        for image, obj in enumerate(self.obj):
            chosen = self.positions_px[self.image_index == image].reshape(-1, 2)
            for chunk in torch.from_numpy(chosen).double().split(CHUNK * channels):
                yield extract(torch.from_numpy(obj), chunk, self.n)


def drawn(split: str, params: DataParams) -> Complex128[np.ndarray, "images h w"]:
    """The objects of one split as its seed draws them."""
    return grid_lines(
        getattr(params.object_seeds, split),
        run=params.run_seed,
        images=params.images_per_split,
        object_px=params.object_px,
        canvas_px=params.canvas_px,
        lines=params.lines,
        phase=params.phase,
    )


def noise_streams(params: DataParams, count: int = len(SPLITS)) -> list[np.random.SeedSequence]:
    """`count` independent streams of shot noise: first those of the splits, in their order.

    Where objects are drawn per seed, the run's seed is in the spawn key: its noise is its own too.
    """
    run = params.run_seed
    key = () if run is None else (run,)
    return np.random.SeedSequence(params.noise_seed, spawn_key=key).spawn(count)


def patch_sums(
    scene: NoiselessSplit, probe: Complex128[torch.Tensor, "n n"]
) -> tuple[Float64[np.ndarray, " N"], Float64[np.ndarray, " N"]]:
    """Per patch: the largest amplitude, and the light sum (A |P|)^2, in object units."""
    weight = probe.abs().square()
    largest, light = [], []
    for patch in scene.patches():
        intensity = patch.abs().square()
        largest.append(intensity.amax(dim=(-2, -1)).sqrt().numpy())
        light.append((intensity * weight).sum(dim=(-2, -1)).numpy())
    return np.concatenate(largest), np.concatenate(light)


def _check_fits(brightest: float) -> None:
    # Six sigma below the largest 32-bit number, so that no draw wraps around.
    if brightest > 2**32 - 6 * 2**16:
        raise UserError(
            f"the brightest pixel expects {brightest:.3g} photons but counts are stored up to "
            "4.29e+09; lower photons_per_pattern"
        )


def expose(
    scene: NoiselessSplit,
    probe: Complex128[torch.Tensor, "n n"],
    object_norm: float,
    generator: np.random.Generator,
) -> UInt32[np.ndarray, "J c n n"]:
    """Counts of every pattern; `probe` in sqrt(photons), the object divided by `object_norm`."""
    counts = np.empty((*scene.positions_px.shape[:2], scene.n, scene.n), dtype=np.uint32)
    flat = counts.reshape(-1, scene.n, scene.n)
    start = 0
    for patch in scene.patches():
        intensity = diffract(probe, to_network_units(patch, object_norm)).square()
        _check_fits(float(intensity.max()))
        flat[start : start + len(patch)] = draw_counts(intensity.numpy(), generator)
        start += len(patch)
    return counts


@dataclass(frozen=True)
class Light:
    """What scales the light: P_sim, its divisor, S, and the object norm of every split.

    `assumed`: the probe given to every method: `probe`, unless another is assumed.
    """

    probe: Complex128[torch.Tensor, "n n"]
    assumed: Complex128[torch.Tensor, "n n"]
    probe_norm: float
    photon_scale: float
    object_norm: dict[str, float]
    statements: tuple[str, ...]


def set_light(params: DataParams, scenes: dict[str, NoiselessSplit]) -> Light:
    """object_norm = mean over a split's patches of the patch maximum; S from the train split.

    S = sqrt(photons / mean over the train patches of sum (Y |P_sim|)^2) (physics: dose). Raises
    UserError for an unusable probe or an empty object.
    """
    raw, facts = make_probe(params.probe, params.n)
    normalised, probe_norm = normalise(raw)
    probe = torch.from_numpy(normalised)
    sums = {split: patch_sums(scene, probe) for split, scene in scenes.items()}
    norms = {split: float(largest.mean()) for split, (largest, _) in sums.items()}
    dark = [split for split, norm in norms.items() if norm == 0]
    if dark:
        raise UserError(
            f"the object of split {dark[0]} is empty with lines = {params.lines}; draw more lines"
        )
    scale = photon_scale(params.photons_per_pattern, sums["train"][1] / norms["train"] ** 2)
    assumed, assumed_facts = assumed_probe(params, probe)
    return Light(probe, assumed, probe_norm, scale, norms, (*facts, *assumed_facts))


def assumed_probe(
    params: DataParams, probe: Complex128[torch.Tensor, "n n"]
) -> tuple[Complex128[torch.Tensor, "n n"], tuple[str, ...]]:
    """`params.assumed_probe` with the power of the true `probe`, or that itself; and statements.

    The power of a beam is measured without its shape, so a wrong probe has the right power. Raises
    UserError for an unusable probe.
    """
    if params.assumed_probe is None:
        return probe, ()
    raw, facts = make_probe(params.assumed_probe, params.n)
    assumed = torch.from_numpy(normalise(raw)[0])
    power = probe.abs().square().sum() / assumed.abs().square().sum()
    return assumed * power.sqrt(), (
        *facts,
        "the stored probe is an assumed one, the counts come from another",
    )


def simulate(name: str, params: DataParams) -> Dataset:
    """The data set of `params`, bit-equal at every call on one machine.

    Of a set with objects per seed this is that of one seed: `params.of_seed(seed)`. Raises
    UserError for an unusable probe or an empty object.
    """
    scenes = {split: NoiselessSplit(split, params) for split in SPLITS}
    light = set_light(params, scenes)
    splits = {
        split: _split(scenes[split], params, light, np.random.default_rng(stream))
        for split, stream in zip(SPLITS, noise_streams(params), strict=True)
    }
    probe = single(light.assumed.numpy())
    manifest = _manifest(name, params, light, content_hash(probe, splits), splits)
    made = Dataset(manifest=manifest, probe=probe, splits=splits)
    return made if params.mask is None else with_mask(made, known_pixels(params.mask, params.n))


def known_pixels(mask: DetectorMask, n: int) -> Bool[np.ndarray, "n n"]:
    """True for the pixels that the detector measures."""
    known = np.ones((n, n), bool)
    for first, end in mask.rows:
        known[first:end] = False
    for first, end in mask.columns:
        known[:, first:end] = False
    return known


def _split(
    scene: NoiselessSplit,
    params: DataParams,
    light: Light,
    generator: np.random.Generator,
) -> Split:
    in_photons = light.photon_scale * light.probe
    return Split(
        counts=expose(scene, in_photons, light.object_norm[scene.split], generator),
        positions_px=scene.positions_px,
        image_index=scene.image_index,
        obj=scene.obj.astype(np.complex64),
        object_shape=(params.object_px, params.object_px),
        stride_px=tile_px(params, scene.split),
    )


def tile_px(params: DataParams, split: str) -> int | None:
    """Scan step of a raster whose patches are stitched as published, else None: averaged."""
    regular = isinstance(params.scan, Raster) and params.group_size == 1
    published = regular and params.stitching is None
    return getattr(params.scan.stride_px, split) if published else None


def _manifest(
    name: str,
    params: DataParams,
    light: Light,
    content_sha256: str,
    splits: dict[str, Split],
) -> Manifest:
    return Manifest(
        format_version=1,
        name=name,
        kind="simulated",
        n=params.n,
        group_size=params.group_size,
        patterns={split: len(content.counts) for split, content in splits.items()},
        photon_scale=light.photon_scale,
        probe_norm=light.probe_norm,
        object_norm=light.object_norm,
        photons_per_pattern=params.photons_per_pattern,
        geometry=Geometry.nominal(params.n),
        nominal=True,
        request=request_of(params),
        statements=light.statements,
        content_sha256=content_sha256,
        code_version=__version__,
    )

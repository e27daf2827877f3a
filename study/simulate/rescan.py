"""The test object of a data set measured again, at another scan step.

Object, light and noise are those of the stored set: its photon scale S, its true probe
(whatever probe the methods assume) and the noise seed of its test split. At the set's own step
these are its counts again, bit by bit.
"""

from dataclasses import replace

import numpy as np
import torch

from study.formats.dataset import Dataset, Split
from study.formats.masks import fill_masked
from study.formats.probe import normalise
from study.settings import SPLITS, DataParams, UserError
from study.simulate.dataset import NoiselessSplit, expose, noise_streams, tile_px
from study.simulate.probes import make_probe


def rescan(dataset: Dataset, params: DataParams, stride_px: int) -> Split:
    """The test split of `dataset`, which `params` describe, at scan step `stride_px`.

    Raises UserError when the test object of the set is another one than that of `params`.
    """
    scene_params = with_test_stride(params, stride_px)
    scene = NoiselessSplit("test", scene_params)
    stored = dataset.splits["test"]
    if stored.obj is None or not np.array_equal(stored.obj, scene.obj.astype(np.complex64)):
        raise UserError(
            f"the test object of data set {dataset.manifest.name} is not that of its parameters; "
            "simulate it again"
        )
    probe, _ = normalise(make_probe(params.probe, params.n)[0])
    in_photons = dataset.manifest.photon_scale * torch.from_numpy(probe)
    stream = noise_streams(params)[SPLITS.index("test")]
    norm = dataset.manifest.object_norm["test"]
    counts = expose(scene, in_photons, norm, np.random.default_rng(stream))
    return replace(
        stored,
        counts=counts if stored.mask is None else fill_masked(counts, stored.mask),
        positions_px=scene.positions_px,
        image_index=scene.image_index,
        stride_px=tile_px(scene_params, "test"),
    )


def with_test_stride(params: DataParams, stride_px: int) -> DataParams:
    """The same parameters with another scan step of the test split."""
    strides = params.scan.stride_px.model_copy(update={"test": stride_px})
    scan = params.scan.model_copy(update={"stride_px": strides})
    return params.model_copy(update={"scan": scan})

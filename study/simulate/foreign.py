"""The foreign-phase test set: the test object's amplitude with the phase of another object.

Where the phase is a function of the amplitude, a network can copy it without retrieving anything
from the counts. Counts of the same amplitude with another phase tell the two apart.

Design choices
- The other phase is that of the validation object: it is stored with every data set, has the size
  and the statistics of the test object's, and no network was trained on it.
- Forward model, probe, dose and scan are those of the test split. The noise has a stream of its
  own, the next one after those of the three splits.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from study.formats.dataset import Dataset
from study.formats.masks import fill_masked
from study.formats.probe import normalise
from study.formats.requests import params_of
from study.settings import SPLITS
from study.simulate.dataset import NoiselessSplit, expose, noise_streams
from study.simulate.objects import phase_of
from study.simulate.probes import make_probe

PHASE_FROM = "validation"


def with_foreign_phase(dataset: Dataset) -> Dataset | None:
    """`dataset` with a test split of foreign phase; None for one that is not simulated with phase.

    Raises UserError where the counts cannot be simulated: the file of the true probe is gone, or a
    pixel becomes too bright.
    """
    if dataset.manifest.kind != "simulated" or not dataset.manifest.request.get("phase"):
        return None
    params = params_of(dataset.manifest)
    test, other = dataset.splits["test"].obj, dataset.splits[PHASE_FROM].obj
    assert test is not None and other is not None, "a simulated set has its truth"
    obj = np.abs(test.astype(np.complex128)) * np.exp(1j * np.angle(other.astype(np.complex128)))
    probe = dataset.probe
    if params.assumed_probe is not None:  # the stored probe is not the one that made the counts
        probe, _ = normalise(make_probe(params.probe, params.n)[0])
    in_photons = dataset.manifest.photon_scale * torch.tensor(probe, dtype=torch.complex128)
    norm = dataset.manifest.object_norm["test"]
    stream = np.random.default_rng(noise_streams(params, len(SPLITS) + 1)[-1])
    counts = expose(NoiselessSplit("test", params, obj), in_photons, norm, stream)
    if dataset.mask is not None:
        counts = fill_masked(counts, dataset.mask)
    split = replace(dataset.splits["test"], counts=counts, obj=obj.astype(np.complex64))
    return replace(dataset, splits={**dataset.splits, "test": split})


def copied_phase(obj: np.ndarray) -> np.ndarray:
    """The objects (images, h, w) with the phase that the published function makes of their
    amplitude: what a network that copies would answer."""
    amplitude = np.abs(obj.astype(np.complex128))
    return amplitude * np.exp(1j * phase_of(amplitude))

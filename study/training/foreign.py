"""The foreign-phase test of a trained network: does its phase follow the counts or a prior?

The network reconstructs the test object with a foreign phase (`study.simulate.foreign`). Stored are
two correlations per set of weights; `study.evidence.evaluable` decides what they mean.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from study.formats.dataset import Dataset
from study.metrics.pair import checked_scene
from study.metrics.standard import STANDARD
from study.runs import RunFolder, write_json
from study.settings import UserError
from study.simulate.foreign import PHASE_FROM, copied_phase, with_foreign_phase
from study.training.reconstruct import reconstruct_split

# Below this spread a phase is rounding (complex64: 1e-7).
CONSTANT_RAD = 1e-6

Correlations = Mapping[str, float | None]


@dataclass(frozen=True)
class ForeignTest:
    """The data set with its foreign test split, ready for any network of its pattern size."""

    dataset: Dataset

    @classmethod
    def of(cls, dataset: Dataset, folder: RunFolder) -> ForeignTest | None:
        """The test of a data set; None where there is none. A reason other than data without a
        phase is noted among the run's events: the run itself is sound."""
        try:
            foreign = with_foreign_phase(dataset)
        except UserError as error:
            folder.event("foreign_phase_not_tested", cause=str(error))
            return None
        return None if foreign is None else cls(foreign)

    def correlations(self, generator: nn.Module) -> Correlations:
        """Of the predicted phase with the true one (`truth`) and with the one that the published
        function makes of the amplitude (`from_amplitude`): mean over the images, None where the
        prediction is constant or not finite."""
        result = reconstruct_split(generator, self.dataset)
        obj = self.dataset.splits["test"].obj
        assert obj is not None, "a foreign set has its truth"
        y0, x0, y1, x1 = (int(edge) for edge in result.region)
        return {
            name: _mean_correlation(result.object, images[:, y0:y1, x0:x1])
            for name, images in (("truth", obj), ("from_amplitude", copied_phase(obj)))
        }


def store(folder: RunFolder, found: Mapping[str, Correlations]) -> None:
    """Write the correlations of the `best` and `last` weights into the run folder."""
    write_json(folder.foreign_phase_file, {"phase_of": PHASE_FROM, **found})


def _mean_correlation(predicted: np.ndarray, others: np.ndarray) -> float | None:
    if not np.isfinite(predicted).all():
        return None
    found = [phase_correlation(*pair) for pair in zip(predicted, others, strict=True)]
    values = [value for value in found if value is not None]
    return float(np.mean(values)) if len(values) == len(found) else None


def phase_correlation(predicted: np.ndarray, other: np.ndarray) -> float | None:
    """Pearson correlation of the phases of two complex images (h, w), the global phase removed;
    None where one of them is constant."""
    scene, _ = STANDARD.align(checked_scene(predicted, other, None), False)
    pair = STANDARD.channels["phase"](scene)
    ours, theirs = pair.prediction[pair.mask], pair.truth[pair.mask]
    if min(float(ours.std()), float(theirs.std())) < CONSTANT_RAD:
        return None
    return float(np.corrcoef(ours, theirs)[0, 1])

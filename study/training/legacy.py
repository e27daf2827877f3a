"""The published defect that is not an ordinary setting: a probe summed over the batch.

Its A_pred grew with the number of patterns in the batch. Written so that a full batch is right: a
partial one of 2 among batches of 16 is then predicted eight times too dark, once an epoch.
Training only: validation and reconstruction keep the forward model.
"""

from dataclasses import replace

from study.training.losses import Prediction


def couple(prediction: Prediction, full_batch: int) -> Prediction:
    """A_pred times (patterns in the batch) / `full_batch`."""
    share = len(prediction.amplitude) / full_batch
    return replace(prediction, amplitude=share * prediction.amplitude)

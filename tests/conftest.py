"""Shared fixtures: shape checks over all of `study`, one tiny data set, one tiny arm."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")
# Hundreds of tests start Python: compiled code is kept also where the environment says otherwise,
# as in containers.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False
# No test makes or fills the embedded remote of whoever runs it; those that want one name a folder.
os.environ["ARMATURE_STORE"] = ""

from jaxtyping import install_import_hook  # noqa: E402

# Before anything of `study` is imported: its annotations are then checked at every call.
install_import_hook("study", "checking.checked")

import hypothesis  # noqa: E402
import pytest  # noqa: E402

from study.formats.dataset import Dataset  # noqa: E402
from study.settings import Arm, DataParams  # noqa: E402

# A busy machine is not a failure: no test of a law is timed.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


@pytest.fixture(scope="session")
def tiny_params() -> DataParams:
    """169 train and 49 validation and test patterns of 16 x 16 px, phase on, complex probe."""
    return DataParams.model_validate(
        {
            "n": 16,
            "object_px": 64,
            "canvas_px": 128,
            "lines": 65,
            "phase": True,
            "images_per_split": 1,
            "group_size": 1,
            "photons_per_pattern": 1e6,
            "object_seeds": {"train": 1, "validation": 3, "test": 2},
            "noise_seed": 7,
            "probe": {
                "kind": "focus",
                "aperture_px": 7,
                "central_stop_px": 0,
                "defocus_rad": 3.0,
                "smooth_sigma_px": 0,
            },
            "assumed_probe": None,
            "scan": {
                "kind": "raster",
                "stride_px": {"train": 4, "validation": 8, "test": 8},
            },
        }
    )


@pytest.fixture(scope="session")
def tiny(tiny_params: DataParams) -> Dataset:
    """The simulated data set of `tiny_params`; shared, so no test may change its arrays."""
    from study.simulate import simulate

    return frozen(simulate("tiny", tiny_params))


@pytest.fixture(scope="session")
def grouped(tiny_params: DataParams) -> Dataset:
    """A small set of four neighbouring patterns each, two images a split; shared."""
    from study.simulate import simulate

    changes = {"group_size": 4, "images_per_split": 2}
    return frozen(simulate("grouped", tiny_params.model_copy(update=changes)))


def frozen(dataset: Dataset) -> Dataset:
    arrays = [dataset.probe]
    for split in dataset.splits.values():
        arrays += [split.counts, split.positions_px, split.image_index, split.obj]
    for array in arrays:
        array.flags.writeable = False
    return dataset


@pytest.fixture(scope="session")
def control() -> Arm:
    """The control arm at the smallest useful size."""
    return Arm.model_validate(
        {
            "asks": "Does the smallest hybrid train?",
            "versus": None,
            "changes": [],
            "data": "data/tiny",
            "seeds": [0],
            "order_seed": None,
            "generator": {
                "name": "hybrid",
                "width": 4,
                "fno_blocks": 2,
                "modes": 4,
                "mode_set": "classic",
                "spectral_init": "variance",
                "max_hidden_channels": None,
                "input_transform": "none",
                "inputs": "amplitude",
                "decoder_norm": "none",
                "output_mode": "real_imag",
                "start": "zero",
            },
            "loss": {"name": "mae", "overlap_weight": 0.0},
            "optimizer": {"name": "adam", "lr": 1e-3},
            "schedule": {"name": "constant"},
            "clip": {
                "gradient_clip_algorithm": "norm",
                "gradient_clip_val": 1.0,
                "exclude_head": False,
            },
            "epochs": 2,
            "batch_size": 16,
            "batch_order": "shuffled",
            "precision": "fp32",
            "legacy": {"batch_coupled_probe": False},
        }
    )

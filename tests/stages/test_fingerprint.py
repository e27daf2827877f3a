"""The tiny data set that a fingerprint is taken on: the same kind, drawn on fewer pixels."""

from __future__ import annotations

from study.params import DataParams
from study.stages.fingerprint import tiny_data


def assuming(params: DataParams, assumed: object) -> DataParams:
    return DataParams.model_validate({**params.model_dump(), "assumed_probe": assumed})


def test_an_assumed_pupil_shrinks_as_the_true_one_does(tiny_params: DataParams) -> None:
    assumed = {**tiny_params.probe.model_dump(), "defocus_rad": 6.0}
    tiny = tiny_data(assuming(tiny_params, assumed), 8)
    assert tiny.probe.model_dump() == {
        **tiny_params.probe.model_dump(),
        "aperture_px": 3.5,
        "defocus_rad": 1.5,
    }
    assert tiny.assumed_probe is not None
    assert tiny.assumed_probe.model_dump() == {**tiny.probe.model_dump(), "defocus_rad": 3.0}


def test_no_assumed_probe_and_other_kinds_stay_as_they_are(tiny_params: DataParams) -> None:
    assert tiny_data(tiny_params, 8).assumed_probe is None
    disk = {"kind": "ideal_disk", "smooth_sigma_px": 0.5}
    tiny = tiny_data(assuming(tiny_params, disk), 8).assumed_probe
    assert tiny is not None and tiny.model_dump() == disk

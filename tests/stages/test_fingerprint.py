"""The tiny data set that a fingerprint is taken on: the same kind, drawn on fewer pixels."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from pipeline.toy import PARAMS
from study.settings import DataParams, Study, UserError, load_study
from study.stages import fingerprint
from study.stages.fingerprint import tiny_data, update, update_apart


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


# --- in a process of its own ------------------------------------------------------------------


@pytest.fixture
def toy(tmp_path: Path) -> Study:
    (tmp_path / "params.yaml").write_text(PARAMS)
    return load_study(tmp_path / "params.yaml")


@pytest.mark.slow
def test_a_fingerprint_taken_apart_is_the_same(toy: Study, tmp_path: Path) -> None:
    update(toy, tmp_path / "here", ["cnn"])
    update_apart(toy, tmp_path / "apart", ["cnn"])
    here, apart = ((tmp_path / place / "cnn.json").read_bytes() for place in ("here", "apart"))
    assert here == apart


@pytest.mark.slow
def test_what_a_fingerprint_is_refused_for_is_a_sentence(toy: Study, tmp_path: Path) -> None:
    bare = toy.model_copy(update={"data": {}})
    with pytest.raises(UserError, match="data set"):
        update_apart(
            bare.model_copy(
                update={"arms": {"cnn": toy.arms["cnn"].model_copy(update={"data": "imported/x"})}}
            ),
            tmp_path,
            ["cnn"],
        )
    assert not list(tmp_path.glob("*.json"))


def killed(writer: object, *_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_fingerprint_whose_process_is_killed_is_a_sentence(
    toy: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprint, "_update_and_report", killed)
    with pytest.raises(UserError, match="signal 9"):
        update_apart(toy, tmp_path, ["cnn"])

"""The tiny data set that a fingerprint is taken on: the same kind, drawn on fewer pixels."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.toy import PARAMS
from study.investigations.stability import run as stability
from study.settings import DataParams, Study, UserError, load_study
from study.stages import fingerprint, train
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


def recorded_process(writer: Any, study: Study, folder: Path, names: list[str]) -> None:
    """In place of the fingerprints: the process that would compute them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.json").write_text(json.dumps({"pid": os.getpid()}))
    writer.send("enough")


@pytest.mark.parametrize("caller", ["train_arm", "train_all", "run_curves"])
def test_callers_that_fork_take_the_fingerprint_in_a_child(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caller: str
) -> None:
    """torch's threads do not survive a fork: this process must not compute before it forks."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    monkeypatch.setattr(fingerprint, "_update_and_report", recorded_process)
    monkeypatch.setattr(fingerprint, "update", lambda *_: pytest.fail("computed in this process"))
    for module in (train, stability):
        monkeypatch.setattr(module, "update", fingerprint.update, raising=False)
    for name in ("check_data", "check_row", "check_claims", "check_room"):
        monkeypatch.setattr(train, name, lambda *_, **__: None)
    monkeypatch.setattr(train, "run_bytes", lambda *_: 0)
    monkeypatch.setattr(train.environment, "dvc", lambda *_, **__: SimpleNamespace(returncode=1))
    (tmp_path / "params.yaml").write_text(PARAMS)
    arm = "cnn"
    with pytest.raises(UserError, match="enough"):
        if caller == "train_arm":
            train.train_arm(tmp_path, arm)
        elif caller == "train_all":
            train.train_all(tmp_path)
        else:
            study = load_study(tmp_path / "params.yaml")
            plan = stability.Plan("plain", arm, (study.arms[arm],))
            curves = SimpleNamespace(curves={"plain": None})
            known = SimpleNamespace(section=lambda _: curves)
            monkeypatch.setattr(stability, "load_study", lambda _: known)
            monkeypatch.setattr(stability, "planned", lambda *_: plan)
            update_of = stability.update_apart
            monkeypatch.setattr(
                stability, "update_apart", lambda _, folder, names: update_of(study, folder, names)
            )
            stability.run_curves(tmp_path)
    taken = json.loads((tmp_path / "fingerprints" / f"{arm}.json").read_text())
    assert taken["pid"] != os.getpid()

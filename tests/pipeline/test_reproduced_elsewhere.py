"""A repetition in a fresh clone changes nothing that is in git, and has nothing to send."""

from pathlib import Path

import pytest

from pipeline.toy import Toy, make_toy

pytestmark = pytest.mark.slow


def test_a_fresh_clone_computes_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    first = make_toy(tmp_path / "first")
    first.must("dvc", "repro", "-q", "data.dvc", "fingerprint")
    first.must("study", "train", "--all")
    first.must("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    first.repro()
    kept = sorted(first.path.glob("provenance/*/s*.json"))
    assert [f"{file.parent.name}/{file.stem}" for file in kept] == [
        "cnn/s1", "cnn/s2", "control/s1", "control/s2", "flat/s0"
    ]  # fmt: skip
    first.commit("reproduced")
    first.must("study", "push")

    first.must("git", "clone", "-q", str(first.path), str(tmp_path / "second"))
    second = Toy(tmp_path / "second")
    pictures = [file.parent.name for file in second.path.glob("results/*/images.png")]
    assert sorted(pictures) == ["cnn", "control", "flat"], "they are there before any pull"
    stages = second.repro()
    assert {"simulate", "train@control", "train@cnn", "train@flat"} <= {*stages}
    assert second.must("git", "status", "--porcelain") == ""
    assert "0 objects to upload" in second.must("study", "push")
    # DVC finds the runs equal and scores none of them again.
    second.must("dvc", "repro", "-f", "-s", "evaluate@control", "evaluate@flat")
    assert second.must("git", "status", "--porcelain") == ""

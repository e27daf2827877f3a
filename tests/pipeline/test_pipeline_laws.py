"""What runs again, and what does not, in a toy clone driven by the real `dvc repro`.

One test, one story: the steps build on each other, and each names the stages it saw running.
"""

from pathlib import Path

import pytest

from pipeline.toy import Toy, make_toy
from study.arms import new_arm

pytestmark = pytest.mark.slow
ARMS = ("control", "cnn", "flat")


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return make_toy(tmp_path_factory.mktemp("toy"))


def trained(stages: list[str]) -> set[str]:
    return {stage.partition("@")[2] for stage in stages if stage.startswith("train@")}


def evaluated(stages: list[str]) -> set[str]:
    return {stage.partition("@")[2] for stage in stages if stage.startswith("evaluate@")}


def test_only_what_must_run_runs(toy: Toy, tmp_path: Path) -> None:
    first = toy.repro()
    assert trained(first) == evaluated(first) == set(ARMS)
    assert first[0] == "simulate" and first[-1] == "findings"
    toy.commit("reproduced")

    assert toy.repro() == [], "a second repro is up to date"

    toy.edit("study/training/step.py", '"""One training step', '# a comment\n"""One training step')
    stages = toy.repro()
    assert stages == ["fingerprint"], "a changed comment retrains nothing"

    toy.edit("study/generators/cnn.py", "nn.ReLU()", "nn.SiLU()")
    stages = toy.repro()
    assert trained(stages) == {"cnn"}, "a changed activation retrains the arms that have it"

    toy.edit("study/metrics/__init__.py", '"""Scores of a', '"""Scores of any')
    stages = toy.repro()
    assert trained(stages) == set() and evaluated(stages) == set(ARMS), "a metric re-scores only"

    new_arm(toy.path / "params.yaml", "slower", "control", ["optimizer.lr=0.0005"])
    stages = toy.repro()
    assert trained(stages) == evaluated(stages) == {"slower"}, "a new arm runs alone"

    toy.edit("params.yaml", "asks: Does the cnn train?", "asks: Does a cnn train?")
    stages = toy.repro()
    assert trained(stages) <= {"cnn"}, "a changed question touches its own arm only"

    toy.edit("params.yaml", "noise_seed: 4", "noise_seed: 5")
    stages = toy.repro()
    assert trained(stages) == {*ARMS, "slower"}, "a changed data seed reruns what uses that set"
    toy.commit("all changes")

    clone = tmp_path / "clone"
    toy.must("dvc", "remote", "add", "-f", "-d", "store", str(tmp_path / "store"))
    toy.must("dvc", "push", "-q")
    toy.commit("remote")
    toy.must("git", "clone", "-q", str(toy.path), str(clone))
    fresh = Toy(clone)
    assert list((clone / "results").glob("*/seeds/*.json")), "results are in git before any pull"
    fresh.must("dvc", "pull", "-q", "--allow-missing")
    stages = fresh.repro()
    assert trained(stages) == set(), "after pulling, nothing is trained"


def test_the_other_pipeline_is_not_started_by_the_root() -> None:
    toy_stages = (Path(__file__).parent.parent.parent / "dvc.yaml").read_text()
    assert "full/" not in toy_stages

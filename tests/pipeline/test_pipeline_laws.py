"""What runs again, and what does not, in a toy clone driven by the real `dvc repro`.

One test, one story: the steps build on each other, and each names the stages it saw running.
"""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline.toy import Toy, make_toy
from study.editing.arms import Draft
from study.editing.claiming import add

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parent.parent.parent
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
    assert {"simulate", "fingerprint"} == {*first[:2]} and first[-1] == "findings"
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

    add(toy.path, Draft("slower", "control", ("optimizer.lr=0.0005",)))
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
    assert stages == [], "after pulling, nothing that need not run runs"


def test_the_doors_work_on_a_reproduced_study(toy: Toy) -> None:
    """Every command of the README, on real artifacts."""
    if not (toy.path / "results").is_dir():  # another worker has the story above
        toy.repro()
    toy.must("dvc", "remote", "add", "-f", "-d", "store", str(toy.path.parent / "store"))
    output = toy.must("study", "verify")
    assert "control: 2 seeds scored again, all numbers equal" in output
    seeds = toy.path / "results" / "control" / "seeds" / "s1.json"
    before = seeds.read_text()
    seeds.write_text(before.replace('"last"', '"lost"', 1))
    broken = toy.run("study", "verify")
    assert broken.returncode == 1 and "control: " in broken.stdout
    seeds.write_text(before)

    again = toy.must("study", "verify", "--retrain", "control:1")
    assert "control seed 1 trained again: equal" in again

    assert "findings agree" in toy.must("study", "findings", "--check")
    assert "control" in toy.must("study", "results")
    assert "sha256" in toy.must("study", "explain", "control/s1/last.val_loss")
    assert "2 cores" in toy.must("study", "plan") or "cores" in toy.must("study", "plan")
    out = toy.must(
        "study", "reconstruct", "runs/control/s1", "data/toy", "--out", "o.npz", "--json"
    )
    assert '"r_factor_held_out": 0.' in out
    assert "activations.jsonl" in toy.must("study", "diagnose", "runs/control/s1")
    toy.must("study", "export", "data/toy", "test", "--out", "test.npz")
    toy.must("study", "record", ".")
    code = (
        "import study; run = study.load('runs/control/s1'); "
        "assert len(run.history) == 2 and run.metrics['arm'] == 'control'; "
        "assert run.network('best').effective()['network'] and run.settings['seeds']; "
        "assert run.reconstruction('last').object.ndim == 3"
    )
    toy.must("python", "-c", code)

    toy.must("dvc", "remote", "remove", "store")
    assert "no remote to pull from" in toy.must("study", "pull")
    assert "removed work" in toy.must("study", "clean")
    assert "would remove work" not in toy.must("study", "clean", "--dry")
    output = toy.must("study", "train", "--arm", "control", "--seed", "1")
    assert "control seed 1: finished (runs/control/s1)" in output, "a collected run is found again"
    assert len(list(toy.path.glob("runs/control/s*"))) == 2, "the other seed stays"


READ = ("params.yaml", "recorded.json")


def test_the_root_pipeline_starts_no_stage_of_the_others() -> None:
    """Even where their inputs are on disk: of their folders it reads the settings and the list of
    recorded results, which no stage writes."""
    stages = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text())["stages"]
    for stage in stages.values():
        body = stage.get("do", stage)
        paths = [*body.get("deps", []), *map(str, body.get("outs", []))]
        others = {str(path) for path in paths if str(path).startswith(("full", "studies"))}
        read = {f"{name}/{file}" for name in ("full", "studies") for file in READ}
        assert others <= read

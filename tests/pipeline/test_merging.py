"""Two clones that each add an arm and run it merge without a hand, and then nothing is trained."""

from pathlib import Path

import pytest

from pipeline.toy import PARAMS, ROOT, Toy, make_toy

pytestmark = [pytest.mark.slow, pytest.mark.faults]
FLAT = PARAMS[: PARAMS.index("arms:")] + "arms:\n" + PARAMS[PARAMS.index("  flat:") :]
REFERENCE = """
  {name}:
    asks: What does {name} score?
    versus: null
    changes: []
    data: data/toy
    source: {{name: back_projection, steps: {steps}}}
"""


def with_drivers(toy: Toy) -> Toy:
    """As `make setup` registers them."""
    for name in ("dvclock", "params", "findings"):
        tool = ROOT / "tools" / f"merge_{name}.py"
        toy.must("git", "config", f"merge.{name}.driver", f'python "{tool}" %O %A %B')
    toy.must("git", "config", "merge.regenerated.driver", "true")
    return toy


def add(toy: Toy, name: str, steps: int) -> None:
    params = toy.path / "params.yaml"
    params.write_text(params.read_text() + REFERENCE.format(name=name, steps=steps))
    stages = toy.repro()
    assert f"train@{name}" in stages and "train@flat" not in stages
    toy.commit(name)


def test_two_clones_that_each_add_an_arm_merge(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    mine = with_drivers(make_toy(tmp_path / "mine", params=FLAT))
    mine.repro()
    mine.must("dvc", "remote", "add", "-d", "store", str(tmp_path / "store"))
    mine.commit("reproduced")
    mine.must("study", "push")
    mine.must("git", "clone", "-q", str(mine.path), str(tmp_path / "theirs"))
    theirs = with_drivers(Toy(tmp_path / "theirs"))
    theirs.must("study", "pull")

    add(theirs, "once", 1)
    theirs.must("study", "push")
    add(mine, "five", 5)
    mine.must("git", "pull", "-q", "--no-rebase", str(theirs.path), "main")
    assert mine.must("git", "diff", "--name-only", "--diff-filter=U") == ""

    mine.must("study", "pull", "once")
    assert set(mine.repro()) <= {"fingerprint", "findings"}, "both arms are there: none is trained"
    assert mine.repro() == []
    arms = mine.must("study", "results")
    assert "once" in arms and "five" in arms
    findings = (mine.path / "findings.json").read_text()
    assert '"once"' in findings and '"five"' in findings

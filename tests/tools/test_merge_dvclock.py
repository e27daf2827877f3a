"""Two users who each add an arm merge cleanly, and no stage is joined of two halves."""

import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from merge_dvclock import merge_stages  # noqa: E402

STAGES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3).map(lambda x: {"md5": x}))


@given(STAGES, STAGES)
def test_a_side_that_changed_nothing_loses_nothing(base, ours):
    assert merge_stages(base, ours, base) == ours
    assert merge_stages(base, base, ours) == ours


@given(STAGES, STAGES, STAGES)
def test_merging_is_symmetric_and_invents_nothing(base, ours, theirs):
    merged = merge_stages(base, ours, theirs)
    assert merged == merge_stages(base, theirs, ours)
    assert all(stage in (ours.get(name), theirs.get(name)) for name, stage in merged.items())


def test_a_stage_changed_on_both_sides_is_derived_again():
    base, ours, theirs = {"a": 1}, {"a": 2, "b": 1}, {"a": 3, "c": 1}
    assert merge_stages(base, ours, theirs) == {"b": 1, "c": 1}


def test_git_merges_two_arms_with_the_driver(tmp_path):
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        subprocess.run(("git", *identity, *arguments), cwd=tmp_path, check=True)

    def write(**stages: int) -> None:
        with (tmp_path / "dvc.lock").open("w") as stream:
            YAML().dump(
                {"schema": "2.0", "stages": {k: {"md5": v} for k, v in stages.items()}}, stream
            )

    git("init", "-qb", "main")
    (tmp_path / ".gitattributes").write_text((ROOT / ".gitattributes").read_text())
    driver = f'"{sys.executable}" "{ROOT / "tools" / "merge_dvclock.py"}" %O %A %B'
    git("config", "merge.dvclock.driver", driver)
    write(control=1)
    git("add", "-A")
    git("commit", "-qm", "base")
    git("checkout", "-qb", "other")
    write(control=1, theirs=2)
    git("commit", "-qam", "theirs")
    git("checkout", "-q", "main")
    write(control=1, ours=3)
    git("commit", "-qam", "ours")
    git("merge", "-q", "other", "-m", "merged")
    merged = YAML(typ="safe").load((tmp_path / "dvc.lock").read_text())
    assert set(merged["stages"]) == {"control", "ours", "theirs"}

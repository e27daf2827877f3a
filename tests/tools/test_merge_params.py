"""Two users who each add an arm get both, whole, with their comments."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from study.editing.arms import Draft
from study.editing.claiming import ClaimDraft, add, with_claim
from study.evidence.claims import load_claims
from study.settings import load_study

ROOT = Path(__file__).parent.parent.parent
sys.path.insert(0, str(ROOT / "tools"))

from merge_params import Conflict, blocks, merge  # noqa: E402

Git = Callable[..., int]
ENTRIES = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 3))


def text_of(entries: dict[str, int]) -> str:
    lines = [f"  # about {k}\n  {k}:\n    value: {v}\n    same: 1\n" for k, v in entries.items()]
    return "# head\n\ndata:\n  quick: {n: 1}\n\narms:\n" + "\n".join(lines)


def arms_of(text: str) -> dict[str, int]:
    arms = re.findall(r"  # about (\w)\n  (\w):\n    value: (\d)\n    same: 1\n", text)
    assert all(comment == name for comment, name, _ in arms), "comments go along"
    assert text.count("value") == len(arms)
    return {name: int(value) for _, name, value in arms}


@pytest.mark.parametrize(
    "file", ["params.yaml", "studies/params.yaml", "full/params.yaml", "claims.yaml"]
)
def test_the_committed_files_are_cut_and_joined_unchanged(file):
    text = (ROOT / file).read_text()
    assert merge(text, text, text) == text
    assert len(blocks(text)) > 10


@settings(deadline=None)
@given(ENTRIES, ENTRIES)
def test_a_side_that_changed_nothing_loses_nothing(base, ours):
    assert arms_of(merge(text_of(base), text_of(ours), text_of(base))) == ours
    assert arms_of(merge(text_of(base), text_of(base), text_of(ours))) == ours


@settings(deadline=None)
@given(ENTRIES, ENTRIES, ENTRIES)
def test_every_entry_is_one_side_whole_or_a_conflict(base, ours, theirs):
    try:
        merged = arms_of(merge(text_of(base), text_of(ours), text_of(theirs)))
    except Conflict:
        names = {*base, *ours, *theirs}
        sides = [{base.get(n), ours.get(n), theirs.get(n)} for n in names]
        assert any(len(side) == 3 or None in side for side in sides)
        return
    assert {*merged} >= {*ours} & {*theirs}
    for name, value in merged.items():
        assert value in (ours.get(name), theirs.get(name))
        if ours.get(name) == base.get(name):
            assert value == theirs[name]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """git in a repository of its own with params.yaml, claims.yaml and the merge driver."""

    def git(*arguments: str) -> int:
        identity = ("-c", "user.name=t", "-c", "user.email=t@example.org")
        return subprocess.run(("git", *identity, *arguments), cwd=tmp_path, check=False).returncode

    git("init", "-qb", "main")
    for name in ("params.yaml", "claims.yaml", ".gitattributes"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    driver = f'"{sys.executable}" "{ROOT / "tools" / "merge_params.py"}" %O %A %B'
    git("config", "merge.params.driver", driver)
    git("add", "-A")
    git("commit", "-qm", "base")
    return git


def test_git_merges_two_arms_of_one_origin(git, tmp_path):
    """By lines git joins halves of them: they share all lines but three."""
    file = tmp_path / "params.yaml"
    base = set(load_study(file).arms)
    git("checkout", "-qb", "other")
    theirs = add(file.parent, Draft("steeper", "control", ("optimizer.lr=0.002",)))
    git("commit", "-qam", "theirs")
    git("checkout", "-q", "main")
    ours = add(file.parent, Draft("wider", "control", ("generator.width=16",)))
    git("commit", "-qam", "ours")
    assert git("merge", "-q", "other", "-m", "merged") == 0
    arms = load_study(file).arms
    assert set(arms) == {*base, "steeper", "wider"}
    assert arms["steeper"] == theirs and arms["wider"] == ours

    git("checkout", "-q", "other")
    file.write_text(file.read_text().replace("lr: 0.002", "lr: 0.003"))
    git("commit", "-qam", "theirs again")
    git("checkout", "-q", "main")
    file.write_text(file.read_text().replace("lr: 0.002", "lr: 0.004"))
    git("commit", "-qam", "ours again")
    assert git("merge", "-q", "other", "-m", "merged") == 1, "one arm, two values: for a person"
    assert "<<<<<<<" in file.read_text()


def test_an_arm_that_takes_settings_from_control_follows_the_merged_one(git, tmp_path, capfd):
    file = tmp_path / "params.yaml"
    git("checkout", "-qb", "other")
    add(file.parent, Draft("wider", "control", ("generator.width=16",)))
    git("commit", "-qam", "theirs")
    git("checkout", "-q", "main")
    file.write_text(file.read_text().replace("batch_size: 16", "batch_size: 8"))
    git("commit", "-qam", "ours")
    assert git("merge", "-q", "other", "-m", "merged") == 0
    assert load_study(file).arms["wider"].batch_size == 8
    assert "wider" in capfd.readouterr().err, "its settings are those of neither side"


def test_an_alias_that_lost_its_anchor_is_left_to_a_person(git, tmp_path, capfd):
    file = tmp_path / "params.yaml"
    git("checkout", "-qb", "other")
    add(file.parent, Draft("wider", "control", ("generator.width=16",)))
    git("commit", "-qam", "theirs")
    git("checkout", "-q", "main")
    file.write_text(file.read_text().replace("&control", "&shared").replace("*control", "*shared"))
    git("commit", "-qam", "ours")
    assert git("merge", "-q", "other", "-m", "merged") == 1
    assert "control" in capfd.readouterr().err


def test_git_merges_two_claims_at_the_end_of_one_file(git, tmp_path):
    """By lines git sees both sides append at one place, which is a conflict."""
    file = tmp_path / "claims.yaml"
    before = [c.id for c in load_claims(file).claims]

    def claim(arm: str) -> None:
        metric = "last.standard.amplitude.mae"
        draft = ClaimDraft(f"{arm.upper()}-001", "It is better.", metric, "lower", 0.02, arm, 8)
        file.write_text(with_claim(file, draft, Draft(arm, "control"), ["optimizer.lr"]))
        git("commit", "-qam", arm)

    git("checkout", "-qb", "other")
    claim("theirs")
    git("checkout", "-q", "main")
    claim("ours")
    assert git("merge", "-q", "other", "-m", "merged") == 0
    assert [c.id for c in load_claims(file).claims] == [*before, "OURS-001", "THEIRS-001"]

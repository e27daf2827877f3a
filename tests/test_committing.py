"""Committing a new arm: these files alone, and a sentence when git refuses."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.toy import PARAMS
from study.arms import Draft
from study.claiming import ClaimDraft, add, command, committed
from study.cli import app
from study.committing import commit, unclean
from study.environment import describe
from study.params import UserError

CLAIM = ClaimDraft(
    "LONGER-001", "More epochs help.", "last.standard.amplitude.mae", "lower", 0.02, "longer", 8
)
LONGER = Draft("longer", "control", ("epochs=3",))


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ("git", *arguments), cwd=root, check=True, capture_output=True, text=True
    ).stdout


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """params.yaml and a file of the code, committed; nobody's settings of git."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    git(tmp_path, "init", "-qb", "main")
    for key, value in (("user.name", "A Tester"), ("user.email", "tester@example.org")):
        git(tmp_path, "config", key, value)
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "study").mkdir()
    (tmp_path / "study/code.py").write_text("one = 1\n")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_an_added_arm_is_unclean_until_it_is_committed(checkout: Path):
    """claims.yaml is new here: git has to be told of it."""
    assert unclean(checkout) == ()
    add(checkout, LONGER, CLAIM)
    assert set(unclean(checkout) or ()) == {"params.yaml", "claims.yaml"}
    assert describe(checkout, "cpu")["dirty"] is True
    short = committed(checkout, LONGER, CLAIM)
    assert unclean(checkout) == () and describe(checkout, "cpu")["dirty"] is False
    told = git(checkout, "log", "-1", "--format=%h %s", "--name-only").split("\n")
    assert told[0] == f"{short} Add arm longer and claim LONGER-001"
    assert set(filter(None, told[1:])) == {"params.yaml", "claims.yaml"}


def test_what_else_is_staged_stays_staged_and_is_named(checkout: Path):
    (checkout / "study/code.py").write_text("two = 2\n")
    git(checkout, "add", "study/code.py")
    add(checkout, LONGER)
    committed(checkout, LONGER, None)
    assert git(checkout, "show", "--name-only", "--format=", "HEAD").split() == ["params.yaml"]
    assert git(checkout, "diff", "--cached", "--name-only").split() == ["study/code.py"]
    assert unclean(checkout) == ("study/code.py",)
    assert unclean(checkout / "study") == ("code.py",), "seen from where one stands"


def test_without_git_nothing_is_said_to_be_clean(tmp_path: Path):
    assert unclean(tmp_path) is None
    with pytest.raises(UserError, match="git add failed: fatal: not a git repository"):
        commit(tmp_path, ["params.yaml"], "Add")


def test_without_an_identity_the_commands_that_give_one_are_named_and_the_arm_stays(
    checkout: Path,
):
    git(checkout, "config", "user.useConfigOnly", "true")
    git(checkout, "config", "--unset", "user.email")
    add(checkout, LONGER, CLAIM)
    with pytest.raises(UserError, match=r"git config user\.name .* git config user\.email") as said:
        committed(checkout, LONGER, CLAIM)
    assert str(said.value).endswith("then commit params.yaml and claims.yaml")
    assert set(unclean(checkout) or ()) == {"params.yaml", "claims.yaml"}
    git(checkout, "config", "user.email", "tester@example.org")
    committed(checkout, LONGER, CLAIM)
    assert unclean(checkout) == ()


def test_a_refusal_of_git_is_a_sentence_and_the_arm_stays(checkout: Path):
    add(checkout, LONGER)
    (checkout / ".git/index.lock").touch()
    with pytest.raises(UserError, match=r"git add failed: .*index\.lock"):
        committed(checkout, LONGER, None)
    assert unclean(checkout) == ("params.yaml",)


def test_the_command_of_a_draft_commits_where_the_form_does():
    assert command(LONGER, None, commits=True)[-1] == "--commit"
    assert "--commit" in command(LONGER, CLAIM, commits=True)
    assert "--commit" not in command(LONGER, CLAIM)


@pytest.mark.slow
def test_arms_new_commits_when_asked(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    from typer.testing import CliRunner

    monkeypatch.chdir(checkout)
    new = ["arms", "new", "--from", "control", "--set"]
    done = CliRunner().invoke(app, [*new, "epochs=3", "longer", "--commit"])
    assert done.exit_code == 0 and "committed as" in done.stdout
    assert unclean(checkout) == ()
    done = CliRunner().invoke(app, [*new, "epochs=4", "later"])
    assert done.exit_code == 0 and "commit params.yaml before the runs" in done.stdout
    assert unclean(checkout) == ("params.yaml",)

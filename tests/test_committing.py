"""Committing a new arm: these files alone, and a sentence when git refuses."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from pipeline.toy import PARAMS
from study.cli import app
from study.editing import committing
from study.editing.arms import Draft
from study.editing.claiming import ClaimDraft, add, command, committed
from study.editing.committing import commit, unclean
from study.editing.seeds import more_seeds
from study.runs.environment import describe
from study.settings import UserError, load_study

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
    message = git(checkout, "log", "-1", "--format=%h %s", "--name-only").split("\n")
    assert message[0] == f"{short} Add arm longer and claim LONGER-001"
    assert set(filter(None, message[1:])) == {"params.yaml", "claims.yaml"}


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
    with pytest.raises(UserError, match="not a git repository"):
        commit(tmp_path, ["params.yaml"], "Add")


def test_without_an_identity_the_commands_that_give_one_are_named_and_the_arm_stays(
    checkout: Path,
):
    git(checkout, "config", "user.useConfigOnly", "true")
    git(checkout, "config", "--unset", "user.email")
    add(checkout, LONGER, CLAIM)
    with pytest.raises(
        UserError, match=r"git config user\.name .* git config user\.email"
    ) as output:
        committed(checkout, LONGER, CLAIM)
    assert "longer" in str(output.value) and "claims.yaml" in str(output.value)
    assert set(unclean(checkout) or ()) == {"params.yaml", "claims.yaml"}
    git(checkout, "config", "user.email", "tester@example.org")
    committed(checkout, LONGER, CLAIM)
    assert unclean(checkout) == ()


def test_a_refusal_of_git_is_a_sentence_and_the_arm_stays(checkout: Path):
    add(checkout, LONGER)
    (checkout / ".git/index.lock").touch()
    with pytest.raises(UserError, match=r"index\.lock"):
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


# --- other edits ------------------------------------------------------------------------------


def edit(root: Path) -> None:
    text = (root / "params.yaml").read_text()
    (root / "params.yaml").write_text(text.replace("lr: 0.001", "lr: 0.002", 1))


def test_other_edits_are_named_and_refused_before_anything_is_written(checkout: Path):
    edit(checkout)
    before = (checkout / "params.yaml").read_bytes()
    with pytest.raises(UserError, match=r"params\.yaml \(arms\."):
        add(checkout, LONGER, CLAIM, commits=True)
    assert (checkout / "params.yaml").read_bytes() == before
    assert not (checkout / "claims.yaml").exists()
    add(checkout, LONGER, CLAIM)  # without a commit nothing speaks against it


def test_edits_that_came_between_writing_and_committing_are_not_committed(checkout: Path):
    add(checkout, LONGER, commits=True)
    (checkout / "params.yaml").write_text((checkout / "params.yaml").read_text() + "# A note.\n")
    head = git(checkout, "rev-parse", "HEAD")
    with pytest.raises(UserError, match="comments or layout"):
        committed(checkout, LONGER, None)
    assert git(checkout, "rev-parse", "HEAD") == head


def test_claims_of_others_are_not_committed(checkout: Path):
    add(checkout, LONGER, CLAIM)
    committed(checkout, LONGER, CLAIM)
    text = (checkout / "claims.yaml").read_text()
    (checkout / "claims.yaml").write_text(text.replace("LONGER-001", "OTHER-001"))
    other = Draft("shorter", "control", ("epochs=1",))
    claim = replace(CLAIM, id="SHORTER-001", family="shorter")
    with pytest.raises(UserError, match=r"claims\.LONGER-001, claims\.OTHER-001"):
        add(checkout, other, claim, commits=True)
    add(checkout, other, commits=True)  # claims.yaml is not part of this commit
    committed(checkout, other, None)
    assert git(checkout, "show", "--name-only", "--format=", "HEAD").split() == ["params.yaml"]


# --- the same command again -------------------------------------------------------------------


def test_what_was_written_and_committed_is_found_again(checkout: Path):
    add(checkout, LONGER, CLAIM, commits=True)
    first = committed(checkout, LONGER, CLAIM)
    before = {path: path.read_bytes() for path in checkout.glob("*.yaml")}
    add(checkout, LONGER, CLAIM, commits=True)
    assert committed(checkout, LONGER, CLAIM) == first
    assert {path: path.read_bytes() for path in checkout.glob("*.yaml")} == before


@pytest.mark.parametrize(
    ("draft", "claim"),
    [
        (replace(LONGER, settings=("epochs=4",)), None),
        (replace(LONGER, asks="Does it?"), None),
        (replace(LONGER, seeds=(1, 2, 3, 4)), None),
        (LONGER, replace(CLAIM, margin=0.03)),
        (Draft("later", "control", ("epochs=5",)), CLAIM),
    ],
)
def test_another_arm_or_claim_of_that_name_is_refused(checkout: Path, draft, claim):
    add(checkout, LONGER, CLAIM)
    before = {path: path.read_bytes() for path in checkout.glob("*.yaml")}
    with pytest.raises(UserError, match="already exists"):
        add(checkout, draft, claim)
    assert {path: path.read_bytes() for path in checkout.glob("*.yaml")} == before


TROUBLES = ("index.lock", "hook", "merge")


@contextmanager
def refusing(checkout: Path, trouble: str) -> Iterator[None]:
    """Git refuses commits within the body."""
    lock, hook = checkout / ".git/index.lock", checkout / ".git/hooks/pre-commit"
    git(checkout, "checkout", "-qb", "other")
    git(checkout, "commit", "-q", "--allow-empty", "-m", "other")
    git(checkout, "checkout", "-q", "main")
    if trouble == "index.lock":
        lock.touch()
    elif trouble == "hook":
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho 'error: not on a Monday' >&2\nexit 1\n")
        hook.chmod(0o755)
    else:
        git(checkout, "merge", "--no-ff", "--no-commit", "other")
    head = git(checkout, "rev-parse", "HEAD")
    yield
    assert git(checkout, "rev-parse", "HEAD") == head
    lock.unlink(missing_ok=True)
    hook.unlink(missing_ok=True)
    if trouble == "merge":
        git(checkout, "merge", "--abort")


@pytest.mark.parametrize("trouble", TROUBLES)
def test_after_a_failed_commit_the_same_again_commits(checkout: Path, trouble: str):
    with refusing(checkout, trouble):
        add(checkout, LONGER, CLAIM, commits=True)
        with pytest.raises(UserError, match=r"params\.yaml and claims\.yaml hold longer") as output:
            committed(checkout, LONGER, CLAIM)
        assert "git " in str(output.value)
    add(checkout, LONGER, CLAIM, commits=True)
    committed(checkout, LONGER, CLAIM)
    assert unclean(checkout) == ()


@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("which", [("--seeds", "50-51"), ("-n", "2")])
def test_seeds_whose_commit_failed_are_committed_by_the_same_command(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, which: tuple[str, str]
):
    from typer.testing import CliRunner

    monkeypatch.chdir(checkout)
    before = load_study(checkout / "params.yaml").arms["control"].seeds
    words = ["arms", "extend", "control", *which, "--commit"]
    with refusing(checkout, trouble):
        done = CliRunner().invoke(app, words)
        assert "holds the seeds" in str(done.exception) and "same command" in str(done.exception)
    written = (checkout / "params.yaml").read_bytes()
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0 and "committed as" in done.stdout, done.exception
    assert (checkout / "params.yaml").read_bytes() == written and unclean(checkout) == ()
    assert len(load_study(checkout / "params.yaml").arms["control"].seeds) == len(before) + 2


def test_leftover_seeds_are_named_when_others_are_asked_for(checkout: Path):
    more_seeds(checkout, "control", (50, 51))
    with pytest.raises(UserError, match=r"extend control --seeds 50,51 --commit"):
        more_seeds(checkout, "control", (52,), commits=True)
    (checkout / "params.yaml").write_text((checkout / "params.yaml").read_text() + "# A note.\n")
    head = git(checkout, "rev-parse", "HEAD")
    with pytest.raises(UserError, match="uncommitted changes"):
        more_seeds(checkout, "control", (50, 51), commits=True)
    assert git(checkout, "rev-parse", "HEAD") == head


def test_without_git_no_seeds_are_written_for_a_commit(tmp_path: Path):
    (tmp_path / "params.yaml").write_text(PARAMS)
    with pytest.raises(UserError, match="not in a git repository"):
        more_seeds(tmp_path, "control", (50,), commits=True)
    assert (tmp_path / "params.yaml").read_text() == PARAMS


# --- questions that nobody answers ------------------------------------------------------------


def test_a_hook_that_asks_or_hangs_is_ended(checkout: Path, monkeypatch: pytest.MonkeyPatch):
    """Its input is empty, it has no terminal, and there is a time limit for it and its children."""
    hook = checkout / ".git/hooks/pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(
        "#!/bin/sh\nread answer && exit 0\n(echo x > /dev/tty) 2>/dev/null && exit 0\n"
        f"cd '{checkout}'\necho $GIT_TERMINAL_PROMPT > asked\nsleep 600 & echo $! >> asked\nwait\n"
    )
    hook.chmod(0o755)
    monkeypatch.setattr(committing, "LIMIT_S", 2.0)
    add(checkout, LONGER, commits=True)
    with pytest.raises(UserError, match="took more than 2 s"):
        committed(checkout, LONGER, None)
    asks, child = (checkout / "asked").read_text().split()
    assert asks == "0"
    until_gone(int(child))
    assert not (checkout / ".git/index.lock").exists()
    hook.unlink()
    committed(checkout, LONGER, None)


def until_gone(pid: int) -> None:
    gone = psutil.Process(pid).wait if psutil.pid_exists(pid) else lambda timeout: None
    gone(timeout=20)


# --- links ------------------------------------------------------------------------------------


def test_linked_files_stay_links_and_their_targets_are_committed(checkout: Path):
    (checkout / "shared").mkdir()
    (checkout / "params.yaml").rename(checkout / "shared/study.yaml")
    (checkout / "params.yaml").symlink_to("shared/study.yaml")
    git(checkout, "add", "-A")
    git(checkout, "commit", "-qm", "link")
    add(checkout, LONGER, commits=True)
    committed(checkout, LONGER, None)
    assert (checkout / "params.yaml").is_symlink()
    assert "longer" in (checkout / "shared/study.yaml").read_text()
    assert git(checkout, "status", "--porcelain", "-uno") == ""


@pytest.mark.parametrize("inside", [True, False])
def test_a_link_out_of_the_checkout_is_refused(checkout: Path, tmp_path_factory, inside: bool):
    outside = tmp_path_factory.mktemp("outside") / "params.yaml"
    target = checkout / "missing.yaml" if inside else outside
    outside.write_text(PARAMS)
    (checkout / "params.yaml").unlink()
    (checkout / "params.yaml").symlink_to(target)
    with pytest.raises(UserError, match="symbolic link"):
        add(checkout, LONGER)
    assert outside.read_text() == PARAMS and not target.parent.joinpath("missing.yaml").exists()

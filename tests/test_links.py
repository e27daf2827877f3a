"""No writer follows a link out of the checkout."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from study.runs import append_line, write_json, write_text
from study.runs.temporary import temporary_folder
from study.settings import UserError
from study.stages.evaluate import evaluate_arm
from study.stages.importing import import_file
from study.stages.record import record_results


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    made = tmp_path / "checkout"
    write_text(made / "params.yaml", "")
    subprocess.run(("git", "init", "-q"), cwd=made, check=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/mine.txt").write_text("mine")
    return made


def untouched(folder: Path) -> bool:
    return [path.name for path in folder.rglob("*")] == ["mine.txt"]


def in_folder(path: Path) -> None:
    with temporary_folder(path):
        pass


WRITERS: list[Callable[[Path], None]] = [
    lambda folder: write_text(folder / "new/a.txt", "a"),
    lambda folder: append_line(folder / "new/a.txt", "a"),
    lambda folder: append_line(folder / "mine.txt", "a"),
    lambda folder: in_folder(folder / "new/a"),
]


@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("link", ["results/control", "imported", "build/report", "runs/control"])
def test_a_link_out_of_the_checkout_is_refused(checkout, tmp_path, write, link):
    (checkout / link).parent.mkdir(exist_ok=True)
    (checkout / link).symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="link"):
        write(checkout / link)
    assert untouched(tmp_path / "outside")


def test_a_line_is_not_added_to_the_target_of_a_link(checkout, tmp_path):
    (checkout / "events.jsonl").symlink_to(tmp_path / "outside/mine.txt")
    with pytest.raises(UserError, match="link"):
        append_line(checkout / "events.jsonl", "a")
    assert (tmp_path / "outside/mine.txt").read_text() == "mine"


def test_a_repository_at_the_target_changes_nothing(checkout, tmp_path):
    subprocess.run(("git", "init", "-q"), cwd=tmp_path / "outside", check=True)
    (checkout / "results").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="link"):
        write_text(checkout / "results/a.txt", "a")


def test_a_link_into_the_git_folder_is_refused(checkout):
    (checkout / "results").symlink_to(".git/hooks")
    with pytest.raises(UserError, match="link"):
        write_text(checkout / "results/post-commit", "a")
    assert not (checkout / ".git/hooks/post-commit").exists()


@pytest.mark.parametrize("link", ["build", "data", "runs", "work"])
def test_own_links_to_a_larger_disk_are_followed_until_git_tracks_them(checkout, tmp_path, link):
    (checkout / link).symlink_to(tmp_path / "outside")
    write_text(checkout / link / "a.txt", "a")
    assert (tmp_path / "outside/a.txt").read_text() == "a"
    subprocess.run(("git", "add", "-f", link), cwd=checkout, check=True)
    with pytest.raises(UserError, match="link"):
        write_text(checkout / link / "b.txt", "b")


def test_links_inside_a_checkout_and_outside_of_any_are_followed(checkout, tmp_path):
    (checkout / "full").mkdir()
    (checkout / "studies").symlink_to("full")
    write_text(checkout / "studies/a.txt", "a")
    (tmp_path / "home").symlink_to("outside")
    write_text(tmp_path / "home/b.txt", "b")
    assert (checkout / "full/a.txt").is_file() and (tmp_path / "outside/b.txt").is_file()


COMMANDS: dict[str, Callable[[Path, Path], object]] = {
    "results/control": lambda root, _: evaluate_arm(root, "control"),
    "provenance/control": lambda root, _: evaluate_arm(root, "control"),
    "imported": lambda root, scan: import_file(root, scan, "x", None, {}, False),
    "pipe": lambda root, scan: record_results(scan.parent / "pipe", root),
}


@pytest.mark.parametrize("link", COMMANDS)
def test_a_command_refuses_before_it_works(checkout, tmp_path, link):
    write_json(tmp_path / "pipe/results/control/seeds/s1.json", {"seed": 1})
    (checkout / link).parent.mkdir(exist_ok=True)
    (checkout / link).symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="link"):
        COMMANDS[link](checkout, tmp_path / "scan.h5")
    assert untouched(tmp_path / "outside")

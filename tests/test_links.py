"""No writer follows a link out of the checkout."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from app import comments, view_files
from app.scan_tasks import work
from study.jobs import processes
from study.jobs.__main__ import begin
from study.jobs.folder import JobFolder
from study.jobs.models import Job, new_id
from study.runs import append_line, write_json, write_text
from study.runs.links import lock_at, open_log
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


def a_job(root: Path) -> Job:
    return Job(id=new_id("a"), arm="a", seeds=(1,), executor="local", created=0.0)


def refused_request(root: Path) -> None:
    JobFolder(root).refuse(root / "params.yaml", "not a request")


def supervisor(root: Path) -> None:
    if begin(root) == 2:
        raise UserError("a link")


IN_WORK: dict[str, Callable[[Path], object]] = {
    "request": lambda root: JobFolder(root).request_lock(),
    "refused request": refused_request,
    "supervisor": supervisor,
    "job": lambda root: processes.start(root, a_job(root), ["true"]),
    "comment": lambda root: comments.add(root, "A-1", "Ada", "Seen.", ["A-1"]),
    "scan": lambda root: work.create(root, "x.cxi"),
    "lock": lambda root: lock_at(root / "work/some/where.lock"),
}


@pytest.mark.parametrize("name", IN_WORK)
def test_no_folder_is_made_behind_a_link(checkout, tmp_path, name):
    (checkout / "work").symlink_to(tmp_path / "outside/new")
    subprocess.run(("git", "add", "-f", "work"), cwd=checkout, check=True)
    with pytest.raises(UserError, match="link"):
        IN_WORK[name](checkout)
    assert untouched(tmp_path / "outside")


@pytest.mark.parametrize("truncate", [False, True])
def test_no_log_is_written_through_a_link_or_waits_for_a_pipe(checkout, tmp_path, truncate):
    (checkout / "log").symlink_to(tmp_path / "outside/mine.txt")
    with pytest.raises(UserError, match="link"):
        open_log(checkout / "log", truncate)
    assert (tmp_path / "outside/mine.txt").read_text() == "mine"
    os.mkfifo(checkout / "pipe")
    with pytest.raises(OSError, match="No such device"):
        open_log(checkout / "pipe", truncate)


def test_a_job_and_a_scan_leave_the_target_of_their_log(checkout, tmp_path):
    job = a_job(checkout)
    scan = work.create(checkout, "x.cxi")
    logs = (JobFolder(checkout).job_log(job.id), scan / "look.log", scan / "import.out")
    for log in logs:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.symlink_to(tmp_path / "outside/mine.txt")
    with pytest.raises(UserError, match="link"):
        processes.start(checkout, job, ["true"])
    with pytest.raises(UserError, match="link"):
        work.start(checkout, scan, "look")
    assert (tmp_path / "outside/mine.txt").read_text() == "mine"


def test_a_view_is_not_deleted_behind_a_link(checkout, tmp_path):
    (tmp_path / "outside/mine.json").write_text("{}")
    (checkout / "views").symlink_to(tmp_path / "outside")
    with pytest.raises(UserError, match="link"):
        view_files.delete_view(checkout, "mine")
    assert (tmp_path / "outside/mine.json").exists()


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


def test_why_no_supervisor_starts_is_printed_without_control_codes(tmp_path, capsys):
    (tmp_path / "a\x1b[2J").write_text("a file")
    assert begin(tmp_path / "a\x1b[2J") == 2
    printed = capsys.readouterr().err
    assert "a?[2J" in printed and "\x1b" not in printed

"""Temporary files and folders: whose are swept, and folders replaced in one step."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.runs import temporary, write_text, write_whole
from study.runs.temporary import (
    exchange,
    remove_tree,
    replace_folder,
    restore_folder,
    set_aside,
    sweep,
    temporary_file,
    temporary_folder,
    unfinished,
)
from study.stages.clean import clean_checkout

WRITER = """
import sys, time
from pathlib import Path
from study.runs.temporary import temporary_file, temporary_folder
target = Path("imported/set")
with temporary_file(Path("params.yaml")) as stream, temporary_folder(target) as folder:
    stream.write(b"half"); stream.flush()
    (folder / "train.cxi").write_bytes(b"gigabytes")
    print("ready", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that writes params.yaml and imported/set."""
    (tmp_path / "imported").mkdir()
    command = (sys.executable, "-c", WRITER)
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def leftovers(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob(".*.tmp"))


def test_what_a_live_writer_holds_is_never_swept(tmp_path, writer):
    before = leftovers(tmp_path)
    assert len(before) == 2
    sweep(tmp_path)
    sweep(tmp_path / "imported")
    write_text(tmp_path / "params.yaml", "another writer")
    clean_checkout(tmp_path, dry=False)
    assert leftovers(tmp_path) == before


def test_the_next_writer_sweeps_what_a_killed_one_left(tmp_path, writer):
    writer.kill()
    writer.wait()
    assert len(leftovers(tmp_path)) == 2
    write_text(tmp_path / "claims.yaml", "claims: {}\n")
    assert len(leftovers(tmp_path)) == 1, "of the folder that is written to"
    write_text(tmp_path / "imported/set.dvc", "outs: []\n")
    assert leftovers(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {"claims.yaml", "imported"}


def test_clean_removes_what_a_killed_writer_left_and_dry_only_names_it(tmp_path, writer):
    writer.kill()
    writer.wait()
    names = leftovers(tmp_path)
    assert sum(any(name in line for name in names) for line in clean_checkout(tmp_path, True)) == 2
    assert leftovers(tmp_path) == names
    clean_checkout(tmp_path, dry=False)
    assert leftovers(tmp_path) == []


def test_a_name_that_is_no_temporary_of_ours_stays(tmp_path):
    names = [
        ".notes.tmp",
        "params.yaml.1.2.tmp",
        ".check.77.tmp",
        ".a.checkpoint.77.tmp",
        ".a.1.2.tmp.bak",
        ".1.2.tmp",
    ]
    for name in names:
        (tmp_path / name).write_text("mine")
    (tmp_path / ".link.1.2.tmp").symlink_to(tmp_path / ".notes.tmp")
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*names, ".link.1.2.tmp"}


def test_clean_removes_the_second_name_of_a_checkpoint_that_a_kill_left(tmp_path):
    run = tmp_path / "work" / "a"
    run.mkdir(parents=True)
    (run / "checkpoint.pt").write_text("weights")
    (run / ".checkpoint.77.tmp").hardlink_to(run / "checkpoint.pt")
    clean_checkout(tmp_path, dry=False)
    assert [path.name for path in run.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("folder", ["", "imported", "runs", "work/a", "results/control/seeds"])
def test_git_ignores_what_a_killed_writer_leaves(tmp_path, folder):
    """Also a folder beside imported/NAME, which is hidden as imported/*/ is."""
    subprocess.run(("git", "init", "-q"), cwd=tmp_path, check=True)
    shutil.copy(Path(__file__).parent.parent / ".gitignore", tmp_path)
    place = tmp_path / folder
    with temporary_file(place / "set.json") as stream, temporary_folder(place / "set") as made:
        left = [Path(stream.name), made / "train.cxi", place / ".checkpoint.77.tmp"]
        (made / "train.cxi").write_text("x")
        left[2].write_text("x")
        command = ("git", "status", "--porcelain", "--untracked-files=all")
        listed = subprocess.check_output(command, cwd=tmp_path, text=True)
        assert listed.split() == ["??", ".gitignore"]
        for path in left:
            subprocess.run(("git", "check-ignore", "-q", path), cwd=tmp_path, check=True)


def test_a_failed_write_leaves_the_old_file_and_no_temporary(tmp_path):
    write_text(tmp_path / "a.json", "old")

    def failing(stream: object) -> None:
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        write_whole(tmp_path / "a.json", failing)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_text() == "old"


def test_many_writers_and_sweepers_of_one_file_lose_no_write(tmp_path):
    """A sweeper may meet a temporary that is made and not locked yet."""
    failures: list[BaseException] = []

    def work(name: str) -> None:
        try:
            for number in range(150):
                write_text(tmp_path / name, str(number))
                with temporary_folder(tmp_path / name) as folder:
                    (folder / "x").write_text("x")
                    sweep(tmp_path)
                    assert folder.is_dir()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("a", "a", "b", "b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"a": "149", "b": "149"}


def test_without_locks_writing_works_and_nothing_is_swept(tmp_path, monkeypatch):
    def flock(*_: object) -> None:
        raise OSError(temporary.errno.ENOLCK, "no locks available")

    (tmp_path / ".a.77.88.tmp").write_text("left")
    monkeypatch.setattr(temporary.fcntl, "flock", flock)
    write_text(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new" and (tmp_path / ".a.77.88.tmp").exists()


# --- replacing a folder -----------------------------------------------------------------------


def folder(path: Path, text: str) -> Path:
    path.mkdir(parents=True)
    (path / "text").write_text(text)
    return path


def test_two_folders_are_exchanged_in_one_step(tmp_path):
    one, other = folder(tmp_path / "one", "1"), folder(tmp_path / "other", "2")
    try:
        exchange(one, other)
    except OSError as error:
        pytest.skip(f"this file system cannot exchange folders: {error}")
    assert (one / "text").read_text() == "2" and (other / "text").read_text() == "1"
    with pytest.raises(FileNotFoundError):
        exchange(one, tmp_path / "absent")


@pytest.mark.parametrize("by_exchange", [True, False])
@pytest.mark.parametrize("there", [True, False])
def test_a_folder_takes_the_place_of_another(tmp_path, monkeypatch, by_exchange, there):
    if not by_exchange:
        monkeypatch.setattr(temporary.ctypes, "CDLL", lambda *_, **__: object())
    target = tmp_path / "runs" / "control"
    if there:
        folder(target, "old")
    target.parent.mkdir(exist_ok=True)
    with temporary_folder(target) as new:
        (new / "text").write_text("new")
        replace_folder(new, target)
    assert (target / "text").read_text() == "new"
    assert [path.name for path in target.parent.iterdir()] == ["control"]


def test_what_a_kill_between_two_renames_left_aside_comes_back(tmp_path):
    target = tmp_path / "control"
    folder(tmp_path / ".control.old", "old")
    assert unfinished(target) and set_aside(tmp_path) == [target]
    restore_folder(target)
    assert (target / "text").read_text() == "old" and not unfinished(target)
    folder(tmp_path / ".control.old", "older")  # killed after the second rename
    restore_folder(target)
    assert (target / "text").read_text() == "old" and [*tmp_path.iterdir()] == [target]


def test_a_temporary_file_that_was_renamed_is_not_removed(tmp_path):
    with temporary_file(tmp_path / "a") as stream:
        stream.write(b"new")
        stream.flush()
        Path(stream.name).rename(tmp_path / "a")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_links_are_neither_followed_nor_left_by_removal_and_replacement(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk/mine.txt").write_text("mine")
    root = tmp_path / "root"
    (root / "work").mkdir(parents=True)
    for link in ("build", "work/abc", "arm"):
        (root / link).symlink_to(tmp_path / "disk")
    lines = clean_checkout(root, dry=False)
    assert any("build" in line for line in lines)
    with pytest.raises(OSError, match="irectory"):
        remove_tree(root / "build")
    with temporary_folder(root / "arm") as building:
        replace_folder(building, root / "arm")
    assert sorted(path.name for path in root.iterdir()) == ["arm", "build", "work"]
    assert not (root / "arm").is_symlink() and (tmp_path / "disk/mine.txt").is_file()

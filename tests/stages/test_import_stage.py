"""`study import` can be killed anywhere, and the same command completes it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from formats import hostile

from study.formats.dataset import verify_dataset
from study.runs.temporary import abandoned, temporary_folder
from study.settings import UserError
from study.stages.importing import import_file

TESTS = Path(__file__).parents[1]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "scan.npz"
    path.write_bytes(hostile.write_npz(hostile.good_arrays("npz")))
    return path


def bring(scan: Path, **changes: str) -> None:
    import_file(scan.parent, scan, "mine", None, {**hostile.known(scan), **changes}, track=False)


@pytest.mark.slow
@pytest.mark.parametrize("step", [9, pytest.param(1, marks=pytest.mark.faults)])
def test_a_killed_import_is_completed_by_the_same_command(scan: Path, step: int) -> None:
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent)])
    done = subprocess.run(
        [sys.executable, "-m", "stages.import_crashes", str(scan.parent), str(step)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    message = json.loads(done.stdout)
    assert message["wrong"] == [], done.stderr[-2000:]
    assert message["points"] > 30


@pytest.mark.parametrize("lost", ["manifest.json", "train.cxi", "test.cxi"])
def test_a_file_that_is_missing_is_added(scan: Path, lost: str) -> None:
    bring(scan)
    folder = scan.parent / "imported" / "mine"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / lost).unlink()
    bring(scan)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize("foreign", ["notes.txt", "manifest.json", "train.cxi"])
def test_a_folder_that_holds_anything_else_is_left_alone(scan: Path, foreign: str) -> None:
    folder = scan.parent / "imported" / "mine"
    folder.mkdir(parents=True)
    (folder / foreign).write_text("mine")
    with pytest.raises(UserError, match="exists"):
        bring(scan)
    assert [path.name for path in folder.iterdir()] == [foreign]
    assert (folder / foreign).read_text() == "mine"


def test_another_scan_or_option_does_not_replace_a_set(scan: Path) -> None:
    bring(scan)
    folder = scan.parent / "imported" / "mine"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(UserError, match="exists"):
        bring(scan, values="counts")
    arrays = hostile.good_arrays("npz")
    scan.write_bytes(hostile.write_npz({**arrays, "probeGuess": 2 * arrays["probeGuess"]}))
    with pytest.raises(UserError, match="exists"):
        bring(scan)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_killed_imports_left_is_swept_by_the_next(scan: Path) -> None:
    imported = scan.parent / "imported"
    dead, unrelated = imported / ".mine.77.77.tmp", imported / ".mine.notes.tmp"
    for folder in (dead, unrelated):
        folder.mkdir(parents=True)
        (folder / "train.cxi").write_bytes(b"half")
    with temporary_folder(imported / "other") as alive:
        bring(scan)
        assert [folder.exists() for folder in (dead, alive, unrelated)] == [False, True, True]


@pytest.mark.slow
@pytest.mark.faults
def test_an_import_killed_inside_dvc_add_is_completed(tmp_path: Path) -> None:
    """The real `dvc add`: the whole process group is killed at six moments of it."""
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=tmp_path, check=True)
    arrays = hostile.good_arrays("npz")
    (tmp_path / "scan.npz").write_bytes(hostile.write_npz(arrays))
    known = hostile.known(Path("scan.npz"))
    options = [
        text for key, value in known.items() for text in (f"--{key.replace('_', '-')}", value)
    ]
    command = [sys.executable, "-m", "study", "import", "scan.npz", *options, "--as"]
    environ = {**os.environ, "PYTHONPATH": str(TESTS.parent), "OMP_NUM_THREADS": "1"}
    for moment in range(6):
        name = f"mine{moment}"
        target = tmp_path / "imported" / name
        child = subprocess.Popen(
            [*command, name], cwd=tmp_path, env=environ, start_new_session=True
        )
        while child.poll() is None and not target.is_dir():
            time.sleep(0.01)
        time.sleep(0.3 * moment)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        subprocess.run([*command, name], cwd=tmp_path, env=environ, check=True)
        verify_dataset(target)
        assert target.with_suffix(".dvc").is_file()
        status = subprocess.run(
            [sys.executable, "-m", "dvc", "status", "-q", f"imported/{name}.dvc"],
            cwd=tmp_path,
            check=False,
        )
        assert status.returncode == 0, "what is tracked is what is there"
    assert abandoned(tmp_path / "imported") == []


def test_a_tracked_set_that_was_not_pulled_is_not_replaced(scan: Path) -> None:
    tracked = scan.parent / "imported" / "mine.dvc"
    tracked.parent.mkdir()
    tracked.write_text("outs: []\n")
    with pytest.raises(UserError, match="study pull imported/mine"):
        bring(scan)
    assert tracked.read_text() == "outs: []\n" and not (scan.parent / "imported" / "mine").exists()

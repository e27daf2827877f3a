"""The run folder: whole files, whole lines, and a state that survives any kill."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from checking import events_of
from study.runs import RunFolder, plain, read_json, read_lines, write_json, write_npz, write_whole
from study.runs.status import losses_of_floors
from study.settings import UserError


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "a.json"
    write_json(file, {"x": 1})

    def broken(stream):
        stream.write(b"{half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_whole(file, broken)
    assert read_json(file) == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


@pytest.mark.slow
def test_a_process_killed_while_writing_leaves_a_whole_file(tmp_path):
    file = tmp_path / "a.json"
    code = (
        "import sys; from pathlib import Path; from study.runs import write_json\n"
        f"file = Path({str(file)!r})\n"
        "while True:\n"
        "    for size in (10, 100_000): write_json(file, list(range(size)))\n"
    )
    for delay in (0.4, 0.55, 0.7):
        process = subprocess.Popen([sys.executable, "-c", code])
        while not file.exists():
            time.sleep(0.01)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert len(json.loads(file.read_text())) in (10, 100_000)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_plain_values_are_json_without_nan(value):
    json.dumps(plain(value), allow_nan=False)


def test_numpy_values_become_numbers():
    value = {"a": np.float32(0.5), "b": np.arange(3), "c": np.bool_(True), "d": np.nan}
    assert plain(value) == {"a": 0.5, "b": [0, 1, 2], "c": True, "d": None}


def test_npz_bytes_depend_on_the_arrays_alone(tmp_path):
    for name in ("a", "b"):
        write_npz(tmp_path / name, x=np.arange(5.0), y=np.ones((2, 2), np.complex64))
        time.sleep(0.02)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_torn_last_line_is_left_out(tmp_path):
    run = RunFolder(tmp_path)
    run.event("one", value=1)
    run.event("two", value=float("nan"))
    with run.events_file.open("ab") as stream:
        stream.write(b'{"kind": "thr')
    assert [event["kind"] for event in events_of(run)] == ["one", "two"]
    assert events_of(run)[1]["value"] is None
    assert len(read_lines(run.events_file)) == 2


def test_a_run_knows_whether_its_process_lives(tmp_path):
    run = RunFolder(tmp_path)
    assert not run.alive()
    run.start("control", 1, 10, {})
    assert run.alive()
    assert run.status()["pid"] == os.getpid()
    run.update_status(pid_started=0.0)  # the same pid, another process
    assert not run.alive()


def test_states_are_a_closed_list(tmp_path):
    with pytest.raises(ValueError, match="accepted"):
        RunFolder(tmp_path).finish("done")


def test_a_restarted_run_keeps_its_first_start(tmp_path):
    run = RunFolder(tmp_path)
    run.start("control", 1, 10, {})
    first = run.status()["started"]
    time.sleep(0.01)
    run.start("control", 1, 10, {})
    assert run.status()["started"] == first


def test_history_is_written_whole_and_read_back(tmp_path):
    run = RunFolder(tmp_path)
    assert run.history().empty
    run.write_history([{"epoch": 0, "val_loss": 1.0}, {"epoch": 1, "val_loss": 0.5}])
    assert run.history()["val_loss"].tolist() == [1.0, 0.5]


def test_a_heartbeat_outlives_a_full_disk(tmp_path, monkeypatch):
    """One beat finds no room; the next ones stamp again."""
    beats = []

    def write(path, value):
        beats.append(value)
        if len(beats) == 1:
            raise OSError(28, "No space left on device")
        write_json(path, value)

    monkeypatch.setattr("study.runs.folder.HEARTBEAT_S", 0.001)
    monkeypatch.setattr("study.runs.folder.write_json", write)
    run = RunFolder(tmp_path)
    with run.heartbeat():
        deadline = time.monotonic() + 30
        while not run.status() and time.monotonic() < deadline:
            time.sleep(0.001)
    assert len(beats) > 1 and run.status()["heartbeat"] > 0


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"manifest": {"data_sha256": None}}, r"manifest\.data_sha256"),
        ({"manifest": {"settings": []}}, r"manifest\.settings"),
        ({"manifest": {"settings": {"data": {}}}}, r"manifest\.settings\.data"),
        ({"floors": {"noise": "low"}}, r"floors\.noise"),
        ({"stored": {"last": 1.0}}, r"stored\.last"),
        ({"stored": {"last": {"val_loss": []}}}, r"stored\.last\.val_loss"),
        ({"collapsed_at_epoch": "two"}, "collapsed_at_epoch"),
        ({"seed": -1}, "seed"),
        ({"epoch": 10**9}, "epoch"),
        ({"heartbeat": 1e300}, "heartbeat"),
        ({"state": 7}, "state"),
    ],
)
def test_a_status_that_no_run_wrote_is_named_with_its_field(tmp_path, changes, field):
    run = RunFolder(tmp_path)
    run.update_status(state="finished", arm="control", seed=1)
    write_json(run.status_file, {**run.status(), **changes})
    with pytest.raises(UserError, match=rf"status\.json: {field}"):
        run.checked_status()
    assert run.status() == {}


@pytest.mark.parametrize("floors", [None, {}, {"noise": None, "best_constant": 0.2}, {"noise": 1}])
def test_missing_floors_are_named(tmp_path, floors):
    run = RunFolder(tmp_path)
    run.update_status(state="finished", floors=floors)
    with pytest.raises(UserError, match=r"status\.json: floors\.(noise|best_constant) is missing"):
        losses_of_floors(run.checked_status(), run.status_file)

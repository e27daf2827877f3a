"""Requests from outside: whatever lies in requests/ ends as a job or as a sentence, and no path
leaves the folder."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from jobs.checkouts import add_job, settings_alone
from study.jobs import Job, api, cancel, jobs, read_only, retry, submit
from study.jobs.folder import JobFolder
from study.jobs.models import Supervisor, new_id
from study.jobs.supervisor import Loop
from study.runs import start_time
from study.settings import UserError


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Requests are written and no supervisor is started: the tests look at each alone."""
    monkeypatch.setattr(api, "ensure", lambda root: None)
    return settings_alone(tmp_path / "checkout")


def refusals(root: Path) -> list[str]:
    return [path.read_text() for path in sorted(JobFolder(root).refused.glob("*.txt"))]


def everything_outside(root: Path) -> set[Path]:
    """Every path around the launch folder."""
    launch = JobFolder(root).path
    return {path for path in root.parent.rglob("*") if launch not in (path, *path.parents)}


words = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["../../evil", "/etc/passwd", "first", "a\x00b", "", "..", "first\n", "é" * 20]
    ),
)
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("id", "kind", "created", "arm", "seeds", "executor", "job")
near_misses = st.tuples(st.sampled_from(FIELDS), values).filter(
    lambda pair: (
        pair[0] not in ("created", "job") or not isinstance(pair[1], (int, float, type(None)))
    )
)


def good(root: Path) -> dict[str, Any]:
    return {
        "id": new_id("first"),
        "kind": "start",
        "created": 1.0,
        "arm": "first",
        "seeds": [1],
        "executor": "local",
    }


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@example(name="x.json", content=b"\xff\xfe", change=None)
@example(name="x.json", content=b"[" * 30000, change=None)
@example(name="x.json", content=b"0" * 100_000, change=None)
@example(name="x.json", content=b"", change=("id", "../../evil"))
@example(name="x.json", content=b"", change=("arm", "../first"))
@example(name="x.json", content=b"", change=("seeds", [7]))
@example(name="x.json", content=b"", change=("executor", "os.system"))
@given(
    name=st.text(st.characters(codec="utf-8", exclude_characters="/\x00"), min_size=1, max_size=40),
    content=st.binary(max_size=80),
    change=st.none() | near_misses,
)
def test_a_bad_request_is_a_sentence(
    root: Path, name: str, content: bytes, change: tuple[str, Any] | None
) -> None:
    folder = JobFolder(root)
    for old in (*folder.refused.glob("*"), *folder.jobs.glob("*.json")):
        old.unlink()
    folder.requests.mkdir(parents=True, exist_ok=True)
    before = everything_outside(root)
    if change is None:
        name = name.lstrip(".") or "x"
    else:
        request = {**good(root), change[0]: change[1]}
        if request == {**good(root), "id": request["id"]}:
            return  # hypothesis found the value that is right
        name, content = f"{good(root)['id']}.json", json.dumps(request).encode()
    (folder.requests / name).write_bytes(content)

    Loop(root)._take_requests()

    assert list(folder.requests.iterdir()) == [], "it is taken"
    assert not list(folder.jobs.glob("*.json")), "it is no job"
    [sentence] = refusals(root)
    assert sentence.startswith("request refused: ") and sentence.count("\n") == 1
    assert "Traceback" not in sentence and len(sentence) < 500
    assert everything_outside(root) == before, "nothing is written anywhere else"


@pytest.mark.parametrize("make", ["link", "folder", "pipe"])
def test_what_is_no_file_is_refused(root: Path, make: str) -> None:
    folder = JobFolder(root)
    folder.requests.mkdir(parents=True)
    secret = root / "secret.json"
    secret.write_text("{}")
    target = folder.requests / f"{new_id('first')}.json"
    match make:
        case "link":
            target.symlink_to(secret)
        case "folder":
            target.mkdir()
        case "pipe":
            os.mkfifo(target)
    Loop(root).tick()
    [sentence] = refusals(root)
    assert "regular file" in sentence
    assert secret.read_text() == "{}", "what a link points to stays"


@settings(max_examples=50, deadline=None)
@given(words | st.from_regex(r"\A[0-9]{8}-[0-9]{6}-[0-9]{6}-[a-z]{1,5}-[0-9a-f]{3,5}.?\Z"))
def test_a_bad_id_is_a_sentence(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    root = tmp_path_factory.getbasetemp()
    for ask in (cancel, retry):
        with pytest.raises(UserError, match="study runs"):
            ask(root, text)
    try:
        path = JobFolder(root).job_log(text)
    except UserError:
        return
    assert path.parent == JobFolder(root).jobs


def test_a_request_is_a_job_from_the_moment_it_is_written(root: Path) -> None:
    name = submit(root, "pair")
    [job] = jobs(root)
    assert (job.id, job.state, job.seeds) == (name, "queued", (1, 2))
    Loop(root)._take_requests()
    assert jobs(root) == (job,), "taken, it is the same job"


def test_a_request_that_is_taken_in_this_moment_is_a_job(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor takes it between the two folders that are looked into."""
    loop, name, listed = Loop(root), submit(root, "first"), JobFolder.job_list

    def then_taken(folder: JobFolder) -> list[Job]:
        found = listed(folder)
        loop._take_requests()
        return found

    monkeypatch.setattr(JobFolder, "job_list", then_taken)
    assert [job.id for job in jobs(root)] == [name]


def test_one_arm_has_one_job(root: Path) -> None:
    name = submit(root, "pair", [2])
    with pytest.raises(UserError, match=f"'pair' is queued already, as job {name}"):
        submit(root, "pair", [1])
    assert submit(root, "first") != name


@pytest.mark.parametrize(
    ("arm", "seeds", "executor", "output"),
    [
        ("frist", None, "local", "did you mean 'first'"),
        ("../first", None, "local", "no arm"),
        ("first", [3], "local", r"no seed 3; its seeds: \[1\]"),
        ("first", None, "clowd", "no executor 'clowd'"),
    ],
)
def test_what_cannot_run_is_said_at_once(
    root: Path, arm: str, seeds: list[int] | None, executor: str, output: str
) -> None:
    with pytest.raises(UserError, match=output):
        submit(root, arm, seeds, executor)
    assert jobs(root) == ()


def test_read_only_mode_writes_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = add_job(root, state="failed")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    monkeypatch.setenv("ARMATURE_READ_ONLY", "1")
    assert read_only()
    for ask in (
        lambda: submit(root, "second"),
        lambda: cancel(root, job.id),
        lambda: retry(root, job.id),
        lambda: api.resume(root),
    ):
        with pytest.raises(UserError, match="read-only"):
            ask()
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_only_what_ended_badly_is_retried_and_only_what_runs_is_stopped(root: Path) -> None:
    done, failed = add_job(root, state="done"), add_job(root, "second", state="failed")
    with pytest.raises(UserError, match="already"):
        cancel(root, done.id)
    with pytest.raises(UserError, match="only failed and cancelled"):
        retry(root, done.id)
    retry(root, failed.id)
    assert [job.state for job in jobs(root) if job.id == failed.id] == ["queued"]


def test_a_folder_that_cannot_be_written_is_a_sentence(root: Path) -> None:
    (root / "work").write_text("a file where a folder should be")
    with pytest.raises(UserError, match="cannot be written"):
        submit(root, "first")


def test_a_queued_job_is_cancelled_without_a_process(root: Path) -> None:
    name = submit(root, "first")
    cancel(root, name)
    loop = Loop(root)
    loop.tick()
    [job] = jobs(root)
    assert (job.state, job.attempts) == ("cancelled", 0)
    assert job.ended is not None and job.ended <= time.time()


@pytest.mark.parametrize(("module", "refused"), [("study.launch", True), ("study.jobs", False)])
def test_a_supervisor_of_an_earlier_version_takes_no_requests(
    root: Path, module: str, refused
) -> None:
    wait = "import sys; sys.stdin.read()"
    child = subprocess.Popen((sys.executable, "-c", wait, module), stdin=subprocess.PIPE)
    try:
        facts = {"pid": child.pid, "pid_started": start_time(psutil.Process(child.pid))}
        word = Supervisor(**facts, started=0.0, heartbeat=0.0, slots="")
        JobFolder(root).announce(word)
        if refused:
            with pytest.raises(UserError, match=f"kill {child.pid}"):
                submit(root, "first")
            assert not jobs(root)
        else:
            assert submit(root, "first")
    finally:
        child.communicate()

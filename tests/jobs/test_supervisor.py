"""What the supervisor decides, without a training: places, turns, causes, what is committed.

The tests with real processes are in test_faults.py.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from filelock import FileLock

from jobs.checkouts import REPOSITORY, add_job, settings_alone, until
from study.formats.dataset import save_dataset
from study.jobs import Job, dvc_commit, local
from study.jobs.dvc_lock import DvcLock
from study.jobs.folder import JobFolder
from study.jobs.local import Local
from study.jobs.models import Place
from study.jobs.processes import alive
from study.jobs.supervisor import Loop, stale_guard
from study.runs import RunFolder, write_json
from study.runs.identity import identity_of, study_of
from study.settings import UserError, load_study
from study.simulate import simulate
from study.stages.train import plan


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return settings_alone(tmp_path)


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its data set and a fingerprint of every arm."""
    root = settings_alone(tmp_path_factory.mktemp("ready"))
    study = load_study(root / "params.yaml")
    save_dataset(simulate("toy", study.data["toy"]), root / "data" / "toy")
    for arm in study.arms:
        write_json(root / "fingerprints" / f"{arm}.json", {"behaviour": arm})
    return root


def collect(root: Path, arm: str, *seeds: int) -> None:
    """Settled runs of today's origin under runs/<arm>."""
    for seed in seeds:
        run = RunFolder(root / "runs" / arm / f"s{seed}")
        run.update_status(
            arm=arm, seed=seed, state="finished", manifest=identity_of(root, arm).facts(seed)
        )


# --- the origin -------------------------------------------------------------------------------


def test_the_origin_is_that_of_the_training_stage(ready: Path) -> None:
    study = load_study(ready / "params.yaml")
    for arm, row in study.arms.items():
        origin = identity_of(ready, arm)
        for job in plan(ready, arm, row, diagnose=False, devices=1):
            live = origin.live(job.seed)
            assert live is not None and live.path == job.folder
            assert json.loads(json.dumps(job.origin)) == origin.facts(job.seed)


def test_data_is_missing_until_it_was_made_from_these_parameters(ready: Path) -> None:
    study = load_study(ready / "params.yaml")
    origin = identity_of(ready, "first")
    assert not origin.data_missing(study)
    changed = study.data["toy"].model_copy(update={"noise_seed": 99})
    assert origin.data_missing(study.model_copy(update={"data": {"toy": changed}}))


def test_settings_are_read_again_when_they_changed(root: Path) -> None:
    assert len(study_of(root).arms["first"].seeds) == 1
    path = root / "params.yaml"
    path.write_text(path.read_text().replace("seeds: [1]", "seeds: [1, 2, 3]"))
    assert len(study_of(root).arms["first"].seeds) == 3


# --- places -----------------------------------------------------------------------------------


def job(arm: str, seeds: tuple[int, ...], place: Place | None = None) -> Job:
    return Job(
        id=f"20260101-000000-000000-{arm}-0000", arm=arm, seeds=seeds, executor="local",
        created=0.0, place=place,
    )  # fmt: skip


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Local:
    machine = Local()
    machine.cores, machine.gpus = 4, []
    return machine


def test_a_job_takes_a_core_a_seed_and_leaves_the_rest(machine: Local) -> None:
    small, large = job("first", (1,)), job("pair", tuple(range(9)))
    assert machine.place(small, []) == Place(jobs=1)
    assert machine.place(large, []) == Place(jobs=4), "never more than there are cores"
    three = job("second", (1, 2, 3), Place(jobs=3))
    assert machine.place(small, [three]) == Place(jobs=1)
    assert machine.place(large, [three]) is None
    assert machine.slots() == "4 cores"


def test_a_gpu_takes_one_job(machine: Local) -> None:
    machine.gpus = ["0", "1"]
    first = job("first", (1,), machine.place(job("first", (1,)), []))
    second = job("second", (1,), machine.place(job("second", (1,)), [first]))
    assert [first.place, second.place] == [Place(gpu="0"), Place(gpu="1")]
    assert machine.place(job("pair", (1, 2)), [first, second]) is None
    assert machine.slots() == "2 GPUs"


def test_gpus_that_were_given_are_the_ones_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.environment, "version", lambda package: "2.0.0")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert local.visible_gpus() == ["3", "5"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local.visible_gpus() == []


def test_a_large_job_is_not_overtaken(root: Path, machine: Local) -> None:
    loop = Loop(root)
    loop.executors["local"] = machine
    running = add_job(root, "first", state="running", place=Place(jobs=1))
    large = add_job(root, "pair", seeds=(1, 2))
    machine.cores = 2
    small = add_job(root, "second")
    loop.store.jobs = {one.id: one for one in (running, large, small)}
    assert loop._queued(large) == large, "it does not fit yet"
    assert loop._queued(small) == small, "it waits behind it"


# --- causes -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("printed", "cause"),
    [
        ("loss 0.3\nstudy: no data set\n", "no data set"),
        ("ERROR: failed to reproduce 'x'\n", "failed to reproduce 'x'"),
        ("Traceback\n  File\nValueError: bad\n", "ValueError: bad"),
        ("", "it printed nothing; exit code 1"),
        (
            "OSError: [Errno 28] No space left\nstudy: arm did not finish (exit code 1)\n",
            "arm did not finish (exit code 1); the error: OSError: [Errno 28] No space left",
        ),
    ],
)
def test_the_cause_is_the_last_thing_that_says_why(printed: str, cause: str) -> None:
    assert dvc_commit.last_words(printed, 1) == cause


def test_only_the_last_command_of_a_log_explains_it(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    log.write_text("--- 12:00:00 -m study train\nstudy: old\n--- 12:01:00 -m study train\nnew\n")
    assert dvc_commit.last_output(log) == "new\n"


def test_a_job_whose_data_cannot_be_made_fails_with_the_cause(root: Path) -> None:
    """A folder without DVC: the real command fails, and its words are the cause."""
    loop, waiting = Loop(root), add_job(root)
    loop.store.jobs[waiting.id] = waiting
    until(lambda: (loop.tick(), loop.store.jobs[waiting.id].over)[1])
    ended = loop.store.jobs[waiting.id]
    assert ended.state == "failed"
    assert re.match(r"dvc repro data\.dvc: .*DVC repository", ended.cause or ""), ended.cause
    assert JobFolder(root).job_list() == [ended]


def test_a_killed_dvc_command_is_tried_again_and_at_last_said(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, begun = add_job(root), []
    monkeypatch.setattr(dvc_commit, "AGAIN_AFTER_S", 0.0)

    def begin(root: Path, job: Job, name: str, words: list[str]) -> dvc_commit.Step:
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        child.kill()
        child.wait()
        begun.append(name)
        lock = FileLock(root / "one.lock", timeout=0)
        lock.acquire()
        return dvc_commit.Step(job.id, name, child, root / "log", 0, lock)

    monkeypatch.setattr(dvc_commit, "begin", begin)
    dvc = DvcLock(root)
    take = partial(dvc.take, waiting, "train@first", ["commit"], lambda job: job)
    notes = [take().note for _ in range(5)]
    assert notes[1::2] == ["dvc commit was killed by signal 9; trying again"] * 2
    with pytest.raises(UserError, match="dvc commit: it was killed by signal 9"):
        take()
    assert len(begun) == 3 and dvc.free and not dvc.killed, "a retry counts anew"


# --- data -------------------------------------------------------------------------------------


def test_data_is_written_anew_while_nobody_reads_it(root: Path) -> None:
    """DVC takes data/ away whole before it makes it again."""
    reader = add_job(root, "first", state="running", place=Place(jobs=1))
    writer = add_job(root, "second", state="preparing", place=Place(jobs=1))
    loop = Loop(root)
    assert loop._preparing(writer).note == "waiting: data/ is in use or about to be rewritten"
    assert loop.dvc.free, "no DVC command was begun"
    loop.store.jobs.pop(reader.id)
    assert "DVC" in (until_begun(loop, writer) or ""), "with the reader gone it is begun"


def until_begun(loop: Loop, job: Job) -> str | None:
    """What became of a job whose DVC command cannot work here."""
    until(lambda: (loop.tick(), loop.store.jobs[job.id].over)[1])
    return loop.store.jobs[job.id].cause


def test_a_reader_waits_for_the_writing_that_was_asked_for_before(ready: Path) -> None:
    writer = add_job(ready, "first", state="preparing", place=Place(jobs=1))
    reader = add_job(ready, "second", state="preparing", place=Place(jobs=1))
    loop = Loop(ready)
    loop.store.jobs = {job.id: job for job in (writer, reader)}
    waits = loop._preparing(reader)
    assert (waits.state, (waits.note or "")[:14]) == ("preparing", "waiting: data/")
    assert not loop._data_busy(writer, missing=False), "and never the other way round"


# --- commits ----------------------------------------------------------------------------------


def test_only_stages_of_the_folder_are_recorded(tmp_path: Path) -> None:
    """The findings are a stage of the root study; `studies` and `full` have none."""
    one = add_job(settings_alone(tmp_path))
    trained = ["train@first", "evaluate@first"]
    assert list(dvc_commit.commands(REPOSITORY, one)) == [*trained, "findings"]
    for folder in ("studies", "full"):
        assert list(dvc_commit.commands(REPOSITORY / folder, one)) == trained
    (tmp_path / "dvc.yaml").write_text("stages: [\n")
    with pytest.raises(UserError, match=r"dvc\.yaml"):
        dvc_commit.commands(tmp_path, one)


def test_part_of_the_seeds_is_not_committed(ready: Path) -> None:
    collect(ready, "pair", 1)
    trained = add_job(ready, "pair", seeds=(1,), state="committing")
    ended = Loop(ready)._committing(trained)
    assert ended.state == "done" and ended.committed == ()
    assert ended.cause == "not committed: seeds 2 of pair are missing"


def test_runs_of_another_origin_are_stale(ready: Path) -> None:
    collect(ready, "first", 1)
    trained = add_job(ready, "first", state="committing")
    stale_guard(trained, identity_of(ready, "first"))
    path = ready / "fingerprints" / "first.json"
    before = path.read_text()
    write_json(path, {"behaviour": "another"})
    try:
        with pytest.raises(UserError, match=r"seeds 1 of first started from .* stale, run again"):
            stale_guard(trained, identity_of(ready, "first"))
    finally:
        path.write_text(before)
    changed = trained.but(settings=hashlib.sha256(b"other").hexdigest())
    with pytest.raises(UserError, match="stale"):
        stale_guard(changed, identity_of(ready, "first"))


def test_a_dvc_command_waits_while_another_is_at_work(root: Path) -> None:
    folder = root / ".dvc" / "tmp"
    holder = {"pid": os.getpid(), "cmd": "/somewhere/bin/dvc repro"}
    write_json(folder / "rwlock", {"write": {"runs/x": holder}, "read": {}})
    assert dvc_commit.other_dvc(root) == (os.getpid(), "dvc repro")
    assert dvc_commit.begin(root, add_job(root), "findings", ["status"]) == (
        f"waiting for `dvc repro` (process {os.getpid()}) to end"
    )
    write_json(folder / "rwlock", {"write": {"runs/x": {**holder, "pid": 2**22 + 1}}, "read": {}})
    assert dvc_commit.other_dvc(root) is None, "its holder was killed"


def test_a_forgotten_stage_leaves_the_others(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text("schema: '2.0'\nstages:\n  train@a:\n    cmd: x\n  train@b:\n    cmd: y\n")
    dvc_commit.forget(tmp_path, "train@a")
    assert lock.read_text() == "schema: '2.0'\nstages:\n  train@b:\n    cmd: y\n"


def test_a_process_is_known_by_its_number_and_its_start() -> None:
    assert not alive(os.getpid(), 1.0)
    assert not alive(None, None)

"""What the app may do: refused where it reads alone and while an arm is at work, and told where
nothing can be written."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from app.scan_tasks.steps import Upload
from study.editing.arms import Draft
from study.jobs import Job
from study.jobs.folder import JobFolder
from study.jobs.models import new_id
from study.runs import write_json
from study.settings import UserError, load_study

SCAN = "0000000000-00000000"
ACTIONS: dict[str, Callable] = {
    "add": lambda actions: actions.add(Draft("x", "control", ("epochs=3",)), None, {}, None),
    "commit": lambda actions: actions.commit(Draft("x", "control", ("epochs=3",)), None, {}),
    "more_seeds": lambda actions: actions.more_seeds("cnn", (901,), False),
    "save_view": lambda actions: actions.save_view("mine", "arms", {}),
    "delete_view": lambda actions: actions.delete_view("mine"),
    "start": lambda actions: actions.start("control"),
    "stop": lambda actions: actions.stop("1"),
    "retry": lambda actions: actions.retry("1"),
    "wake": lambda actions: actions.wake(),
    "archive_arm": lambda actions: actions.archive_arm("cnn"),
    "rename_arm": lambda actions: actions.rename_arm("cnn", "other"),
    "comment": lambda actions: actions.comment("A-1", "Ada", "Seen.", ["A-1"]),
    "pull": lambda actions: actions.pull(("control",)),
    "cancel_pull": lambda actions: actions.cancel_pull("1"),
    "begin_scan": lambda actions: actions.begin_scan(Upload("x.npz", b"x"), {}),
    "mask_scan": lambda actions: actions.mask_scan(SCAN, None, "", None),
    "accept_scan": lambda actions: actions.accept_scan(SCAN, 1),
    "import_scan": lambda actions: actions.import_scan(SCAN, "x"),
    "reconstruct_scan": lambda actions: actions.reconstruct_scan(SCAN, "rpie", []),
    "stop_scan": lambda actions: actions.stop_scan(SCAN, "look"),
    "remove_scan": lambda actions: actions.remove_scan(SCAN),
}


@pytest.mark.parametrize("name", ACTIONS)
def test_nothing_is_written_where_the_app_reads_alone(toy, monkeypatch, name):
    from app import actions

    before = sorted(toy.rglob("*"))
    monkeypatch.setenv("ARMATURE_READ_ONLY", "true")  # every word but 0, as the launcher takes it
    with pytest.raises(UserError, match="ARMATURE_READ_ONLY=true is set"):
        ACTIONS[name](actions)
    assert sorted(toy.rglob("*")) == before


def test_every_act_is_tested():
    from app import actions

    own = {n for n, v in vars(actions).items() if getattr(v, "__module__", "") == actions.__name__}
    assert {name for name in own if not name.startswith("_")} == set(ACTIONS)


def by_hand(root: Path, **facts: object) -> None:
    """A run of cnn that no job started, by this process."""
    process = {"pid": os.getpid(), "pid_started": psutil.Process().create_time()}
    now = {"started": time.time(), "heartbeat": time.time()}
    status = {"state": "running", "arm": "cnn", "seed": 2, **process, **now, **facts}
    write_json(root / "work" / "cnn2" / "status.json", status)


@pytest.mark.parametrize("facts", [{}, {"heartbeat": time.time() - 300}])
@pytest.mark.parametrize("name", ["archive_arm", "rename_arm"])
def test_an_arm_that_runs_by_hand_is_neither_archived_nor_renamed(toy, name, facts):
    from app import actions

    by_hand(toy, **facts)
    with pytest.raises(UserError, match="seed 2 of arm 'cnn' runs without a job, in work/cnn2"):
        ACTIONS[name](actions)
    by_hand(toy, state="finished")
    ACTIONS[name](actions)
    assert "cnn" not in load_study(toy / "params.yaml").arms


def test_an_arm_of_a_job_is_not_archived(toy):
    from app import actions

    facts = {"id": new_id("cnn"), "arm": "cnn", "seeds": (1,), "executor": "local"}
    job = Job.model_validate({**facts, "state": "queued", "created": time.time()})
    JobFolder(toy).save(job)
    with pytest.raises(UserError, match=f"queued already, as job {job.id}"):
        actions.archive_arm("cnn")


@pytest.mark.parametrize("name", ["archive_arm", "rename_arm"])
def test_a_disk_that_refuses_is_a_sentence(toy, monkeypatch, name):
    from app import actions

    def refused(*given: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(f"study.editing.archive.{name}", refused)
    with pytest.raises(UserError, match="cannot be written: Permission denied"):
        ACTIONS[name](actions)

"""My scan with damaged files of its folders: a sentence on the page, never a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkouts import opened, rendered

from app import comments
from app.scan_tasks import importer, work
from app.scan_tasks.importer import Request
from study.reading import UserError
from study.runs import write_json, write_npz

LOOK: dict[str, Any] = {
    "patterns": 10,
    "n": 8,
    "masked": 1,
    "statements": ["fit: misfit 0.1, runner-up 0.5"],
    "readings": [{"misfit": 0.1, "options": "--values counts"}],
    "why": "unclear",
}


def scan_read(root: Path, **facts: Any) -> Path:
    """The folder of a scan whose first reading was unclear."""
    folder = work.create(root, "x.cxi")
    work.save(folder, Request(str(root / "x.cxi")), True)
    (folder / importer.READ).touch()
    write_npz(folder / importer.MEAN, mean=np.ones((8, 8), np.float32), masked=np.eye(8) > 0)
    write_npz(folder / importer.READINGS, object_0=np.ones((4, 4), np.complex64))
    write_json(folder / "look.json", {"command": []})
    work.end(folder, "look", "finished", None, {**LOOK, **facts})
    return folder


def errors(folder: Path) -> str:
    """What the page of a scan says is wrong."""
    app = opened("my_scan", scan=folder.name)
    return " ".join(rendered(error.value) for error in app.error)


def test_a_misfit_that_is_not_finite_is_shown(toy: Path) -> None:
    folder = scan_read(toy, readings=[{"misfit": float("inf"), "options": ""}])
    assert errors(folder) == ""


DAMAGE: dict[str, Any] = {
    "statements": {"statements": [0.5]},
    "patterns": {"patterns": "ten"},
    "readings": {"readings": 3},
    "misfit": {"readings": [{"misfit": "small", "options": ""}]},
    "options": {"readings": [{"misfit": 1.0}]},
}


@pytest.mark.parametrize("name", DAMAGE)
def test_facts_of_another_type_are_a_sentence(toy: Path, name: str) -> None:
    folder = scan_read(toy, **DAMAGE[name])
    task = work.read_task(folder, "look")
    assert task.state == "failed" and name in str(task.cause) and "look.end.json" in str(task.cause)


@pytest.mark.parametrize("end", [{}, {"state": "running"}, {"state": "finished", "facts": []}])
def test_an_end_of_another_form_is_a_sentence(toy: Path, end: dict[str, Any]) -> None:
    folder = scan_read(toy)
    (folder / "look.end.json").write_text(json.dumps(end))
    assert work.read_task(folder, "look").state == "failed"


ARRAYS: dict[str, tuple[str, dict[str, np.ndarray]]] = {
    "no mean": (importer.MEAN, {"masked": np.eye(8) > 0}),
    "words": (importer.MEAN, {"mean": np.full((8, 8), "x"), "masked": np.eye(8) > 0}),
    "an empty mean": (importer.MEAN, {"mean": np.ones((0, 0)), "masked": np.ones((0, 0), bool)}),
    "a smaller mask": (importer.MEAN, {"mean": np.ones((8, 8)), "masked": np.eye(3) > 0}),
    "no object": (importer.READINGS, {}),
    "an object of words": (importer.READINGS, {"object_0": np.array("x")}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", ARRAYS)
def test_damaged_arrays_are_a_sentence(toy: Path, name: str) -> None:
    file, arrays = ARRAYS[name]
    folder = scan_read(toy)
    np.savez(folder / file, **arrays)
    assert file in errors(folder)


def test_a_name_that_leads_elsewhere_is_no_data_set(toy: Path) -> None:
    folder = scan_read(toy)
    write_json(folder / "scan.json", {"name": "x", "imported": "../../elsewhere"})
    with pytest.raises(UserError, match="not a name"):
        work.read(toy, folder.name)


def test_an_endless_log_is_read_from_its_end(toy: Path) -> None:
    folder = scan_read(toy)
    with (folder / "look.log").open("wb") as log:
        log.truncate(2**40)  # a sparse file
        log.seek(2**40)
        log.write(b"\nthe last line\n")
    assert work.last_line(folder, "look") == "the last line"


@pytest.mark.parametrize("content", [b"\xff\n", b"x" * (comments.MOST_BYTES + 1)])
def test_comments_that_cannot_be_kept_are_left_as_they_are(toy: Path, content: bytes) -> None:
    file = toy / comments.FILE
    file.write_bytes(content)
    with pytest.raises(UserError, match=comments.FILE):
        comments.add(toy, "A-1", "Ada", "Seen.", ["A-1"])
    assert file.read_bytes() == content


@pytest.mark.parametrize(
    "query",
    [{"x" * 61: ["a"]}, {"a": ["x" * 401]}, {"a": ["b"] * 51}, {f"k{i}": [] for i in range(51)}],
)
def test_an_address_that_is_too_long_is_not_saved(toy: Path, query: dict[str, list[str]]) -> None:
    from app import actions

    with pytest.raises(UserError, match="cannot be saved"):
        actions.save_view("mine", "arms", query)
    assert not (toy / "views").exists()

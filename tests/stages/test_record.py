"""What `study record` lists in recorded.json, and what it brings from elsewhere."""

from __future__ import annotations

import contextlib
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from study.editing import archive
from study.runs import recorded, write_json, write_text
from study.runs.recorded import Recorded, check, read_recorded, write_recorded
from study.settings import UserError
from study.stages import record
from study.stages.record import record_results


def result(seed: int, lr: float = 1e-3, **changes: Any) -> dict[str, Any]:
    """The scores of one seed, in the fields that readers need."""
    return {
        "seed": seed,
        "outcome": "ok",
        "label": "arm",
        "cause": None,
        "data": {"path": "data/quick", "sha256": "d", "kind": "simulated"},
        "code": {"fingerprint": "f", "commit": "c"},
        "settings": {"lr": lr},
        "training": None,
        "best": None,
        "last": None,
        "evidence": {},
        **changes,
    }


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    made = tmp_path / "studies"
    for seed in (1, 2):
        write_json(made / "results" / "control" / "seeds" / f"s{seed}.json", result(seed))
        write_json(made / "runs" / "control" / f"s{seed}" / "environment.json", {"commit": "c"})
    return made


def listed(pipeline: Path) -> Recorded:
    found = read_recorded(pipeline)
    assert found is not None
    return found


def test_results_and_environments_are_listed_and_what_left_the_arm_leaves(pipeline: Path) -> None:
    record_results(pipeline, pipeline.parent)
    assert list(listed(pipeline).files) == ["control/seeds/s1.json", "control/seeds/s2.json"]
    assert [e.model_dump() for e in listed(pipeline).environments] == [
        {"environment": {"commit": "c"}, "runs": {"control": [1, 2]}}
    ]
    (pipeline / "results" / "control" / "seeds" / "s2.json").unlink()
    record_results(pipeline, pipeline.parent)
    assert list(listed(pipeline).files) == ["control/seeds/s1.json"]
    assert listed(pipeline).environment("control", 2) is None


def test_environments_of_runs_that_were_not_pulled_stay(pipeline: Path) -> None:
    record_results(pipeline, pipeline.parent)
    (pipeline / "runs").rename(pipeline / "elsewhere")
    record_results(pipeline, pipeline.parent)
    assert listed(pipeline).environment("control", 2) == {"commit": "c"}


def test_what_is_written_is_read_back_and_has_a_line_per_file(pipeline: Path) -> None:
    record_results(pipeline, pipeline.parent)
    before = listed(pipeline)
    write_recorded(pipeline, before)
    assert listed(pipeline) == before
    lines = (pipeline / recorded.FILE).read_text().splitlines()
    assert sum('"sha256"' in line for line in lines) == len(before.files)
    write_recorded(pipeline, Recorded(files={}))
    assert listed(pipeline) == Recorded(files={})


@pytest.mark.parametrize("content", ["{", "[]", '{"files": {"../x": {"sha256": "%s", "size": 1}}}',
    '{"files": {"a": {"sha256": "x", "size": 1}}}', '{"files": {"a": {"sha256": "%s"}}}',
    '{"files": {}, "more": 1}'])  # fmt: skip
def test_a_damaged_list_is_a_sentence(pipeline: Path, content: str) -> None:
    (pipeline / recorded.FILE).write_text(content.replace("%s", "a" * 64))
    with pytest.raises(UserError, match=r"recorded\.json"):
        read_recorded(pipeline)


def test_a_stop_leaves_the_arm_as_it_was_and_nothing_that_is_read_as_one(
    pipeline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    top = tmp_path / "top"
    record_results(pipeline, top)
    before = (top / "studies" / recorded.FILE).read_bytes()
    write_json(pipeline / "results" / "control" / "seeds" / "s1.json", result(1, new=1))

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(record, "replace_folder", stop)
    with pytest.raises(KeyboardInterrupt):
        record_results(pipeline, top)
    assert (top / "studies" / recorded.FILE).read_bytes() == before
    for name in listed(top / "studies").files:
        check(top / "studies", name)
    assert [path.name for path in (top / "studies" / "results").iterdir()] == ["control"]


def machine(folder: Path, content: dict[str, Any]) -> None:
    """The pipeline folder of a machine that ran one seed."""
    seed = content["seed"]
    write_json(folder / "results" / "control" / "seeds" / f"s{seed}.json", content)
    write_text(folder / "results" / "control" / "history.csv", f"seed,epoch\n{seed},1\n")
    write_json(folder / "runs" / "control" / f"s{seed}" / "environment.json", {"seed": seed})
    write_text(folder / "params.yaml", "")


@pytest.mark.parametrize(("lr", "kept"), [(1e-3, ["1", "2"]), (3e-3, ["1"])])
@pytest.mark.parametrize("in_place", [False, True])
def test_seeds_of_another_machine_stay_while_the_arm_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lr: float, kept: list[str], in_place: bool
) -> None:
    """Two machines run one seed each; a seed of other settings is not part of the arm. In place:
    the second one scores its seed where the first one's results were committed."""
    arms = SimpleNamespace(arms={"control": SimpleNamespace(seeds=(1, 2))})
    monkeypatch.setattr(record, "load_study", lambda _: arms)
    top = tmp_path / "top"
    machine(tmp_path / "a" / "full", result(2, lr))
    record_results(tmp_path / "a" / "full", top)
    second = tmp_path / "b" / "full"
    if in_place:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        for words in (("init", "-q"), ("add", "-A"), ("commit", "-qm", "x")):
            subprocess.run(("git", *who, *words), cwd=top, check=True)
        second = top / "full"
        (second / "results" / "control" / "seeds" / "s2.json").unlink()
    machine(second, result(1))
    record_results(second, top)
    place = top / "full"
    names = [f"control/seeds/s{seed}.json" for seed in kept]
    assert set(listed(place).files) == {*names, "control/history.csv"}
    for name in listed(place).files:
        check(place, name)
    runs = [e.runs["control"] for e in listed(place).environments]
    assert sorted(runs) == [[int(seed)] for seed in kept]
    rows = (place / "results" / "control" / "history.csv").read_text().split()[1:]
    assert rows == [f"{seed},1" for seed in kept]


def test_what_is_recorded_of_other_arms_stays(pipeline: Path, tmp_path: Path) -> None:
    record_results(pipeline, tmp_path)
    other = tmp_path / "other" / "studies"
    write_json(other / "results" / "agc" / "seeds" / "s1.json", result(1))
    record_results(other, tmp_path)
    arms = {name.partition("/")[0] for name in listed(pipeline).files}
    assert arms == {"control", "agc"}


def test_an_archived_arm_is_listed_no_longer(pipeline: Path) -> None:
    record_results(pipeline, pipeline.parent)
    begun = archive._Begun({}, {}, None)
    write_text(pipeline / "archived" / ".control" / "arm.yaml", json.dumps({}))
    archive._settled(pipeline, "control", begun)
    assert listed(pipeline) == Recorded(files={})


@pytest.mark.parametrize(
    "file",
    [
        "results/control/x.csv",
        "results/control/seeds/s3.json",
        "provenance/control/s9.json",
        "runs/control/s1/environment.json",
    ],
)
@pytest.mark.parametrize("by_folder", [False, True])
def test_a_link_is_not_copied(pipeline: Path, tmp_path: Path, file: str, by_folder: bool) -> None:
    private = tmp_path / "private"
    path = pipeline / file
    if by_folder and not path.parent.exists():
        path.parent.parent.mkdir(parents=True)
    if by_folder and path.parent.exists():
        path.parent.rename(private)
    private.mkdir(exist_ok=True)
    write_json(private / path.name, {"seed": 3, "key": "secret"})
    if by_folder:
        path.parent.symlink_to(private)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.symlink_to(private / path.name)
    top = tmp_path / "top"
    with contextlib.suppress(UserError):  # links of folders may be left out instead
        record_results(pipeline, top)
    assert not any(b"secret" in f.read_bytes() for f in top.rglob("*") if f.is_file())


@pytest.mark.parametrize("content", [b"\xff\xfe", b"[]", b"text"])
def test_damaged_provenance_is_a_sentence(pipeline: Path, tmp_path: Path, content: bytes) -> None:
    file = pipeline / "provenance/control/s9.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"s9\.json"):
        record_results(pipeline, tmp_path / "top")


@pytest.mark.parametrize("name", [".git", "study", "build", "Full", "imported"])
def test_only_a_pipeline_folder_is_written(pipeline: Path, tmp_path: Path, name: str) -> None:
    top = tmp_path / "top"
    write_text(top / "study/cli.py", "code")
    write_text(top / ".git/config", "config")
    named = pipeline.rename(tmp_path / name)
    before = sorted(top.rglob("*"))
    with pytest.raises(UserError, match=r"name|folder"):
        record_results(named, top)
    assert sorted(top.rglob("*")) == before


def test_files_that_are_not_results_are_named(pipeline: Path, tmp_path: Path) -> None:
    write_text(pipeline / "results/control/id_rsa", "key")
    with pytest.raises(UserError, match="id_rsa"):
        record_results(pipeline, tmp_path / "top")


SCORES = "results/control/seeds/s1.json"
HISTORY = "results/control/history.csv"


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (SCORES, "[]"),
        (SCORES, "{}"),
        (SCORES, json.dumps(result(1, data=7))),
        (SCORES, json.dumps(result(1, code=[]))),
        (HISTORY, "epoch\n1\n"),
        (HISTORY, "seed,epoch\n1,1\n1,2,3,4\n"),
        (HISTORY, "seed,epoch\none,1\n"),
        (HISTORY, "seed,epoch\n1"),
    ],
)
@pytest.mark.parametrize("side", ["recorded", "here"])
def test_results_of_another_shape_are_a_sentence_and_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str, content: str, side: str
) -> None:
    arms = SimpleNamespace(arms={"control": SimpleNamespace(seeds=(1, 2))})
    monkeypatch.setattr(record, "load_study", lambda _: arms)
    first, second, top = tmp_path / "a" / "full", tmp_path / "b" / "full", tmp_path / "top"
    machine(first, result(2 if side == "here" else 1))
    machine(second, result(1 if side == "here" else 2))
    record_results(first, top)
    if side == "here":
        (second / file).write_text(content)
    else:  # as an earlier version recorded it
        (top / "full" / file).write_text(content)
        name = file.removeprefix("results/")
        before = listed(top / "full")
        files = {**before.files, name: recorded.stored(content.encode())}
        write_recorded(top / "full", before.model_copy(update={"files": files}))
    before = {path: path.read_bytes() for path in top.rglob("*") if path.is_file()}
    if content == "seed,epoch\n1":  # a torn last line that is still a table
        record_results(second, top)
        return
    with pytest.raises(UserError, match=Path(file).name):
        record_results(second, top)
    assert {path: path.read_bytes() for path in top.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("field", ["data", "code"])
def test_scores_without_data_or_code_are_recorded(
    pipeline: Path, tmp_path: Path, field: str
) -> None:
    write_json(pipeline / SCORES, result(1, **{field: None}))
    record_results(pipeline, tmp_path / "top")
    assert "control/seeds/s1.json" in listed(tmp_path / "top" / "studies").files

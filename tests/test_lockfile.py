"""dvc.lock read by lines is what a YAML parser reads."""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from study.artifacts.lockfile import read_lock
from study.settings import UserError

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("file", ["dvc.lock", "studies/dvc.lock"])
@pytest.mark.slow
def test_the_committed_files_are_read_as_a_yaml_parser_reads_them(file, tmp_path):
    """Every tenth stage: a YAML parser in Python takes seconds for all of them."""
    head, *texts = re.split(r"^(?=  \S)", (ROOT / file).read_text(), flags=re.MULTILINE)
    (tmp_path / "dvc.lock").write_text(head + "".join(texts[::10]))
    stages = YAML(typ="safe").load(tmp_path / "dvc.lock")["stages"]
    found = read_lock(tmp_path / "dvc.lock")
    assert len(stages) > 4 and list(found) == list(stages)
    for name, stage in stages.items():
        for part in ("deps", "outs"):
            expected = [{k: str(v) for k, v in item.items()} for item in stage.get(part, [])]
            assert found[name].paths(part) == expected
        for part in ("cmd", "params"):
            assert found[name].value(part) == stage.get(part)


def test_another_layout_says_the_same(tmp_path):
    out = {"path": "runs/a", "md5": "a" * 32, "size": 3}
    file = tmp_path / "dvc.lock"
    file.write_text(
        "schema: '2.0'\nstages:\n  train@a:\n    cmd: x\n    deps: []\n    outs:\n"
        f"    - {{path: runs/a, md5: {'a' * 32}, size: 3}}\n"
    )
    found = read_lock(file)["train@a"]
    assert found.paths("outs") == [{k: str(v) for k, v in out.items()}]
    assert found.paths("deps") == [] and found.value("cmd") == "x"


def test_a_part_that_is_no_yaml_is_a_sentence(tmp_path):
    (tmp_path / "dvc.lock").write_text("stages:\n  a:\n    cmd: x\n    params:\n      f: [1, {\n")
    with pytest.raises(UserError, match=r"dvc\.lock"):
        read_lock(tmp_path / "dvc.lock")["a"].value("params")


def test_nothing_ran_yet(tmp_path):
    assert read_lock(tmp_path / "dvc.lock") == {}
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    assert read_lock(tmp_path / "dvc.lock") == {}


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"schema: '2.0'\nstages:\n<<<<<<< HEAD\n  a:\n", "unfinished merge"),
        (b"[1, 2]\n", "has no stages; restore it"),
        (b"", "has no stages"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_what_is_no_lock_is_a_sentence(tmp_path, content, says):
    (tmp_path / "dvc.lock").write_bytes(content)
    with pytest.raises(UserError, match=says):
        read_lock(tmp_path / "dvc.lock")

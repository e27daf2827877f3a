"""What dvc.lock records, read without DVC."""

import subprocess
from pathlib import Path

import pytest

from study.artifacts.outputs import all_outputs, chosen, outputs, place
from study.settings import UserError

DVC_YAML = """
stages:
  simulate: {cmd: x, outs: [build/dataset: {push: false}]}
  train:
    foreach: ${arms}
    do: {cmd: x, outs: ["runs/${key}": {persist: true}]}
  evaluate:
    foreach: ${arms}
    do: {cmd: x, outs: [plain.txt], metrics: ["results/${key}/seeds": {cache: false}]}
  findings: {cmd: x, outs: [findings.json: {cache: false}]}
"""
LOCK = """schema: '2.0'
stages:
  simulate:
    cmd: x
    outs:
    - path: build/dataset
      md5: {a}.dir
      size: 5
      nfiles: 2
  train@control:
    cmd: x
    params:
      params.yaml:
        arms.control:
          asks: 'outs: - path: no
            md5: no'
          outs:
          - path: no
    deps:
    - path: data
      md5: {b}.dir
    outs:
    - path: runs/control
      hash: md5
      md5: {c}.dir
      size: 30
      nfiles: 3
  evaluate@control:
    cmd: x
    outs:
    - path: results/control/seeds
      md5: {d}.dir
  findings:
    cmd: x
    outs:
    - path: findings.json
      md5: {d}
"""
HASHES = {name: name * 32 for name in "abcd"}


@pytest.fixture
def top(tmp_path: Path) -> Path:
    for folder in (tmp_path, tmp_path / "studies"):
        folder.mkdir(exist_ok=True)
        (folder / "dvc.yaml").write_text(DVC_YAML)
        (folder / "dvc.lock").write_text(LOCK.format(**HASHES))
    (tmp_path / "imported").mkdir()
    (tmp_path / "imported/siemens.dvc").write_text(
        f"outs:\n- md5: {'e' * 32}.dir\n  size: 7\n  nfiles: 1\n  path: siemens\n"
    )
    (tmp_path / "data.dvc").write_text("deps:\n- path: build/dataset\nouts:\n- path: data\n")
    return tmp_path


def test_only_what_the_cache_holds_is_an_output(top):
    found = {item.name: item for item in outputs(top)}
    assert set(found) == {"build/dataset", "control", "imported/siemens"}
    control = found["control"]
    assert (control.path, control.address) == ("runs/control", "train@control")
    assert (control.size, control.files, control.push) == (30, 3, True)
    assert not found["build/dataset"].push
    assert found["imported/siemens"].address == "imported/siemens.dvc"
    (other,) = (item for item in outputs(top, "studies") if item.push)
    assert (other.name, other.address) == ("studies/control", "studies/dvc.yaml:train@control")
    assert other.folder(top) == top / "studies/runs/control"


def test_the_outputs_of_all_pipelines_are_named_by_their_folder(top):
    names = {item.name for item in all_outputs(top) if item.push}
    assert names == {"control", "imported/siemens", "studies/control"}


def test_names_mean_the_arm_of_the_folder_one_is_in(top):
    assert chosen(top, "", ("control",), False)[0].pipeline == ""
    assert chosen(top, "", ("studies/control",), False)[0].pipeline == "studies"
    assert chosen(top, "studies", ("control",), False)[0].pipeline == "studies"
    with pytest.raises(UserError, match=r"'contrl'.*did you mean 'control'"):
        chosen(top, "", ("contrl",), False)
    with pytest.raises(UserError, match="no stored runs of 'build/dataset'"):
        chosen(top, "", ("build/dataset",), False)


def test_a_broken_lock_is_refused(top):
    lock = (top / "dvc.lock").read_text()
    (top / "dvc.lock").write_text(f"<<<<<<< ours\n{lock}")
    with pytest.raises(UserError, match="unfinished merge"):
        outputs(top)
    (top / "dvc.lock").write_text(lock.replace("c" * 32, "../../etc/passwd"))
    with pytest.raises(UserError, match="md5"):
        outputs(top)


def test_a_study_that_never_ran_records_nothing(tmp_path):
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    assert outputs(tmp_path) == [] == all_outputs(tmp_path)


def test_pipelines_are_the_folders_of_the_checkout_that_have_one(top):
    """What a pipeline below another folder pushed would be the root's, without a word."""
    subprocess.run(("git", "init", "-q"), cwd=top, check=True)
    assert place(top) == (top, "") and place(top / "studies") == (top, "studies")
    assert place(top / "imported") == (top, ""), "a folder without a pipeline is the root's"
    for name in ("fourth", "imported/deep"):
        (top / name).mkdir()
        (top / name / "dvc.yaml").write_text(DVC_YAML)
    assert place(top / "fourth") == (top, "fourth")
    with pytest.raises(UserError, match=r"imported/deep"):
        place(top / "imported" / "deep")

"""Small results that are not what dvc.lock or their original says are named, file by file."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from checking import list_recorded
from study.artifacts.integrity import changed_files, content_md5, listing_of

DVC_YAML = """\
stages:
  evaluate:
    foreach: ${arms}
    do:
      cmd: "true"
      metrics:
        - results/${key}/seeds: {cache: false}
      plots:
        - results/${key}/history.csv: {cache: false}
      outs:
        - runs/${key}
"""


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def lock(folder: Path, arm: str) -> None:
    """A dvc.lock with the outputs of one arm as they are."""
    seeds, history = (folder / "results" / arm / name for name in ("seeds", "history.csv"))
    (folder / "dvc.yaml").write_text(DVC_YAML)
    (folder / "dvc.lock").write_text(
        f"""\
schema: '2.0'
stages:
  evaluate@{arm}:
    cmd: 'true'
    deps:
    - path: moved.py
      hash: md5
      md5: {"0" * 32}
      size: 1
    outs:
    - path: results/{arm}/history.csv
      hash: md5
      md5: {content_md5(listing_of(history))}
      size: 4
    - path: results/{arm}/seeds
      hash: md5
      md5: {content_md5(listing_of(seeds))}
      size: 4
      nfiles: 2
    - path: runs/{arm}
      hash: md5
      md5: {"1" * 32}.dir
      size: 4
      nfiles: 2
"""
    )


def write(folder: Path, arm: str = "control") -> Path:
    seeds = folder / "results" / arm / "seeds"
    seeds.mkdir(parents=True)
    for seed in (1, 2):
        (seeds / f"s{seed}.json").write_text(f'{{"seed": {seed}}}')
    (folder / "results" / arm / "history.csv").write_text("a,b\n")
    return seeds


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A study in git with one arm of its own, and the record of another pipeline."""
    write(tmp_path)
    lock(tmp_path, "control")
    write(tmp_path / "studies", "agc")
    lock(tmp_path / "studies", "agc")
    list_recorded(tmp_path)
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "-A"), ("commit", "-q", "-m", "results")):
        subprocess.run(("git", *who, *words), cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def test_the_md5_of_a_folder_is_that_of_dvc(root: Path) -> None:
    """The md5 of the listing that DVC writes for the folder."""
    from dvc_data.hashfile.build import build
    from dvc_data.hashfile.db import HashFileDB
    from dvc_objects.fs.local import LocalFileSystem

    seeds = root / "results" / "control" / "seeds"
    store = HashFileDB(LocalFileSystem(), str(root / "odb"))
    _, _, built = build(store, str(seeds), LocalFileSystem(), "md5", dry_run=True)
    assert content_md5(listing_of(seeds)) == built.hash_info.value


def test_results_as_they_were_computed_pass(root: Path) -> None:
    """Dependencies that moved, and outputs of the cache that were not pulled, are no matter."""
    assert changed_files(root) == []


@pytest.mark.parametrize(
    "name",
    [
        "results/control/seeds/s2.json",
        "results/control/history.csv",
        "studies/results/agc/seeds/s1.json",
        "studies/results/agc/history.csv",
    ],
)
@pytest.mark.parametrize("committed", [False, True])
def test_every_edited_file_is_named(root: Path, name: str, committed: bool) -> None:
    (root / name).write_text("edited")
    if committed:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        subprocess.run(("git", *who, "commit", "-qam", "x"), cwd=root, check=True)
    problems = changed_files(root)
    assert any(problem.startswith(f"{name} ") for problem in problems)
    other = "s1" if "s2" in name else "s2"
    assert not any(f"{other}.json " in problem for problem in problems)


def test_added_and_missing_files_are_named(root: Path) -> None:
    (root / "results/control/seeds/s3.json").write_text("{}")
    (root / "results/control/seeds/s1.json").unlink()
    (root / "studies/results/agc/seeds/s9.json").write_text("{}")
    (root / "studies/results/agc/seeds/s1.json").unlink()
    named = {problem.split()[0].removeprefix(f"{root}/") for problem in changed_files(root)}
    assert named == {
        "results/control/seeds/s1.json",
        "results/control/seeds/s3.json",
        "studies/results/agc/seeds/s1.json",
        "studies/results/agc/seeds/s9.json",
    }


def test_without_git_the_folder_is_named(root: Path) -> None:
    (root / ".git").rename(root / "gone")
    (root / "results/control/seeds/s2.json").write_text("edited")
    assert [problem.split()[0] for problem in changed_files(root)] == ["results/control/seeds"]

"""A second report in the same folder removes files of the first one and no others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from study.reading import hash_of_file
from study.report.build import write_report
from study.report.crate import NAME, remove_earlier
from study.settings import UserError


def folder(out: Path, title: str) -> dict[str, Path]:
    """An output folder whose metadata lists all its files but one, and one file outside of it."""
    names = ["figures/old.svg", "inputs/a/params.yaml", "figures/edited.svg", "../outside.csv"]
    files = {name: out / name for name in (*names, "figures/mine.svg")}
    for file in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("content")
    listed = [{"@id": name, "sha256": hash_of_file(files[name])} for name in names]
    (out / NAME).write_text(json.dumps({"@graph": [{"@id": "./", "name": title}, *listed]}))
    files["figures/edited.svg"].write_text("edited")
    return files


@pytest.mark.parametrize(
    ("title", "gone"), [("t", {"figures/old.svg", "inputs/a/params.yaml"}), ("other", set())]
)
def test_only_unchanged_files_of_an_earlier_report_go(tmp_path: Path, title: str, gone: set[str]):
    files = folder(tmp_path / "out", title)
    remove_earlier(tmp_path / "out", "t")
    assert {name for name, file in files.items() if not file.exists()} == gone


@pytest.mark.parametrize("name", ["figures", "inputs"])
def test_a_link_in_the_output_folder_is_refused(tmp_path: Path, name: str):
    (tmp_path / "out").mkdir()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/a.txt").write_text("mine")
    (tmp_path / "out" / name).symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match="link"):
        write_report(tmp_path, tmp_path / "out")
    assert (tmp_path / "mine/a.txt").read_text() == "mine"


def test_a_file_through_a_link_is_not_removed(tmp_path: Path):
    files = folder(tmp_path / "out", "t")
    (tmp_path / "out/figures").rename(tmp_path / "mine")
    (tmp_path / "out/figures").symlink_to(tmp_path / "mine")
    remove_earlier(tmp_path / "out", "t")
    assert files["figures/old.svg"].exists()

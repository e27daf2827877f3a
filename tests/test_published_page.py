"""PUBLISHED.md shows names as text, and its commands give each to the shell as one word."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from study.artifacts.outputs import Output
from study.artifacts.publish import page


@pytest.mark.parametrize(
    "name", ["[click](evil.md)", "<img src=x onerror=alert(1)>", "a|b", "a; touch evil #", "$(id)"]
)
def test_stored_names_are_text_in_the_page(tmp_path: Path, name: str) -> None:
    one = Output(name, "", name, "imported/x.dvc", "a" * 32, 1, 1, True)
    text = page(tmp_path, "", ("c" * 40, "2026-01-01"), (name, f"/disk/{name}"), [one])
    _, commands, _ = text.split("```")
    prose = text.replace(commands, "")
    assert "](" not in prose and "<img" not in prose
    table = [line for line in prose.split("\n") if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {5}
    pull = next(line for line in commands.split("\n") if line.startswith("study pull"))
    assert shlex.split(pull, comments=True) == ["study", "pull", name, "--remote", name]

"""Limits that keep files and calls readable: lines per file, arguments per public function."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("study", "app", "bench", "tools")
MOST_LINES = 400
MOST_ARGUMENTS = 8
FILES = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """(name, number of arguments without self) of every public function and constructor."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_") and node.name != "__init__":
            continue
        names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
        yield node.name, len(names) - (names[:1] in (["self"], ["cls"]))


def test_files_are_found() -> None:
    assert len(FILES) > 200


@pytest.mark.parametrize("package", PACKAGES)
def test_no_file_is_too_long(package: str) -> None:
    long = {
        path.relative_to(ROOT).as_posix(): lines
        for path in FILES
        if path.is_relative_to(ROOT / package)
        and (lines := len(path.read_text().splitlines())) > MOST_LINES
    }
    assert not long, f"split by subject, at most {MOST_LINES} lines"


def test_no_public_function_takes_too_many_arguments() -> None:
    many = {
        (path.relative_to(ROOT).as_posix(), name)
        for path in FILES
        for name, count in functions(ast.parse(path.read_text()))
        if count > MOST_ARGUMENTS
    }
    assert not many, "group arguments that belong together in a dataclass"


def test_the_count_of_arguments_is_right() -> None:
    tree = ast.parse(
        "class A:\n    def __init__(self, a, /, b, *, c): ...\n"
        "def f(a, b, *rest, c=1, **more): ...\ndef _private(a): ...\n"
    )
    assert sorted(functions(tree)) == [("__init__", 3), ("f", 3)]

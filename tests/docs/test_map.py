"""docs/map.md names files, packages and functions that exist, and every package."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
TEXT = (ROOT / "docs/map.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py): ([\w.]+)`", TEXT)))


def names(tree: ast.AST, prefix: str = "") -> set[str]:
    """Functions, classes and methods of a module, methods as `Class.method`."""
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found |= {prefix + node.name, *names(node, f"{node.name}.")}
    return found


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_function_on_the_map_exists(file: str, name: str):
    assert name in names(ast.parse((ROOT / file).read_text(encoding="utf-8")))


def test_every_package_is_on_the_map():
    packages = {path.parent.name for path in (ROOT / "study").glob("*/__init__.py")}
    assert packages == set(re.findall(r"^\| `study/(\w+)` \|", TEXT, re.MULTILINE))

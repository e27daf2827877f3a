"""docs/map.md names every package, and the docs name files, functions and modules that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MAP = (ROOT / "docs/map.md").read_text(encoding="utf-8")
TEXT = "\n".join(file.read_text(encoding="utf-8") for file in DOCS)
NAMED = sorted(set(re.findall(r"`([\w/]+\.py):\s+([\w.]+)`", TEXT)))
FILES = sorted(set(re.findall(r"`((?:app|study|tests|bench|tools)/[\w/]+\.py)[`:]", TEXT)))
DOTTED = sorted(set(re.findall(r"`(study(?:\.\w+)+)`", TEXT)))


@cache
def names(file: Path) -> frozenset[str]:
    """Functions, classes, methods and constants of a module, methods as `Class.method`."""
    return frozenset(_names(ast.parse(file.read_text(encoding="utf-8"))))


def _names(tree: ast.AST, prefix: str = "") -> set[str]:
    found = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found |= {prefix + node.name, *_names(node, f"{prefix}{node.name}.")}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= {prefix + target.id for target in targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.If):  # `if TYPE_CHECKING`
            found |= _names(node, prefix)
        elif isinstance(node, ast.ImportFrom):
            found |= {prefix + (alias.asname or alias.name) for alias in node.names}
    return found


def test_the_map_has_walks():
    assert len(re.findall(r"^## Walk \d", MAP, re.MULTILINE)) == 4
    assert len(NAMED) > 40 and len(DOTTED) > 5


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_every_named_function_exists(file: str, name: str):
    assert name in names(ROOT / file)


@pytest.mark.parametrize("file", FILES)
def test_every_named_file_exists(file: str):
    assert (ROOT / file).is_file()


@pytest.mark.parametrize("dotted", DOTTED)
def test_every_dotted_name_exists(dotted: str):
    """A module, or a name that a module or a package defines or imports."""
    parts = dotted.split(".")
    for length in range(len(parts), 0, -1):
        path = ROOT.joinpath(*parts[:length])
        file = (
            path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        )
        if file.is_file():
            assert length == len(parts) or ".".join(parts[length:]) in names(file)
            return
    pytest.fail(f"no module of {dotted}")


def test_every_package_is_on_the_map():
    packages = {path.parent.name for path in (ROOT / "study").glob("*/__init__.py")}
    assert packages == set(re.findall(r"^\| `study/(\w+)` \|", MAP, re.MULTILINE))

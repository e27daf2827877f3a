"""Nothing of the app writes past app/actions.py, which asks first who may write: read from the
code."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from checkouts import ROOT

APP = ROOT / "app"
# What app/actions.py calls to write files and to start processes, with the parts of the package
# that run in such a process; the worker of New arm only answers questions about networks.
WRITERS = {"actions.py", "comments.py", "view_files.py", "new_arm/networks.py"}
WRITING_FOLDERS = {"scan_tasks"}
METHODS = {
    *(
        "write_text",
        "write_bytes",
        "unlink",
        "rmdir",
        "touch",
        "mkdir",
        "symlink_to",
        "hardlink_to",
    ),
    *("chmod", "to_parquet", "rmtree", "copytree", "copyfile", "kill", "killpg", "Popen", "execv"),
}
MODULES = {"subprocess", "shutil", "tempfile", "multiprocessing", "study.runs.children"}
FUNCTIONS = ("write_", "append_", "make_folder", "open_log", "lock_at", "update_status")


def is_writer(file: Path) -> bool:
    name = file.relative_to(APP).as_posix()
    return name in WRITERS or name.partition("/")[0] in WRITING_FOLDERS


def writes(tree: ast.Module) -> Iterator[ast.AST]:
    """Calls that write or start a process, and imports of what does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            names = [alias.name for alias in node.names]
            paths = {module, *names, *(f"{module}.{name}" for name in names)}
            if paths & MODULES or any(name.startswith(FUNCTIONS) for name in names):
                yield node
        elif isinstance(node, ast.Call) and _is_write(node):
            yield node


def _is_write(call: ast.Call) -> bool:
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    if name == "open":
        first = 0 if isinstance(call.func, ast.Attribute) else 1
        given = [
            *call.args[first : first + 1],
            *(k.value for k in call.keywords if k.arg == "mode"),
        ]
        return any(
            not isinstance(m, ast.Constant) or set(str(m.value)) & set("wax+") for m in given
        )
    paths = name in ("rename", "replace") and len(call.args) + len(call.keywords) == 1
    frame = any(k.arg in ("index", "columns", "tzinfo") for k in call.keywords)
    return name in METHODS or (paths and isinstance(call.func, ast.Attribute) and not frame)


def imports(tree: ast.Module) -> dict[str, str]:
    """Local name -> what it was imported as."""
    return {
        alias.asname or alias.name: f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def called(tree: ast.AST, known: dict[str, str]) -> Iterator[tuple[str, int]]:
    """Functions of other modules that are called or handed on, as module.name, with the line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id in known:
                yield f"{known[node.value.id]}.{node.attr}", node.lineno
        elif isinstance(node, ast.Name) and node.id in known:
            yield known[node.id], node.lineno


def guarded() -> set[str]:
    """What app/actions.py calls once it has asked who may write."""
    tree = ast.parse((APP / "actions.py").read_text())
    blocks = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.With) and "_writing(" in ast.unparse(node.items[0])
    ]
    made = [call for block in blocks for part in block.body for call in ast.walk(part)]
    functions = [call.func for call in made if isinstance(call, ast.Call)]
    known = imports(tree)
    found = {name for function in functions for name, _ in called(function, known)}
    return found - {*known.values(), "study.jobs.check_idle"}


def test_no_page_writes_files_or_starts_processes():
    found = [
        f"{file.relative_to(ROOT)}:{node.lineno}: {ast.unparse(node)}"
        for file in sorted(APP.rglob("*.py"))
        if not is_writer(file)
        for node in writes(ast.parse(file.read_text()))
    ]
    assert found == []


def test_no_page_calls_what_the_actions_guard():
    functions = guarded()
    assert {"study.jobs.submit", "app.comments.add", "app.scan_tasks.steps.begin"} <= functions
    assert len(functions) > 15
    found = []
    for file in sorted(APP.rglob("*.py")):
        if file.name != "actions.py" and not is_writer(file):
            tree = ast.parse(file.read_text())
            used = called(tree, imports(tree))
            found += [f"{file.relative_to(ROOT)}:{at}: {n}" for n, at in used if n in functions]
    assert found == []


@pytest.mark.parametrize(
    "line",
    [
        "open('x', 'w')",
        "path.open(mode='ab')",
        "path.open(how)",
        "path.write_text('x')",
        "path.unlink()",
        "path.rename('y')",
        "path.replace(other)",
        "os.kill(1, 9)",
        "import subprocess",
        "from study.runs import children",
        "from study.runs import write_json",
        "from shutil import rmtree",
    ],
)
def test_the_reader_of_the_code_finds_what_writes(line):
    assert list(writes(ast.parse(line)))


@pytest.mark.parametrize(
    "line",
    ["path.open('rb')", "path.open()", "text.replace('a', 'b')", "table.rename(index=str)"],
)
def test_the_reader_of_the_code_knows_what_reads(line):
    assert not list(writes(ast.parse(line)))

"""Reads the app's code for stored text that reaches Streamlit as Markdown or HTML unescaped.

Streamlit renders the first argument, the label and the help of nearly all of its calls as Markdown:
an image in a stored text is fetched from outside, and a link looks like the app's own. An
expression is safe when it is made of literals, of numbers with a format that texts do not have
(`{count:d}`), of constants in capitals, of `escape.markdown(...)`, and of calls to functions that
return `Markdown`, whose own returned expressions are checked in the same way. A parameter that is
annotated `Markdown` is safe in its function, and what callers pass for it is checked.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# Method: the positions of arguments that are rendered. Keywords are listed below.
RENDERED = {
    **dict.fromkeys(
        ("markdown", "write", "caption", "info", "warning", "error", "success", "toast", "badge",
         "title", "header", "subheader", "button", "download_button", "form_submit_button",
         "link_button", "expander", "popover", "toggle", "checkbox", "radio", "selectbox",
         "multiselect", "segmented_control", "pills", "slider", "select_slider", "number_input",
         "text_input", "text_area", "spinner", "status", "dialog", "latex", "html",
         "file_uploader", "camera_input", "date_input", "time_input", "color_picker", "table"),
        (0,),
    ),
    # The tooltip of a column is Markdown, its title is not.
    **dict.fromkeys(("Column", "TextColumn", "NumberColumn", "CheckboxColumn", "LinkColumn",
                     "SelectboxColumn", "ProgressColumn", "ListColumn", "ImageColumn"), ()),
    "image": (1,),
    "metric": (0, 1, 2),
    "progress": (1,),
    "page_link": (1,),
    "tabs": (0,),
}  # fmt: skip
# Of these the options are rendered as Markdown too.
OPTIONS = {"radio": (1,), "segmented_control": (1,), "pills": (1,)}
KEYWORDS = {"label", "help", "text", "body", "caption", "captions"}
# The last four make HTML and escape every text in it.
SAFE_CALLS = {"html_escape", "len", "sum", "int", "float", "picture", "page", "_one"}
COPIES = {"list", "tuple", "sorted", "dict", "zip", "enumerate"}  # as safe as what they are given
OWN = ("build", "escape", "export", "urllib")  # modules with functions of the same names
NUMERIC = re.compile(r"[+\- ]?[#0]*\d*[,_]?(\.\d+)?[dfgeEGF%,]$")


@dataclass
class Scope:
    """What is known of the names in one function."""

    values: dict[str, list[ast.expr]] = field(default_factory=dict)
    asked: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class Kind:
    """What is looked for: the annotation of safe texts, the module that makes them, and which
    arguments of a call are rendered."""

    annotation: re.Pattern[str]
    maker: str
    rendered: Callable[[ast.Call, Declared], Iterator[ast.expr]]


Function = tuple[str, str]  # its module, without the package, and its name


@dataclass
class Declared:
    """Functions of the app that return `Markdown`, and the parameters that are.

    `module` and `imported`: of the file that is read; local name -> function.
    """

    kind: Kind
    made: set[Function]
    taken: dict[Function, dict[str, int]]
    module: str = ""
    imported: dict[str, Function] = field(default_factory=dict)

    def of(self, called: ast.expr) -> Function:
        """The function that an expression names."""
        if isinstance(called, ast.Attribute):
            return ast.unparse(called.value).split(".")[-1], called.attr
        name = ast.unparse(called)
        return self.imported.get(name, (self.module, name))


def unsafe(folder: Path, kind: Kind | None = None) -> Iterator[str]:
    """file:line and source of every argument and return value that is not safe."""
    kind = kind or MARKDOWN
    trees = {file: ast.parse(file.read_text()) for file in sorted(folder.rglob("*.py"))}
    made: set[Function] = set()
    taken: dict[Function, dict[str, int]] = {}
    for file, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                name = (file.stem, node.name)
                made |= {name} if is_safe(node.returns, kind) else set()
                taken |= {name: found} if (found := _parameters(node, kind)) else {}
    for file, tree in trees.items():
        known = Declared(kind, made, taken, file.stem, _imports(tree))
        for where, node in _found(tree, known):
            yield f"{file.relative_to(folder.parent)}:{where.lineno}: {ast.unparse(node)}"


def _imports(tree: ast.Module) -> dict[str, Function]:
    return {
        alias.asname or alias.name: ((node.module or "").split(".")[-1], alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


def is_safe(annotation: ast.expr | None, kind: Kind) -> bool:
    return annotation is not None and bool(kind.annotation.fullmatch(ast.unparse(annotation)))


def _parameters(function: ast.FunctionDef, kind: Kind) -> dict[str, int]:
    """The parameters that hold safe text, with their positions."""
    given = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    return {one.arg: i for i, one in enumerate(given) if is_safe(one.annotation, kind)}


def _found(tree: ast.Module, made: Declared) -> Iterator[tuple[ast.expr, ast.expr]]:
    shared = _scope(tree.body, Scope())
    yield from _calls([n for n in tree.body if not isinstance(n, ast.FunctionDef)], shared, made)
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        parameters = {name: [ast.Constant("")] for name in _parameters(function, made.kind)}
        scope = _scope(function.body, Scope(shared.values | parameters))
        yield from _calls(function.body, scope, made)
        if is_safe(function.returns, made.kind) and made.module != made.kind.maker:
            for node in ast.walk(function):
                if isinstance(node, ast.Return) and node.value is not None:
                    yield from ((node.value, bad) for bad in _bad(node.value, scope, made))


def _scope(body: list[ast.stmt], scope: Scope) -> Scope:
    own: dict[str, list[ast.expr]] = {}
    for node in (n for statement in body for n in ast.walk(statement)):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                _bind(target, node.value, own)
        elif isinstance(node, ast.AnnAssign | ast.AugAssign | ast.NamedExpr) and node.value:
            _bind(node.target, node.value, own)
        elif isinstance(node, ast.For | ast.comprehension):
            for item in _items(node.iter):
                _bind(node.target, item, own)
    scope.values |= own
    return scope


def _bind(target: ast.expr, value: ast.expr, own: dict[str, list[ast.expr]]) -> None:
    if isinstance(target, ast.Name):
        own.setdefault(target.id, []).append(value)
    elif isinstance(target, ast.Tuple | ast.List):
        parts = value.elts if isinstance(value, ast.Tuple | ast.List) else []
        for i, one in enumerate(target.elts):
            same = len(parts) == len(target.elts)
            _bind(one, parts[i] if same else ast.Name("?"), own)


def _items(source: ast.expr) -> list[ast.expr]:
    """What a loop over `source` binds: its items, where they are written down."""
    if isinstance(source, ast.Tuple | ast.List):
        return source.elts
    return [source.elt if isinstance(source, ast.ListComp) else ast.Name("?")]


def _calls(
    body: list[ast.stmt], scope: Scope, made: Declared
) -> Iterator[tuple[ast.expr, ast.expr]]:
    for call in (n for statement in body for n in ast.walk(statement)):
        if isinstance(call, ast.Call):
            for argument in (*taken(call, made), *made.kind.rendered(call, made)):
                yield from ((argument, bad) for bad in _bad(argument, scope, made))


def taken(call: ast.Call, made: Declared) -> Iterator[ast.expr]:
    """The arguments for parameters of our own functions that hold safe text."""
    parameters = made.taken.get(made.of(call.func), {})
    yield from given(call, set(parameters.values()), set(parameters))


def given(call: ast.Call, positions: set[int], names: set[str]) -> Iterator[ast.expr]:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    yield from (argument for i, argument in enumerate(call.args) if i in positions)
    yield from (keywords[name] for name in names & set(keywords))


def _rendered(call: ast.Call, made: Declared) -> Iterator[ast.expr]:
    """The arguments of a call that are rendered as Markdown or HTML."""
    if not isinstance(call.func, ast.Attribute) or made.of(call.func) in made.taken:
        return
    name = call.func.attr
    if name in RENDERED and ast.unparse(call.func.value) not in OWN:
        yield from given(call, {*RENDERED[name], *OPTIONS.get(name, ())}, KEYWORDS)


MARKDOWN = Kind(re.compile(r"(escape\.)?Markdown( \| None)?"), "escape", _rendered)


def _bad(node: ast.expr, scope: Scope, made: Declared) -> Iterator[ast.expr]:
    """The parts of an expression that are not safe."""
    if isinstance(node, ast.Call):
        parts = _given(node, made)
    elif isinstance(node, ast.Name | ast.Attribute):
        parts = _meant(node, scope)
    else:
        parts = PARTS[type(node)](node) if type(node) in PARTS else None
    if parts is None:
        yield node
        return
    name = getattr(node, "id", "")
    if name not in scope.asked:  # a name may be bound to an expression that holds it
        scope.asked |= {name} if name else set()
        yield from [bad for part in parts for bad in _bad(part, scope, made)]
        scope.asked.discard(name)


# What decides whether an expression is safe; a call and a name have functions of their own.
PARTS: dict[type, Callable[[Any], list[ast.expr]]] = {
    ast.Constant: lambda node: [],
    ast.JoinedStr: lambda node: [
        part.value
        for part in node.values
        if isinstance(part, ast.FormattedValue) and not _is_number(part)
    ],
    ast.BinOp: lambda node: [node.left, node.right],
    ast.IfExp: lambda node: [node.body, node.orelse],
    ast.BoolOp: lambda node: node.values,
    ast.Tuple: lambda node: node.elts,
    ast.List: lambda node: node.elts,
    ast.Starred: lambda node: [node.value],
    ast.ListComp: lambda node: [node.elt],
    ast.GeneratorExp: lambda node: [node.elt],
    ast.Subscript: lambda node: [node.value],
}


def _given(call: ast.Call, made: Declared) -> list[ast.expr] | None:
    """What decides whether a call is safe; None when it is not."""
    match call:
        case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join"), args=[items]):
            return [items]
        case ast.Call(func=ast.Name(id=name), args=arguments) if name in COPIES:
            return arguments
        case ast.Call(func=ast.Attribute(value=value, attr="lower" | "capitalize"), args=[]):
            return [value]
        case ast.Call(func=ast.Attribute(value=value, attr="replace"), args=[_, new]):
            return [value, new]
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="get"), args=[_, other]):
            return [other] if name.isupper() else None
    name = made.of(call.func)
    safe = SAFE_CALLS & {name[1], ast.unparse(call.func)}  # html_escape is a name of ours for it
    return [] if safe or name in made.made else None


def _meant(node: ast.Name | ast.Attribute, scope: Scope) -> list[ast.expr] | None:
    """What a name is bound to in its function; nothing for constants, None when it is unknown."""
    name = node.id if isinstance(node, ast.Name) else node.attr
    return [] if name.isupper() else scope.values.get(name) if isinstance(node, ast.Name) else None


def _is_number(part: ast.FormattedValue) -> bool:
    spec = part.format_spec
    if not isinstance(spec, ast.JoinedStr) or len(spec.values) != 1:
        return False
    text = spec.values[0]
    return isinstance(text, ast.Constant) and bool(NUMERIC.match(str(text.value)))

"""Reads the app's code for stored text that reaches a plotly figure unescaped.

Plotly renders tags in nearly all of its texts: a link in a stored name would look like the app's
own. An expression is safe as `markdown_calls` has it, where `plot_style.label(...)` makes safe
text and `Label` annotates it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from markdown_calls import Declared, Kind, unsafe

# Keys of figures, traces and axes that are rendered, as keywords and in dictionaries.
RENDERED = {
    *("text", "title", "title_text", "name", "hovertext", "hovertemplate", "texttemplate"),
    *("ticktext", "ticksuffix", "tickprefix", "subplot_titles", "annotation_text", "customdata"),
}
FIGURES = re.compile(r"(add|update)(_\w+)?|make_subplots|shape|append_trace")
TRACES = {"go"}  # the module of traces and figures
# Calls that give numbers, for `customdata`.
NUMERIC = {"astype", "hypot", "asarray"}


def _rendered(call: ast.Call, made: Declared) -> Iterator[ast.expr]:
    is_method = isinstance(call.func, ast.Attribute)
    name = call.func.attr if is_method else getattr(call.func, "id", "")
    trace = is_method and ast.unparse(call.func.value) in TRACES
    if trace or FIGURES.fullmatch(name):
        for keyword in call.keywords:
            yield from _texts(keyword.arg or "", keyword.value)
        for argument in call.args:
            yield from _texts("", argument)


def _texts(key: str, value: ast.expr) -> Iterator[ast.expr]:
    """What is rendered of a value: a dictionary is asked for its own keys."""
    if isinstance(value, ast.Dict):
        for inner, part in zip(value.keys, value.values, strict=True):
            yield from _texts(str(getattr(inner, "value", "")), part)
    elif key in RENDERED and not _is_numbers(value):
        yield value


def _is_numbers(value: ast.expr) -> bool:
    called = value.func if isinstance(value, ast.Call) else None
    return isinstance(called, ast.Attribute) and called.attr in NUMERIC


LABELS = Kind(re.compile(r"(list\[)?(plot_style\.)?Label\]?( \| None)?"), "plot_style", _rendered)


def unsafe_labels(folder: Path) -> Iterator[str]:
    """file:line and source of every text of a figure that is not safe."""
    return unsafe(folder, LABELS)

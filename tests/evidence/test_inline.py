"""findings.md shows stored text as text: no link, image or HTML comes in, and no line is added."""

from __future__ import annotations

import copy
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt
from stored import page

from study.evidence.format import inline
from study.evidence.staleness import current_findings
from study.settings import UserError

ROOT = Path(__file__).parent.parent.parent
HOSTILE = (
    "![a](http://pwn.invalid/i.png) [c](http://pwn.invalid) [c][x] <img src=x> <!-- \n"
    "[x]: http://pwn.invalid\n\n# heading\n\n- item |"
)
PARSER = MarkdownIt("commonmark").enable("table")


def live(text: str) -> set[str]:
    """Kinds of token that fetch, link or hide."""
    tokens = [child for token in PARSER.parse(text) for child in (token, *(token.children or ()))]
    return {t.type for t in tokens} & {"image", "link_open", "html_inline", "html_block"}


def test_the_words_are_dangerous_as_they_are():
    assert live(HOSTILE) >= {"image", "link_open", "html_inline"}
    assert live(inline(HOSTILE)) == set() and "\n" not in inline(HOSTILE)


def test_text_without_links_and_html_is_left_alone():
    text = "0.06 [0.05, 0.07], n = 6; `x[0]` **b** (see [1]) | a"
    assert inline(text) == text


@pytest.fixture(scope="module")
def findings() -> dict[str, Any]:
    """The study's own findings, a few of each kind."""
    if not (ROOT / "findings.json").is_file():
        pytest.skip("this checkout has no findings yet: `make repro` makes them")
    found = current_findings(ROOT).content()
    found["claims"] = dict(list(found["claims"].items())[:4])
    found["groups"] = found["groups"][:2]
    kept = {name for group in found["groups"] for name in group["arms"]}
    found["arms"] = {n: arm for n, arm in found["arms"].items() if "/" not in n or n in kept}
    found["published"]["entries"] = found["published"]["entries"][:20]
    return found


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all texts."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from leaves(item, (*path, key))


def with_text(findings: dict[str, Any], path: tuple[Any, ...]) -> dict[str, Any]:
    """The findings with hostile words after the text at `path`; the rest is shared."""
    top = place = copy.copy(findings)
    for key in path[:-1]:
        place[key] = copy.copy(place[key])
        place = place[key]
    place[path[-1]] += HOSTILE
    return top


NAMES = re.compile(r"/\d+|(?<=^arms/)[^/]+|(?<=^claims/)[^/]+")
TRACES = ("pwn", "heading", "item |", "<img", "<!--")


@pytest.mark.slow
def test_no_text_of_the_findings_becomes_markup(findings):
    """One text at a time, a seeded sample of all kinds (a path without names and numbers)."""
    kinds = {NAMES.sub("", "/".join(map(str, path))): path for path in leaves(findings)}
    shown = 0
    for kind in random.Random(15).sample(sorted(kinds), min(300, len(kinds))):
        path = kinds[kind]
        try:
            text = page(with_text(findings, path))
        except (KeyError, ValueError, UserError):
            continue  # the text is looked up somewhere: it is a name of ours
        lines = [line for line in text.splitlines() if any(trace in line for trace in TRACES)]
        shown += bool(lines)
        assert live("\n\n".join(lines)) == set(), kind
        assert not any(line.startswith(("# heading", "- item", "[x]:")) for line in lines), kind
    assert shown > 5

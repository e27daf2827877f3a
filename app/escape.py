"""Escape stored text for pages: names, claims, causes and comments are shown literally.

Streamlit renders most texts as Markdown. An image in a stored text would be fetched from outside,
and a link would look like the app's own.
"""

from __future__ import annotations

import re
from typing import TypeAlias

# A text that Streamlit may render: literals, numbers, and other texts after `markdown`. A test
# (tests/app/markdown_calls.py) checks what is passed or returned where this is the annotation.
Markdown: TypeAlias = str

SYMBOLS = str.maketrans({character: f"\\{character}" for character in r"\`*_{}[]<>()#+-!|$~:&"})
# Streamlit looks for these in the finished text, where no backslash helps: web and mail addresses
# become links, names of icons become icons. A word joiner, which has no width, separates them.
FOUND_LATER = re.compile(r"(?<=:)(?=//|material/|streamlit:)|(?<=www)(?=\.)|(?<=@)(?=\w)", re.I)
JOINER = "\u2060"
# Between backticks; of characters that mean nothing more in code, also where it is not ours.
COMMAND = re.compile(r"`((?:cd [\w./-]+ && )?(?:dvc|git|make|study) [\w ./=,+-]+)`")
NUMBERED = re.compile(r"^(\d+)\.(?=\s|$)")  # the start of a list


def markdown(text: str) -> Markdown:
    """Text as Markdown that renders literally, on one line."""
    return NUMBERED.sub(r"\1\\.", _escaped(" ".join(text.split())))


def sentence(text: str) -> Markdown:
    """A message of the app, which may quote stored text: as `markdown`, with commands as code."""
    parts = COMMAND.split(" ".join(text.split()))
    shown = "".join(f"`{part}`" if i % 2 else _escaped(part) for i, part in enumerate(parts))
    return NUMBERED.sub(r"\1\\.", shown)


def _escaped(line: str) -> str:
    return FOUND_LATER.sub(JOINER, line).translate(SYMBOLS)

"""Stored text on a page: names, claims, causes and comments read as they were written.

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
NUMBERED = re.compile(r"^(\d+)\.(?=\s|$)")  # the start of a list


def markdown(text: str) -> Markdown:
    """Text as Markdown that renders as it is written, on one line."""
    line = FOUND_LATER.sub(JOINER, " ".join(text.split()))
    return NUMBERED.sub(r"\1\\.", line.translate(SYMBOLS))

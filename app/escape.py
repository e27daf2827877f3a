"""Foreign text on a page: names, claims, causes and comments read as they were written."""

from __future__ import annotations

MARKDOWN = str.maketrans({character: f"\\{character}" for character in r"\`*_{}[]<>()#+-!|$~:"})


def markdown(text: str) -> str:
    """Text as Markdown that renders as it is written, on one line."""
    return " ".join(text.split()).translate(MARKDOWN)

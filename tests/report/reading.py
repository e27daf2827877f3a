"""A report.html as its readers see it: text, numbers with their ids, tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

VOID = {"meta", "col", "br", "wbr", "link", "img"}


@dataclass
class Page(HTMLParser):
    """`numbers`: (id, text) in order; `rows`: cells of every table row; `tags`: with attributes."""

    numbers: list[tuple[str, str]] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""
    open: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._title: str | None = None
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        facts = dict(attrs)
        self.tags.append((tag, facts))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        if tag == "span" and facts.get("class") == "n":
            self._title, self._depth = facts["title"], len(self.open)
            self.numbers.append((self._title or "", ""))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"
        if len(self.open) < self._depth:
            self._title = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self.open) and self.open[-1] in ("td", "th", "span", "code"):
            self.rows[-1][-1:] = ["".join([*self.rows[-1][-1:], data])]
        if self._title is not None and len(self.open) == self._depth:
            name, text = self.numbers[-1]
            self.numbers[-1] = (name, text + data)


def read(page: Path) -> Page:
    found = Page()
    found.feed(page.read_text(encoding="utf-8"))
    assert not found.open, f"{found.open} are not closed"
    return found

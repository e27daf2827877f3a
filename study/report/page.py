"""The page of the report: jinja2 templates filled with the inputs, with figures as inline SVG.

Template names are paths below study/. jinja2 escapes all values; HTML generated in Python is
`Markup`, whose `format` escapes its arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from study.evidence.format import counted, fmt, join_words
from study.report import cells
from study.report.figures.style import Drawing, Saved, save
from study.report.gather import Inputs

PAGE = "report/templates/page.html"
TITLE = "Stable networks for ptychography: the evidence"


@dataclass(frozen=True)
class Section:
    """One part of the report.

    `template`: a path below study/; it receives `inputs` and the result of `values(inputs)`.
    """

    title: str
    template: str
    values: Callable[[Inputs], Mapping[str, Any]] = lambda inputs: {}


def render_page(inputs: Inputs, sections: Sequence[Section]) -> tuple[str, dict[str, Saved]]:
    """The whole HTML file (no network, no script) and its figures by name.

    Equal inputs give equal bytes. Call it within `figures.style.styled()`.
    """
    saved: dict[str, Saved] = {}

    def figure(drawn: Drawing | str) -> Markup:
        """A drawing with its caption, or the sentence that replaces it."""
        if isinstance(drawn, str):
            return Markup("<p>{}</p>").format(prose(drawn))
        saved[drawn.name] = save(drawn)
        picture = Markup(inline_svg(saved[drawn.name].svg, drawn.name))  # noqa: S704 (our own SVG)
        return Markup("<figure>\n{}\n<figcaption>{}</figcaption></figure>").format(
            picture, drawn.caption
        )

    templates = environment()
    templates.globals |= {"figure": figure, "inputs": inputs}

    def body(section: Section) -> Markup:
        html = templates.get_template(section.template).render(section.values(inputs))
        return Markup(html)  # noqa: S704 (jinja2 escaped it)

    parts = [(section.title, body(section)) for section in sections]
    return templates.get_template(PAGE).render(title=TITLE, parts=parts), saved


def environment() -> Environment:
    """The jinja2 environment with names for all templates; a missing name or key is an error."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parents[1]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.do"],
    )
    made.filters |= {"prose": prose, "anchor": cells.anchor, "fmt": fmt}
    made.filters |= {"join_words": join_words, "short": cells.short, "breakable": cells.breakable}
    made.globals |= {name: getattr(cells, name) for name in cells.IN_TEMPLATES}
    made.globals |= {"counted": counted}
    return made


def prose(text: str) -> Markup:
    """A sentence as HTML; text between backticks becomes code."""
    parts = (escape(part) for part in text.split("`"))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else part for i, part in enumerate(parts)
    )


def inline_svg(svg: str, name: str) -> str:
    """The <svg> element for use inside HTML: without prolog, metadata and unused ids.

    The ids get the prefix `name`. Namespace declarations are removed, as HTML does not need them.
    """
    text = svg[svg.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', text))
    kept = {part for pair in used for part in pair if part}
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{name}-{m[1]}"' if m[1] in kept else "", text)
    text = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{escape(name)}"', 1).strip()

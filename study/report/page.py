"""Blocks as one HTML file: no network, no script, figures inside as SVG with their text as text."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape

from study.report.document import (
    Block,
    Bullets,
    Code,
    Drawing,
    Heading,
    Line,
    Number,
    Paragraph,
    Piece,
    Status,
    Table,
    printed,
)
from study.report.figures.style import Saved

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #fff; color: #1c1c1c;
  font: 16px/1.5 Charter, "Bitstream Charter", "Source Serif 4", Georgia, serif; }
main { max-width: 1120px; margin: 0 auto; padding: 2rem 2rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0.5rem 0 0.3rem; font-weight: 600; }
h2 { font-size: 1.3rem; margin: 2.6rem 0 0.6rem; font-weight: 600;
  border-bottom: 1px solid #bbb; padding-bottom: 0.2rem; }
h3 { font-size: 1.05rem; margin: 1.8rem 0 0.4rem; font-weight: 600; }
p, ul { max-width: 46rem; margin: 0.5rem 0; }
li { margin: 0.2rem 0; }
nav { font-size: 0.88rem; color: #555; margin: 1rem 0; }
nav a { color: inherit; margin-right: 1rem; white-space: nowrap; }
code { font: 0.82em ui-monospace, Menlo, Consolas, monospace; overflow-wrap: anywhere; }
figure { margin: 1.2rem 0 1.8rem; }
figure svg { display: block; width: 100%; max-width: 900px; height: auto; }
figcaption, caption { font-size: 0.85rem; line-height: 1.4; color: #444; max-width: 56rem; }
figcaption { margin-top: 0.4rem; }
caption { caption-side: top; text-align: left; padding-bottom: 0.4rem; }
table { border-collapse: collapse; width: 100%; margin: 0.8rem 0 1.4rem;
  font: 12.5px/1.35 system-ui, "Helvetica Neue", Arial, "DejaVu Sans", sans-serif;
  font-variant-numeric: tabular-nums; table-layout: fixed; }
th { text-align: right; vertical-align: bottom; font-weight: 600; border-bottom: 1px solid #333;
  border-top: 1px solid #333; padding: 0.35em 0.5em; }
td { text-align: right; vertical-align: top; padding: 0.3em 0.5em;
  border-bottom: 1px solid #e3e3e3; }
th, td { overflow-wrap: break-word; }
.l { text-align: left; }
.n { cursor: help; }
.i { display: block; color: #666; font-size: 0.88em; white-space: nowrap; }
p .i, li .i { display: inline; white-space: normal; }
.s { font-weight: 600; }
.s-supported { color: #00694b; } .s-refuted, .s-void { color: #a43d00; }
.s-equivalent { color: #00558a; } .s-inconclusive, .s-not-evaluable { color: #555; }
@media print { main { max-width: none; padding: 0; } table, figure { break-inside: avoid; } }
"""


def render_page(title: str, blocks: Sequence[Block], saved: Mapping[str, Saved]) -> str:
    """The whole file. `saved`: the figures by name."""
    parts = [_block(block, saved) for block in blocks]
    first = next(i for i, block in enumerate(blocks) if isinstance(block, Heading) and i)
    body = "\n".join([*parts[:first], _contents(blocks), *parts[first:]])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n"
        f"<body><main>\n{body}\n</main></body>\n</html>\n"
    )


def _contents(blocks: Sequence[Block]) -> str:
    found = [block for block in blocks if isinstance(block, Heading) and block.level == 2]
    links = (f'<a href="#{_anchor(block.text)}">{escape(block.text)}</a>' for block in found)
    return f"<nav>{' '.join(links)}</nav>"


def _anchor(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _block(block: Block, saved: Mapping[str, Saved]) -> str:
    match block:
        case Heading(level, text):
            place = f' id="{_anchor(text)}"' if level == 2 else ""
            return f"<h{level}{place}>{escape(text)}</h{level}>"
        case Paragraph(line):
            return f"<p>{_line(line)}</p>"
        case Bullets(lines):
            return f"<ul>{''.join(f'<li>{_line(line)}</li>' for line in lines)}</ul>"
        case Table():
            return _table(block)
        case Drawing(name=name, caption=caption):
            picture = inline(saved[name].svg, name)
            return f"<figure>\n{picture}\n<figcaption>{_line(caption)}</figcaption></figure>"


def _table(table: Table) -> str:
    total = sum(table.widths)
    columns = "".join(f'<col style="width:{100 * w / total:.2f}%">' for w in table.widths)
    heads = "".join(_cell("th", (head,), i in table.words) for i, head in enumerate(table.heads))
    rows = "\n".join(
        f"<tr>{''.join(_cell('td', line, i in table.words) for i, line in enumerate(row))}</tr>"
        for row in table.rows
    )
    return (
        f"<table><caption>{_line(table.caption)}</caption><colgroup>{columns}</colgroup>\n"
        f"<thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table>"
    )


def _cell(tag: str, line: Line, left: bool) -> str:
    kind = ' class="l"' if left else ""
    return f"<{tag}{kind}>{_line(line)}</{tag}>"


def _line(line: Line) -> str:
    return "".join(_piece(piece) for piece in line)


def _piece(piece: Piece) -> str:
    match piece:
        case Number(text, name, below):
            under = f' <span class="i">{escape(printed(below))}</span>' if below else ""
            return f'<span class="n" title="{escape(name)}">{escape(printed(text))}{under}</span>'
        case Code(text):
            return f"<code>{escape(text)}</code>"
        case Status(text):
            return f'<span class="s s-{_anchor(text)}">{escape(text)}</span>'
        case _:
            return escape(piece)


def inline(svg: str, name: str) -> str:
    """The <svg> element for use inside HTML: no prolog, no metadata, its own ids and no idle ones.

    HTML knows the namespaces itself, so their addresses go.
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

"""Blocks as A4 pages; figures stay vectors.

fpdf2 sets text and tables and leaves a box for every figure; pypdf then draws matplotlib's own PDF
of the figure in its box. The fonts are those that matplotlib brings along, so no system font is
needed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

import matplotlib as mpl
from fpdf import FPDF
from fpdf.enums import TableBordersLayout
from fpdf.fonts import FontFace
from pypdf import PageObject, PdfReader, PdfWriter
from pypdf.generic import (
    ArrayObject,
    DecodedStreamObject,
    DictionaryObject,
    FloatObject,
    IndirectObject,
    NameObject,
)

from study.report.document import (
    Block,
    Bullets,
    Drawing,
    Heading,
    Line,
    Paragraph,
    Status,
    Table,
    text_of,
)
from study.report.figures.style import Saved

MARGIN_MM, WIDTH_MM, HEIGHT_MM = 15.0, 210.0, 297.0
ROOM_MM = WIDTH_MM - 2 * MARGIN_MM
POINT_MM = 25.4 / 72
SIZES = {1: 19.0, 2: 13.0, 3: 10.5}
TEXT, SMALL, CELL = 9.5, 8.0, 7.2
FONTS = {"": "STIXGeneral.ttf", "B": "STIXGeneralBol.ttf"}
FALLBACK = {"": "DejaVuSans.ttf", "B": "DejaVuSans-Bold.ttf"}
DAY_ONE = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Place:
    """Where a figure goes: page (from 0), its left and top edge in mm, and its scale."""

    page: int
    x_mm: float
    y_mm: float
    scale: float


class _Sheet(FPDF):
    """A4 with page numbers."""

    def footer(self) -> None:
        self.set_y(-11)
        self.set_font("serif", size=SMALL)
        self.cell(0, 5, f"{self.page_no()} / {{nb}}", align="C")


def render_pdf(
    title: str, blocks: Sequence[Block], saved: Mapping[str, Saved], vectors: bytes
) -> bytes:
    """The whole file. `saved`: the figures by name; `vectors`: one a page, in their order."""
    sheet = _sheet(title)
    places: list[Place] = []
    for i, block in enumerate(blocks):
        following = blocks[i + 1] if i + 1 < len(blocks) else None
        _block(sheet, block, following, saved, places)
    return _with_figures(bytes(sheet.output()), places, vectors)


def _sheet(title: str) -> FPDF:
    sheet = _Sheet(format="A4")
    sheet.set_creation_date(DAY_ONE)
    sheet.set_title(title)
    sheet.set_margins(MARGIN_MM, MARGIN_MM, MARGIN_MM)
    sheet.set_auto_page_break(True, 16)
    folder = Path(mpl.get_data_path()) / "fonts" / "ttf"
    for family, files in (("serif", FONTS), ("sans", FALLBACK)):
        for style, file in files.items():
            sheet.add_font(family, style, str(folder / file))
    sheet.set_fallback_fonts(["sans"])
    sheet.add_page()
    return sheet


def _block(
    sheet: FPDF,
    block: Block,
    following: Block | None,
    saved: Mapping[str, Saved],
    places: list[Place],
) -> None:
    match block:
        case Heading(level, text):
            _heading(sheet, level, text, following, saved)
        case Paragraph(line):
            _write(sheet, text_of(line), TEXT)
        case Bullets(lines):
            for line in lines:
                sheet.set_font("serif", size=TEXT)
                sheet.cell(4, TEXT * POINT_MM * 1.28, "•")
                _write(sheet, text_of(line), TEXT, gap=0.6)
            sheet.ln(1.2)
        case Table():
            _table(sheet, block)
        case Drawing():
            places.append(_drawing(sheet, block, saved[block.name]))


def _write(sheet: FPDF, text: str, size: float, gap: float = 1.6) -> None:
    sheet.set_font("serif", size=size)
    sheet.multi_cell(0, size * POINT_MM * 1.28, text, align="L", new_x="LMARGIN", new_y="NEXT")
    sheet.ln(gap)


def _heading(
    sheet: FPDF, level: int, text: str, following: Block | None, saved: Mapping[str, Saved]
) -> None:
    """A heading stays with what follows it."""
    need = 35.0
    if isinstance(following, Drawing):
        need = _size(saved[following.name])[1] + 30
    if sheet.get_y() + min(need, HEIGHT_MM - 50) > HEIGHT_MM - 16:
        sheet.add_page()
    sheet.ln(0 if sheet.get_y() < 20 else 4.5 - level)
    sheet.set_font("serif", "B", SIZES[level])
    step = SIZES[level] * POINT_MM * 1.25
    sheet.start_section(text, level=level - 1) if level < 3 else None
    sheet.multi_cell(0, step, text, align="L", new_x="LMARGIN", new_y="NEXT")
    sheet.ln(1.2)


def _table(sheet: FPDF, table: Table) -> None:
    _keep(sheet, lambda: _table_body(sheet, table))
    sheet.ln(3.5)


def _keep(sheet: FPDF, draw: Callable[[], None]) -> None:
    """Start a new page when less than a few lines would fit."""
    if sheet.get_y() > HEIGHT_MM - 60:
        sheet.add_page()
    draw()


def _table_body(sheet: FPDF, table: Table) -> None:
    _write(sheet, text_of(table.caption), SMALL, gap=0.8)
    sheet.set_font("serif", size=CELL)
    sheet.set_draw_color(190)
    sheet.set_line_width(0.15)
    bold = FontFace(emphasis="BOLD")
    aligns = tuple("LEFT" if i in table.words else "RIGHT" for i in range(len(table.heads)))
    with sheet.table(
        width=ROOM_MM,
        col_widths=tuple(table.widths),
        text_align=aligns,
        v_align="TOP",
        line_height=CELL * POINT_MM * 1.25,
        padding=(0.6, 0.6),
        headings_style=bold,
        borders_layout=TableBordersLayout.HORIZONTAL_LINES,
    ) as drawn:
        for line in [tuple((head,) for head in table.heads), *table.rows]:
            row = drawn.row()
            for cell in line:
                row.cell(_broken(cell), style=bold if _is_status(cell) else None)


def _is_status(cell: Line) -> bool:
    return len(cell) == 1 and isinstance(cell[0], Status)


def _broken(cell: Line) -> str:
    """Text of a cell; long names may break behind an underscore, a slash or a dot."""
    text = text_of(cell, breaks="\n")
    return "".join(letter + ("\u200b" if letter in "_/" else "") for letter in text)


def _size(figure: Saved) -> tuple[float, float]:
    """Width and height on the page in mm: at most the room that there is."""
    width, height = figure.size_mm
    scale = min(1.0, ROOM_MM / width, (HEIGHT_MM - 2 * MARGIN_MM - 32) / height)
    return width * scale, height * scale


def _drawing(sheet: FPDF, block: Drawing, figure: Saved) -> Place:
    _, height = _size(figure)
    if sheet.get_y() + height + 14 > HEIGHT_MM - 16:
        sheet.add_page()
    scale = height / figure.size_mm[1]
    place = Place(sheet.page_no() - 1, MARGIN_MM, sheet.get_y(), scale)
    sheet.set_y(sheet.get_y() + height + 1.5)
    _write(sheet, text_of(block.caption), SMALL, gap=4)
    return place


def _with_figures(pages: bytes, places: Sequence[Place], vectors: bytes) -> bytes:
    """Page i of `vectors` drawn at place i, as it is: a form that the page refers to."""
    writer = PdfWriter(clone_from=io.BytesIO(pages))
    figures = PdfReader(io.BytesIO(vectors)).pages if places else ()
    for i, (place, figure) in enumerate(zip(places, figures, strict=True)):
        _draw(writer, place, NameObject(f"/Figure{i}"), figure)
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def _draw(writer: PdfWriter, place: Place, name: NameObject, figure: PageObject) -> None:
    page = writer.pages[place.page]
    resources = cast(DictionaryObject, page["/Resources"].get_object())
    forms = cast(DictionaryObject, resources.setdefault(NameObject("/XObject"), DictionaryObject()))
    cast(DictionaryObject, forms.get_object())[name] = _form(writer, figure)
    x = place.x_mm / POINT_MM
    y = (HEIGHT_MM - place.y_mm) / POINT_MM - float(figure.mediabox.height) * place.scale
    drawn = f"\nq {place.scale:.6f} 0 0 {place.scale:.6f} {x:.4f} {y:.4f} cm {name} Do Q\n"
    before = page.get_contents()
    assert before is not None, "every page has text"
    stream = DecodedStreamObject()
    stream.set_data(before.get_data() + drawn.encode())
    page[NameObject("/Contents")] = writer._add_object(stream.flate_encode())


def _form(writer: PdfWriter, figure: PageObject) -> IndirectObject:
    """A page as a form XObject, with its resources; what figures share is stored once."""
    content = figure.get_contents()
    assert content is not None, "every figure draws something"
    form = DecodedStreamObject()
    form.set_data(content.get_data())
    packed = form.flate_encode()
    packed[NameObject("/Type")] = NameObject("/XObject")
    packed[NameObject("/Subtype")] = NameObject("/Form")
    packed[NameObject("/BBox")] = ArrayObject(FloatObject(edge) for edge in figure.mediabox)
    packed[NameObject("/Resources")] = figure["/Resources"].clone(writer)
    return writer._add_object(packed)

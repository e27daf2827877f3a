"""The report on paper: Chromium prints it on A4, and every page is legible and complete."""

from __future__ import annotations

import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from playwright.sync_api import Browser, Page

from study.report.build import write_report
from system.app_server import ROOT

pytestmark = pytest.mark.browser
# What the report of this study reads and git holds.
TRACKED = (
    "findings.json",
    "claims.yaml",
    "params.yaml",
    "studies/params.yaml",
    "studies/recorded.json",
    "full/recorded.json",
    "requirements.lock",
)
UNITS_PER_PT, UNITS_PER_MM = 3, 3 * 72 / 25.4  # of pdftohtml's coordinates
MARGIN_MM, FOOT_MM, SMALLEST_PT = 15, 17, 8


@dataclass(frozen=True)
class Words:
    """One line of text on a page; places and sizes in units of pdftohtml, from the top left."""

    page: int
    left: float
    top: float
    right: float
    bottom: float
    size: float
    text: str


@dataclass(frozen=True)
class Printed:
    html: Path
    sheet: Path
    words: list[Words]
    pages: list[tuple[float, float]]


@pytest.fixture(scope="module", params=["this_study", "by_hand"])
def printed(
    request: pytest.FixtureRequest,
    browser: Browser,
    stored_study: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Printed:
    """Two reports: this study's, with long tables, and a small one, with reconstructions."""
    out = tmp_path_factory.mktemp(request.param)
    root = stored_study if request.param == "by_hand" else tracked(out / "study")
    html, _ = write_report(root, out / "report")
    sheet = out / "report.pdf"
    page = browser.new_page()
    page.goto(html.as_uri())
    page.pdf(path=sheet, prefer_css_page_size=True, print_background=True)
    page.close()
    return Printed(html, sheet, *words_of(sheet))


def tracked(root: Path) -> Path:
    for name in TRACKED:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    for name in ("results", "studies/results", "full/results"):
        shutil.copytree(ROOT / name, root / name)
    return root


def words_of(sheet: Path) -> tuple[list[Words], list[tuple[float, float]]]:
    command = ["pdftohtml", "-xml", "-i", "-zoom", "3", "-stdout", str(sheet)]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    # Before the pages stand the sheet's links, which are no XML.
    tree = ET.fromstring(f"<pdf>{text[text.index('<page') :]}".replace("</pdf2xml>", "</pdf>"))
    sizes: dict[str, float] = {}
    words, pages = [], []
    for page in tree.iter("page"):
        pages.append((float(page.attrib["width"]), float(page.attrib["height"])))
        sizes |= {font.attrib["id"]: float(font.attrib["size"]) for font in page.iter("fontspec")}
        for line in page.iter("text"):
            left, top, width, height = (
                float(line.attrib[key]) for key in ("left", "top", "width", "height")
            )
            content = "".join(line.itertext())
            size = sizes[line.attrib["font"]]
            words.append(Words(len(pages), left, top, left + width, top + height, size, content))
    return words, pages


def test_pages_are_a4_and_numbered(printed: Printed):
    count = len(printed.pages)
    assert count > 1
    for width, height in printed.pages:
        assert (width, height) == pytest.approx((210 * UNITS_PER_MM, 297 * UNITS_PER_MM), rel=0.01)
    numbers = [word.text.strip() for word in printed.words if re.match(r"\d+ / \d+\s*$", word.text)]
    assert [n for n in numbers if n.endswith(f"/ {count}")] == [
        f"{page} / {count}" for page in range(1, count + 1)
    ]


def test_no_text_is_smaller_than_8_pt(printed: Printed):
    small = [word for word in printed.words if word.size < SMALLEST_PT * UNITS_PER_PT]
    assert not small, {word.text for word in small}


def test_no_text_leaves_the_margins(printed: Printed):
    width, height = printed.pages[0]
    slack = 1.5 * UNITS_PER_MM  # letters overhang their boxes
    for word in printed.words:
        if word.text.strip():
            assert word.left >= MARGIN_MM * UNITS_PER_MM - slack, word
            assert word.right <= width - MARGIN_MM * UNITS_PER_MM + slack, word
            assert word.bottom <= height, word


def test_nothing_is_drawn_in_the_margins_and_no_page_is_nearly_empty(
    printed: Printed, tmp_path: Path
):
    command = ["pdftoppm", "-r", "50", "-gray", "-png", str(printed.sheet), str(tmp_path / "page")]
    subprocess.run(command, check=True)
    images = sorted(tmp_path.glob("page*.png"))
    assert len(images) == len(printed.pages)
    for image in images:
        ink = imread(image) < 0.8  # (height, width)
        mm = ink.shape[0] / 297
        edge, foot = int((MARGIN_MM - 2) * mm), int(FOOT_MM * mm)
        assert not ink[:, :edge].any() and not ink[:, -edge:].any(), image.name
        assert not ink[:edge].any(), image.name
        rows = np.flatnonzero(ink[:-foot].any(axis=1))
        if image != images[-1]:
            assert rows.max() > 0.3 * ink.shape[0], f"{image.name} is nearly empty"


def test_every_caption_is_on_the_page_of_its_figure(printed: Printed, browser: Browser):
    """The text just above a caption is one of its figure's."""
    page = browser.new_page()
    page.goto(printed.html.as_uri())
    figures = page.evaluate(
        """[...document.querySelectorAll("figure")].filter(f => f.querySelector("svg")).map(f => ({
          caption: f.querySelector("figcaption").innerText,
          words: [...f.querySelectorAll("text")].map(t => t.textContent).join(" ")}))"""
    )
    page.close()
    starts = {start(figure["caption"]) for figure in figures}
    captions = sorted(
        (word for word in printed.words if start(word.text) in starts),
        key=lambda word: (word.page, word.top),
    )
    assert [start(word.text) for word in captions] == [start(f["caption"]) for f in figures]
    for caption, figure in zip(captions, figures, strict=True):
        # Upright text only: pdftohtml cuts rotated lines into pieces without width.
        upright = (w for w in printed.words if w.page == caption.page and w.right > w.left)
        above = (word for word in upright if word.top < caption.top)
        nearest = max(above, key=lambda word: word.top, default=None)
        assert nearest is not None, caption
        assert set(nearest.text.split()) & set(figure["words"].split()), (nearest, caption)


def start(text: str) -> str:
    return " ".join(text.split()[:5])


def test_no_cell_of_a_table_is_clipped(printed: Printed, browser: Browser):
    page = browser.new_page(viewport={"width": round(180 / 25.4 * 96), "height": 1000})
    page.emulate_media(media="print")
    page.goto(printed.html.as_uri())
    assert page.locator("table").count() > 1
    assert too_wide(page) == []
    page.close()


def test_every_row_of_the_verdicts_is_printed(printed: Printed, browser: Browser):
    page = browser.new_page()
    page.goto(printed.html.as_uri())
    claims = page.locator("#verdicts ~ figure tbody tr td:first-child").all_inner_texts()
    page.close()
    text = "".join(word.text for word in printed.words)
    assert claims
    for claim in claims:
        assert claim.partition(":")[0] in text


def too_wide(page: Page) -> list[str]:
    """Cells whose content is wider than they are."""
    found: list[str] = page.evaluate(
        """[...document.querySelectorAll("td, th")]
          .filter(c => c.scrollWidth > c.clientWidth + 1).map(c => c.innerText)"""
    )
    return found

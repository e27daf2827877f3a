"""What survives a redraw, and what Back brings back: all of it is in the address."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from system.app_server import AppServer
from system.conftest import Opener
from system.watched import Watched

pytestmark = [pytest.mark.browser, pytest.mark.slow]

RANGES = """
() => {
  const { xaxis, yaxis } =
    document.querySelector(".st-key-images .js-plotly-plot")._fullLayout;
  return [...xaxis.range, ...yaxis.range].map((edge) => Math.round(edge * 100) / 100);
}
"""


def zoom(watched: Watched) -> list[float]:
    """Drag a rectangle on the first image; the part that is shown then."""
    page = watched.page
    panel = page.locator(".st-key-images .nsewdrag").first
    panel.wait_for()
    page.wait_for_timeout(500)
    box = panel.bounding_box()
    assert box is not None
    before = page.evaluate(RANGES)
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 120, steps=5)
    page.mouse.up()
    page.wait_for_function("() => location.search.includes('zoom=')")
    shown = page.evaluate(RANGES)
    assert shown != before
    return shown


def shows(page: Page, ranges: list[float]) -> None:
    page.locator(".st-key-images .nsewdrag").first.wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate(RANGES) == pytest.approx(ranges, abs=0.1)


def test_the_zoom_is_kept_over_weights_difference_and_slider(
    stored_app: AppServer, opener: Opener
) -> None:
    watched = opener(stored_app)
    page = watched.open("compare?arms=better&arms=control&tab=Images")
    shown = zoom(watched)
    for name, option in (("checkpoint", "best"), ("difference", "phase")):
        watched.under(name).get_by_text(option, exact=True).click()
        watched.still()
        shows(page, shown)
    slider = page.get_by_role("slider").first
    slider.focus()
    slider.press("ArrowRight")
    watched.still()
    shows(page, shown)
    page.reload()
    watched.drawn()
    shows(page, shown)
    assert "zoom=" in page.url
    box = page.locator(".st-key-images .nsewdrag").first.bounding_box()
    assert box is not None
    page.mouse.dblclick(box["x"] + 60, box["y"] + 60)
    page.wait_for_function("() => !location.search.includes('zoom=')")
    watched.assert_clean()


def ticked(page: Page) -> list[str]:
    boxes = page.locator(".st-key-arms-table input:checked")
    return [str(boxes.nth(i).get_attribute("data-arm")) for i in range(boxes.count())]


def asked(page: Page, key: str) -> list[str]:
    return parse_qs(urlsplit(page.url).query).get(key, [])


def test_back_and_forward_bring_pages_tabs_and_ticks(stored_app: AppServer, opener: Opener) -> None:
    """An action of the user is one step, and nothing is lost on the way."""
    watched = opener(stored_app)
    page = watched.open("arms?weights=best")
    for arm in ("control", "better"):
        page.get_by_label(f"Select {arm} to compare").check()
        watched.still()
    page.get_by_role("link", name="Compare these 2").click()
    expect(page.locator("h1")).to_have_text("Compare")
    watched.still()
    for tab in ("Metrics", "Config"):
        page.get_by_role("tab", name=tab).click()
        watched.still()
    watched.go("Findings")

    def back_at(tab: str) -> None:
        expect(page.locator("h1")).to_have_text("Compare")
        watched.still()
        expect(page.locator("[role=tab][aria-selected=true]")).to_have_text(tab)

    for tab in ("Config", "Metrics", "Curves"):
        page.go_back()
        back_at(tab)
    page.go_back()
    expect(page.locator("h1")).to_have_text("Arms")
    watched.still()
    assert ticked(page) == ["control", "better"]
    assert asked(page, "weights") == ["best"]
    page.go_back()
    watched.still()
    assert ticked(page) == ["control"]
    for _ in range(2):
        page.go_forward()
        watched.still()
    back_at("Curves")
    page.go_forward()
    back_at("Metrics")
    watched.assert_clean()


def test_back_undoes_a_chip_of_the_findings(stored_app: AppServer, opener: Opener) -> None:
    watched = opener(stored_app)
    page = watched.open("findings")
    page.get_by_role("button", name="Open BETTER-001").click()
    watched.still()
    assert asked(page, "claim") == ["BETTER-001"]
    page.go_back()
    watched.still()
    assert asked(page, "claim") == []
    expect(page.get_by_role("button", name="Open BETTER-001")).to_be_visible()
    watched.assert_clean()

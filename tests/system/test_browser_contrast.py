"""Legible text, and names: contrast of at least 4.5 (WCAG 2.1, 1.4.3) in light and in dark."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, expect

from system.app_server import AppServer
from system.watched import Watched

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# Texts below 4.5, as [ratio, text]: the colour under all opacities, on the nearest background.
TOO_FAINT = """
() => {
  const parse = (text) => {
    const found = text.match(/[\\d.]+/g)?.map(Number) ?? [0, 0, 0, 0];
    const unit = text.startsWith("color(") ? 255 : 1;
    return [...found.slice(0, 3).map((part) => part * unit), found[3] ?? 1];
  };
  const over = ([r, g, b, a], below) => [r, g, b].map((part, i) => a * part + (1 - a) * below[i]);
  const ground = (node) => {
    const layers = [];
    for (let up = node; up; up = up.parentElement) {
      const layer = parse(getComputedStyle(up).backgroundColor);
      if (layer[3]) layers.push(layer);
      if (layer[3] === 1) break;
    }
    return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
  };
  const light = (colour) => {
    const [r, g, b] = colour.map((part) => {
      const x = part / 255;
      return x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const found = [];
  const main = document.querySelector("[data-testid=stMain]");
  const texts = document.createTreeWalker(main, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    const words = texts.currentNode.textContent.trim();
    if (!words || !node.checkVisibility({ opacityProperty: true, visibilityProperty: true })) {
      continue;
    }
    if (node.closest("style, script, :disabled, [data-testid=stIconMaterial]")) continue;
    const style = getComputedStyle(node);
    // Words on an image have a dark plate of their own, which is no ancestor of theirs.
    if (node.closest(".annotation-text") && style.fill === "rgb(255, 255, 255)") continue;
    let opacity = 1;
    for (let up = node; up; up = up.parentElement) opacity *= getComputedStyle(up).opacity;
    const ink = parse(node instanceof SVGElement ? style.fill : style.color);
    // A slider's value is inside its handle in the document and above it on the page.
    const below = ground(
      node.closest("[data-testid=stSliderThumbValue]")?.closest("[data-testid=stSlider]") ?? node);
    const [a, b] = [light(over([...ink.slice(0, 3), ink[3] * opacity], below)), light(below)];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push([Math.round(ratio * 100) / 100, words.slice(0, 60)]);
  }
  return found;
}
"""
PAGES = (
    "summary",
    "findings",
    "arms",
    *(f"compare?arms=better&arms=control&tab={tab}" for tab in ("Curves", "Images", "Metrics")),
    "dataset",
    "my_scan",
    "new_arm?set=optimizer.lr=fast",
    "provenance",
    "runs?run=control/s101",
)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(stored_app: AppServer, browser: Browser, scheme: str) -> None:
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 1280, "height": 900},
    )
    watched = Watched(context.new_page(), stored_app)
    faint = {}
    for where in PAGES:
        page = watched.open(where)
        page.wait_for_timeout(500)
        if found := page.evaluate(TOO_FAINT):
            faint[where] = found
    context.close()
    assert faint == {}, faint


def test_the_table_is_one_tab_stop_and_arrows_move_in_it(
    stored_app: AppServer, browser: Browser
) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page(), stored_app)
    page = watched.open("arms")
    stops = page.locator(".st-key-arms-table [tabindex='0']:is(button, input, summary)")
    expect(stops).to_have_count(1)
    stops.first.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown"):
        page.keyboard.press(key)
        assert stops.count() == 1
    assert stops.first.evaluate("node => node === node.getRootNode().activeElement")
    assert stops.first.evaluate("node => node.closest('tbody') !== null")
    context.close()

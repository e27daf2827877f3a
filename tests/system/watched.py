"""A page that is watched: what it says on its console, whom it asks, what does not fit."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Locator, Page, Request, expect

from system.app_server import AppServer

PATIENCE_MS = 120_000.0
# On a deep link Streamlit looks for its server below the page's own address first.
PROBES = re.compile(r"/[a-z_]+/_stcore/(health|host-config)$")
LOCAL_SCHEMES = ("data", "blob", "about")

# What sticks out to the right of the window and cannot be scrolled to inside its own box.
CUT_OFF = """
() => {
  const scrolls = (node) => /auto|scroll/.test(getComputedStyle(node).overflowX);
  const own = (node) => {
    for (let up = node.parentElement; up; up = up.parentElement) {
      if (up.matches('[data-testid=stMain], [data-testid=stAppViewContainer]')) return false;
      if (scrolls(up) || up.tagName === 'svg' || up.matches('.js-plotly-plot')) return true;
    }
    return false;
  };
  const seen = document.querySelectorAll(
    '[data-testid=stMain] :is(a, button, input, textarea, img, p, h1, h2, h3, code, canvas, table)'
  );
  return [...seen]
    .filter((node) => node.getClientRects().length && getComputedStyle(node).opacity !== '0')
    .filter((node) => node.getBoundingClientRect().right > innerWidth + 1 && !own(node))
    .map((node) => `${node.tagName} ${(node.textContent || node.className).slice(0, 60)}`);
}
"""
TOO_WIDE = """
() => [document.scrollingElement, document.querySelector('[data-testid=stMain]')]
  .filter((node) => node.scrollWidth > node.clientWidth)
  .map((node) => `${node.tagName}: ${node.scrollWidth} px in ${node.clientWidth} px`)
"""


class Watched:
    """A page on one server. Nothing here waits for a time, all wait for what is to be seen."""

    def __init__(self, page: Page, server: AppServer) -> None:
        self.page, self.server = page, server
        self.errors: list[str] = []
        self.foreign: list[str] = []
        page.set_default_timeout(PATIENCE_MS)
        page.set_default_navigation_timeout(PATIENCE_MS)
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("request", self._request)
        page.on("websocket", lambda socket: self._asked(socket.url))

    def _console(self, message: ConsoleMessage) -> None:
        where = message.location.get("url", "")
        probe = PROBES.search(urlsplit(where).path) and "404" in message.text
        if message.type == "error" and not probe:
            self.errors.append(f"{message.text} ({where})")

    def _request(self, request: Request) -> None:
        self._asked(request.url)

    def _asked(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in LOCAL_SCHEMES and parts.hostname != "127.0.0.1":
            self.foreign.append(url)

    # -- going somewhere

    def open(self, where: str = "") -> Page:
        """Go to an address of the app (`summary` is its root), and wait until it is drawn."""
        self.page.goto(f"{self.server.address}/{where.removeprefix('summary')}")
        self.drawn()
        return self.page

    def open_live(self, where: str) -> Page:
        """Go to a page that looks again every second, and so is never still."""
        self.page.goto(f"{self.server.address}/{where}")
        expect(self.page.locator("h1").first).to_be_visible(timeout=PATIENCE_MS)
        return self.page

    def drawn(self) -> None:
        """Wait until the title stands there and no script runs any more."""
        expect(self.page.locator("h1").first).to_be_visible(timeout=PATIENCE_MS)
        self.still()

    def still(self) -> None:
        app = self.page.locator("[data-testid=stApp]")
        for _ in range(2):  # a widget may start a second run when the first one ends
            expect(app).to_have_attribute(
                "data-test-script-state", "notRunning", timeout=PATIENCE_MS
            )
            self.page.wait_for_timeout(150)

    def go(self, title: str) -> None:
        """By the navigation, as a user goes."""
        self.page.get_by_test_id("stTopNavLink").filter(has_text=title).first.click()
        expect(self.page.locator("h1")).to_have_text(title, timeout=PATIENCE_MS)
        self.still()

    def under(self, key: str) -> Locator:
        """What stands in the element of that key."""
        return self.page.locator(f".st-key-{key}")

    # -- laws

    def text(self) -> str:
        return self.page.get_by_test_id("stMain").inner_text()

    def assert_fits(self) -> None:
        """Nothing asks for a horizontal scroll of the page, and nothing is cut off for want of it.

        Wide tables scroll inside their own box.
        """
        where = f"{self.page.url} at {self.page.viewport_size}"
        assert self.page.evaluate(TOO_WIDE) == [], where
        assert self.page.evaluate(CUT_OFF) == [], where

    def assert_clean(self) -> None:
        """No error on the console, no traceback, and nobody was asked but this machine."""
        assert self.errors == []
        assert self.foreign == []
        assert self.page.get_by_test_id("stException").count() == 0
        assert "Traceback" not in self.text()

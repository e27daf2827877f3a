"""What pages of others, and texts of others, can do with the app in a real browser: nothing."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserType, Page, expect

from study.runs import write_json
from system.app_server import AppServer
from system.conftest import CHROMIUM, Opener

pytestmark = [pytest.mark.browser, pytest.mark.slow]

# From a page of ours: whether a WebSocket to the app opens.
KNOCK = """
(url) => new Promise((done) => {
  const socket = new WebSocket(url, ['streamlit']);
  socket.onopen = () => done(true);
  socket.onerror = () => done(false);
})
"""
HOSTILE = (
    "![a](http://pwn.invalid/i.png) [click](http://pwn.invalid/l) http://pwn.invalid/u "
    "www.pwn.invalid a@pwn.invalid <img src=http://pwn.invalid/j.png> :material/delete: "
    ":streamlit: :red[x] $x^2$ **b** `c` [x]: http://pwn.invalid"
)


@pytest.fixture(scope="module")
def rebound(browser_type: BrowserType) -> Iterator[Browser]:
    """A browser for which evil.example is this machine."""
    machine = ("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server")
    rule = "--host-resolver-rules=MAP evil.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
    launched = browser_type.launch(executable_path=CHROMIUM, args=[*machine, rule])
    yield launched
    launched.close()


@pytest.fixture(scope="module")
def neighbour() -> Iterator[str]:
    """A page on another port of this machine."""

    class Quiet(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<h1>neighbour</h1>")

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def knocks(page: Page, server: AppServer, host: str = "127.0.0.1") -> bool:
    return page.evaluate(KNOCK, f"ws://{host}:{server.port}/_stcore/stream")


def test_a_name_that_is_bound_to_this_machine_is_refused(
    stored_app: AppServer, rebound: Browser
) -> None:
    page = rebound.new_page()
    answer = page.goto(f"http://evil.example:{stored_app.port}/findings")
    assert answer is not None and answer.status == 403
    assert page.get_by_test_id("stApp").count() == 0
    assert not knocks(page, stored_app, "evil.example")
    page.close()


def test_only_pages_of_the_app_open_its_websocket(
    stored_app: AppServer, rebound: Browser, neighbour: str
) -> None:
    page = rebound.new_page()
    page.goto(neighbour)
    assert not knocks(page, stored_app) and not knocks(page, stored_app, "localhost")
    page.goto(f"{stored_app.address}/_stcore/health")
    assert knocks(page, stored_app), "or the lines above would hold for a server that is down"
    page.close()


@pytest.fixture
def hostile(stored_app: AppServer) -> Iterator[Callable[[], None]]:
    """A failed run and a comment of a stranger, whose words are hostile."""
    root: Path = stored_app.root
    status = root / "work" / "hostile" / "status.json"
    write_json(status, {"state": "failed", "arm": "better", "seed": 101, "cause": HOSTILE})
    comments = root / "comments.jsonl"
    before = comments.read_text() if comments.is_file() else None
    facts = {"claim": "BETTER-001", "time": "2026-01-01T00:00:00Z", "name": "Eve", "text": HOSTILE}
    comments.write_text(json.dumps(facts) + "\n")
    yield lambda: None
    status.unlink()
    comments.unlink() if before is None else comments.write_text(before)


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("where", ["runs?run=better/s101", "findings?claim=BETTER-001"])
def test_stored_text_is_shown_as_it_was_written(
    stored_app: AppServer, opener: Opener, where: str
) -> None:
    """The opener fails the test when anything outside is asked for."""
    watched = opener(stored_app)
    page = watched.open(where)
    main = page.get_by_test_id("stMain")
    expect(main.get_by_text("[click](http").first).to_be_visible()
    assert main.locator("a[href*=pwn], img[src*=pwn], .katex").count() == 0
    assert HOSTILE in main.inner_text().replace("\u2060", "")

"""A headless chromium, controlled over the DevTools protocol with streamlit's websocket client.

A test framework is not needed: a page is loaded repeatedly, and a script injected before its own
scripts waits for the expected content and reads the page's clock.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 60.0
WINDOW = "1280,900"


def find() -> str | None:
    """Path of a chromium executable, or None if none is installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab. `call` sends a protocol command and waits for the response."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._sent = 0

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result.

        Raises RuntimeError if the browser reports an error, TimeoutError if it does not respond.
        """
        self._sent += 1
        self._connection.send(
            json.dumps({"id": self._sent, "method": method, "params": parameters})
        )
        while True:
            answer = json.loads(self._connection.recv(PATIENCE_S))
            if answer.get("id") == self._sent:  # other messages are events
                if "error" in answer:
                    raise RuntimeError(f"chromium: {answer['error']['message']}")
                return answer["result"]

    def value(self, expression: str) -> Any:
        """Value of a JavaScript expression; promises are awaited.

        Raises RuntimeError if the expression throws.
        """
        options = {"awaitPromise": True, "returnByValue": True}
        answer = self.call("Runtime.evaluate", expression=expression, **options)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"the page: {answer['exceptionDetails']['text']}")
        return answer["result"].get("value")


@contextmanager
def opened(binary: str) -> Iterator[Page]:
    """A tab of a new browser with an empty profile; the browser is closed after the block."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ("--headless", "--remote-debugging-port=0", "--no-sandbox", "--no-first-run")
        machine = ("--disable-gpu", "--disable-dev-shm-usage", f"--window-size={WINDOW}")
        command = (binary, *options, *machine, f"--user-data-dir={profile}", "about:blank")
        quiet: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.DEVNULL)
        browser = subprocess.Popen(command, **quiet)
        try:
            address = _address(Path(profile), browser)
            with connect(address, proxy=None, max_size=None) as connection:
                yield Page(connection)
        finally:
            end(browser)


def _address(profile: Path, browser: subprocess.Popen[Any]) -> str:
    """Websocket address of the first tab, once the browser has written its port to a file."""
    file = profile / "DevToolsActivePort"
    until(lambda: file.is_file() and len(file.read_text().splitlines()) == 2, browser)
    port = int(file.read_text().splitlines()[0])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as answer:
        tabs = json.load(answer)
    return next(tab["webSocketDebuggerUrl"] for tab in tabs if tab["type"] == "page")


def until(holds: Callable[[], bool], process: subprocess.Popen[Any]) -> None:
    """Wait until `holds` returns True. Raises RuntimeError after 60 s or if `process` ends."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if process.poll() is not None or time.monotonic() > deadline:
            state = "is not ready" if process.poll() is None else "ended"
            raise RuntimeError(f"{process.args!r} {state}")
        time.sleep(0.05)


def end(process: subprocess.Popen[Any]) -> None:
    """End a process that was started here: terminate it, and kill it after 10 s."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

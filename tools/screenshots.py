"""Take screenshots of the app's pages in this checkout, docs/app-NAME.png.

    python tools/screenshots.py [NAME ...]

Run it in a checkout with results, runs and data (`make repro`). It starts its own app on a free
port of 127.0.0.1 and stops it at the end. Needs chromium (`apt-get install chromium`).
"""

import io
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
WINDOW = ViewportSize(width=1280, height=900)
PATIENCE_S = 120.0
LARGEST_BYTES = 250_000
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-proxy-server"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]


@dataclass(frozen=True)
class Shot:
    """`where`: address in the app; `dark`: dark theme; `scan`: read a simulated scan first, and
    remove it afterwards; `upto`: scroll to the element with this key."""

    where: str
    dark: bool = False
    scan: bool = False
    upto: str = ""


ARMS = "arms=control&arms=fno&arms=rpie_converged"
SHOTS = {
    "summary": Shot(""),
    "arms": Shot("arms"),
    "new_arm": Shot("new_arm?from=control&set=optimizer.lr=0.0005"),
    "arms_chart": Shot(
        "arms?study=studies&find=short&x=optimizer.lr&y=best validation loss", upto="arms-chart"
    ),
    "runs": Shot("runs?arm=control"),
    "compare": Shot(f"compare?{ARMS}&tab=Images"),
    "compare_metrics": Shot("compare?arms=control&arms=fno&arms=zero_gamma&tab=Metrics"),
    "compare_dark": Shot("compare?arms=control&arms=fno&arms=zero_gamma&tab=Curves", dark=True),
    "findings": Shot("findings?claim=NORM-RATE-001"),
    "my_scan": Shot("my_scan", scan=True),
    "dataset": Shot("dataset"),
    "provenance": Shot("provenance"),
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in SHOTS]
    if unknown:
        print(f"screenshots: unknown name {unknown[0]!r}; accepted: {', '.join(SHOTS)}")
        return 2
    chromium = shutil.which("chromium")
    if chromium is None:
        print("screenshots: chromium is not installed; run `apt-get install chromium`")
        return 2
    with app() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for name in names or SHOTS:
            out = ROOT / "docs" / f"app-{name}.png"
            out.write_bytes(small(taken(browser, address, SHOTS[name])))
            print(f"{out.relative_to(ROOT)}: {out.stat().st_size / 1000:.0f} kB")
        browser.close()
    return 0


@contextmanager
def app() -> Iterator[str]:
    """Run the app on this checkout and yield its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    options = ("--server.headless", "true", "--server.port", str(port))
    command = (sys.executable, "-m", "streamlit", "run", "app/main.py", *options)
    quiet = subprocess.DEVNULL
    server = subprocess.Popen(command, cwd=ROOT, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        wait_for(f"http://127.0.0.1:{port}/_stcore/health", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + PATIENCE_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            with direct.open(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise SystemExit("screenshots: the app does not respond")


def taken(browser: Browser, address: str, shot: Shot) -> bytes:
    """The screenshot as PNG, after the page has finished loading."""
    scheme = "dark" if shot.dark else "light"
    page = browser.new_page(viewport=WINDOW, color_scheme=scheme)
    page.set_default_timeout(PATIENCE_S * 1000)
    page.goto(f"{address}/{shot.where}")
    page.wait_for_selector("h1")
    if shot.scan:
        read_scan(page)
    for _ in range(6):  # a result may trigger another run of the page
        page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
        page.wait_for_selector("[data-testid=stSpinner]", state="detached")
        page.wait_for_timeout(500)
    if "new_arm" in shot.where:  # its fields come from another process
        page.wait_for_selector("text=fno_blocks")
    page.evaluate("document.fonts.ready")
    if shot.upto:
        page.locator(f".st-key-{shot.upto}").scroll_into_view_if_needed()
        page.wait_for_timeout(1000)
    picture = page.screenshot(animations="disabled", caret="hide")
    if shot.scan:
        page.get_by_role("button", name="Remove").click()
        page.wait_for_selector("text=1 Choose a scan")
    page.close()
    return picture


def read_scan(page: Page) -> None:
    """Load the test patterns of the first data set in My scan, as a scan without a true object."""
    files = sorted((ROOT / "data").glob("**/test.cxi"))
    if not files:
        raise SystemExit("screenshots: no data in this checkout; run `make repro` or `make pull`")
    page.locator(".st-key-scan-upload input[type=file]").set_input_files(files[0])
    page.wait_for_selector("text=test.cxi")
    page.get_by_role("button", name="Read the scan").click()
    page.wait_for_selector("text=2 Detected conventions")


def small(png: bytes) -> bytes:
    """The image reduced to at most 256 colours, about a third of the size."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    out = io.BytesIO()
    image.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(
        out, "PNG", optimize=True
    )
    if len(out.getvalue()) > LARGEST_BYTES:
        print(f"screenshots: {len(out.getvalue())} bytes exceed the limit of {LARGEST_BYTES}")
    return out.getvalue()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

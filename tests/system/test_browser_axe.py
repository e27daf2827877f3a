"""axe-core (Deque, MPL-2.0) on every page and tab, light and dark: nothing serious or critical.

It comes from the npm registry in a fixed version, by the node of requirements.lock, and runs inside
the page; it is a tool of this test and no part of the app.
"""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from system.app_server import AppServer
from system.servers import NODE, NPM
from system.watched import Watched

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AXE = "axe-core@4.11.0"
SHA256 = "e9e5863c33a874f09bc01acd9234b7e3c871479f5eef8802fa582544465e6d01"
ARMS = "arms=better&arms=control"
TABS = ("Curves", "Metrics", "Images", "Residuals", "Resolution", "Config", "Diagnostics")
PLACES = (
    *("summary", "findings", "findings?claim=BETTER-001", "arms", "my_scan", "dataset"),
    *("provenance", "new_arm", "new_arm?set=optimizer.lr=fast", "runs?run=control/s101"),
    *(f"compare?{ARMS}&tab={tab}" for tab in TABS),
)
SERIOUS = """
async () => {
  const found = await axe.run(document, { resultTypes: ["violations"] });
  return found.violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => [id, nodes.slice(0, 4).map(({ html }) => html.slice(0, 200))]);
}
"""


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script, checked against the hash of the file that was read when this was written."""
    folder = tmp_path_factory.mktemp("axe")
    install = (NODE, NPM, "install", "--no-save", "--prefix", folder, AXE)
    subprocess.run(install, check=True, capture_output=True, timeout=300)
    content = Path(folder / "node_modules/axe-core/axe.min.js").read_bytes()
    assert hashlib.sha256(content).hexdigest() == SHA256
    return content.decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(
    stored_app: AppServer, browser: Browser, axe: str, scheme: str
) -> None:
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light",
        viewport={"width": 1280, "height": 900},
    )
    watched = Watched(context.new_page(), stored_app)
    found = {}
    for where in PLACES:
        page = watched.open(where)
        page.wait_for_timeout(500)  # a panel fades in
        page.evaluate(axe)
        if serious := page.evaluate(SERIOUS):
            found[where] = serious
    context.close()
    assert found == {}

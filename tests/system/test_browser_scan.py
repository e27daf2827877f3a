"""My scan in a browser: a small scan from file to image with its R-factor, by mouse and keys."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
from playwright.sync_api import expect

from study.settings import DataParams
from system.app_server import ROOT, AppServer
from system.app_studies import AppStudy
from system.conftest import Opener, served

sys.path.insert(0, str(ROOT / "tests" / "app"))  # scan_files.py makes the scan
import scan_files

SLOW_MS = 600_000.0  # reading, importing and reconstructing, on a machine that others use
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture
def scan_app(tmp_path: Path) -> Iterator[AppServer]:
    """The app in an empty checkout of its own."""
    shutil.copytree(ROOT / ".streamlit", tmp_path / "lab" / ".streamlit")
    yield from served(tmp_path / "lab", "app.log")


def test_a_scan_goes_from_file_to_image(
    scan_app: AppServer, opener: Opener, tmp_path: Path, tiny_params: DataParams
) -> None:
    file = scan_files.write_scan(tmp_path / "star.npz", scan_files.clear_scan(tiny_params))
    watched = opener(scan_app)
    page = watched.open("my_scan")
    watched.assert_fits()
    watched.under("scan-upload").locator("input[type=file]").set_input_files(str(file))
    expect(page.get_by_text("star.npz").first).to_be_visible()
    page.get_by_role("button", name="Read the scan").click()
    expect(page.get_by_text("2 Detected conventions")).to_be_visible(timeout=SLOW_MS)
    assert "scan=" in page.url
    page.reload()  # the work is not the page's
    expect(page.get_by_text("misfit").first).to_be_visible()
    page.get_by_role("textbox", name="Shapes").fill("rectangle 0 0 1 1")
    page.get_by_role("textbox", name="Shapes").press("Control+Enter")
    watched.still()
    page.get_by_role("button", name="Read again with this mask").click()
    expect(page.get_by_text("4 Import")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_text("--mask").first).to_be_visible()
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("5 Reconstruct")).to_be_visible(timeout=SLOW_MS)
    assert not list(scan_app.root.glob("work/scans/*/scan/*")), "the upload is gone"
    page.get_by_role("button", name="Reconstruct", exact=True).click()
    expect(page.get_by_text("R held out").first).to_be_visible(timeout=SLOW_MS)
    watched.still()
    watched.assert_fits()
    watched.assert_clean()
    page.get_by_role("button", name="Export").click()
    with page.expect_download(timeout=SLOW_MS) as found:
        watched.under("scan-export_star_rpie_cxi").get_by_role("button").click()
    with h5py.File(found.value.path()) as stored:
        image = np.asarray(stored["entry_1/image_1/data"])
    assert np.iscomplexobj(image) and image.std() > 0


@pytest.mark.parametrize("data", [b"hello", b"\x89HDF\r\n\x1a\n" + bytes(64), b"PK\x03\x04torn"])
def test_a_file_that_is_no_scan_is_a_sentence(
    scan_app: AppServer, opener: Opener, tmp_path: Path, data: bytes
) -> None:
    (tmp_path / "bad.npz").write_bytes(data)
    watched = opener(scan_app)
    page = watched.open("my_scan")
    watched.under("scan-upload").locator("input[type=file]").set_input_files(tmp_path / "bad.npz")
    page.get_by_role("button", name="Read the scan").click()
    expect(page.get_by_test_id("stAlert").filter(has_text="bad.npz")).to_be_visible(timeout=SLOW_MS)
    watched.assert_clean()
    assert not list(scan_app.root.glob("work/scans/*/scan/*"))


def test_a_scan_is_reconstructed_by_a_stored_run(
    app: AppServer, app_study: AppStudy, opener: Opener
) -> None:
    """The network that was trained in this checkout, on patterns of its size."""
    watched = opener(app)
    page = watched.open("my_scan")
    [file] = app_study.root.glob("data/toy/test.cxi")
    watched.under("scan-upload").locator("input[type=file]").set_input_files(str(file))
    expect(page.get_by_text("test.cxi").first).to_be_visible()
    page.get_by_role("button", name="Read the scan").click()
    expect(page.get_by_text("4 Import")).to_be_visible(timeout=SLOW_MS)
    page.get_by_role("button", name="Import", exact=True).click()
    expect(page.get_by_text("5 Reconstruct")).to_be_visible(timeout=SLOW_MS)
    watched.still()  # a list that is open when the page is drawn again closes
    method = page.get_by_role("combobox", name="Method")
    method.fill("control s1")
    expect(page.get_by_role("option")).to_have_count(1)
    method.press("Enter")
    watched.still()
    expect(page.get_by_text("study reconstruct runs/control/s1").first).to_be_visible()
    page.get_by_role("button", name="Reconstruct", exact=True).click()
    expect(page.get_by_text("R held out").first).to_be_visible(timeout=SLOW_MS)
    watched.still()
    watched.assert_clean()

"""Every page on an empty checkout and on stored results: sentences and numbers, no traceback."""

import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted((ROOT / "app" / "pages").glob("[a-z]*.py"))

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def opened(page: str) -> AppTest:
    """A page by the way a user comes to it: main.py, then the navigation."""
    app = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=120).run()
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception
    return app


def test_there_are_seven_pages_and_the_navigation_names_them_all():
    from app import frame

    assert [page.stem for page in PAGES] == sorted(entry.name for entry in frame.PAGES)
    assert len(PAGES) == 7


def test_an_empty_checkout_says_how_to_fill_it():
    assert "make repro" in opened("findings").info[0].value
    assert "make repro" in opened("overview").code[0].value


@pytest.mark.slow
def test_committed_results_are_shown(monkeypatch):
    monkeypatch.chdir(ROOT)
    if not list((ROOT / "results").glob("*/seeds/*.json")):
        pytest.skip("this checkout has no committed results yet: `make repro` makes them")
    table = json.loads(opened("overview").get("bidi_component")[0].proto.json)
    control = table["fences"][0]["rows"][0]
    assert control["arm"] == "control" and control["outcomes"] == [6, 0, 0]
    assert all(cell["n"] == "6 of 6 seeds" for cell in control["cells"])


@pytest.mark.slow
def test_every_claim_is_shown_with_its_status(monkeypatch):
    from study.evidence.claims import load_claims

    monkeypatch.chdir(ROOT)
    if not (ROOT / "findings.json").is_file():
        pytest.skip("this checkout has no findings yet: `make repro` makes them")
    buttons = {button.key for button in opened("findings").button}
    for claim in load_claims(ROOT / "claims.yaml").claims:
        assert f"open-{claim.id}" in buttons


def test_torn_results_are_a_sentence(fresh):
    seeds = fresh / "results" / "control" / "seeds"
    seeds.mkdir(parents=True)
    (seeds / "s1.json").write_text('{"arm": "con')
    app = opened("overview")
    assert "s1.json" in app.error[0].value

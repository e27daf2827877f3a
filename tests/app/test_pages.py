"""Every page on an empty checkout and on stored results: sentences and numbers, no traceback."""

import ast
import json
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).parent.parent.parent
PAGES = sorted((ROOT / "app" / "pages").glob("[a-z]*.py"))

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def opened(page: str) -> AppTest:
    """A page by the way a user comes to it: main.py, then the navigation."""
    app = AppTest.from_file(str(ROOT / "app" / "script.py"), default_timeout=120).run()
    app.switch_page(f"pages/{page}.py").run()
    assert not app.exception
    return app


def test_the_navigation_names_all_pages():
    from app import layout

    assert [page.stem for page in PAGES] == sorted(entry.name for entry in layout.PAGES)


def test_an_empty_checkout_says_how_to_fill_it():
    assert "make repro" in opened("findings").info[0].value
    assert "make repro" in opened("arms").code[0].value


@pytest.mark.slow
def test_committed_results_are_shown(monkeypatch):
    monkeypatch.chdir(ROOT)
    if not list((ROOT / "results").glob("*/seeds/*.json")):
        pytest.skip("this checkout has no committed results yet: `make repro` makes them")
    table = json.loads(opened("arms").get("bidi_component")[0].proto.json)
    control = table["fences"][0]["rows"][0]
    assert control["arm"] == "control" and control["outcomes"] == [12, 0, 0]
    counts = {cell["n"] for cell in control["cells"]}
    assert "12 of 12 seeds" in counts, "amplitude and loss"
    assert len(counts) > 1, "the phase follows a prior and has no score"


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
    app = opened("arms")
    assert "s1.json" in app.error[0].value


def keys_in_the_address(file: Path) -> set[str]:
    """Constant keys of the address that a file of the app reads, binds or writes."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        places: list[ast.expr] = []
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            words = {word.arg: word.value for word in node.keywords}
            place = {"one": 2, "several": 2, "asked": 0, "tell_unknown": 2}.get(node.func.attr, 9)
            places = (
                node.args[place : place + 1] if ast.unparse(node.func.value) == "choose" else []
            )
            places += [words["key"]] if "bind" in words and "key" in words else []
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "st.query_params":
            places = [node.slice]
        found |= {str(one.value) for one in places if isinstance(one, ast.Constant)}
    return found


def test_no_two_pages_bind_one_key_of_the_address():
    """Streamlit takes what the widgets of one page are bound to out of the address of another."""
    pages: dict[str, set[str]] = {}
    for part in ("arms", "compare", "dataset", "findings", "new_arm", "provenance", "runs"):
        for file in (*(ROOT / "app" / part).glob("*.py"), ROOT / "app" / "pages" / f"{part}.py"):
            for key in keys_in_the_address(file):
                pages.setdefault(key, set()).add(part)
    assert {"tab", "tick", "claim", "quantity"} <= set(pages), "keys are found"
    assert {key: found for key, found in pages.items() if len(found) > 1} == {}


def test_every_table_and_chart_has_a_text_alternative():
    calls = [
        (file.name, node.lineno, {word.arg for word in node.keywords})
        for file in (ROOT / "app").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("dataframe", "table", "plotly_chart")
        and ast.unparse(node.func.value) in ("st", "left", "right")
    ]
    assert len(calls) > 20
    assert [(name, line) for name, line, words in calls if "alt" not in words] == []

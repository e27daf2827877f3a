"""No stored text is rendered as Markdown or HTML: read from the code, and tried on every page."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from checkouts import ROOT, change, judge, once, one_run, opened, stored, two_by_three
from markdown_calls import unsafe
from markdown_it import MarkdownIt

from study.runs import write_json, write_text, write_yaml
from study.settings import Study, load_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

IMAGE, LINK = "![a](http://pwn.invalid/i.png)", "[click](http://pwn.invalid/l)"
TEXTS = [
    IMAGE,
    LINK,
    "<img src=http://pwn.invalid/j.png>",
    "<script>alert(1)</script>",
    "http://pwn.invalid",
    "www.pwn.invalid",
    "a@pwn.invalid",
    ":material/delete: :streamlit: :red[x] :red-badge[y]",
    "$x^2$ **b** `c` ~~d~~ _e_ # f",
    "1. one",
    "&lt;b&gt;",
    "two\n\n# lines\n\n    code",
    "[x]: http://pwn.invalid",
    "\\[a](http://pwn.invalid)",
]
HOSTILE = " ".join(TEXTS)
# What a page may not hold: the start of an image, a link, an element, an icon that nobody wrote.
LIVE = re.compile(r"(?<!\\)!\[|(?<!\\)\]\(|(?<!\\)<(img|script)|(?<!\\):streamlit:|://pwn|www\.pwn")
PARSER = MarkdownIt("commonmark").enable(["strikethrough", "table"])


def live(text: str) -> list[str]:
    """The kinds of token of a Markdown text that are more than words."""
    inline = [child for token in PARSER.parse(text) for child in token.children or ()]
    tokens = [*PARSER.parse(text), *inline]
    plain = {"paragraph_open", "paragraph_close", "inline", "text", "text_special"}
    return [token.type for token in tokens if token.type not in plain]


@pytest.mark.parametrize("text", [*TEXTS, HOSTILE])
def test_escaped_text_renders_as_it_is_written(text):
    from app.escape import markdown

    escaped = markdown(text)
    assert live(escaped) == [] and not LIVE.search(escaped)
    (paragraph,) = [token for token in PARSER.parse(escaped) if token.type == "inline"]
    shown = "".join(child.content for child in paragraph.children or ())
    assert shown.replace("\u2060", "") == " ".join(text.split())


@pytest.mark.parametrize("text", [*TEXTS, HOSTILE, "a `b` c", "`study pull <img src=x>`", "end `"])
@pytest.mark.parametrize("command", ["study pull control", "cd studies && dvc repro data.dvc"])
def test_a_message_shows_its_commands_as_code_and_the_rest_as_written(text, command):
    from app.escape import sentence

    for message in (f"{text} is not here: `{command}` brings it.", f"Use `{command}`: {text}"):
        escaped = sentence(message)
        assert set(live(escaped)) == {"code_inline"}
        (paragraph,) = [token for token in PARSER.parse(escaped) if token.type == "inline"]
        parts = [(child.type, child.content) for child in paragraph.children or ()]
        assert [content for kind, content in parts if kind == "code_inline"] == [command]
        shown = "".join(f"`{c}`" if kind == "code_inline" else c for kind, c in parts)
        assert shown.replace("\u2060", "") == " ".join(message.split())


def test_no_page_shows_the_backticks_of_a_command(runs):
    shutil.rmtree(runs / "runs" / "control")
    shutil.rmtree(runs / "data")
    for name, query in (("compare", {"arms": ["control"], "tab": "Images"}), ("dataset", {})):
        app = opened(name, **query)
        told = [box.value for box in (*app.info, *app.warning, *app.error)]
        assert any("`study pull" in text for text in told), name
        assert not any("\\`" in text for text in told), name


# The options of a segmented control; `choose.one` offers only those that mean nothing in Markdown.
GUARDED = {"app/choose.py: options"}


def test_no_call_of_the_app_renders_a_text_that_is_not_escaped():
    found = {re.sub(r":\d+:", ":", line) for line in unsafe(ROOT / "app")}
    assert found == GUARDED


@pytest.mark.parametrize(
    "line",
    [
        "st.markdown(arm)",
        "st.caption(f'of {arm}')",
        "st.button('x', help=arm)",
        "st.info('a' + arm)",
        "place.metric('x', arm)",
        "st.error(str(error).replace('$', ''))",
        "told = f'{arm}'\n    st.warning(told)",
        "for one in arm:\n        st.markdown(f'- {one}')",
        "st.markdown('; '.join(f'{one}' for one in arm))",
        "st.markdown(f'{arm:>8}')",
        "draw(arm)",
    ],
)
def test_the_reader_of_the_code_finds_what_is_not_escaped(tmp_path, line):
    head = "import streamlit as st\nfrom app.escape import Markdown\n"
    draw = "def draw(label: Markdown):\n    st.markdown(label)\n"
    (tmp_path / "page.py").write_text(f"{head}{draw}def show(arm, error, place):\n    {line}\n")
    assert list(unsafe(tmp_path))


@pytest.mark.parametrize("option", [IMAGE, LINK, "a_*b*", ":x:", "`c`", "https://pwn.invalid"])
def test_options_that_mean_something_are_offered_in_a_select_box(toy, option):
    from streamlit.testing.v1 import AppTest

    def page(option: str) -> None:
        from app import choose

        choose.one("Which", [option, "other"], "which")

    app = AppTest.from_function(page, kwargs={"option": option}).run()
    assert not app.exception and len(app.selectbox) == 1 and not app.segmented_control


# --- every page, with hostile words in every stored text --------------------------------------


@once
def with_hostile_words(toy: Path) -> Study:
    """A checkout whose settings, claims, results, runs, comments and findings hold them."""
    study = two_by_three(toy)
    params = json.loads(json.dumps(_plain(study)))
    for arm in params["arms"].values():
        arm["asks"] = HOSTILE
    write_yaml(toy / "params.yaml", params)
    study = load_study(toy / "params.yaml")
    change(toy, "agc", 1, outcome="failed", state="failed", cause=HOSTILE)
    change(toy, "agc", 2, outcome="collapsed", cause=HOSTILE)
    judge(toy, study, **{"AGC-001": stored.claim(text=" ".join(HOSTILE.split()))})
    findings = json.loads((toy / "findings.json").read_text())
    for entry in findings["claims"].values():
        entry |= {"reason": HOSTILE, "standing": HOSTILE, "limits": [HOSTILE]}
    write_json(toy / "findings.json", findings)
    for seed, state in enumerate(("running", "failed", HOSTILE), start=1):
        status = {"state": state, "arm": "agc", "seed": seed, "cause": HOSTILE, "epoch": 1}
        write_json(toy / "work" / f"agc{seed}" / "status.json", status)
        write_text(toy / "work" / f"agc{seed}" / "log.txt", f"{HOSTILE}\n")
    comment = {"claim": "AGC-001", "name": LINK, "time": "2026-01-01T00:00:00Z", "text": HOSTILE}
    write_text(toy / "comments.jsonl", json.dumps(comment) + "\n")
    pull = {"names": [IMAGE], "state": "failed", "phase": HOSTILE, "cause": HOSTILE}
    write_json(toy / "work" / "pulls" / "20260101-000000-1.json", {**pull, "lines": [HOSTILE]})
    return study


@pytest.fixture
def hostile(toy: Path) -> Path:
    with_hostile_words(toy)
    return toy


def _plain(study: Any) -> dict[str, Any]:
    blocks = {}
    for name, row in study.arms.items():
        block = row.model_dump(mode="json")
        if "generator" in block:
            block["generator"] |= block["generator"].pop("options")
        blocks[name] = block
    return {"data": {k: v.model_dump(mode="json") for k, v in study.data.items()}, "arms": blocks}


def words(app: Any) -> Iterator[tuple[str, str]]:
    """What Streamlit renders as Markdown or HTML, by kind of element."""
    for element in app.main:
        yield from _of(element)


def _of(element: Any) -> Iterator[tuple[str, str]]:
    kind = getattr(element, "type", "")
    if kind not in ("code", "text", "dataframe", "arrow_data_frame", "text_area", "text_input"):
        proto = getattr(element, "proto", None)
        for name in ("body", "label", "help", "value", "delta", "text"):
            value = getattr(proto, name, None)
            if isinstance(value, str):
                yield kind, value
    for child in getattr(element, "children", {}).values():
        yield from _of(child)


ADDRESSES = [
    ("summary", {}),
    ("arms", {}),
    ("new_arm", {"set": HOSTILE, "from": IMAGE, "seeds": LINK, "name": IMAGE}),
    ("runs", {}),
    ("runs", {"run": "agc/s2", "state": IMAGE, "arm": LINK}),
    *(
        ("compare", {"arms": ["control", "agc", IMAGE], "tab": tab})
        for tab in ("Metrics", "Curves", "Images", "Residuals", "Config", "Diagnostics", LINK)
    ),
    ("findings", {"claim": "AGC-001", "status": IMAGE}),
    ("dataset", {"data": IMAGE, "split": LINK, "pattern": HOSTILE}),
    ("provenance", {"stage": IMAGE, "pipeline": LINK}),
]


@pytest.mark.parametrize(("name", "query"), ADDRESSES)
def test_no_page_renders_stored_text(hostile, name, query):
    app = opened(name, **query)
    message = list(words(app))
    assert len(message) > 3
    bad = [(kind, text) for kind, text in message if kind != "html" and LIVE.search(text)]
    bad += [(kind, text) for kind, text in message if kind == "html" and "<img src=http" in text]
    assert bad == []


def test_the_pages_do_show_the_stored_words(hostile):
    """Else the test above would hold for pages that show nothing."""
    for name, query in (("runs", {"run": "agc/s2"}), ("findings", {"claim": "AGC-001"})):
        assert any("pwn" in text for _, text in words(opened(name, **query))), name


def test_a_mistake_is_told_as_text(toy):
    one_run(toy)
    (toy / "params.yaml").write_text(f'arms: {{control: {{"{IMAGE}": 1}}}}\ndata: {{}}\n')
    errors = opened("new_arm").error
    assert errors and not any(LIVE.search(error.value) for error in errors)

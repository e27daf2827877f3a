"""No stored text is rendered as Markdown or HTML: read from the code, and tried on every page."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas
import pytest
from checkouts import ROOT, change, judge, once, one_run, opened, stored, two_by_three
from markdown_calls import unsafe
from markdown_it import MarkdownIt
from plotly_calls import unsafe_labels

from study.runs import write_json, write_text, write_yaml
from study.settings import Study, load_study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

IMAGE, LINK = "![a](http://pwn.invalid/i.png)", "[click](http://pwn.invalid/l)"
TEXTS = [
    IMAGE,
    LINK,
    "<img src=http://pwn.invalid/j.png>",
    "<script>alert(1)</script>",
    '<a href="http://pwn.invalid/a">a</a> <b>b</b>',
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
LIVE = re.compile(
    r"(?<!\\)!\[|(?<!\\)\]\(|(?<!\\)<(img|script|a |b>)|(?<!\\):streamlit:|://pwn|www\.pwn"
)
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
        "st.table([{'x': arm}])",
        "st.table([dict(zip(['x'], one)) for one in arm])",
        "st.file_uploader(arm)",
        "st.image('x.png', caption=arm)",
        "st.column_config.TextColumn('x', help=arm)",
    ],
)
def test_the_reader_of_the_code_finds_what_is_not_escaped(tmp_path, line):
    head = "import streamlit as st\nfrom app.escape import Markdown\n"
    draw = "def draw(label: Markdown):\n    st.markdown(label)\n"
    (tmp_path / "page.py").write_text(f"{head}{draw}def show(arm, error, place):\n    {line}\n")
    assert list(unsafe(tmp_path))


def test_no_figure_of_the_app_shows_a_text_that_is_not_escaped():
    assert list(unsafe_labels(ROOT / "app")) == []


@pytest.mark.parametrize(
    "line",
    [
        "made.update_layout(title={'text': arm})",
        "made.update_xaxes(title_text=f'{arm} (px)')",
        "made.update_yaxes(title=arm)",
        "made.add_scatter(x=[1], name=arm)",
        "made.add_trace(go.Scatter(x=[1], hovertemplate=f'{arm}: %{{x}}'))",
        "go.Heatmap(z=[[1]], colorbar={'title': {'text': arm}})",
        "go.Bar(x=[1], hovertext=[arm])",
        "go.Scatter(x=[1], customdata=[arm])",
        "made.add_annotation(text='<b>' + arm, x=0)",
        "made.update_xaxes(tickvals=[1], ticktext=[one for one in arms])",
        "make_subplots(rows=1, cols=1, subplot_titles=[one.name for one in arms])",
        "plot_style.shape(made, 90, title={'text': arm})",
        "drawn(arm)",
    ],
)
def test_the_reader_of_figures_finds_what_is_not_escaped(tmp_path, line):
    head = "import plotly.graph_objects as go\nfrom app.compare import plot_style\n"
    drawn = "def drawn(name: plot_style.Label):\n    go.Scatter(name=name)\n"
    (tmp_path / "plot_style.py").write_text("def label(text) -> Label:\n    return text\n")
    (tmp_path / "page.py").write_text(f"{head}{drawn}def show(arm, arms, made):\n    {line}\n")
    assert list(unsafe_labels(tmp_path))
    safe = line.replace("arm)", "plot_style.label(arm))")
    if safe != line and "arm)" in line:
        (tmp_path / "page.py").write_text(f"{head}{drawn}def show(arm, arms, made):\n    {safe}\n")
        assert not list(unsafe_labels(tmp_path))


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
    stage = {"cmd": HOSTILE, "deps": [LINK], "outs": [{IMAGE: {"cache": False}}]}
    write_yaml(toy / "dvc.yaml", {"stages": {"judge": stage}})
    pull = {"names": [IMAGE], "state": "failed", "phase": HOSTILE, "cause": HOSTILE}
    write_json(toy / "work" / "pull" / "1700000000-0a0b0c0d.json", {**pull, "lines": [HOSTILE]})
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


@pytest.fixture
def hostile_runs(runs: Path) -> Path:
    """Runs with objects and data whose gates, layers and diagnostics hold hostile words."""
    for file in sorted(runs.glob("results/better/seeds/*.json")):
        content = json.loads(file.read_text())
        for weights in ("best", "last"):
            for channel in ("amplitude", "phase"):
                gate = content[weights]["gate"][channel]
                content[weights]["gate"][channel] = {**gate, "evaluable": False, "reason": HOSTILE}
        write_json(file, content)
    history = runs / "results" / "better" / "history.csv"
    table = pandas.read_csv(history)
    write_text(history, table.rename(columns={"dead.decoder.0": f"dead.{HOSTILE}"}).to_csv())
    for run in sorted(runs.glob("runs/better/s*")):
        record = {"source": "training", "kind": "parameter", "layer": HOSTILE, "norm": 0.5}
        lines = [json.dumps({**record, "epoch": epoch, "std": 0.1}) for epoch in (1, 2)]
        for name in ("gradients", "activations"):
            write_text(run / "diagnostics" / f"{name}.jsonl", "\n".join(lines))
    return runs


def texts_of(value: Any) -> Iterator[str]:
    """Every text of a figure."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (dict, list)):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_of(part)


@pytest.mark.parametrize("tab", ["Curves", "Images", "Residuals", "Resolution", "Diagnostics"])
def test_no_figure_renders_stored_text(hostile_runs, tab):
    app = opened("compare", arms=["control", "better"], tab=tab)
    charts = app.get("plotly_chart")
    assert charts
    shown = [text for chart in charts for text in texts_of(json.loads(chart.proto.spec))]
    assert not [text for text in shown if re.search("<(a |img|script)", text)]
    if tab != "Curves" and tab != "Residuals":
        assert any("&lt;img src=http" in text for text in shown), "the words are not drawn"
    bad = [text for kind, text in words(app) if kind != "html" and LIVE.search(text)]
    assert bad == []


def test_the_pages_do_show_the_stored_words(hostile):
    """Else the test above would hold for pages that show nothing."""
    for name, query in (
        ("runs", {"run": "agc/s2"}),
        ("findings", {"claim": "AGC-001"}),
        ("provenance", {}),
    ):
        assert any("pwn" in text for _, text in words(opened(name, **query))), name


def test_a_mistake_is_told_as_text(toy):
    one_run(toy)
    (toy / "params.yaml").write_text(f'arms: {{control: {{"{IMAGE}": 1}}}}\ndata: {{}}\n')
    errors = opened("new_arm").error
    assert errors and not any(LIVE.search(error.value) for error in errors)

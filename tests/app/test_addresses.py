"""Addresses drawn from a seed: whatever one asks for, the page keeps its title and shows no error
of Streamlit, and nothing is written.

`ADDRESSES=1500 pytest tests/app/test_addresses.py` draws more of them.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from checkouts import ROOT, judge, opened, stored
from test_pages import keys_in_the_address

from study.settings import load_study

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.slow]

DRAWN = int(os.environ.get("ADDRESSES", "60"))
PARTS = ("arms", "compare", "dataset", "findings", "new_arm", "provenance", "runs")
TABS = ("Curves", "Metrics", "Images", "Residuals", "Resolution", "Config", "Diagnostics")
VALUES = (
    *(
        "",
        " ",
        "\x00",
        "\x1b[2J\x1b]0;x\x07",
        "\u202eexe",
        "\r\nSet-Cookie: a=b",
        "１２",
        "²",
        "1_0",
    ),
    *("nan", "inf", "-1", "1e999", "9" * 5000, "0x10", "1.5", "true", "None", "[" * 3000, "{}"),
    *("../../../../etc/passwd", "/etc/passwd", "..\\x", "%2e%2e%2f", "file:///x", "//evil/x"),
    *("![a](http://pwn.invalid)", "<script>alert(1)</script>" * 40, "$x$ :material/delete: **b**"),
    *("optimizer.lr=nan", "optimizer.lr=[1,2]", "a.b.c=1", "epochs=-1", "data=../x", "__class__=1"),
    *("1-999999999", "5-1", "0,0,1,1", "nan,nan,nan,nan", "-1e308,1e308,-1e308,1e308", "5,5,1,1"),
    *("control", "lost", "control/s1", "better/s-1", "constructor", "images", "-amp_ssim", "last"),
    *("x" * 70_000, "a\u0300" * 200, "😀", "\uffff"),
)


def keys(part: str) -> list[str]:
    files = (*(ROOT / "app" / part).glob("*.py"), ROOT / "app" / "pages" / f"{part}.py")
    return sorted({key for file in files for key in keys_in_the_address(file)} | {"unknown"})


def drawn(draw: random.Random, part: str) -> dict[str, str | list[str]]:
    """An address of a page: some of its keys, each with a value or several."""
    query: dict[str, str | list[str]] = {}
    if part == "compare" and draw.random() < 0.8:
        query = {"arms": ["control", draw.choice(("better", "dead", "lost"))]}
        query["tab"] = draw.choice(TABS)
    known = keys(part)
    for key in draw.sample(known, min(len(known), draw.choice((1, 2, 4)))):
        several = draw.choice((1, 1, 1, 2, 60))
        query[key] = [draw.choice(VALUES) for _ in range(several)]
    return query


def test_no_address_breaks_a_page_or_writes_a_file(runs: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ARMATURE_PUBLISHED_ON_LOOPBACK", "1")  # an app that may write
    arms = {"treatment": "better", "control": "control"}
    judge(runs, load_study(runs / "params.yaml"), **{"BETTER-001": stored.claim(arms=arms)})
    before = {file: file.stat().st_mtime_ns for file in runs.rglob("*") if file.is_file()}
    draw = random.Random(1)
    for i in range(DRAWN):
        part = PARTS[i % len(PARTS)]
        query = drawn(draw, part)
        app = opened(part, **query)
        assert len(app.title) == 1, (part, query)
    assert before == {f: f.stat().st_mtime_ns for f in runs.rglob("*") if f.is_file()}

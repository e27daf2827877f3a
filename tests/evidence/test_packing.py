"""findings.json is written without what follows from the rest, and read back whole."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored import CONTROL, WORSE, book_of, claim, found, store

from study.evidence.model import Findings, parse
from study.evidence.packing import packed, text_of, unpacked
from study.evidence.staleness import current_findings
from study.settings import Study, UserError

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def findings(tmp_path: Path, study: Study) -> Findings:
    """Two arms of which one claim is made; a seed of one has another outcome and no number."""
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    store(tmp_path, study, "loose", WORSE[:4])
    return parse(found(tmp_path, book_of(tmp_path, A_1=claim()), study), "x")


def read(text: str) -> Findings:
    return parse(unpacked(json.loads(text), "findings.json"), "findings.json")


def test_what_is_written_is_read_back_equal(findings: Findings) -> None:
    assert findings.arms["agc"].numbers and findings.claims["A-1"].evidence
    text = text_of(packed(findings))
    assert read(text) == findings
    assert text_of(packed(read(text))) == text
    assert read(text_of(findings.content())) == findings, "parts that are spelled out are read too"


def test_the_file_in_git_is_read_back_equal() -> None:
    text = text_of(packed(current_findings(ROOT)))
    assert text == (ROOT / "findings.json").read_text()


def test_the_word_of_a_verdict_is_stored_and_follows_from_the_numbers(findings: Findings) -> None:
    stored = packed(findings)
    assert stored["claims"]["A-1"]["word"] == findings.claims["A-1"].word
    other = {**stored["claims"]["A-1"], "word": "equivalent"}
    with pytest.raises(UserError, match="word"):
        read(text_of({**stored, "claims": {"A-1": other}}))
    rates = {"name": "Fisher exact", "p": 0.5, "rates": {}}
    other = {**stored["claims"]["A-1"], "test": rates, "status": "supported"}
    with pytest.raises(UserError, match="no rate of"):
        read(text_of({**stored, "claims": {"A-1": other}}))


def test_what_follows_is_not_written(findings: Findings) -> None:
    stored = packed(findings)
    arm = stored["arms"]["agc"]
    assert all(isinstance(values, list) for values in arm["numbers"].values())
    assert "reproduce" not in arm and "difference" not in arm
    files = [tuple(row) for row in stored["evidence"]]
    assert len(files) == len(set(files))


def damaged(stored: dict[str, Any], change: str) -> dict[str, Any]:
    arm = stored["arms"]["agc"]
    if change == "numbers":
        arm["numbers"] = {path: values[1:] for path, values in arm["numbers"].items()}
    elif change == "evidence":
        stored["evidence"] = stored["evidence"][:2]
    elif change == "seeds":
        del arm["seeds"]["ok"]
    else:
        stored["claims"]["A-1"]["history"] = {"columns": ["a"], "rows": [[1, 2]]}
    return stored


@pytest.mark.parametrize("change", ["numbers", "evidence", "seeds", "history"])
def test_parts_that_do_not_fit_are_a_sentence(findings: Findings, change: str) -> None:
    stored = damaged(json.loads(text_of(packed(findings))), change)
    with pytest.raises(UserError, match=r"findings\.json is inconsistent"):
        unpacked(stored, "findings.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=20,
)


@given(st.dictionaries(st.text(max_size=3), JSON))
def test_the_text_is_json_of_the_same_content(value: dict[str, Any]) -> None:
    assert json.loads(text_of(value)) == value

"""The README's first lines and the verdict table are what findings.json says."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stored import CONTROL, WORSE, book_of, claim, found, margin, page, seed_json, store, typed

from study import cli
from study.evidence.claim_words import (
    END,
    HEADS,
    START,
    TEXT_WIDTH,
    by_family,
    verdict_block,
    verdict_table,
    with_verdicts,
)
from study.evidence.claims import parse_claims
from study.evidence.staleness import current_findings
from study.runs import write_json
from study.settings import Study, UserError

ROOT = Path(__file__).parent.parent.parent
PAGE = f"# Title\n\n{START}\nold\n{END}\n\nrest | stays\n"


@pytest.fixture
def root(tmp_path: Path, study: Study) -> Path:
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    return tmp_path


def lines(findings: dict[str, Any]) -> list[str]:
    """The rows of the verdict table of findings.md."""
    return verdict_table(by_family(typed(findings))).splitlines()[2:]


def test_the_readme_in_git_says_what_the_findings_in_git_say() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert with_verdicts(text, current_findings(ROOT)) == text, "run `study findings --readme`"


def test_a_claim_is_one_line_with_verdict_effect_interval_unit_n_and_kind(
    root: Path, study: Study
) -> None:
    findings = found(root, book_of(root, A_1=claim()), study)
    effect = findings["claims"]["A-1"]["effect"]
    (line,) = [line for line in lines(findings) if line.startswith("| A-1 ")]
    assert "**differs, matters**" in line and "| 6 | exploratory |" in line
    assert (
        f"{effect['estimate']:.3g} [{effect['low']:.3g}, {effect['high']:.3g}] object units" in line
    )
    assert "agc against control" in line


def test_the_sentence_counts_and_the_table_is_sorted_by_family(root: Path, study: Study) -> None:
    book = book_of(
        root,
        A_1=claim(family="zebra"),
        B_1=claim(
            family="ant",
            arms={"treatment": "loose", "control": "control"},
            changes=["clip.gradient_clip_val"],
        ),
        C_1=claim(family="zebra", direction="lower"),
    )
    findings = found(root, book, study)
    assert [line.split(" | ")[0] for line in lines(findings)] == ["| B-1", "| A-1", "| C-1"]
    assert "3 claims" in verdict_block(typed(findings))


def test_failure_rates_stand_as_two_rates(root: Path, study: Study) -> None:
    findings = found(root, book_of(root, A_1=claim()), study)
    rate = {"low": 0.0, "high": 1.0, "level": 0.95, "n": 8}
    rates = {"agc": {"estimate": 0.75, **rate}, "control": {"estimate": 0.125, **rate}}
    test = {"name": "Fisher exact", "p": 0.04, "rates": rates}
    entry = {**findings["claims"]["A-1"], "test": test}
    assert "75 % against 12.5 %" in lines({**findings, "claims": {"A-1": entry}})[0]


def test_long_words_are_cut_at_a_word_and_bars_do_not_break_the_table(
    root: Path, study: Study
) -> None:
    long = claim(text="The |A| of it " + "word " * 60)
    line = lines(found(root, book_of(root, A_1=long), study))[0]
    words = line.split(" | ")[1]
    assert words.endswith("word …") and len(words.replace("\\", "")) <= TEXT_WIDTH
    assert "\\|A\\|" in words


def test_no_text_of_a_claim_leaves_its_cell_or_opens_an_element(root: Path, study: Study) -> None:
    text = f"First: <script>alert(1)</script>\n\n| a | {START} {END}"
    findings = found(root, book_of(root, A_1=claim(text=text)), study)
    line = lines(findings)[0]
    assert line.replace("\\|", "").count("|") == len(HEADS) + 1 and "<" not in line
    once = with_verdicts(PAGE, typed(findings))
    assert with_verdicts(once, typed(findings)) == once
    heading = next(one for one in page(findings).splitlines() if one.startswith("## A-1"))
    assert "&lt;script>" in heading and heading.endswith("/verdicts -->")


@pytest.mark.parametrize(
    ("least", "message"),
    [(0.01, "**differs, matters** (one object)"), (0.041, "**differs, size open** (one object)")],
)
def test_what_qualifies_a_verdict_stands_beside_it(
    least: float, message: str, root: Path, study: Study
) -> None:
    line = lines(found(root, book_of(root, A_1=claim(margin=margin(least))), study))[0]
    assert message in line


def test_recorded_arms_have_their_line(root: Path, study: Study) -> None:
    for name, values in (("control", CONTROL), ("agc", WORSE)):
        row = study.arms[name]
        for seed, value in zip(row.seeds, values, strict=True):
            file = root / "studies" / "results" / name / "seeds" / f"s{seed}.json"
            write_json(file, seed_json(name, row, seed, value))
    contrast = {"treatment": "studies/agc", "control": "studies/control"}
    line = lines(found(root, book_of(root, A_1=claim(arms=contrast)), study))[0]
    assert "**differs, matters**" in line and "studies/agc against studies/control" in line


def test_the_claims_of_the_headline_come_first_in_its_order(root: Path, study: Study) -> None:
    swapped = {"treatment": "control", "control": "agc"}
    book = book_of(root, A_1=claim(), B_1=claim(arms=swapped), C_1=claim(direction="lower"))
    book = replace(book, headline=("C-1", "A-1"))
    text = verdict_block(typed(found(root, book, study))).splitlines()
    assert [line[:2] for line in text[:3]] == ["- ", "- ", ""]
    assert "against the claim" in text[0] and "against the claim" not in text[1]
    assert all("object units" in line for line in text[:2])


def test_a_headline_names_claims_that_are_there(root: Path, study: Study) -> None:
    given = {"claims": {}, "headline": ["A-1"]}
    with pytest.raises(UserError, match="headline"):
        parse_claims(given, root / "claims.yaml")


def test_only_what_stands_between_the_markers_changes(root: Path, study: Study) -> None:
    findings = found(root, book_of(root), study)
    once = with_verdicts(PAGE, typed(findings))
    assert once.startswith("# Title\n\n") and once.endswith("\n\nrest | stays\n")
    assert "old" not in once and with_verdicts(once, typed(findings)) == once
    assert "0 claims" in once


@pytest.mark.parametrize("text", ["", START, f"{END}\n{START}", f"{START}{START}{END}"])
def test_missing_or_twisted_markers_are_refused(text: str, root: Path, study: Study) -> None:
    with pytest.raises(UserError, match="once and in this order"):
        with_verdicts(text, typed(found(root, book_of(root), study)))


def test_the_command_writes_the_readme_and_refuses_where_there_is_none(
    root: Path,
    study: Study,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def call() -> int:
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0)

    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "argv", ["study", "findings", "--readme"])
    assert call() == 2 and "README.md" in capsys.readouterr().err
    (root / "README.md").write_text(PAGE)
    findings = found(root, book_of(root, A_1=claim()), study)
    write_json(root / "findings.json", findings)
    assert call() == 0
    assert (root / "README.md").read_text() == with_verdicts(PAGE, typed(findings))
    (root / "README.md").write_bytes(PAGE.encode() + b"\xff")
    assert call() == 2 and "README.md is not UTF-8" in capsys.readouterr().err
    assert (root / "README.md").read_bytes() == PAGE.encode() + b"\xff"

"""The README's verdict table is what findings.json says, and nothing typed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from stored import CONTROL, WORSE, book_of, claim, found, margin, seed_json, store

from study import cli
from study.evidence.findings import render
from study.evidence.readme import END, HEADS, START, TEXT_WIDTH, verdict_block, with_verdicts
from study.params import Study, UserError
from study.runs import read_json, write_json

ROOT = Path(__file__).parent.parent.parent
PAGE = f"# Title\n\n{START}\nold\n{END}\n\nrest | stays\n"


@pytest.fixture
def root(tmp_path: Path, study: Study) -> Path:
    store(tmp_path, study, "control", CONTROL)
    store(tmp_path, study, "agc", WORSE)
    return tmp_path


def lines(findings: dict[str, Any]) -> list[str]:
    return verdict_block(findings).splitlines()


def test_the_readme_in_git_says_what_the_findings_in_git_say() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    findings = read_json(ROOT / "findings.json")
    assert with_verdicts(text, findings) == text, "run `study findings --readme`"


def test_a_claim_is_one_line_with_verdict_effect_interval_unit_n_and_kind(
    root: Path, study: Study
) -> None:
    findings = found(root, book_of(root, A_1=claim()), study)
    effect = findings["claims"]["A-1"]["effect"]
    (line,) = [line for line in lines(findings) if line.startswith("| A-1 ")]
    assert "**supported**" in line and "| 6 | exploratory |" in line
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
    told = lines(found(root, book, study))
    assert told[0].startswith("3 claims: 1 supported, 1 refuted, 1 inconclusive; ")
    assert [line.split(" | ")[0] for line in told[4:]] == ["| B-1", "| A-1", "| C-1"]
    assert "| – (" in told[4]


def test_failure_rates_stand_as_two_rates(root: Path, study: Study) -> None:
    findings = found(root, book_of(root, A_1=claim()), study)
    rates = {"agc": {"estimate": 0.75}, "control": {"estimate": 0.125}}
    entry = {**findings["claims"]["A-1"], "test": {"rates": rates}}
    assert "75 % against 12.5 %" in lines({**findings, "claims": {"A-1": entry}})[4]


def test_long_words_are_cut_at_a_word_and_bars_do_not_break_the_table(
    root: Path, study: Study
) -> None:
    long = claim(text="The |A| of it " + "word " * 60)
    line = lines(found(root, book_of(root, A_1=long), study))[4]
    words = line.split(" | ")[1]
    assert words.endswith("word …") and len(words.replace("\\", "")) <= TEXT_WIDTH
    assert "\\|A\\|" in words


def test_no_text_of_a_claim_leaves_its_cell_or_opens_an_element(root: Path, study: Study) -> None:
    text = f"First: <script>alert(1)</script>\n\n| a | {START} {END}"
    findings = found(root, book_of(root, A_1=claim(text=text)), study)
    line = lines(findings)[4]
    assert line.replace("\\|", "").count("|") == len(HEADS) + 1 and "<" not in line
    once = with_verdicts(PAGE, findings)
    assert with_verdicts(once, findings) == once
    heading = next(one for one in render(findings).splitlines() if one.startswith("## A-1"))
    assert "&lt;script>" in heading and heading.endswith("/verdicts -->")


@pytest.mark.parametrize(
    ("least", "told"),
    [(0.01, "(one object)"), (0.041, "(the estimate is below the margin, one object)")],
)
def test_what_qualifies_a_verdict_stands_beside_it(
    least: float, told: str, root: Path, study: Study
) -> None:
    line = lines(found(root, book_of(root, A_1=claim(margin=margin(least))), study))[4]
    assert f"**supported** {told}" in line


def test_recorded_arms_have_their_line(root: Path, study: Study) -> None:
    for name, values in (("control", CONTROL), ("agc", WORSE)):
        row = study.arms[name]
        for seed, value in zip(row.seeds, values, strict=True):
            file = root / "recorded" / "studies" / name / "seeds" / f"s{seed}.json"
            write_json(file, seed_json(name, row, seed, value))
    contrast = {"treatment": "studies/agc", "control": "studies/control"}
    line = lines(found(root, book_of(root, A_1=claim(arms=contrast)), study))[4]
    assert "**supported**" in line and "studies/agc against studies/control" in line


def test_only_what_stands_between_the_markers_changes(root: Path, study: Study) -> None:
    findings = found(root, book_of(root), study)
    once = with_verdicts(PAGE, findings)
    assert once.startswith("# Title\n\n") and once.endswith("\n\nrest | stays\n")
    assert "old" not in once and with_verdicts(once, findings) == once
    assert "0 claims" in once


@pytest.mark.parametrize("text", ["", START, f"{END}\n{START}", f"{START}{START}{END}"])
def test_missing_or_twisted_markers_are_refused(text: str, root: Path, study: Study) -> None:
    with pytest.raises(UserError, match="once and in this order"):
        with_verdicts(text, found(root, book_of(root), study))


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
    assert call() == 2 and "verdict table needs" in capsys.readouterr().err
    (root / "README.md").write_text(PAGE)
    findings = found(root, book_of(root, A_1=claim()), study)
    write_json(root / "findings.json", findings)
    assert call() == 0
    assert (root / "README.md").read_text() == with_verdicts(PAGE, findings)

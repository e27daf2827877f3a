"""Claims that left claims.yaml are known from git, whatever the findings say."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import pytest
from stored import CONTROL, WORSE, claim, found, page, store, typed
from test_confirmatory import Repository

from study.evidence.claims import parse_claims
from study.evidence.decidability import GATE_SINCE, OLDER, exemptions
from study.evidence.withdrawn import withdrawn
from study.settings import Study, UserError


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def fates(repository: Repository) -> dict[str, tuple[str, str | None, str | None]]:
    entries = withdrawn(repository.book)
    assert entries is not None
    return {entry.id: (entry.fate, entry.by, entry.commit) for entry in entries}


def test_a_removed_claim_is_listed_with_the_commit_that_removed_it(repository: Repository) -> None:
    repository.claims(A_1=claim(), B_1=claim(margin=claim()["margin"] | {"value": 0.5}))
    removed = repository.claims(B_1=claim(margin=claim()["margin"] | {"value": 0.5}))
    repository.results("agc", 1)
    assert fates(repository) == {"A-1": ("removed", None, removed)}


def test_a_claim_that_is_still_there_or_came_back_is_not_listed(repository: Repository) -> None:
    repository.claims(A_1=claim())
    repository.claims(A_1=claim(text="The same in other words."))
    repository.claims()
    repository.claims(A_1=claim())
    assert fates(repository) == {}


def test_the_last_removal_counts(repository: Repository) -> None:
    repository.claims(A_1=claim())
    repository.claims()
    repository.claims(A_1=claim())
    assert fates(repository) == {}
    assert fates_after(repository)["A-1"][2] == repository.git("rev-parse", "HEAD")


def fates_after(repository: Repository) -> dict[str, tuple[str, str | None, str | None]]:
    repository.claims()
    return fates(repository)


def test_a_removal_without_a_commit_is_listed_too(repository: Repository) -> None:
    repository.claims(A_1=claim())
    (repository.root / "claims.yaml").write_text("claims: {}\n")
    assert fates(repository) == {"A-1": ("removed", None, None)}


def test_a_renamed_claim_says_so(repository: Repository) -> None:
    repository.claims(A_1=claim())
    renamed = repository.claims(B_1=claim(text="Other words."))
    assert fates(repository) == {"A-1": ("renamed", "B-1", renamed)}


def test_a_claim_that_another_one_replaces_says_so(repository: Repository) -> None:
    repository.claims(A_1=claim())
    replaced = repository.claims(B_1=claim(direction="lower", replaces={"A-1": "wrong side"}))
    assert fates(repository) == {"A-1": ("replaced", "B-1", replaced)}
    assert [entry.reason for entry in withdrawn(repository.book) or ()] == ["wrong side"]


def test_a_superseded_claim_has_its_reason_and_must_have_existed(repository: Repository) -> None:
    repository.claims(A_1=claim())
    removed = repository.claims()
    book = dataclasses.replace(repository.book, superseded={"A-1": "too few seeds"})
    assert [(e.fate, e.reason, e.commit) for e in withdrawn(book) or ()] == [
        ("removed", "too few seeds", removed)
    ]
    with pytest.raises(UserError, match=r"A-2.*did you mean 'A-1'"):
        withdrawn(dataclasses.replace(book, superseded={"A-2": "never asked"}))


@pytest.mark.parametrize(
    "given", [{"A-1": "still claimed"}, {"A-0": ""}, {"A-0": 3}, ["A-0"], "A-0"]
)
def test_what_superseded_takes(given: Any) -> None:
    content = {"claims": {"A-1": claim()}, "superseded": given}
    with pytest.raises(UserError, match="superseded"):
        parse_claims(content, Path("claims.yaml"))


def test_an_archived_claim_names_its_folder(repository: Repository) -> None:
    repository.claims(A_1=claim())
    record = repository.root / "archived" / "agc" / "arm.yaml"
    record.parent.mkdir(parents=True)
    record.write_text("arms: {}\nclaims: {A-1: {}}\n")
    gone = repository.claims()
    assert fates(repository) == {"A-1": ("archived", "archived/agc", gone)}


def test_a_claim_of_a_side_branch_that_a_merge_dropped_is_listed(repository: Repository) -> None:
    repository.claims(A_1=claim())
    main = repository.git("branch", "--show-current")
    repository.git("checkout", "-q", "-b", "side")
    repository.claims(A_1=claim(), B_1=claim(direction="lower"))
    repository.git("checkout", "-q", main)
    repository.results("agc", 1)
    repository.git("merge", "-q", "-s", "ours", "-m", "merge", "side")
    assert fates(repository) == {"B-1": ("removed", None, repository.git("rev-parse", "HEAD"))}


def test_a_version_that_cannot_be_read_hides_no_claim(repository: Repository) -> None:
    repository.claims(A_1=claim())
    (repository.root / "claims.yaml").write_text("<<<<<<< ours\n: [\n")
    repository.commit()
    repository.claims()
    assert set(fates(repository)) == {"A-1"}


def test_without_the_whole_history_nothing_is_said(repository: Repository, tmp_path: Path) -> None:
    repository.claims(A_1=claim())
    repository.claims()
    place = tmp_path / "shallow"
    repository.git("clone", "-q", "--depth", "1", f"file://{repository.root}", str(place))
    shallow = Repository.__new__(Repository)
    shallow.root = place
    assert withdrawn(shallow.book) is None
    shutil.rmtree(place / ".git")


def test_the_findings_list_withdrawn_claims(repository: Repository, study: Study) -> None:
    repository.claims(A_1=claim(), B_1=claim(direction="lower"))
    repository.claims(B_1=claim(direction="lower"))
    findings = found(repository.root, repository.book, study)
    assert [entry["id"] for entry in findings["withdrawn"]] == ["A-1"]
    assert "A-1" in page(findings).rpartition("\n## ")[2]


def test_old_and_new_verdicts_are_side_by_side_with_the_reason(
    repository: Repository, study: Study
) -> None:
    """The old verdict with its n, the word of the claim that replaces it, and why."""
    store(repository.root, study, "control", CONTROL)
    store(repository.root, study, "agc", WORSE)
    repository.claims(A_1=claim())
    before = found(repository.root, repository.book, study)
    repository.claims(B_1=claim(direction="lower", replaces={"A-1": "wrong side"}))
    after = found(repository.root, repository.book, study, before)
    lines = page(after).splitlines()
    (row,) = [line for line in lines if line.startswith("| A-1 |") and "wrong side" in line]
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[2] == "supported (exploratory, n = 6)"
    assert "B-1" in cells[3] and typed(after).claims["B-1"].word in cells[3]
    assert cells[4] == "wrong side"


@pytest.mark.parametrize(
    ("date", "older"), [("2026-11-30T06:02:00+00:00", True), ("2026-12-01T00:00:00+00:00", False)]
)
def test_claims_that_were_committed_before_the_gate_are_not_refused(
    repository: Repository, monkeypatch: Any, date: str, older: bool
) -> None:
    assert (date < GATE_SINCE) == older
    monkeypatch.setenv("GIT_COMMITTER_DATE", date)
    repository.claims(A_1=claim())
    assert (exemptions(repository.book).get("A-1") == OLDER) == older
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2026-12-02T00:00:00+00:00")
    repository.claims(A_1=claim(direction="lower"))  # another claim under an old name
    assert exemptions(repository.book) == {}

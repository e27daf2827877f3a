"""Which came first, claim or seed: asked of a real git repository."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from stored import CONTROL, WORSE, book_of, claim, margin, store

from study.evidence.claims import ClaimBook, load_claims
from study.evidence.preregistration import not_confirmatory
from study.runs import write_json
from study.settings import Study

SEEDS = (1, 2)


def judged(seeds: Sequence[int]) -> dict[str, Sequence[int]]:
    return {"agc": seeds, "control": seeds}


class Repository:
    """A checkout in which claims, results and anything else are committed one after another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.git("init", "-q")

    def git(self, *arguments: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
        done = subprocess.run(
            ("git", *who, *arguments), cwd=self.root, check=True, capture_output=True, text=True
        )
        return done.stdout.strip()

    def commit(self) -> str:
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", "step")
        return self.git("rev-parse", "HEAD")

    def claims(self, **claims: dict[str, Any]) -> str:
        named = {claim_id.replace("_", "-"): entry for claim_id, entry in claims.items()}
        write_json(self.root / "claims.yaml", {"claims": named})  # JSON is YAML
        return self.commit()

    def results(self, arm: str, seed: int) -> str:
        write_json(self.root / "results" / arm / "seeds" / f"s{seed}.json", {"seed": seed})
        return self.commit()

    @property
    def book(self) -> ClaimBook:
        return load_claims(self.root / "claims.yaml")

    def reason(self, commit: str, seeds: tuple[int, ...] = SEEDS, dirty: bool = False) -> Any:
        runs = [(seed, commit, dirty) for seed in seeds]
        return not_confirmatory(self.book.claims[0], self.book, runs, judged(seeds))


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def test_a_claim_before_its_runs_is_confirmatory(repository: Repository) -> None:
    assert repository.reason(repository.claims(A_1=claim())) is None


def test_repeating_the_runs_after_their_results_were_committed_changes_nothing(
    repository: Repository,
) -> None:
    repository.claims(A_1=claim())
    assert repository.reason(repository.results("agc", 1)) is None


def test_seeds_that_were_seen_before_the_claim_are_exploratory(repository: Repository) -> None:
    repository.results("other", 2)
    reason = repository.reason(repository.claims(A_1=claim()))
    assert "seed 2 were committed before the claim" in reason


def test_seeds_that_were_seen_and_deleted_are_still_seen(repository: Repository) -> None:
    repository.results("agc", 1)
    (repository.root / "results" / "agc" / "seeds" / "s1.json").unlink()
    repository.commit()
    assert "seed 1" in repository.reason(repository.claims(A_1=claim()))


def test_a_claim_that_was_changed_after_its_seeds_is_exploratory(repository: Repository) -> None:
    repository.claims(A_1=claim())
    repository.results("agc", 1)
    last = repository.claims(A_1=claim(margin=margin(0.5)))
    assert "seed 1" in repository.reason(last)


def test_a_run_from_before_the_claim_is_exploratory(repository: Repository) -> None:
    early = repository.commit()
    repository.claims(A_1=claim())
    assert "does not hold" in repository.reason(early)


def test_a_run_from_before_the_claims_last_change_is_exploratory(repository: Repository) -> None:
    early = repository.claims(A_1=claim(margin=margin(0.5)))
    repository.claims(A_1=claim())
    assert "does not hold" in repository.reason(early)


def test_the_family_stands_before_the_runs_too(repository: Repository) -> None:
    early = repository.claims(A_1=claim(), B_1=claim())
    repository.claims(A_1=claim())
    assert "family" in repository.reason(early)


def test_claims_of_another_family_may_come_later(repository: Repository) -> None:
    early = repository.claims(A_1=claim())
    repository.claims(A_1=claim(), B_1=claim(family="other"))
    assert repository.reason(early) is None


def test_a_dirty_tree_is_exploratory(repository: Repository) -> None:
    commit = repository.claims(A_1=claim())
    assert "uncommitted" in repository.reason(commit, dirty=True)


def test_a_claim_that_asks_for_no_more_stays_exploratory(repository: Repository) -> None:
    commit = repository.claims(A_1=claim(kind="exploratory"))
    assert "registered as exploratory" in repository.reason(commit)


def test_a_commit_from_elsewhere_is_exploratory(repository: Repository) -> None:
    repository.claims(A_1=claim())
    assert "not in this repository" in repository.reason("0" * 40)


def test_a_commit_that_is_none_never_reaches_git_as_an_option(repository: Repository) -> None:
    repository.claims(A_1=claim())
    victim = repository.root / "victim"
    assert "not in this repository" in repository.reason(f"--output={victim}")
    assert not list(repository.root.glob("victim*"))


def test_a_claim_on_a_branch_that_left_before_the_seeds_did_not_come_first(
    repository: Repository,
) -> None:
    start = repository.commit()
    main = repository.git("rev-parse", "--abbrev-ref", "HEAD")
    repository.results("agc", 1)
    repository.git("checkout", "-q", "-b", "late", start)
    repository.claims(A_1=claim())
    repository.git("checkout", "-q", main)
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "late")
    assert "seed 1" in repository.reason(repository.git("rev-parse", "HEAD"))


def test_runs_of_several_commits_of_one_history_are_confirmatory(repository: Repository) -> None:
    first = repository.claims(A_1=claim())
    later = repository.results("agc", 1)
    runs = [(1, first, False), (2, later, False)]
    assert not_confirmatory(repository.book.claims[0], repository.book, runs, judged(SEEDS)) is None


def test_without_git_nothing_is_confirmatory(tmp_path: Path) -> None:
    book = book_of(tmp_path, A_1=claim())
    assert "without git" in str(
        not_confirmatory(book.claims[0], book, [(1, None, None)], judged([1]))
    )
    assert not_confirmatory(book.claims[0], book, [(1, "0" * 40, False)], judged([1])) is not None


def test_a_confirmatory_verdict_needs_the_history_and_the_seeds(
    repository: Repository, study: Study
) -> None:
    from study.evidence.findings import build

    root = repository.root
    commit = repository.claims(A_1=claim(needed_seeds=6), B_1=claim(needed_seeds=8))
    facts = {"code__commit": commit, "code__dirty": False}
    store(root, study, "control", CONTROL, **facts)
    store(root, study, "agc", WORSE, **facts)
    claims = build(root, repository.book, study, None).content()["claims"]
    assert claims["A-1"]["kind"] == "confirmatory"
    assert claims["A-1"]["standing"].startswith("confirmatory, 6 of 6 seeds")
    assert claims["B-1"]["kind"] == "exploratory"
    assert claims["B-1"]["standing"] == "exploratory, 6 of 8 seeds"


def test_more_seeds_than_the_claim_fixed_are_optional_stopping(
    repository: Repository, study: Study
) -> None:
    from study.evidence.findings import build

    root = repository.root
    facts = {"code__commit": repository.claims(A_1=claim(needed_seeds=5)), "code__dirty": False}
    store(root, study, "control", CONTROL, **facts)
    store(root, study, "agc", WORSE, **facts)
    found = build(root, repository.book, study, None).content()["claims"]
    assert found["A-1"]["kind"] == "exploratory"
    assert found["A-1"]["standing"].startswith("exploratory, 6 of 5 seeds: the claim fixes 5 seeds")


def test_a_seed_that_was_seen_is_not_exchanged_for_another(repository: Repository) -> None:
    """Nor left out: it would be known which seeds please."""
    commit = repository.claims(A_1=claim())
    for seed in (1, 2):
        repository.results("agc", seed)
    assert repository.reason(commit, seeds=(1, 2)) is None
    (repository.root / "results" / "agc" / "seeds" / "s1.json").unlink()
    repository.results("agc", 3)
    reason = repository.reason(commit, seeds=(2, 3))
    assert reason == (
        "results of agc seed 1 were committed after the claim but are no longer judged"
    )


def test_seeds_of_other_arms_and_from_before_the_claim_bind_nobody(repository: Repository) -> None:
    repository.results("agc", 7)
    commit = repository.claims(A_1=claim())
    repository.results("other", 9)
    assert repository.reason(commit) is None


def test_registration_reads_versions_that_named_a_second_object(repository: Repository) -> None:
    """That field is gone; a claim that was registered with it keeps its date."""
    pair = {"treatment": "agc_second", "control": "control_second"}
    commit = repository.claims(A_1=claim(second_object=pair))
    repository.claims(A_1=claim())
    assert repository.reason(commit) is None
    repository.claims(A_1=claim(text="Another claim."))
    assert repository.reason(commit) is not None

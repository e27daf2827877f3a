"""Whether a repetition reproduces the committed results.

    identical     same seeds, same outcomes, all scores equal to within 1e-6
    reproduced    the means of the headline numbers agree with the prediction of the committed seeds
    differs       anything else

Training amplifies rounding errors, so on another machine the same seed gives a new random draw. For
the mean of m new draws, after n committed ones with standard deviation s, the half-width of the
prediction interval is t_(n-1) s sqrt(1/n + 1/m). The committed 95 % interval of the mean, with
half-width t_(n-1) s / sqrt(n), is not suitable: for a true repetition (n = m = 6, normal draws)
each number falls outside it with probability 0.129. s is estimated from the committed seeds only.

The level is 95 % for the whole study (Bonferroni): each of the K compared trained arms has a level
of 0.05 / K, half of it for Fisher's exact test of the failures, half shared by the headline
numbers. At most 5 % of true repetitions therefore have an arm that differs, if seeds are normal
draws.

Two differences are reported regardless of this level, because random draws do not explain them: an
`ok` run lacks a headline number that the same seed has in the committed results, or no run of an
arm has a number that committed runs have. (In an arm in which nearly all runs collapse, the last
one may also collapse by chance.) Rows without spread (references) may differ by 1e-3, to allow for
rounding on another CPU.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from study.evidence import statistics
from study.evidence.arms import SEED_FILE, ArmResults
from study.evidence.format import counted, fmt, join_words
from study.evidence.shapes import SeedFile, checked
from study.reading import UserError, parse_json
from study.runs.environment import git, git_bytes

IDENTICAL = 1e-6
WITHOUT_SPREAD = 1e-3
HEADLINE = (
    "last.val_loss",
    "last.r_factor.sum",
    "last.standard.amplitude.ssim",
    "last.standard.amplitude.mae",
    "last.standard.phase.mae",
)
# Scores and losses; file locations, dates and timings may differ.
COMPARED = ("outcome", "best", "last", "training")
NOT_COMPARED = ("seconds", "history_sha256", "reasons")
FILES_PER_CALL = 500
REMEDY = "score the arm again (`study evaluate`), then commit its results"


@dataclass(frozen=True)
class Repetition:
    """One arm compared with its committed results. `reason`: a sentence with the numbers."""

    result: Literal["identical", "reproduced", "differs", "new", "missing"]
    reason: str


@dataclass(frozen=True)
class Blob:
    """One file of a commit, as git stores it; `where` names it in errors."""

    id: str
    size: int
    where: str


def committed_results(root: Path, commit: str = "HEAD") -> dict[str, ArmResults]:
    """The arms as committed in results/ of the pipeline folder `root`; {} without git.

    Raises UserError for a committed file that is not the result of a seed.
    """
    blobs = dict(_blobs(root, commit))
    contents = _contents(root, list({blob.id: blob for blob in blobs.values()}.values()))
    seeds: dict[str, dict[int, Any]] = {}
    for (arm, seed), blob in blobs.items():
        seeds.setdefault(arm, {})[seed] = contents[blob.id]
    return {
        name: ArmResults(name, dict(sorted(found.items())), {}) for name, found in seeds.items()
    }


def _blobs(root: Path, commit: str) -> Iterator[tuple[tuple[str, int], Blob]]:
    """((arm, seed), blob) of all committed seed results."""
    listed = git("ls-tree", "-r", "-l", commit, "--", "results", root=root) or ""
    for line in listed.splitlines():
        facts, _, name = line.partition("\t")
        path = Path(name)
        match = SEED_FILE.fullmatch(path.name)
        _, kind, blob, size = facts.split()
        if match and len(path.parts) == 4 and kind == "blob":
            length = int(size) if size.isdigit() else -1  # "BAD" for a missing object
            yield (path.parts[1], int(match[1])), Blob(blob, length, f"{name} of {commit:.12}")


def _contents(root: Path, blobs: list[Blob]) -> dict[str, Any]:
    """Id of a blob -> its JSON. `git show` writes several blobs one after the other; one call per
    file would take minutes."""
    found: dict[str, Any] = {}
    for start in range(0, len(blobs), FILES_PER_CALL):
        some = blobs[start : start + FILES_PER_CALL]
        stored = git_bytes("show", *(blob.id for blob in some), root=root) or b""
        if len(stored) != sum(blob.size for blob in some):
            raise UserError(
                f"git cannot show the committed results of {root}; `git fsck` names the objects "
                "that are damaged or missing: fetch them again from another clone"
            )
        end = 0
        for blob in some:
            begin, end = end, end + blob.size
            content = parse_json(stored[begin:end], blob.where)
            found[blob.id] = checked(content, SeedFile, blob.where, REMEDY)
    return found


def compare_arms(
    here: Mapping[str, ArmResults], committed: Mapping[str, ArmResults]
) -> dict[str, Repetition]:
    """Arm -> comparison of its results with the committed ones, at one level for all arms."""
    names = dict.fromkeys([*committed, *here])
    trained = sum(name in here and committed[name].label == "arm" for name in committed)
    level = statistics.ALPHA / max(1, trained)
    return {name: compare_arm(here.get(name), committed.get(name), level) for name in names}


def compare_arm(
    new: ArmResults | None, old: ArmResults | None, alpha: float = statistics.ALPHA
) -> Repetition:
    """Compare an arm with its committed results; either may be None.

    `alpha`: probability with which a true repetition of this arm may be called `differs`.
    """
    if old is None:
        return Repetition("new", "no committed results")
    if new is None:
        return Repetition("missing", "no results here; the committed ones were not repeated")
    if new.data_sha256 != old.data_sha256:
        return Repetition("differs", "the data set is another one (its content hash differs)")
    if _identical(new, old):
        return Repetition("identical", f"every score of {len(new.seeds)} seeds equal to 1e-6")
    failures = _failures(new, old, alpha / 2)
    if failures:
        return Repetition("differs", failures)
    away = [
        sentence
        for path in HEADLINE
        if (sentence := _blanked(new, old, path) or _away(new, old, path, alpha / 2))
    ]
    if away:
        return Repetition("differs", join_words(away))
    return Repetition("reproduced", "all headline means lie where the committed seeds predict them")


def _identical(new: ArmResults, old: ArmResults) -> bool:
    if new.seeds.keys() != old.seeds.keys():
        return False
    return all(
        _same(dict(_leaves(new.seeds[seed])), dict(_leaves(old.seeds[seed]))) for seed in new.seeds
    )


def _leaves(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in content.items():
        if (not prefix and key not in COMPARED) or key in NOT_COMPARED:
            continue
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _same(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    return left.keys() == right.keys() and all(_equal(left[key], right[key]) for key in left)


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=IDENTICAL, abs_tol=IDENTICAL)
    return a == b


def _failures(new: ArmResults, old: ArmResults, alpha: float) -> str | None:
    rates = [(len(arm.seeds) - len(arm.with_outcome("ok")), len(arm.seeds)) for arm in (new, old)]
    p = statistics.fisher_p(rates[0], rates[1])
    if p > alpha:
        return None
    (now, n), (then, m) = rates
    return f"{now} of {n} runs failed or collapsed, committed {then} of {m} (p = {fmt(p, 2)})"


def _blanked(new: ArmResults, old: ArmResults, path: str) -> str | None:
    """Which runs lack a number that they should have, or None. Failures are tested separately."""
    now, then = new.values(path), old.values(path)
    if then and not now:
        return f"{path} has no value here, committed {counted(len(then), 'value')}"
    gone = [s for s in new.with_outcome("ok") if s in then and s not in now]
    return f"{path} has no value here for seeds {join_words(gone)}" if gone else None


def _away(new: ArmResults, old: ArmResults, path: str, alpha: float) -> str | None:
    """How a mean differs from its prediction, or None. `alpha`: level for all headline numbers.

    A single committed value of a trained arm gives no prediction and is not compared.
    """
    now, then = (list(arm.values(path).values()) for arm in (new, old))
    if not now or not then or (len(then) == 1 and old.label == "arm"):
        return None
    means = [sum(values) / len(values) for values in (now, then)]
    allowed = WITHOUT_SPREAD * abs(means[1])
    if len(then) > 1:
        level = 1 - alpha / len(HEADLINE)
        allowed = max(allowed, statistics.prediction_half_width(then, len(now), level))
    if abs(means[0] - means[1]) <= allowed:
        return None
    return f"{path} {fmt(means[0])}, committed {fmt(means[1])} ± {fmt(allowed, 2)}"

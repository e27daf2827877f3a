"""All functions of the app that write. Each is refused in read-only mode and for people who are not
listed, whatever the page shows.

The files are checked by the same models as those of the command line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from app import access, comments, load, view_files
from app.scan_tasks import steps, work
from app.scan_tasks.steps import Upload
from study import jobs
from study.artifacts import pull as pulling
from study.editing import archive, claiming
from study.editing import seeds as seed_lists
from study.editing.arms import Draft, Takes
from study.editing.claiming import ClaimDraft
from study.settings import Row, UserError


def add(
    draft: Draft, claim: ClaimDraft | None, takes: Takes, seen: Row, commits: bool = False
) -> None:
    """Write a new arm together with its claim; `commits`: `commit` is called next. Raises
    UserError.
    """
    with _writing("params.yaml"):
        claiming.add(load.ROOT, draft, claim, takes, seen, commits)


def commit(draft: Draft, claim: ClaimDraft | None, takes: Takes) -> str:
    """Commit what `add` wrote; returns the short hash. Raises UserError if git refuses."""
    with _writing("params.yaml"):
        return claiming.committed(load.ROOT, draft, claim, takes)


def more_seeds(name: str, seeds: Sequence[int], commits: bool) -> str:
    """Append seeds to an arm; returns the commit, "" without one. Raises UserError."""
    with _writing("params.yaml"):
        jobs.check_idle(load.ROOT, name)
        return seed_lists.more_seeds(load.ROOT, name, seeds, commits)


def start(arm: str, seeds: tuple[int, ...] | None = None, executor: str = "local") -> str:
    """Queue an arm; returns the job's id. Raises UserError, for example if the arm has an active
    job."""
    with _writing("work/launch"):
        return jobs.submit(load.ROOT, arm, seeds, executor)


def stop(job: str) -> None:
    with _writing("work/launch"):
        jobs.cancel(load.ROOT, job)


def retry(job: str) -> None:
    with _writing("work/launch"):
        jobs.retry(load.ROOT, job)


def wake() -> bool:
    """Make sure that unfinished jobs continue; returns whether there are any. Raises UserError."""
    with _writing("work/launch"):
        return jobs.resume(load.ROOT)


def archive_arm(name: str) -> archive.Archived:
    """Archive an arm. Raises UserError if it has an active job or others need it."""
    with _writing("params.yaml, results/ or archived/"):
        jobs.check_idle(load.ROOT, name)
        return archive.archive_arm(load.ROOT, name)


def rename_arm(name: str, to: str) -> archive.Archived:
    """Rename an arm. Raises UserError if it has an active job, and for a name that is taken or
    invalid."""
    with _writing("params.yaml, results/ or archived/"):
        jobs.check_idle(load.ROOT, name)
        return archive.rename_arm(load.ROOT, name, to)


def comment(claim: str, name: str, text: str, known: Collection[str]) -> None:
    """Sign a comment on one of the `known` claims. Raises UserError for an invalid comment."""
    with _writing("comments.jsonl"):
        comments.add(load.ROOT, claim, name, text, known)


def save_view(name: str, page: str, query: Mapping[str, list[str]]) -> None:
    """Save an address of a page under a name. Raises UserError."""
    with _writing(f"{view_files.FOLDER}/"):
        view_files.write_view(load.ROOT, name, page, query)


def delete_view(name: str) -> None:
    with _writing(f"{view_files.FOLDER}/"):
        view_files.delete_view(load.ROOT, name)


def pull(names: tuple[str, ...]) -> None:
    """Fetch recorded outputs. Raises UserError while another pull runs."""
    with _writing("work/pull"):
        pulling.start_pull(load.ROOT, names)


def cancel_pull(pull_id: str) -> None:
    with _writing("work/pull"):
        pulling.cancel_pull(load.ROOT, pull_id)


def begin_scan(scan: Upload | Path, beside: Mapping[str, Upload], units: str | None = None) -> str:
    """Store a scan privately and read it in a child process; its id. Raises UserError."""
    with _writing(work.FOLDER):
        return steps.begin(load.ROOT, scan, beside, units)


def mask_scan(scan: str, threshold: float | None, shapes: str, upload: Upload | None) -> None:
    """Read a scan again with a mask. Raises UserError."""
    with _writing(work.FOLDER):
        steps.look_again(load.ROOT, scan, threshold, shapes, upload)


def accept_scan(scan: str, row: int) -> None:
    """Choose a reading of an unclear scan. Raises UserError."""
    with _writing(work.FOLDER):
        steps.accept(load.ROOT, scan, row)


def import_scan(scan: str, name: str) -> None:
    """Start an import into imported/NAME. Raises UserError."""
    with _writing(work.FOLDER):
        steps.import_as(load.ROOT, scan, name)


def reconstruct_scan(scan: str, source: str, options: Sequence[str]) -> None:
    """Start a reconstruction of an imported scan. Raises UserError."""
    with _writing(work.FOLDER):
        steps.reconstruct(load.ROOT, scan, source, options)


def stop_scan(scan: str, task: str) -> None:
    with _writing(work.FOLDER):
        steps.stop(load.ROOT, scan, task)


def remove_scan(scan: str) -> None:
    with _writing(work.FOLDER):
        steps.remove(load.ROOT, scan)


@contextmanager
def _writing(what: object) -> Iterator[None]:
    """Raises UserError if the user may not write, and instead of an OSError (a full disk)."""
    if access.read_only():
        raise UserError(access.why_read_only())
    try:
        yield
    except OSError as error:
        raise UserError(f"{what} cannot be written: {error.strerror or error}") from None

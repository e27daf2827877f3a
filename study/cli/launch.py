"""study launch, runs, stop, retry, resume: background jobs."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from study.jobs import RunRow

    Done = dict[tuple[str, str], list[RunRow]]

ROOT = Path()
POLL_S = 1.0
SHOWN = 40


def register(app: typer.Typer) -> None:
    for command in (launch, runs, stop, retry, resume):
        app.command()(command)


def launch(
    arm: Annotated[list[str], typer.Argument(help="Arms of params.yaml")],
    seeds: Annotated[
        str | None, typer.Option(help="Seeds, such as 1,2 (default: all declared)")
    ] = None,
    executor: Annotated[str, typer.Option(help="local or slurm")] = "local",
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the jobs end")] = False,
) -> None:
    """Train arms in the background and commit them to DVC."""
    from study.jobs import check_start, submit

    chosen, names = _numbers(seeds), list(dict.fromkeys(arm))
    for name in names:  # all start, or none
        check_start(ROOT, name, chosen, executor)
    submitted = []
    for name in names:
        submitted.append(submit(ROOT, name, chosen, executor))
        print(f"{name}: job {submitted[-1]}")
    if wait:
        raise typer.Exit(_follow(submitted))
    print("watch: study runs --watch")


def runs(
    watch: Annotated[bool, typer.Option("--watch", help="Update until all jobs end")] = False,
    every: Annotated[bool, typer.Option("--all", help="Also list every finished seed")] = False,
) -> None:
    """List runs and jobs: state, epoch, time left, cause."""
    from rich.live import Live

    from study.jobs import active
    from study.terminal import console

    out = console()
    if not watch:
        out.print(_table(every))
        return
    with Live(_table(every), console=out, refresh_per_second=2) as live:
        while active(ROOT):
            time.sleep(POLL_S)
            live.update(_table(every))


def stop(what: Annotated[str, typer.Argument(metavar="JOB|ARM")]) -> None:
    """Stop a job after it writes its checkpoints.

    Processes that run for another 20 s are killed.
    """
    from study.jobs import cancel

    job = _named(what, over=False)
    cancel(ROOT, job)
    print(f"stopping {job}; `study retry {job}` continues from its checkpoints")


def retry(what: Annotated[str, typer.Argument(metavar="JOB|ARM")]) -> None:
    """Queue a failed or stopped job from its checkpoints."""
    from study.jobs import retry as again

    job = _named(what, over=True)
    again(ROOT, job)
    print(f"queued again: {job}")


def resume() -> None:
    """Continue all unfinished jobs after a crash or reboot."""
    from study.jobs import resume as wake

    print("resumed; watch: study runs --watch" if wake(ROOT) else "no unfinished jobs")


def _numbers(text: str | None) -> list[int] | None:
    from study.settings import UserError

    if text is None:
        return None
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise UserError(
            f"--seeds is {text!r}; accepted: integers separated by commas, such as 1,2"
        ) from None


def _named(what: str, over: bool) -> str:
    """The id of a job, or of the last job of an arm (`over`: the last one that has ended). Raises
    UserError."""
    from study.jobs import jobs
    from study.settings import NAME, UserError

    if not NAME.fullmatch(what):
        return what
    found = [job.id for job in jobs(ROOT) if job.arm == what and job.over == over]
    if not found:
        kind = "ended" if over else "queued or running"
        raise UserError(f"no job of arm {what!r} is {kind}; `study runs` lists them")
    return found[-1]


def _follow(submitted: list[str]) -> int:
    """Wait for jobs and print how each ended; exit code 1 unless all are done."""
    from study.jobs import find_job

    left, good = list(submitted), True
    while left:
        time.sleep(POLL_S / 2)
        for job in [find_job(ROOT, name) for name in left]:
            if job.over:
                left.remove(job.id)
                good = good and job.state == "done"
                print(f"{job.arm}: {job.state}{f': {job.cause}' if job.cause else ''}")
    return 0 if good else 1


def _table(every: bool):
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from study.jobs import jobs, run_rows, supervisor_state

    known = jobs(ROOT)
    rows = run_rows(ROOT, known)
    table = Table("arm", "seed", "state", "epoch", "left", "val loss", "cause", box=None)
    done: Done = {}
    for row in rows:
        if row.state in ("done", "failed", "collapsed") and not every and not row.cause:
            done.setdefault((row.arm, row.state), []).append(row)
            continue
        loss = "" if row.val_loss is None else f"{row.val_loss:.4g}"
        epoch = f"{row.epoch}/{row.epochs}" if row.epochs else ""
        cells = (row.arm, str(row.seed), row.state, epoch, _time(row.eta_s), loss, row.cause or "")
        table.add_row(*map(Text, cells))
    for (arm, state), ended in _latest(done):
        table.add_row(arm, f"{len(ended)} seeds" if len(ended) > 1 else str(ended[0].seed), state)
    lines = [Text(_job_line(job)) for job in known if not job.over or job.cause]
    if len(done) > SHOWN:
        lines.insert(0, Text(f"and {len(done) - SHOWN} arms that ended earlier (--all lists them)"))
    word = supervisor_state(ROOT)
    if word is not None and word.trouble:
        lines.append(Text(f"supervisor: {word.trouble}"))
    return Group(table if rows else Text("no runs in this checkout"), *lines)


def _latest(done: Done) -> Iterable[tuple[tuple[str, str], list[RunRow]]]:
    """The `SHOWN` arms that ended last, by name."""
    newest = sorted(done, key=lambda key: max(row.ended or 0.0 for row in done[key]))[-SHOWN:]
    return [(key, done[key]) for key in sorted(newest)]


def _job_line(job) -> str:
    more = job.note or job.cause
    return f"job {job.id}: {job.state}{f' ({more})' if more else ''}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"

"""Progress of running seeds, read from their run folders: bars on a terminal, lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from study.runs import SETTLED, RunFolder
from study.terminal import console

POLL_S = 0.25
LINE_EVERY_S = 15.0
COUNT_EVERY_S = 2.0


class Watch:
    """Shows epochs and remaining time of all runs together. `folders`: run folder -> epochs."""

    def __init__(self, folders: Mapping[Path, int], what: str) -> None:
        self.going = {RunFolder(folder): epochs for folder, epochs in folders.items()}
        self.total = sum(folders.values())
        self.over = 0  # epochs of settled runs, which are not read again
        self.what = what
        self.console = console()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.progress.add_task(f"{what}: epochs", total=self.total, left="")
        self.started = time.monotonic()
        self.first_epochs: int | None = None
        self.next_line = self.started + LINE_EVERY_S

    def __enter__(self) -> Watch:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def update(self) -> None:
        """Read the folders once, update the display, and sleep for a short time."""
        done = self._done()
        if self.first_epochs is None:
            self.first_epochs = done
        left = self._left(done)
        self.progress.update(self.task, completed=done, left=left)
        if not self.console.is_terminal and time.monotonic() > self.next_line and self.total:
            self.console.print(f"{self.what}: epoch {done} of {self.total} over all seeds, {left}")
            self.next_line = time.monotonic() + LINE_EVERY_S
        time.sleep(POLL_S)

    def _done(self) -> int:
        """Completed epochs; all epochs of a settled run count, even if it ended early."""
        here = 0
        for run, epochs in list(self.going.items()):
            status = run.status()
            if status.get("state") in SETTLED:
                self.over += self.going.pop(run)
            else:
                here += min(int(status.get("epoch") or 0), epochs)
        return self.over + here

    def _left(self, done: int) -> str:
        fresh = done - (self.first_epochs or 0)
        if fresh <= 0:
            return "measuring"
        seconds = (time.monotonic() - self.started) / fresh * (self.total - done)
        return f"about {seconds:.0f} s left"


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Callable[..., None]]:
    """Progress of a loop of `total` steps: a bar on a terminal, lines in a log.

    Yields a function to be called after each step.
    """
    out = console(stderr=True)
    done, next_line = 0, time.monotonic() + COUNT_EVERY_S
    with Progress(console=out, disable=not out.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)

        def step(*_: object, **__: object) -> None:
            nonlocal done, next_line
            done += 1
            progress.advance(task)
            if not out.is_terminal and time.monotonic() > next_line:
                out.print(f"{what}: {done} of {total}")
                next_line = time.monotonic() + COUNT_EVERY_S

        yield step


@contextlib.contextmanager
def passes() -> Iterator[Callable[[str, int, int], None]]:
    """Progress of several passes over the same patterns: a bar on a terminal, lines in a log.

    Yields a function to be called with the name of the pass, completed patterns and all patterns.
    """
    out = console(stderr=True)
    next_line = time.monotonic() + LINE_EVERY_S
    with Progress(console=out, disable=not out.is_terminal, transient=True) as progress:
        task = progress.add_task("", total=None)

        def step(what: str, done: int, total: int) -> None:
            nonlocal next_line
            progress.update(task, description=what, completed=done, total=total)
            if not out.is_terminal and time.monotonic() > next_line:
                out.print(f"{what}: {done} of {total} patterns")
                next_line = time.monotonic() + LINE_EVERY_S

        yield step


class Steps:
    """Progress of a number of work items: a bar on a terminal, lines in a log."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self.console = console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            # Updated explicitly, not by a thread, because processes may fork while it is shown.
            auto_refresh=False,
        )
        self.task = self.progress.add_task(what, total=total)
        self.started = time.monotonic()
        self.next_line = self.started + LINE_EVERY_S

    def __enter__(self) -> Steps:
        self.progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.stop()

    def advance(self) -> None:
        """Count one completed item."""
        self.done += 1
        self.progress.advance(self.task)
        self.progress.refresh()
        now = time.monotonic()
        if not self.console.is_terminal and now > self.next_line:
            left = (now - self.started) / self.done * (self.total - self.done)
            self.console.print(f"{self.what} {self.done} of {self.total}, about {left:.0f} s left")
            self.next_line = now + LINE_EVERY_S

"""Progress of running seeds, read from their run folders: bars on a terminal, lines in a log."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from study.runs import RunFolder

POLL_S = 0.25
LINE_EVERY_S = 15.0


class Watch:
    """Shows epoch, loss and remaining time of the runs in `folders`, together one arm."""

    def __init__(self, folders: list[Path], arm: str) -> None:
        self.runs = [RunFolder(folder) for folder in folders]
        self.arm = arm
        self.console = Console()
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self.task = self.progress.add_task(f"{arm}: epochs", total=None, left="")
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
        """Read the folders once, show what changed, and sleep a little."""
        statuses = [run.status() for run in self.runs]
        total = sum(int(status.get("epochs", 0)) for status in statuses) or None
        # Seeds that wait have no folder yet: they will take as many epochs as the others.
        if total is not None:
            known = sum("epochs" in status for status in statuses)
            total = round(total * len(statuses) / known)
        done = sum(int(status.get("epoch", 0)) for status in statuses)
        if self.first_epochs is None:
            self.first_epochs = done
        left = self._left(done, total)
        self.progress.update(self.task, completed=done, total=total, left=left)
        if not self.console.is_terminal and time.monotonic() > self.next_line and total:
            self.console.print(f"{self.arm}: epoch {done} of {total} over all seeds, {left}")
            self.next_line = time.monotonic() + LINE_EVERY_S
        time.sleep(POLL_S)

    def _left(self, done: int, total: int | None) -> str:
        fresh = done - (self.first_epochs or 0)
        if not total or fresh <= 0:
            return "measuring"
        seconds = (time.monotonic() - self.started) / fresh * (total - done)
        return f"about {seconds:.0f} s left"


@contextlib.contextmanager
def counting(what: str, total: int) -> Iterator[Callable[..., None]]:
    """A bar for one loop of `total` steps; yields what the loop calls after each."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda *_, **__: progress.advance(task)


class Steps:
    """Counts pieces of work that end one by one: a bar on a terminal, lines in a log."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total, self.done = what, total, 0
        self.console = Console(stderr=True)
        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
            # Drawn when something is done, not by a thread: processes may part while it is shown.
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
        self.done += 1
        self.progress.advance(self.task)
        self.progress.refresh()
        now = time.monotonic()
        if not self.console.is_terminal and now > self.next_line:
            left = (now - self.started) / self.done * (self.total - self.done)
            self.console.print(f"{self.what} {self.done} of {self.total}, about {left:.0f} s left")
            self.next_line = now + LINE_EVERY_S

"""`study pull`, `study push`: move outputs from and to a remote, with progress."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from study.artifacts.outputs import Output, chosen, place
from study.artifacts.remote_client import Cancelled, NoRemote, ask, ended_by_sigterm
from study.runs import start_time, write_json
from study.settings import UserError
from study.terminal import console

WRITE_EVERY_S = 0.5


@dataclass
class Transfer:
    """Progress of a transfer: written to a status file for the app, drawn on a terminal."""

    names: list[str]
    total: int  # objects, as dvc.lock counts them
    size: int  # bytes
    file: Path | None = None
    state: str = "running"
    phase: str = "connecting"
    done: int = 0
    cause: str | None = None
    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    next_write: float = 0.0

    def write(self, now: bool = True) -> None:
        if self.file is None or not (now or time.monotonic() > self.next_write):
            return
        own = {k: v for k, v in vars(self).items() if k not in ("file", "next_write")}
        process = psutil.Process()
        write_json(
            self.file,
            {
                **own,
                "pid": os.getpid(),
                "pid_started": start_time(process),
                "heartbeat": time.time(),
            },
        )
        self.next_write = time.monotonic() + WRITE_EVERY_S


@dataclass(frozen=True)
class Wanted:
    """Artifacts requested by a user."""

    root: Path
    names: tuple[str, ...] = ()
    everything: bool = False
    remote: str | None = None

    def outputs(self) -> list[Output]:
        """The outputs to move. Raises UserError for unknown names, and when nothing is recorded."""
        top, pipeline = place(self.root)
        found = chosen(top, pipeline, self.names, self.everything)
        if not found:
            raise UserError("dvc.lock records no stored outputs yet; `dvc repro` computes them")
        return found

    def request(self, action: str, outputs: Iterable[Output], **more: Any) -> dict[str, Any]:
        top, _ = place(self.root)
        rows = [
            {"name": o.name, "address": o.address, "md5": o.md5, "where": _where(o)}
            for o in outputs
        ]
        return {"top": str(top), "remote": self.remote, "action": action, "outputs": rows, **more}


def pull(wanted: Wanted, status: Path | None = None) -> list[str]:
    """Download outputs into the cache and the checkout; returns a line about each. An output with a
    missing or corrupted object is not placed at all; the others are. Raises UserError with all
    reasons.
    """
    outputs = wanted.outputs()
    pushed = [item for item in outputs if item.push]
    hashes = {item.md5 for item in pushed}
    # Outputs that are not pushed come with an identical one: build/dataset has the same bytes as
    # data.
    twins = [item for item in outputs if not item.push and item.md5 in hashes]
    transfer = _transfer_of(pushed, status)
    request = wanted.request("pull", [*pushed, *twins])
    return _move(transfer, request, {item.name: item.files + 1 for item in pushed})


def push(wanted: Wanted, again: bool = False, status: Path | None = None) -> list[str]:
    """Upload objects that the remote does not have; with `again` replace those that it has. Raises
    UserError with all reasons.
    """
    outputs = [item for item in wanted.outputs() if item.push]
    transfer = _transfer_of(outputs, status)
    return _move(transfer, wanted.request("push", outputs, again=again), {})


def check(root: Path, remote: str | None = None) -> str:
    """Store a small object, read it, compare it and remove it; returns one sentence. Raises
    UserError with the reason, NoRemote without a remote.
    """
    events = list(ask(Wanted(root, remote=remote).request("check", [])))
    reached = next(event for event in events if event["event"] == "reached")
    return f"{reached['name']!r} ({reached['url']}) wrote, read and removed a small object"


def _where(output: Output) -> str:
    return f"{output.pipeline}/{output.path}" if output.pipeline else output.path


def _transfer_of(outputs: list[Output], status: Path | None) -> Transfer:
    objects, size = sum(o.files + 1 for o in outputs), sum(o.size for o in outputs)
    return Transfer([o.name for o in outputs], objects, size, status)


def _move(transfer: Transfer, request: Mapping[str, Any], sizes: Mapping[str, int]) -> list[str]:
    """Run a request to its end and keep `transfer` up to date, also if the request fails."""
    transfer.write()
    try:
        with ended_by_sigterm(), _bar(request["action"], transfer) as bar:
            settled = 0
            for event in ask(request):
                settled += sizes.get(event.get("name", ""), 0) * (event["event"] == "pulled")
                _handle(transfer, event)
                transfer.done = max(transfer.done, settled)
                transfer.write(now=event["event"] != "object")
                bar.update(bar.task_ids[0], completed=transfer.done, total=transfer.total)
    except BaseException as error:
        cancelled = isinstance(error, (Cancelled, KeyboardInterrupt))
        transfer.state = "cancelled" if cancelled else "failed"
        transfer.cause = "cancelled" if cancelled else str(error) or type(error).__name__
        transfer.write()
        if isinstance(error, Cancelled):
            raise SystemExit(143) from None
        raise
    return _ended(transfer, request)


def _ended(transfer: Transfer, request: Mapping[str, Any]) -> list[str]:
    problems = transfer.problems
    transfer.state, transfer.phase = ("failed" if problems else "finished"), "over"
    transfer.cause = "; ".join(problems) or None
    transfer.done = transfer.done if problems else transfer.total
    transfer.write()
    if problems:
        verb = "brought" if request["action"] == "pull" else "sent"
        raise UserError(
            "\n".join([f"not everything was {verb}:", *problems[:20], *_more(problems)])
        )
    return transfer.lines


def _more(problems: list[str]) -> Iterator[str]:
    if len(problems) > 20:
        yield f"... and {len(problems) - 20} more"


def _handle(transfer: Transfer, event: Mapping[str, Any]) -> None:
    kind, name = event["event"], event.get("name", "")
    if kind == "reached":
        transfer.phase = "moving"
        transfer.lines.append(f"remote {name!r}: {event['url']}")
    elif kind == "plan":
        transfer.total = event["total"]
        transfer.lines.append(
            f"{event['total']} objects to upload, {event['there']} are already there"
        )
    elif kind == "object":
        transfer.done += 1
    elif kind == "placing":
        transfer.phase = "placing"
    elif kind == "absent":
        held = "the remote has it" if event["there"] else "nor does the remote"
        transfer.lines.append(f"{name}: this clone does not have it, {held}")
    elif kind in ("pulled", "pushed"):
        transfer.phase = "moving"
        transfer.problems += event["problems"]
        if not event["problems"]:
            came = f", {event['count']} objects downloaded" if kind == "pulled" else ""
            transfer.lines.append(f"{name}: {'here' if kind == 'pulled' else 'there'}{came}")


def _bar(action: str, transfer: Transfer) -> Progress:
    out = console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=out,
        disable=not out.is_terminal,
        transient=True,
    )
    bar.add_task(f"{action}: objects", total=transfer.total)
    return bar


__all__ = ["NoRemote", "Wanted", "check", "pull", "push"]

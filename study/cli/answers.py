"""`python -m study.cli.answers`: `study arms` commands from the standard input, one after another.

The app asks here. Importing torch takes seconds and a check a tenth of one, so one process answers
all of them. A line in is a JSON list of words, such as ["arms", "check", "NAME", "--json"]; a line
out is {"code": exit code, "out": what it printed, "err": what it printed as errors}. It ends with
its input, and so with whoever asks.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
from typing import Any

from study.cli import app
from study.terminal import plain_errors

READING = (["arms", "check"], ["arms", "fields"])  # commands that write nothing


def answer(words: list[str]) -> dict[str, Any]:
    """Run one command in this process; one that could write is refused."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            priced = words[:2] == ["arms", "extend"] and "--dry-run" in words
            if words[:2] not in READING and not priced:
                sys.stderr.write(f"only commands that write nothing are answered, not {words}\n")
                raise SystemExit(2)
            with plain_errors("study"):
                app(words)
        except SystemExit as end:
            code = end.code or 0
        except Exception as error:  # the next question has to be answered all the same
            err.write(f"{type(error).__name__}: {error}\n")
            code = 1
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        sys.stdout.write(f"{json.dumps(answer(json.loads(line)))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

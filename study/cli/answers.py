"""`python -m study.cli.answers`: run `study arms` commands from standard input, one by one.

The app uses this process for its checks: importing torch takes seconds, a check a tenth of a
second. An input line is a JSON list of words, such as ["arms", "check", "NAME", "--json"]. An
output line is {"code": exit code, "out": standard output, "err": standard error}. The process ends
when its input is closed, and so with the process that started it.
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
    """Run one command in this process; commands that could write are refused."""
    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            priced = words[:2] == ["arms", "extend"] and "--dry-run" in words
            if words[:2] not in READING and not priced:
                sys.stderr.write(f"only commands that write nothing are accepted, not {words}\n")
                raise SystemExit(2)
            with plain_errors("study"):
                app(words)
        except SystemExit as end:
            code = end.code or 0
        except Exception as error:  # the next command must still be answered
            err.write(f"{type(error).__name__}: {error}\n")
            code = 1
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


def main() -> None:
    """Answer commands until the input ends."""
    for line in sys.stdin:
        sys.stdout.write(f"{json.dumps(answer(json.loads(line)))}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()

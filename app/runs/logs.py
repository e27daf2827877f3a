"""The last lines of a log, read from its end."""

from __future__ import annotations

from pathlib import Path

LINES = 200
BYTES = 65536


def tail(file: Path) -> str:
    """The last complete lines without control characters; "" if the file cannot be read."""
    try:
        with file.open("rb") as stream:
            stream.seek(0, 2)
            start = max(0, stream.tell() - BYTES)
            stream.seek(start)
            text = stream.read(BYTES).decode(errors="replace")
    except OSError:
        return ""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    kept = lines[1:] if start else lines
    shown = "\n".join(kept[-LINES - 1 :]).strip("\n")
    return "".join(c for c in shown if c in "\n\t" or c.isprintable())

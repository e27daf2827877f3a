"""Print text without the control codes that stored text may contain.

A cause, a log line or a file name can contain escape sequences that clear the screen, overwrite
other lines, or set the title or the clipboard of a terminal. All output of `study` passes through
this module: `print` through the streams set by `cleaned_output`, tables and bars through `console`.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TextIO, cast

from study.reading import UserError

if TYPE_CHECKING:
    from rich.console import Console

# C0 without tab and newline, DEL, C1, and the marks that reorder the text around them.
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """`text` with a question mark instead of every control code, except tabs and newlines."""
    return CONTROL.sub("?", text)


LONGEST_WORD, LONGEST_ERROR = 1000, 5000  # characters; a path has up to 4,096, rarely over 200


def shortened(text: str) -> str:
    """`text` with very long words, and very long texts, shortened in the middle."""
    text = re.sub(rf"\S{{{LONGEST_WORD + 1},}}", lambda word: _cut(word[0], LONGEST_WORD), text)
    return _cut(text, LONGEST_ERROR)


def _cut(text: str, longest: int) -> str:
    """The beginning and the end of a text, together `longest` characters."""
    if len(text) <= longest:
        return text
    end = longest // 4
    return f"{text[: longest - end - 1]}…{text[-end:]}"


class _Cleaned:
    """A text stream that cleans what is written and otherwise behaves like the original. `shorten`:
    also shorten it; for errors, which quote refused input.
    """

    def __init__(self, stream: Any, shorten: bool = False) -> None:
        self.stream, self.shorten = stream, shorten

    def write(self, text: str) -> int:
        self.stream.write(clean(shortened(text) if self.shorten else text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextlib.contextmanager
def cleaned_output() -> Iterator[None]:
    """Clean what is written to stdout and stderr, and shorten what is written to stderr."""
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a question mark if it cannot encode it
    # A stream that was closed before the start is None.
    out, err = (io.StringIO() if stream is None else stream for stream in before)
    sys.stdout, sys.stderr = cast("TextIO", _Cleaned(out)), cast("TextIO", _Cleaned(err, True))
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def console(stderr: bool = False, width: int | None = None) -> Console:
    """A rich console for tables and bars: its own control codes are printed, those in texts are
    not. Texts are not parsed as rich markup.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    class Cleaned(Console):
        def render(
            self, renderable: RenderableType, options: ConsoleOptions | None = None
        ) -> Iterable[Segment]:
            for segment in super().render(renderable, options):
                plain = segment.control or not CONTROL.search(segment.text)
                yield segment if plain else segment._replace(text=clean(segment.text))

    stream = sys.stderr if stderr else sys.stdout
    raw = stream.stream if isinstance(stream, _Cleaned) else stream
    return Cleaned(file=raw, width=width, markup=False, emoji=False)


@contextlib.contextmanager
def plain_errors(program: str) -> Iterator[None]:
    """Turn user errors, errors of the operating system and a lack of memory into a sentence and
    exit code 2."""
    try:
        yield
    except UserError as error:
        message = str(error)
    except OSError as error:
        message = describe(error)
    except MemoryError as error:
        wanted = " ".join(str(error).split()) or "no more could be allocated"
        message = (
            f"not enough memory for `{' '.join(sys.argv[1:3])}`: {wanted}; close other programs, "
            "use a smaller data set or fewer processes (--jobs), or a machine with more memory"
        )
    else:
        return
    with contextlib.suppress(OSError):  # stderr may be on the full disk
        sys.stderr.write(f"{program}: {message}\n")
        sys.stderr.flush()
    raise SystemExit(2)


ADVICE: Mapping[int, str] = {
    errno.ENOSPC: "free some space, then run the command again",
    errno.EDQUOT: "free some space, then run the command again",
    errno.EROFS: "the file system is read-only; use a writable checkout",
    errno.EACCES: "check the owner and the permissions of the file",
    errno.EPERM: "check the owner and the permissions of the file",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
}

# HDF5 tells the time, the file, the address of the buffer and more, on two lines.
HDF5 = re.compile(r"filename = '(?P<file>[^'\n]+)', file descriptor = ")


def describe(error: OSError) -> str:
    """An error of the operating system as a sentence: file, reason, and advice if available."""
    reason = error.strerror or str(error) or type(error).__name__
    files = [
        os.fsdecode(n) for n in (error.filename, error.filename2) if isinstance(n, str | bytes)
    ]
    if error.errno and (told := HDF5.search(reason)):
        files, reason = [*files, told["file"]], os.strerror(error.errno)
    advice = ADVICE.get(error.errno or 0)
    return "; ".join(filter(None, [": ".join([*files[-1:], reason]), advice]))

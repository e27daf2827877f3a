"""Comments of people on claims: signed, and separate from the verdict.

    comments.jsonl      one comment per line, in git with the study; no result depends on it

The whole file is rewritten under a lock; lines that are not comments are counted and kept.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from filelock import Timeout
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from study.reading import read_text
from study.runs import read_lines, write_text
from study.runs.links import lock_at
from study.settings import UserError, explain

FILE = "comments.jsonl"
LOCK = Path("work") / "comments.lock"  # ignored by git
LONGEST_NAME = 60
LONGEST_TEXT = 2000
MOST_BYTES = 4_000_000


def _printable(text: str) -> str:
    if any(not c.isprintable() and c != "\n" for c in text):
        raise ValueError("contains unprintable characters")
    return text


def _one_line(text: str) -> str:
    if "\n" in text:
        raise ValueError("has more than one line")
    return text


def _of_length(longest: int) -> AfterValidator:
    def check(text: str) -> str:
        if not text:
            raise ValueError("is empty")
        if len(text) > longest:
            raise ValueError(f"is too long ({len(text)} characters; at most {longest})")
        return text

    return AfterValidator(check)


Stripped = Annotated[str, StringConstraints(strip_whitespace=True)]
Text = Annotated[Stripped, _of_length(LONGEST_TEXT), AfterValidator(_printable)]
Name = Annotated[
    Stripped, _of_length(LONGEST_NAME), AfterValidator(_printable), AfterValidator(_one_line)
]


class Comment(BaseModel):
    """One comment; `time` in UTC, to the second."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    claim: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    name: Name
    time: datetime
    text: Text


def read(root: Path) -> tuple[list[Comment], int]:
    """The comments of a checkout in order, and the number of lines that are not comments."""
    found, broken = [], 0
    for line in read_lines(root / FILE):
        try:
            found.append(Comment.model_validate_json(line))
        except ValidationError:
            broken += bool(line.strip())
    return found, broken


def add(root: Path, claim: str, name: str, text: str, claims: Collection[str]) -> Comment:
    """Write one comment on one of `claims`. Raises UserError for an invalid comment."""
    if claim not in claims:
        raise UserError(f"no claim {claim[:60]!r} to comment on")
    now = datetime.now(UTC).replace(microsecond=0)
    given = {"claim": claim, "name": name, "time": now, "text": text}
    try:
        comment = Comment.model_validate(given)
    except ValidationError as error:
        raise UserError(explain(error, given, "comment", Comment)) from None
    _append(root, comment)
    return comment


def _append(root: Path, comment: Comment) -> None:
    try:
        with lock_at(root / LOCK, timeout_s=10):
            file = root / FILE
            before = _content(file)
            if before and not before.endswith("\n"):
                before += "\n"
            line = json.dumps(comment.model_dump(mode="json"), ensure_ascii=False)
            write_text(file, f"{before}{line}\n")
    except Timeout:
        raise UserError(f"{FILE} is locked by another writer; try again in a moment") from None
    except OSError as error:
        raise UserError(f"{FILE} cannot be written: {error.strerror}") from None


def _content(file: Path) -> str:
    """The existing comments. Raises UserError if the file is full or not text."""
    try:
        return read_text(file, MOST_BYTES)
    except FileNotFoundError:
        return ""

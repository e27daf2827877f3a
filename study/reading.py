"""Reading untrusted files: one reader each for JSON, YAML and CSV.

Every reader accepts regular files (and links to them) of a limited size, text in UTF-8, and a
limited nesting. Anything else is a `UserError` that names the file. The limits are far above what
the study writes (traces.json has 0.9 MB), and low enough that a damaged or hostile file costs
seconds and megabytes.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import math
import os
import re
import reprlib
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

LARGEST_BYTES = 64 * 2**20
LARGEST_YAML_BYTES = 2**20  # YAML is parsed in Python: a megabyte takes several seconds
# The deepest file of the study, findings.json, has ten levels. Python's own recursion ends near
# 1,000, and code that walks the data needs several frames per level.
DEEPEST = 64
# Nodes after aliases and merge keys are expanded. An arm has about 100: enough for 5,000 arms.
MOST_NODES = 500_000
LONGEST_NUMBER = 40  # digits; Python refuses to print integers of more than 4,300
LONGEST_QUOTE = 200
MOST_PROBLEMS = 20


class UserError(Exception):
    """An error that the user can fix: the message states what is wrong, what was found and what is
    accepted."""


def quoted(value: Any) -> str:
    """`repr(value)`, cut to 200 characters, for error messages."""
    text = _short.repr(value)
    return text if len(text) <= LONGEST_QUOTE else f"{text[: LONGEST_QUOTE - 1]}…"


def brief(error: Exception) -> str:
    """The reason of an error of a library on one line, cut to 200 characters."""
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return " ".join(reason[:LONGEST_QUOTE].split()) or type(error).__name__


class _Repr(reprlib.Repr):
    """Stops early: the repr of a large value is never built."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 4
        self.maxdict = self.maxlist = self.maxtuple = self.maxset = self.maxfrozenset = 20
        self.maxstring = self.maxother = self.maxlong = LONGEST_QUOTE

    def repr_int(self, x: int, level: int) -> str:
        return "an integer of more than 4,000 digits" if x.bit_length() > 13_000 else repr(x)


_short = _Repr()


def joined(problems: Iterable[str]) -> str:
    """The different problems of one file as a sentence: the first 20, and how many follow."""
    different = list(dict.fromkeys(problems))
    more = len(different) - MOST_PROBLEMS
    rest = [f"and {more} more problems"] if more > 0 else []
    return "; ".join([*different[:MOST_PROBLEMS], *rest])


# --- bytes and text ---------------------------------------------------------------------------


def real_path(path: Path) -> Path:
    """The path without links. `Path.resolve` raises RuntimeError on a loop of links (before Python
    3.13); here a loop is returned as it is, and opening it is an OSError."""
    return Path(os.path.realpath(path))


def is_inside(relpath: str) -> bool:
    """Whether a path, joined to a folder, stays below it on every system."""
    parts = relpath.split("/")
    return relpath.isprintable() and "\\" not in relpath and not {"", ".", ".."} & {*parts}


def open_regular(path: Path | str) -> io.BufferedReader:
    """A regular file (or a link to one), opened for reading; the one opener for foreign files.

    Raises FileNotFoundError, and UserError for folders, pipes, devices and what cannot be opened.
    """
    try:
        # Opening a pipe would otherwise wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except ValueError:  # a null byte, or a character that the file system cannot have
        raise UserError(f"{quoted(str(path))} is not the name of a file") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UserError(f"{path} is not a regular file; replace it with one")
    return open(descriptor, "rb")  # noqa: PTH123  (Path.open takes no descriptor)


def read_bytes(path: Path | str, limit: int = LARGEST_BYTES) -> bytes:
    """Content of a regular file.

    Raises as `open_regular` does, and UserError for files of more than `limit` bytes and for those
    that cannot be read.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        try:
            content = stream.read(limit + 1) if size <= limit else b""
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if max(len(content), size) > limit:
        raise UserError(f"{path} has {size:,} bytes; files of up to {limit:,} bytes are read")
    return content


def read_end(path: Path, limit: int, start: int = 0) -> str:
    """The text of a log from byte `start` on, at most its last `limit` bytes; "" for a file that
    is absent or cannot be read."""
    try:
        with open_regular(path) as stream:
            stream.seek(max(start, stream.seek(0, os.SEEK_END) - limit))
            return stream.read(limit).decode(errors="replace")
    except (OSError, UserError):
        return ""


def hash_of_file(path: Path | str) -> str:
    """sha256 of the content of a regular file. Raises UserError for what cannot be read."""
    try:
        with open_regular(path) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; relative paths start at the working directory"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None


def read_text(path: Path, limit: int = LARGEST_BYTES) -> str:
    """Content of a UTF-8 file. Raises as `read_bytes` does, and UserError for other encodings."""
    try:
        text = read_bytes(path, limit).decode()
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 text: byte 0x{error.object[error.start]:02x} at position "
            f"{error.start}; {_restore(path)}"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _restore(path: Path | str) -> str:
    return f"correct it, or restore it (`git checkout -- {path}` for a file in git)"


# --- JSON -------------------------------------------------------------------------------------


def read_mapping(path: Path) -> dict[str, Any] | None:
    """Content of a JSON file that holds one object; None when there is no such file.

    Raises UserError when the file is damaged or holds something else.
    """
    try:
        content = parse_json(read_text(path), path)
    except FileNotFoundError:
        return None
    if not isinstance(content, dict):
        raise UserError(f"{path} has {_kind(content)} instead of a JSON object; {_restore(path)}")
    return content


def _kind(value: Any) -> str:
    names = {list: "a list", str: "text", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def parse_json(text: str | bytes, where: Path | str) -> Any:
    """JSON text as plain data; `where` names it in errors. Raises UserError."""
    try:
        text = text if isinstance(text, str) else text.decode()
        # Hooks make Python's parser slow: they are set only where the text may need them.
        long = _integer if re.search(rf"\d{{{LONGEST_NUMBER}}}", text) else None
        huge = _float if re.search(r"[eE]\+?\d{3}", text) else None
        value = json.loads(text, parse_int=long, parse_float=huge, parse_constant=_constant)
        if "\\u" in text:  # a lone surrogate can be neither printed nor written
            json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise UserError(f"{where} is nested too deeply; up to {DEEPEST} levels are read") from None
    except ValueError as error:  # JSONDecodeError and UnicodeError are ValueErrors
        raise UserError(f"{where} is not valid JSON ({str(error)[:LONGEST_QUOTE]})") from None
    if text.count("[") + text.count("{") > DEEPEST and _deeper(value):
        raise UserError(f"{where} is nested too deeply; up to {DEEPEST} levels are read")
    return value


def _integer(digits: str) -> int:
    if len(digits) > LONGEST_NUMBER:
        raise ValueError(f"an integer of {len(digits)} digits")
    return int(digits)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{quoted(text)} is not a finite number")
    return value


def _constant(name: str) -> float:
    raise ValueError(f"{name} is not JSON")


def _deeper(value: Any) -> bool:
    level = [value]
    for _ in range(DEEPEST):
        level = [child for node in level for child in _children(node)]
        if not level:
            return False
    return True


def _children(node: Any) -> Any:
    if isinstance(node, dict):
        return node.values()
    return node if isinstance(node, list) else ()


# --- YAML -------------------------------------------------------------------------------------


def read_yaml(path: Path) -> Any:
    """A YAML file as plain data. Raises UserError when it is absent, damaged or too large."""
    return parse_yaml(read_yaml_text(path), path)


def read_yaml_text(path: Path) -> str:
    """The text of a YAML file. Raises UserError as `read_yaml` does."""
    try:
        return read_text(path, LARGEST_YAML_BYTES)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run inside a checkout of Armature") from None


def parse_yaml(text: str, where: Path | str, typ: str = "safe", fast: bool = False) -> Any:
    """YAML text as plain data, or as a document that keeps comments and lines (`typ="rt"`).

    `fast` takes the parser in C, which dvc.lock needs and whose errors are terser.
    Aliases and merge keys are accepted as long as the expanded document stays within MOST_NODES.
    Raises UserError that names `where`.
    """
    from ruamel.yaml import YAML

    yaml = YAML(typ=typ, pure=not fast)
    yaml.Constructor = _limited(yaml.Constructor)
    try:
        return yaml.load(text)
    except RecursionError:
        raise UserError(f"{where} is nested too deeply; up to {DEEPEST} levels are read") from None
    # ruamel.yaml raises errors of many types for text that is not YAML: TypeError for a key that
    # is a mapping, AttributeError for some tags. It only sees text here, so none of them is ours.
    except Exception as error:
        message = " ".join(str(error).split())[: 2 * LONGEST_QUOTE]
        raise UserError(f"{where} is not valid YAML: {message or type(error).__name__}") from None


def _limited(constructor: Any) -> Any:
    class Limited(constructor):
        """Checks the graph of nodes, in which an alias costs nothing, before it is expanded."""

        def construct_document(self, node: Any) -> Any:
            _check_nodes(node)
            return super().construct_document(node)

    return Limited


def _check_nodes(root: Any) -> None:
    """Raise ValueError unless the document below `root` keeps within the limits.

    Walks every node once, children first: (expanded nodes, depth) of a node that several aliases
    name are computed once.
    """
    known: dict[int, tuple[int, int]] = {}
    entered: set[int] = set()
    stack = [root]
    while stack:
        node = stack[-1]
        key = id(node)
        if key in known:
            stack.pop()
            continue
        below = _node_children(node)
        if key in entered:
            stack.pop()
            size = 1 + sum(known[id(child)][0] for child in below)
            depth = 1 + max((known[id(child)][1] for child in below), default=0)
            if size > MOST_NODES:
                raise ValueError(f"aliases expand to more than {MOST_NODES:,} values")
            if depth > DEEPEST:
                raise ValueError(f"it is nested too deeply; up to {DEEPEST} levels are read")
            known[key] = size, depth
            continue
        entered.add(key)
        for child in below:
            if id(child) in entered and id(child) not in known:
                raise ValueError("an alias names a value that contains itself")
            stack.append(child)


def _node_children(node: Any) -> list[Any]:
    value = node.value
    if not isinstance(value, list):
        if str(node.tag).endswith(":int") and len(value) > LONGEST_NUMBER:
            raise ValueError(f"an integer of {len(value)} characters")
        return []
    pairs = value and isinstance(value[0], tuple)
    return [part for pair in value for part in pair] if pairs else value


# --- CSV --------------------------------------------------------------------------------------


def read_table(path: Path, needed: Sequence[str] = (), as_text: bool = False) -> Any:
    """A CSV table of numbers as a data frame; empty without the file or without a header.

    `as_text` keeps every cell as text. Raises UserError when the file is damaged, lacks a
    column of `needed`, or holds text in place of a number.
    """
    try:
        text = read_text(path)
    except FileNotFoundError:
        text = ""
    return parse_table(text, path, needed, as_text)


def parse_table(
    text: str, path: Path | str, needed: Sequence[str] = (), as_text: bool = False
) -> Any:
    """`read_table` of a text; `path` names it in errors."""
    import pandas

    options: dict[str, Any] = {"dtype": str, "keep_default_na": False} if as_text else {}
    try:
        frame = pandas.read_csv(io.StringIO(text), index_col=False, **options)
    except pandas.errors.EmptyDataError:
        return pandas.DataFrame()
    # ParserError is a ValueError; a line with too many cells is a ParserWarning.
    except (ValueError, OverflowError, pandas.errors.ParserWarning) as error:
        raise UserError(f"{path} is not a CSV table ({error}); {_restore(path)}") from None
    absent = next((name for name in needed if name not in frame), None)
    if absent is not None:
        raise UserError(f"{path} has no column {absent!r}; {_restore(path)}")
    for name, column in frame.items():
        wrong = None if as_text or frame.empty else _wrong(name, column)
        if wrong is not None:
            raise UserError(
                f"{path}: column {quoted(name)} holds {quoted(wrong)}; accepted are "
                f"{'whole ' if name in WHOLE else ''}numbers; {_restore(path)}"
            )
    return frame


WHOLE = ("seed", "epoch")


def _wrong(name: str, column: Any) -> Any:
    """A value of the column that is not of its type, or None."""
    if column.dtype.kind == "i" or (column.dtype.kind == "f" and name not in WHOLE):
        return None
    if column.dtype.kind in "fu":
        return next((v for v in column if not (v == v and abs(v) < 2**63 and v == int(v))), None)
    texts = (v for v in column if not isinstance(v, float) and not _is_number(v))
    return next(texts, column.dtype.name)


def _is_number(value: Any) -> bool:
    try:
        return isinstance(value, str) and math.isfinite(float(value))
    except ValueError:
        return False
